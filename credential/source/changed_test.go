//go:build linux || darwin

package source_test

import (
	"os"
	"testing"

	"sallyport.dev/credential/source"
)

func TestAFileWhoseTimeWasSetBackIsReadAgain(t *testing.T) {
	path, ref := writeSecret(t, "first")
	source := of(t, keep(t, source.Config{}), ref)
	settle()
	get(t, source)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, "FIRST", info.ModTime()) // same inode, time of modification and length
	look()
	if got := get(t, source); got != "FIRST" {
		t.Errorf("got %q", got)
	}
}
