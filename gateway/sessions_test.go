package gateway

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/mcp"
	"sallyport.dev/tunnel"
)

// pipeSession makes an attached session in memory; its other end is returned
// too. Both are closed at the end of the test.
func pipeSession(t *testing.T, instance string, servers ...string) (*attached, *tunnel.Session) {
	t.Helper()
	theirs, ours, err := tunnel.Pipe(t.Context(), tunnel.Config{Instance: instance}, tunnel.Config{Instance: "gateway"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		theirs.CloseWith(tunnel.Reason{})
		ours.CloseWith(tunnel.Reason{})
	})
	a := &attached{Session: ours, tunnel: testTunnel, instance: instance, servers: make(map[string]bool)}
	for _, name := range servers {
		a.servers[name] = true
	}
	return a, theirs
}

func mustAdd(t *testing.T, s *sessions, a *attached) {
	t.Helper()
	if err := s.add(a, 0); err != nil {
		t.Fatal(err)
	}
}

func TestPickChoosesLeastInFlight(t *testing.T) {
	s, wiki := newSessions(), wanted{route: route{testTunnel, "wiki", mcp.EndpointMCP}}
	busy, _ := pipeSession(t, "busy", "wiki")
	idle, _ := pipeSession(t, "idle", "wiki")
	other, _ := pipeSession(t, "other", "docs")
	busy.inFlight.Store(3)
	idle.inFlight.Store(2)
	for _, a := range []*attached{busy, idle, other} {
		mustAdd(t, s, a)
	}
	if got, err := s.pick(t.Context(), wiki); got != idle || err != nil {
		t.Errorf("picked %v, %v", got, err)
	}
	if got, _, err := s.find(wiki, func(a *attached) bool { return a == idle }); got != busy || err != nil {
		t.Errorf("with idle excluded: %v, %v", got, err)
	}
	if _, err := s.pick(t.Context(), wanted{route: route{testTunnel, "none", mcp.EndpointMCP}}); !errors.Is(err, errNoServer) {
		t.Errorf("a server that nobody serves: %v", err)
	}
	s.remove(idle)
	s.remove(busy)
	if _, _, err := s.find(wiki, nil); !errors.Is(err, errNoServer) {
		t.Errorf("after both have gone: %v", err)
	}
}

func TestPickSkipsDrainingAndEnded(t *testing.T) {
	s, wiki := newSessions(), wanted{route: route{testTunnel, "wiki", mcp.EndpointMCP}}
	draining, far := pipeSession(t, "draining", "wiki")
	ended, _ := pipeSession(t, "ended", "wiki")
	docs, _ := pipeSession(t, "docs", "docs")
	for _, a := range []*attached{draining, ended, docs} {
		mustAdd(t, s, a)
	}
	if err := far.Drain(); err != nil {
		t.Fatal(err)
	}
	<-draining.Draining()
	ended.CloseWith(tunnel.Reason{})
	// The server exists, so this is no 404 although another connector is there.
	if got, _, err := s.find(wiki, nil); !errors.Is(err, errOffline) {
		t.Errorf("found %v, %v", got, err)
	}
}

func TestOfflineIsToldAfterTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		start := time.Now()
		_, err := s.pick(t.Context(), wanted{route: route{testTunnel, "wiki", mcp.EndpointMCP}})
		if took := time.Since(start); !errors.Is(err, errOffline) || took != offlineAfter {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestWaitingCallGetsTheConnectorThatAttaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		a, _ := pipeSession(t, "late", "wiki")
		start := time.Now()
		time.AfterFunc(1500*time.Millisecond, func() { _ = s.add(a, 0) })
		got, err := s.pick(t.Context(), wanted{route: route{testTunnel, "wiki", mcp.EndpointMCP}})
		if took := time.Since(start); got != a || err != nil || took != 1500*time.Millisecond {
			t.Errorf("%v, %v after %s", got, err, took)
		}
	})
}

func TestWaitEndsWithTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := newSessions().pick(ctx, wanted{route: route{testTunnel, "wiki", mcp.EndpointMCP}})
		if took := time.Since(start); err == nil || took != 300*time.Millisecond {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestOfflineAnswer(t *testing.T) {
	g, _ := newGateway(t, nil)
	start := time.Now()
	w := call(t, g, "wiki", listTools)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("told after %s", took)
	}
	word, delivered := reason(w.Body.Bytes())
	if w.Code != http.StatusServiceUnavailable || word != "connector_offline" || delivered != "no" || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
}

func TestMaxConnectors(t *testing.T) {
	s := newSessions()
	add := func(instance string) (*attached, *tunnel.Session, error) {
		a, far := pipeSession(t, instance, "wiki")
		return a, far, s.add(a, 2)
	}
	one, far, err := add("one")
	if err != nil {
		t.Fatal(err)
	}
	for _, instance := range []string{"one", "two", "two"} {
		if _, _, err := add(instance); err != nil {
			t.Errorf("%s: %v", instance, err)
		}
	}
	if err := s.add(one, 2); !errors.Is(err, errSessionUp) {
		t.Errorf("the same session again: %v", err)
	}
	if _, _, err := add("three"); !errors.Is(err, errCrowded) {
		t.Errorf("a third connector: %v", err)
	}
	// One whose only other session drains makes room: that is how it is replaced.
	for _, a := range s.all() {
		if a.instance == "one" && a != one {
			s.remove(a)
		}
	}
	if err := far.Drain(); err != nil {
		t.Fatal(err)
	}
	<-one.Draining()
	if _, _, err := add("three"); err != nil {
		t.Errorf("a third connector while one leaves: %v", err)
	}
}

// TestSessionsOfOneConnector: a tunnel token does not buy sessions without end.
func TestSessionsOfOneConnector(t *testing.T) {
	s := newSessions()
	for i := range maxSessions + 1 {
		a, _ := pipeSession(t, "one", "wiki")
		if err := s.add(a, 2); (err != nil) != (i == maxSessions) {
			t.Fatalf("session %d: %v", i+1, err)
		}
	}
}
