package telemetry

import (
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	for length, want := range map[int]int{0: 0, maxShort: maxShort, maxShort + 1: maxShort + len("…"), 4 << 20: maxShort + len("…")} {
		if got := Short(strings.Repeat("x", length)); len(got) != want {
			t.Errorf("%d bytes became %d, want %d", length, len(got), want)
		}
	}
}
