// Package heap gives the garbage collector of a small, busy process room to wait. It does not know what the process does.
package heap

import (
	"math"
	"runtime"
	"runtime/debug"
)

// floor is how much the collector believes to be in use, in bytes.
const floor = 32 << 20

// Floor keeps the collector from running for every 4 MiB of garbage: a gateway or connector holds 1 to 2 MiB that live, and
// under load its collector ran a hundred times a second and took a quarter of its CPU time (docs/performance.md). It does
// so by holding 32 MiB that nothing ever touches, which the operating system therefore never backs with memory; what grows
// is the garbage that waits, by as much. Where a memory limit is set (GOMEMLIMIT), it would count against that, and Floor
// does nothing. Release gives the floor up.
func Floor() (release func()) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	ballast := make([]byte, floor)
	return func() { runtime.KeepAlive(ballast) }
}
