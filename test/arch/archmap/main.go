// Command archmap writes the import graph and the table of sizes into ARCHITECTURE.md, between its map markers. It does not
// know what the rest of that document says.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"sallyport.dev/test/arch"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := write(root); err != nil {
		fmt.Fprintln(os.Stderr, "archmap:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	tree, err := arch.Parse(os.DirFS(root))
	if err != nil {
		return err
	}
	name := filepath.Join(root, "ARCHITECTURE.md")
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fresh, err := arch.InsertMap(old, tree)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if bytes.Equal(old, fresh) {
		return nil
	}
	if err := os.WriteFile(name, fresh, 0o644); err != nil {
		return err
	}
	fmt.Println(name, "brought up to date")
	return nil
}
