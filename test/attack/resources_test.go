package attack

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// resources are what an attack may use up.
type resources struct {
	goroutines, descriptors int
	heap                    uint64 // bytes
}

// heapSlack is what the log, the records and the pools of a run may keep.
const heapSlack = 24 << 20

func (r *rig) measure(t *testing.T) resources {
	t.Helper()
	for _, u := range r.upstreams() {
		u.close()
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{runtime.NumGoroutine(), len(open), m.HeapAlloc}
}

// above says what is left of an attack.
func (now resources) above(base resources) string {
	switch {
	case now.goroutines > base.goroutines:
		return fmt.Sprintf("%d goroutines, %d before", now.goroutines, base.goroutines)
	case now.descriptors > base.descriptors:
		return fmt.Sprintf("%d descriptors, %d before", now.descriptors, base.descriptors)
	case now.heap > base.heap+heapSlack:
		return fmt.Sprintf("%d bytes of heap, %d before", now.heap, base.heap)
	}
	return ""
}

// settle measures until nothing has changed for a while.
func (r *rig) settle(t *testing.T) resources {
	t.Helper()
	last := r.measure(t)
	for range 50 {
		pause(t, 100*time.Millisecond)
		now := r.measure(t)
		if now.goroutines == last.goroutines && now.descriptors == last.descriptors {
			return now
		}
		last = now
	}
	return last
}

// mustReturn waits until everything is as before.
func (r *rig) mustReturn(t *testing.T, base resources) {
	t.Helper()
	left := ""
	for range 100 {
		if left = r.measure(t).above(base); left == "" {
			return
		}
		pause(t, 100*time.Millisecond)
	}
	dump := make([]byte, 1<<20)
	t.Errorf("not back at the baseline: %s\n%s", left, dump[:runtime.Stack(dump, true)])
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
