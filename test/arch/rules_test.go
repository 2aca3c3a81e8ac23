package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRulesFire holds each rule against its own small tree in testdata. A file there is a series of sections headed
// "-- path --"; the section "want" lists path:line of every violation, and nothing else may be reported.
func TestRulesFire(t *testing.T) {
	names := map[string]bool{}
	for _, rule := range Rules() {
		if names[rule.Name] {
			t.Errorf("two rules are named %s", rule.Name)
		}
		names[rule.Name] = true
		t.Run(rule.Name, func(t *testing.T) {
			if len(rule.Reason) < 40 {
				t.Errorf("the reason %q convinces nobody", rule.Reason)
			}
			fsys, want := readCase(t, filepath.Join("testdata", rule.Name+".txt"))
			tree, err := Parse(fsys)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range rule.Run(tree) {
				if v.Text == "" {
					t.Errorf("%s:%d: no text", v.File, v.Line)
				}
				got = append(got, fmt.Sprintf("%s:%d", v.File, v.Line))
			}
			got = slices.Compact(got)
			if len(want) == 0 {
				t.Fatal("the case wants no violation, so it proves nothing")
			}
			if !slices.Equal(got, want) {
				t.Errorf("violations:\n got  %q\n want %q", got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !names[strings.TrimSuffix(filepath.Base(f), ".txt")] {
			t.Errorf("%s belongs to no rule", f)
		}
	}
}

var (
	sectionLine = regexp.MustCompile(`(?m)^-- (\S+) --\n`)
	fillLine    = regexp.MustCompile(`(?m)^\{\{lines (\d+)\}\}\n`)
)

// readCase splits a case file. A line {{lines N}} stands for N empty lines.
func readCase(t *testing.T, name string) (fsys fstest.MapFS, want []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fsys = fstest.MapFS{}
	heads := sectionLine.FindAllStringSubmatchIndex(string(text), -1)
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		section, body := string(text[h[2]:h[3]]), string(text[h[1]:end])
		if section == "want" {
			want = strings.Fields(body)
			slices.SortFunc(want, comparePlaces)
			continue
		}
		body = fillLine.ReplaceAllStringFunc(body, func(s string) string {
			var n int
			if _, err := fmt.Sscanf(s, "{{lines %d}}", &n); err != nil {
				t.Fatal(err)
			}
			return strings.Repeat("\n", n)
		})
		fsys[section] = &fstest.MapFile{Data: []byte(body)}
	}
	return fsys, want
}

// comparePlaces orders file:line the way Rule.Run does.
func comparePlaces(a, b string) int {
	fileA, lineA, _ := strings.Cut(a, ":")
	fileB, lineB, _ := strings.Cut(b, ":")
	if c := strings.Compare(fileA, fileB); c != 0 {
		return c
	}
	return element([]string{lineA}, 0) - element([]string{lineB}, 0)
}

// TestMap pins the rendering on a tree of three packages.
func TestMap(t *testing.T) {
	fsys := fstest.MapFS{
		"cmd/sallyport/main.go": {Data: []byte("package main\nimport _ \"sallyport.dev/gateway\"\n")},
		"gateway/gateway.go":    {Data: []byte("package gateway\nimport _ \"sallyport.dev/tunnel\"\nfunc New() {}\nfunc (x y) Run() {}\n")},
		"gateway/g_test.go":     {Data: []byte("package gateway\nimport _ \"sallyport.dev/auth/authtest\"\n")},
		"tunnel/tunnel.go":      {Data: []byte("package tunnel\n")},
		"tunnel/testdata/x.go":  {Data: []byte("not Go at all")},
	}
	tree, err := Parse(fsys)
	if err != nil {
		t.Fatal(err)
	}
	got, err := InsertMap([]byte("head\n"+mapBegin+"\nold\n"+mapEnd+"\ntail\n"), tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"head\n" + mapBegin + "\nGenerated",
		"level 2\n  cmd/sallyport -> gateway\n\nlevel 1\n  gateway       -> tunnel\n\nlevel 0\n  tunnel\n",
		"| `gateway` | 1 | 100 | 1 | 100 |\n",
		"| **all** | 3 | 100 | 1 | 100 |\n" + mapEnd + "\ntail\n",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the map lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old map is still there")
	}
	if _, err := InsertMap([]byte("no markers"), tree); err == nil {
		t.Error("a document without markers was accepted")
	}
}
