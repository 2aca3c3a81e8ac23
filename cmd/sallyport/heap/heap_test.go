package heap

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// collections counts how often the collector runs while 256 MiB of garbage are made.
func collections() uint32 {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var garbage []byte
	for i := range 256 << 10 {
		garbage = make([]byte, 1<<10+i%2) // a size that is not constant, so that it goes to the heap
	}
	runtime.KeepAlive(garbage)
	runtime.ReadMemStats(&after)
	return after.NumGC - before.NumGC
}

// freshArgument makes the test binary a fresh process, as a role is one, which prints what a floor does to it.
const freshArgument = "fresh"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == freshArgument {
		before := resident()
		release := Floor()
		grown := resident() - before
		with := collections()
		release()
		runtime.GC()
		fmt.Println(grown, with, collections())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestFloor(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), os.Args[0], freshArgument).Output()
	if err != nil {
		t.Fatal(err)
	}
	var grown, with, without int
	if _, err := fmt.Sscan(string(out), &grown, &with, &without); err != nil {
		t.Fatal(err)
	}
	if grown > floor/4 {
		t.Errorf("the resident set grew by %d bytes", grown)
	}
	if without < 2*with {
		t.Errorf("256 MiB of garbage were collected %d times with a floor, %d times without", with, without)
	}
}

func TestFloorLeavesAMemoryLimitAlone(t *testing.T) {
	debug.SetMemoryLimit(256 << 20)
	defer debug.SetMemoryLimit(math.MaxInt64)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	release := Floor()
	runtime.ReadMemStats(&after)
	release()
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown >= floor {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// resident is how much of the process is in memory, in bytes.
func resident() int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		panic(err)
	}
	return pages * os.Getpagesize()
}
