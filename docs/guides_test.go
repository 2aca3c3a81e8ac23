package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/cmd/sallyport/snippets"
)

// TestClientsGuide holds the guide to what sallyport snippets prints: each client's text and how it is known to work.
func TestClientsGuide(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("guides", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	guide := string(b)
	set, err := snippets.New(snippets.Config{
		Tunnel: "acme", PublicURL: "https://tunnel.example.com", Variable: "SALLYPORT_TOKEN",
		Servers: []snippets.Server{{Name: "wiki", URL: "https://tunnel.example.com/t/acme/wiki/mcp"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	fences := map[string]string{"shell": "sh", "json": "json", "toml": "toml", "text": "text"}
	for _, s := range set.Servers[0].Snippets {
		row := regexp.MustCompile("(?m)^\\| `" + s.Client + "` \\|.*\\| " + s.Status + "\\b[^|]*\\|$")
		if !row.MatchString(guide) {
			t.Errorf("docs/guides/clients.md has no row that says of %s: %s", s.Client, s.Status)
		}
		if block := "```" + fences[s.Kind] + "\n" + s.Text + "\n```\n"; s.Status != "not yet" && !strings.Contains(guide, block) {
			t.Errorf("docs/guides/clients.md does not have what sallyport snippets --client %s prints:\n%s", s.Client, block)
		}
	}
}

// TestLinksInGuides lead to files and headings that exist.
func TestLinksInGuides(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	dropped := regexp.MustCompile(`[^a-z0-9 -]`)
	pages, err := filepath.Glob("guides/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%v: %q", err, pages)
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		anchors := make(map[string]bool)
		for _, m := range heading.FindAllStringSubmatch(string(b), -1) {
			anchors[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if m[1] != "" {
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
					t.Errorf("%s links to %s: %v", page, m[1], err)
				}
			} else if !anchors[m[2]] {
				t.Errorf("%s has no heading for #%s", page, m[2])
			}
		}
	}
}
