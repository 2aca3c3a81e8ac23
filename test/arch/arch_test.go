package arch

import (
	"bytes"
	"os"
	"testing"
)

const root = "../.."

func parseRoot(t *testing.T) *Tree {
	t.Helper()
	tree, err := Parse(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) == 0 {
		t.Fatal("no package found: the tests look at the wrong folder")
	}
	return tree
}

// TestTree holds the whole module against every rule.
func TestTree(t *testing.T) {
	tree := parseRoot(t)
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, v := range rule.Run(tree) {
				t.Error(v)
			}
			if t.Failed() {
				t.Log("why:", rule.Reason)
			}
		})
	}
}

// TestMapIsFresh fails when the tree has changed and ARCHITECTURE.md has not.
func TestMapIsFresh(t *testing.T) {
	document, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := InsertMap(document, parseRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(document, fresh) {
		t.Error("the map in ARCHITECTURE.md is stale; run: make map")
	}
}
