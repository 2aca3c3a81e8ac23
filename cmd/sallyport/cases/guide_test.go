package cases_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/cmd/sallyport/cases"
	"sallyport.dev/config"
	"sallyport.dev/policy"
)

// Each recipe of the guide is a policy, with cases that it decides as they say.
func TestPolicyGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/guides/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Policy policy.Policy `yaml:"policy"`
	}
	recipes, policies := 0, 0
	for _, block := range strings.Split(string(guide), "\n```yaml ")[1:] {
		kind, rest, _ := strings.Cut(block, "\n")
		text, _, closed := strings.Cut(rest, "\n```")
		if !closed {
			t.Fatal("a block does not end")
		}
		switch kind {
		case "policy":
			policies++
			p.Policy = policy.Policy{}
			if err := config.Decode("recipe.yaml", []byte(text), &p); err != nil {
				t.Errorf("%s\n%v", text, err)
			}
		case "cases":
			recipes++
			var file cases.File
			if err := config.Decode("cases.yaml", []byte(text), &file); err != nil {
				t.Errorf("%s\n%v", text, err)
			}
			for i := range file.Cases {
				if problem := file.Cases[i].Failed(p.Policy, time.Now()); problem != "" {
					t.Errorf("recipe %d, %s: %s", recipes, file.Cases[i].Name, problem)
				}
			}
		default:
			t.Errorf("a block is %q", kind)
		}
	}
	if recipes < 10 || policies != recipes+1 {
		t.Errorf("%d recipes, %d policies", recipes, policies)
	}
}
