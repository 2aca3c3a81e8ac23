package cell_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport.dev/cell"
)

func TestLimitMemory(t *testing.T) {
	const limit = 128 << 20
	both(t, func(t *testing.T, isolation cell.Isolation) {
		for _, eater := range []string{"anonymous", "shared", "spread"} {
			spec := inCell(isolation, eater)
			spec.Limits.Memory = limit
			began := time.Now()
			_, err := output(t, spec)
			// One process that takes fast may meet the kernel's limit for itself first.
			refused := eater == "anonymous" && err != nil && err.Error() == "cell: exit code 9"
			if !refused && (err == nil || err.Error() != "cell: out of memory: the cell's limit of 128 MiB") {
				t.Errorf("%s: %v", eater, err)
			}
			t.Logf("%s: ended after %v", eater, time.Since(began))
		}
	})
}

// TestLimitMemoryCountsSharedOnce: pages that processes share after a fork are one page.
func TestLimitMemoryCountsSharedOnce(t *testing.T) {
	spec := inCell(cell.Namespaces, "forked")
	spec.Limits.Memory = 128 << 20
	if text, err := output(t, spec); err != nil || text != "done\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestLimitMemoryFile(t *testing.T) {
	text, err := output(t, inCell(cell.Namespaces, "memfd"))
	if err != nil || !strings.HasPrefix(text, "false") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestLimitProcesses(t *testing.T) {
	spec := inCell(cell.Namespaces, "processes")
	spec.Limits.Processes = 50
	text, err := output(t, spec)
	if n, _ := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < 25 || n > 60 {
		t.Errorf("%q, %v", text, err)
	}
	spec.Isolation = cell.None
	if _, err := output(t, spec); err == nil || err.Error() != "cell: too many processes: the cell's limit of 50" {
		t.Error(err)
	}
	noneLeft(t)
}

// TestLimitForkBomb: a cell whose processes do nothing but start processes is stopped like any other.
func TestLimitForkBomb(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		n := newNursery(t)
		p := start(t, n, inCell(isolation, "bomb"))
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		p.Stop(100 * time.Millisecond)
		within(t, p.Done(), 10*time.Second)
		t.Logf("stopped after %v: %v", time.Since(began), p.Err())
		noneLeft(t)
	})
}

func TestLimitFiles(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		text, err := output(t, inCell(isolation, "files"))
		if n, _ := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < 1000 || n > 1024 {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func TestLimitDisk(t *testing.T) {
	spec := inCell(cell.Namespaces, "disk")
	spec.Limits.Disk = 32 << 20
	text, err := output(t, spec)
	if n, _ := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < 30<<20 || n > 32<<20 {
		t.Errorf("%q, %v", text, err)
	}
}

func TestLimitCPUs(t *testing.T) {
	spec := inCell(cell.Namespaces, "limits")
	spec.Limits.CPUs = 1000
	got := decode[struct{ CPUs int }](t, spec)
	if got.CPUs < 1 {
		t.Error(got)
	}
}

// TestLimitsValidated names what is too little.
func TestLimitsValidated(t *testing.T) {
	n := newNursery(t)
	for want, limits := range map[string]cell.Limits{
		"memory": {Memory: 1}, "processes": {Processes: -1}, "files": {Files: 3}, "CPUs": {CPUs: -1}, "disk": {Disk: 1},
	} {
		spec := inCell(cell.None, "hello")
		spec.Limits = limits
		if _, err := n.Start(spec); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
