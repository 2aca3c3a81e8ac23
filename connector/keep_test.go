package connector

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/tunnel"
)

const nowhere = "http://127.0.0.1:9/mcp"

// TestStop: a gateway that says not to come back is obeyed by all sessions.
func TestStop(t *testing.T) {
	for _, code := range []tunnel.Code{tunnel.CodeSuperseded, tunnel.CodeRevoked} {
		synctest.Test(t, func(t *testing.T) {
			g := newFakeGateway(t)
			r := run(t, g, nowhere, func(c *Config) { c.Connections = 2 })
			first, second := g.next(t), g.next(t)
			first.CloseWith(tunnel.Reason{Code: code, Text: "for good"})
			err := r.ended(t)
			if closeCode(t, err) != code || !strings.Contains(err.Error(), "for good") {
				t.Errorf("Run: %v", err)
			}
			<-second.Done()
			if n := len(g.times()); n != 2 {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

// TestDrainIsMakeBeforeBreak: the next session is there before the drained one
// ends, at once.
func TestDrainIsMakeBeforeBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGateway(t)
		run(t, g, nowhere, nil)
		old := g.next(t)
		time.Sleep(5 * time.Second)
		start := time.Now()
		if err := old.Drain(); err != nil {
			t.Fatal(err)
		}
		fresh := g.next(t)
		if took := time.Since(start); took != 0 {
			t.Errorf("attached again after %s", took)
		}
		if old.Err() != nil {
			t.Error("the drained session ended before the next was there")
		}
		<-old.Done()
		if fresh.Err() != nil {
			t.Error(fresh.Err())
		}
	})
}

// TestCloseReasons: how long after which reason the connector comes back.
func TestCloseReasons(t *testing.T) {
	for code, bound := range map[tunnel.Code]time.Duration{
		tunnel.CodeOK:          backoffFirst,
		tunnel.CodeDraining:    time.Nanosecond,
		tunnel.CodeAuthExpired: backoffFirst,
		tunnel.CodeOverload:    backoffFirst,
		tunnel.CodeProtocol:    backoffLongest,
		tunnel.CodePolicy:      backoffLongest,
	} {
		var longest time.Duration
		for range 8 {
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGateway(t)
				run(t, g, nowhere, nil)
				s := g.next(t)
				s.CloseWith(tunnel.Reason{Code: code})
				start := time.Now()
				g.next(t)
				longest = max(longest, time.Since(start))
			})
		}
		if longest >= bound+hangUpTime || longest < bound/8 {
			t.Errorf("after %v the connector came back within %s, want up to %s", code, longest, bound)
		}
	}
}

// TestRefusedAttach: the hint is in the log, the token is not, and the next
// try comes late; what passes by itself is asked again soon.
func TestRefusedAttach(t *testing.T) {
	for _, test := range []struct {
		status   int
		says     string
		least    int // tries in an hour
		most     int
		slowBy10 bool // the tenth try comes late
	}{
		// With the longest back-off, 30 s, an hour holds some 240 tries.
		{http.StatusUnauthorized, "compare tunnel_token here with the tunnel's at the gateway", 150, 400, true},
		{http.StatusBadRequest, "what the gateway says", 150, 400, true},
		{http.StatusConflict, "raise max_connectors at the gateway", 1000, 2200, false},
		{http.StatusServiceUnavailable, "draining", 2500, 5500, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newFakeGateway(t)
			g.refuse = func() (int, string) { return test.status, "what the gateway says" }
			r := run(t, g, nowhere, nil)
			time.Sleep(time.Hour)
			log := r.log.String()
			if !strings.Contains(log, test.says) || strings.Contains(log, testTunnelToken) {
				t.Errorf("%d: the log says\n%s", test.status, log[:min(len(log), 500)])
			}
			times := g.times()
			if n := len(times); n < test.least || n > test.most {
				t.Errorf("%d: %d tries in an hour", test.status, n)
			}
			if took := times[9].Sub(times[0]); (took > 45*time.Second) != test.slowBy10 {
				t.Errorf("%d: the first nine delays are %s", test.status, took)
			}
		})
	}
}

// TestDialBackoff: delays grow while nothing answers, and begin anew after a
// session that was healthy.
func TestDialBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGateway(t)
		var up atomic.Bool
		var failed []time.Time
		run(t, g, nowhere, func(c *Config) {
			c.Dial = func(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
				if !up.Load() {
					failed = append(failed, time.Now())
					return nil, errors.New("nobody is there")
				}
				return g.dial(ctx, self)
			}
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(failed); n < 20 || n > 120 {
			t.Errorf("%d tries in ten minutes", n)
		}
		up.Store(true)
		s := g.next(t)
		time.Sleep(healthyAfter)
		s.CloseWith(tunnel.Reason{Code: tunnel.CodeOK})
		start := time.Now()
		g.next(t)
		if took := time.Since(start); took >= backoffFirst+hangUpTime {
			t.Errorf("came back %s after a healthy session", took)
		}
	})
}

func TestKeepsAsManySessionsAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGateway(t)
		r := run(t, g, nowhere, func(c *Config) { c.Connections = 3 })
		for range 3 {
			if s := g.next(t); s.Peer().Instance != r.Instance() {
				t.Errorf("instance %s", s.Peer().Instance)
			}
		}
		time.Sleep(time.Hour)
		if n := len(g.times()); n != 3 {
			t.Errorf("dialled %d times", n)
		}
		if n := strings.Count(r.log.String(), `"msg":"attached"`); n != 3 {
			t.Errorf("said %d times that it is attached", n)
		}
	})
}

// TestSilentGateway: one that never answers attach is given up after 10 s.
func TestSilentGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGateway(t)
		g.refuse = func() (int, string) {
			time.Sleep(time.Hour)
			return http.StatusOK, ""
		}
		r := run(t, g, nowhere, nil)
		time.Sleep(attachTimeout + time.Second)
		synctest.Wait()
		if !strings.Contains(r.log.String(), "not attached") {
			t.Errorf("after %s the log says: %s", attachTimeout, r.log)
		}
		r.stop()
		time.Sleep(2 * time.Hour)
	})
}
