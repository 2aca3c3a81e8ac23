package gateway

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/audit"
)

// However often a caller is denied, the audit log gets a bounded number of lines about that, and counts them all.
func TestDenialsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, denied := make(map[string]int64), make(map[string]int64)
		d := &denials{write: func(e audit.Event) {
			lines[e.Subject]++
			denied[e.Subject] += 1 + e.Alike
		}}
		told := func(subject string) [2]int64 { // lines, and how many denials they are about
			d.mu.Lock() // which write runs under
			defer d.mu.Unlock()
			return [2]int64{lines[subject], denied[subject]}
		}
		flood := func(subject string, n int) {
			for i := range n {
				d.add(audit.Event{Subject: subject, RequestID: fmt.Sprint(i), Outcome: "unauthenticated"})
			}
		}
		flood("", 10_000)
		flood("olga", 60)
		flood("otto", 61)
		for _, subject := range []string{"", "olga", "otto"} {
			if got := told(subject); got != [2]int64{60, 60} {
				t.Errorf("%q at once: %v", subject, got)
			}
		}
		time.Sleep(denialsTime)
		synctest.Wait()
		for subject, want := range map[string][2]int64{"": {61, 10_000}, "olga": {60, 60}, "otto": {61, 61}} {
			if got := told(subject); got != want {
				t.Errorf("%q a minute later: %v", subject, got)
			}
		}
		flood("", 100) // in another minute
		d.flush()      // as when the gateway stops
		d.flush()
		time.Sleep(2 * denialsTime)
		synctest.Wait()
		if got := told(""); got != [2]int64{122, 10_100} || d.of != nil {
			t.Errorf("at the end: %v", got)
		}
	})
}
