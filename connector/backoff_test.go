package connector

import (
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/tunnel"
)

func TestBackoffBounds(t *testing.T) {
	bounds := []time.Duration{250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000}
	highest := make([]time.Duration, len(bounds))
	lowest := make([]time.Duration, len(bounds))
	const rounds = 2000
	for round := range rounds {
		var b backoff
		for i, bound := range bounds {
			d := b.next()
			if d < 0 || d >= bound*time.Millisecond {
				t.Fatalf("delay %d is %s, above %s ms", i, d, bound)
			}
			highest[i] = max(highest[i], d)
			if round == 0 {
				lowest[i] = d
			}
			lowest[i] = min(lowest[i], d)
		}
		b.reset()
		if d := b.next(); d >= backoffFirst {
			t.Fatalf("%s after a reset", d)
		}
	}
	// Full jitter: the whole range is used.
	for i, bound := range bounds {
		if lowest[i] > bound*time.Millisecond/20 || highest[i] < bound*time.Millisecond*19/20 {
			t.Errorf("delay %d lies between %s and %s of %d ms", i, lowest[i], highest[i], bound)
		}
	}
	for range rounds {
		if d := around(probeEvery); d < probeEvery*3/4 || d >= probeEvery*5/4 {
			t.Fatalf("%s is not around %s", d, probeEvery)
		}
	}
}

func TestBackoffAfter(t *testing.T) {
	for _, test := range []struct {
		action   tunnel.Action
		attached time.Duration
		bound    time.Duration // of the delay after the next
	}{
		{tunnel.Redial, time.Second, 16 * time.Second},
		{tunnel.Redial, time.Minute, 2 * backoffFirst},
		{tunnel.BackOff, time.Second, 16 * time.Second},
		{tunnel.BackOffLongest, time.Second, backoffLongest},
		{tunnel.BackOffLongest, time.Minute, backoffLongest},
		{tunnel.AttachElsewhere, time.Second, 8 * time.Second}, // at once: nothing drawn
	} {
		b := backoff{bound: 8 * time.Second}
		b.after(test.action, test.attached)
		if b.bound != test.bound {
			t.Errorf("after %v for %s the bound is %s, want %s", test.action, test.attached, b.bound, test.bound)
		}
	}
	var b backoff
	if d := b.after(tunnel.AttachElsewhere, time.Second); d != 0 {
		t.Errorf("a first drain is followed after %s", d)
	}
	b.after(tunnel.AttachElsewhere, time.Second)
	if b.bound == 0 {
		t.Error("a gateway that only drains makes us spin")
	}
	b.after(tunnel.AttachElsewhere, time.Minute)
	if b.bound != 0 || !b.hurried {
		t.Errorf("after a minute of health: %+v", b)
	}
}

func TestSleepEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !sleep(t.Context(), time.Second) || time.Since(start) != time.Second {
			t.Errorf("slept %s", time.Since(start))
		}
	})
}
