package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// used is what a process holds.
type used struct {
	goroutines, descriptors int
	heap                    uint64
}

func measure(t *testing.T) used {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return used{runtime.NumGoroutine(), len(open), m.HeapAlloc}
}

// An agent that leaves, in whatever state its call is, takes the upstream's
// request with it within a second, and leaves nothing behind.
func TestLeavingInEveryState(t *testing.T) {
	const half = `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"x":"`
	arrived, gone := make(chan struct{}), make(chan struct{})
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		pieces, ok := map[string][]string{
			"after the head":       {""},
			"after half a body":    {`{"jsonrpc":"2.0","id":`},
			"between two events":   {notice},
			"in a short event":     {notice, half},
			"in a long event":      {notice, half + strings.Repeat("x", 100<<10)},
			"in a line of comment": {notice, ": " + strings.Repeat("x", 100<<10)},
			"GET, silent":          {""},
			"GET, in an event":     {notice, half},
			"HTTP+SSE":             {"event: endpoint\ndata: /x\n\n" + notice},
			"HTTP+SSE, no event":   {""},
		}[r.Header.Get("X-Case")]
		if ok && !strings.Contains(r.Header.Get("X-Case"), "body") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		for _, piece := range pieces {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	states := []string{
		"before the head", "after the head", "after half a body", "between two events", "in a short event", "in a long event", "in a line of comment",
		"GET, before the head", "GET, silent", "GET, in an event", "HTTP+SSE", "HTTP+SSE, no event",
	}
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"slow": {URL: upstream.URL, SSEURL: upstream.URL}}})
		attached(t, s, 2)
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent := s.Agent(t, h2)
			round := func() {
				for _, state := range states {
					leaveIn(t, s, agent, state, arrived, gone)
				}
				agent.CloseIdleConnections()
				upstream.CloseClientConnections()
			}
			round() // fills the pools
			pause(t, 200*time.Millisecond)
			base := measure(t)
			for range 2 {
				round()
			}
			var now used
			defer func() {
				if t.Failed() {
					dump := make([]byte, 1<<20)
					t.Logf("%+v, %+v before\n%s", now, base, dump[:runtime.Stack(dump, true)])
				}
			}()
			until(t, patience, "everything is as before", func() bool {
				now = measure(t)
				return now.goroutines <= base.goroutines && now.descriptors <= base.descriptors && now.heap < base.heap+8<<20
			})
		})
	})
}

// leaveIn makes a call and leaves in a state of it.
func leaveIn(t *testing.T, s *stack.Stack, agent *http.Client, state string, arrived, gone chan struct{}) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := s.Post(ctx, "slow", pingBody)
	switch {
	case strings.HasPrefix(state, "GET"):
		r, err = http.NewRequestWithContext(ctx, http.MethodGet, s.URL("slow"), nil)
	case strings.HasPrefix(state, "HTTP+SSE"):
		r, err = http.NewRequestWithContext(ctx, http.MethodGet, s.SSEURL("slow"), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Case", state)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := agent.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	within(t, patience, arrived, state+": the call is at the upstream")
	pause(t, 30*time.Millisecond) // the agent reads what there is
	left := time.Now()
	leave()
	within(t, 3*time.Second, gone, state+": the upstream sees that the agent has left")
	if took := time.Since(left); took > time.Second {
		t.Logf("%s: cancelled after %s, more than a second", state, took)
	}
	within(t, patience, done, state+": the agent's side ends")
}

// A GET stream that the upstream breaks off ends as broken, wherever it was,
// and a half event stays behind.
func TestBrokenGETStream(t *testing.T) {
	t.Parallel()
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for piece := range strings.SplitSeq(r.Header.Get("X-Case"), "|") {
			_, _ = io.WriteString(w, strings.ReplaceAll(piece, "_", "\n"))
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("listen", upstream.URL) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			const whole, half = `data: {"method":"m"}__`, `data: {"method":"the-half`
			for _, stream := range []string{"", whole, whole + "|" + half, "id: 1_" + whole + "|" + half, ": a comment_|" + half, whole + half} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL("listen"), nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Case", stream)
				got := call(t, agent, r)
				passed := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(stream, half), "|", ""), "_", "\n")
				if got.err == nil || got.status != http.StatusOK || string(got.body) != passed {
					t.Errorf("%q: status %d, ends with %v after %q", stream, got.status, got.err, got.body)
				}
			}
			if lines := fmt.Sprint(records(s, "call")); strings.Contains(lines, "the-half") {
				t.Error("the log has the half event")
			}
		})
}
