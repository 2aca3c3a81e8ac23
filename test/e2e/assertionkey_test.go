package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// The key that the gateway signs assertions with is replaced again and again under a flood of calls, over two sessions: none
// fails.
func TestAssertionKeyRotationDropsNoCall(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		const rotations, callers = 4, 4
		s := stack.New(t, stack.Options{Transport: transport, Servers: one("wiki", echoes(t))})
		attached(t, s, 2)
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(s.Log)
			}
		})
		agent := s.Agent(t, true)
		var calls atomic.Int64
		stop := make(chan struct{})
		var crew sync.WaitGroup
		for range callers {
			crew.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if got := post(t, s, agent, "wiki", pingBody); got.status != http.StatusOK {
						t.Errorf("a call was dropped: %d %s", got.status, got.body)
						return
					}
					calls.Add(1)
				}
			})
		}
		for i := range rotations {
			if _, err := gateway.RotateKey(s.StateDir()); err != nil {
				t.Error(err)
				break
			}
			until(t, patience, "the gateway signs with the new key", func() bool { return len(records(s, "signs assertions with a new key")) > i })
			before := calls.Load()
			until(t, patience, "calls go on", func() bool { return calls.Load() > before+callers })
		}
		close(stop)
		crew.Wait()
		if n := len(records(s, "the gateway has new assertion keys")); n < rotations {
			t.Errorf("connectors have asked for keys %d times", n)
		}
		if log := s.Log.String(); strings.Contains(log, "refuses our assertion") {
			t.Error("an assertion was refused")
		}
	})
}

// A gateway that starts again on a key that was rotated while it was down is believed.
func TestAssertionKeyRotatedWhileStopped(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Transport: tunnel.TCP, Servers: one("wiki", echoes(t))})
	attached(t, s, 2)
	if _, err := gateway.RotateKey(s.StateDir()); err != nil {
		t.Fatal(err)
	}
	s.RestartGateway(t)
	agent := s.Agent(t, true)
	until(t, 30*time.Second, "a call passes", func() bool { return post(t, s, agent, "wiki", pingBody).status == http.StatusOK })
}
