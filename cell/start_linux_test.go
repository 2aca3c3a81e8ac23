package cell_test

import (
	"io"
	"os/exec"
	"testing"

	"sallyport.dev/cell"
)

// BenchmarkStart measures from the start of a command that says hello to its end, in a cell and out of one.
func BenchmarkStart(b *testing.B) {
	hello := make([]byte, len("hello\n"))
	for _, isolation := range []cell.Isolation{cell.Namespaces, cell.None} {
		b.Run(string(isolation), func(b *testing.B) {
			n := newNursery(b)
			for b.Loop() {
				p, err := n.Start(inCell(isolation, "hello"))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(p.Stdout, hello); err != nil {
					b.Fatal(err)
				}
				<-p.Done()
				p.Stdin.Close()
				p.Stdout.Close()
				p.Stderr.Close()
			}
		})
	}
	b.Run("exec", func(b *testing.B) {
		for b.Loop() {
			if _, err := exec.Command(child(), "hello").Output(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
