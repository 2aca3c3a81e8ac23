package cell_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"sallyport.dev/cell"
)

// TestMain is the parent of cells, the warden in them, and the child that runs there: all three are this binary.
func TestMain(m *testing.M) {
	cell.Main()
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			role(os.Args[2:])
			return
		}
	}
	goleak.VerifyTestMain(m)
}
