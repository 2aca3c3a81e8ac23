package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// witness says what has come at a server.
type witness interface {
	// calls is how many calls of tools have come.
	calls() int
	// told reports whether the server has been told that the last of them is cancelled.
	told() bool
	// listens reports whether the client has opened the stream of what belongs to no call.
	listens() bool
	// ended reports whether the client has ended its MCP session.
	ended() bool
	// spoke returns the revisions that requests have named.
	spoke() []string
}

// recorder is a server in front of a server, which notes what comes.
type recorder struct {
	next http.Handler

	mu        sync.Mutex      // guards what follows
	session   string          // the MCP session that the server has issued
	called    int             // how many calls of tools have come
	calling   string          // the id of the last
	cancelled bool            // the last has been
	seen      map[string]bool // "METHOD session" of requests
	revisions map[string]bool // that requests have named
}

func newRecorder(next http.Handler) *recorder {
	return &recorder{next: next, seen: make(map[string]bool), revisions: make(map[string]bool)}
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	var message struct {
		Method string
		ID     json.RawMessage
		Params struct{ RequestID json.RawMessage }
	}
	_ = json.Unmarshal(body, &message) // what is no message is the server's to refuse
	r.mu.Lock()
	r.seen[req.Method+" "+req.Header.Get("Mcp-Session-Id")] = true
	switch message.Method {
	case "tools/call":
		r.called++
		r.calling, r.cancelled = string(message.ID), false
	case "notifications/cancelled":
		r.cancelled = r.cancelled || string(message.Params.RequestID) == r.calling
	}
	if revision := req.Header.Get("Mcp-Protocol-Version"); revision != "" {
		r.revisions[revision] = true
	}
	r.mu.Unlock()
	r.next.ServeHTTP(w, req)
	if session := w.Header().Get("Mcp-Session-Id"); session != "" {
		r.mu.Lock()
		r.session = session
		r.mu.Unlock()
	}
}

// calls returns how many calls of tools have come.
func (r *recorder) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.called
}

// told reports whether the server has been told that the last call of a tool
// is cancelled.
func (r *recorder) told() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cancelled
}

// listens reports whether the client has opened the GET stream.
func (r *recorder) listens() bool { return r.sawIn(http.MethodGet) }

// ended reports whether the client has deleted the MCP session.
func (r *recorder) ended() bool { return r.sawIn(http.MethodDelete) }

// sawIn reports whether a request has come in the MCP session that the server
// has issued, under the server's own name for it.
func (r *recorder) sawIn(httpMethod string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session != "" && r.seen[httpMethod+" "+r.session]
}

// spoke returns the revisions that requests have named.
func (r *recorder) spoke() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.revisions))
}

// talk is the conversation of a cell.
type talk struct {
	cell
	peer     *server
	seen     witness
	agent    client
	progress atomic.Int64
	asked    atomic.Int64
	notified chan struct{} // gets a value when the server has said what it says unasked
}

// brief is how long a thing is tried that is known not to work.
const brief = 500 * time.Millisecond

// converse does all that the two of a cell must be able to do together, and
// returns what has worked. Where a limit of one of them is known, it stands in
// the place of that, and must hold without a tunnel.
func converse(t *testing.T, c cell, dial dialer, peer *server, seen witness, to target) outcome {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	k := &talk{cell: c, peer: peer, seen: seen, notified: make(chan struct{}, 1)}
	var err error
	k.agent, err = dial(ctx, t, to, events{
		progress: func() { k.progress.Add(1) },
		asked:    func() { k.asked.Add(1) },
		notified: func(method string) {
			if method == peer.script.unasked {
				select {
				case k.notified <- struct{}{}:
				default: // one is enough
				}
			}
		},
	})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	if got := k.agent.version(); got != "" && got != c.hostRevision() {
		t.Errorf("the revision is %s", got)
	}
	out := make(outcome)
	for f := range features {
		if f == ends {
			k.peer.release()
			if err := k.agent.close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		limit := c.limit(f)
		out[f] = limit
		switch {
		case limit == nil:
			ctx, cancel := context.WithTimeout(ctx, patience)
			if err := k.do(ctx, f); err != nil {
				t.Errorf("%s: %v", f, err)
			}
			cancel()
		case c.tunnel == "" && !limit.final:
			ctx, cancel := context.WithTimeout(ctx, brief)
			if k.do(ctx, f) == nil {
				t.Errorf("%s: this works now: take it out of the limits (%s)", f, limit.why)
			}
			cancel()
		}
	}
	if got := seen.spoke(); len(got) > 1 || len(got) == 1 && got[0] != c.revision || len(got) == 0 && (c.over != httpSSE || k.agent.version() == "") {
		t.Errorf("the requests name the revisions %q", got)
	}
	return out
}

// do does one thing together.
func (k *talk) do(ctx context.Context, f feature) error {
	use := k.peer.script
	switch f {
	case calls:
		names, err := k.agent.tools(ctx)
		if err != nil {
			return err
		}
		echo := use.echo(oddText)
		got, err := k.agent.call(ctx, echo)
		if err != nil {
			return err
		}
		if !slices.Contains(names, echo.tool) || got != use.echoed+oddText {
			return fmt.Errorf("the tools are %q, and the echo is %q", names, got)
		}
		return nil
	case reports:
		if err := k.call(ctx, use.count, use.counted); err != nil {
			return err
		}
		return eventually(ctx, "progress is reported in each step", func() bool { return k.progress.Load() == use.steps })
	case asks:
		do, in := use.elicit, use.elicited
		if k.revision < v20250618 {
			do, in = use.sample, use.sampled
		}
		if err := k.call(ctx, do, in); err != nil {
			return err
		}
		if n := k.asked.Load(); n != 1 {
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	case notifies:
		if k.sessions() {
			if err := eventually(ctx, "the GET stream is open", k.seen.listens); err != nil {
				return err
			}
		}
		return k.hear(ctx)
	case cancels:
		before := k.seen.calls()
		waiting, abandon := context.WithCancel(ctx)
		var crew sync.WaitGroup
		crew.Go(func() {
			defer abandon()
			if k.peer.waiting == nil {
				_ = eventually(ctx, "the call has come", func() bool { return k.seen.calls() > before })
				return
			}
			select {
			case <-k.peer.waiting:
			case <-ctx.Done():
			}
		})
		_, err := k.agent.call(waiting, use.wait)
		crew.Wait()
		if err == nil {
			return errors.New("the call has been answered")
		}
		if k.peer.cancelled == nil {
			return eventually(ctx, "the server is told of the cancellation", k.seen.told)
		}
		select {
		case <-k.peer.cancelled:
			return nil
		case <-ctx.Done():
			return errors.New("the cancelled call goes on at the server")
		}
	case ends:
		return eventually(ctx, "the session is deleted", k.seen.ended)
	}
	panic("no such feature")
}

// call calls a tool, and wants to find in in the text of its result.
func (k *talk) call(ctx context.Context, do request, in string) error {
	got, err := k.agent.call(ctx, do)
	if err == nil && !strings.Contains(got, in) {
		err = fmt.Errorf("%s answers %q", do.tool, got)
	}
	return err
}

// hear waits for what the server says unasked to reach the client. The stream
// that carries it may just be opening, so it is said again.
func (k *talk) hear(ctx context.Context) error {
	for {
		k.peer.news(ctx, k.agent)
		select {
		case <-k.notified:
			return nil
		case <-time.After(brief):
		case <-ctx.Done():
			return errors.New("the client does not hear what the server says unasked")
		}
	}
}

// eventually waits for something to hold.
func eventually(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		select {
		case <-ctx.Done():
			return errors.New("not soon: " + what)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
