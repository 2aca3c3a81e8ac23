package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// An agent sees an event before the server has made the next one, and its
// head before there is any.
func TestEventsAreSeenWhenTheyAreSent(t *testing.T) {
	next := make(chan struct{})
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		_ = control.Flush()
		for i := range 5 {
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
			fmt.Fprint(w, numbered(i))
			_ = control.Flush()
		}
	})
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("slow", upstream.URL) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := s.Post(ctx, "slow", pingBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := agent.Do(r) // returns with the head, when there is no event
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for i := range 5 {
				next <- struct{}{}
				event, err := readEvent(resp.Body)
				if want := numbered(i); err != nil || string(event) != want {
					t.Fatalf("event %q, %v; want %q", event, err, want)
				}
			}
			if rest, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10)); err != nil || len(rest) > 0 {
				t.Errorf("after the last event: %q, %v", rest, err)
			}
		})
}

// When an agent leaves, the upstream's request is cancelled within a second.
func TestLeavingCancelsTheUpstream(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Case") == "stream" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, notice)
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("slow", upstream.URL) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			for _, mode := range []string{"stream", "silence", "GET"} {
				ctx, leave := context.WithCancel(t.Context())
				r, err := s.Post(ctx, "slow", pingBody)
				if err != nil {
					t.Fatal(err)
				}
				if mode == "GET" {
					r.Method, r.Body, r.ContentLength = http.MethodGet, nil, 0
					r.Header.Del("Content-Type")
				}
				r.Header.Set("X-Case", mode)
				done := make(chan struct{})
				go func() {
					defer close(done)
					if resp, err := agent.Do(r); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}()
				within(t, patience, arrived, "the call is at the upstream")
				pause(t, 50*time.Millisecond) // the agent reads the head
				left := time.Now()
				leave()
				within(t, 3*time.Second, gone, mode+": the upstream sees that the agent has left")
				if took := time.Since(left); took > time.Second {
					t.Logf("%s: cancelled after %s, more than a second", mode, took)
				}
				<-done
			}
		})
}

// A result of 32 MiB, as images in base64 make it, is not changed and not cut:
// once over each transport, and 4 MiB the other way.
func TestLargeResultPasses(t *testing.T) {
	t.Parallel()
	result := func(size int) []byte {
		data := make([]byte, size/4*3)
		_, _ = rand.Read(data)
		return []byte(`{"jsonrpc":"2.0","id":9007199254740993,"result":{"content":[{"type":"image","mimeType":"image/png","data":"` +
			base64.StdEncoding.EncodeToString(data) + `"}]}}`)
	}
	results := map[string][]byte{"huge": result(32 << 20), "large": result(4 << 20)}
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		size, form, _ := strings.Cut(r.Header.Get("X-Case"), " ")
		if form == "event" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: ")
			_, _ = w.Write(results[size])
			_, _ = io.WriteString(w, "\n\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(results[size])
	})
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: one("large", upstream.URL)})
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent := s.Agent(t, h2)
			huge, form := "large", " JSON"
			if h2 == (transport == tunnel.TCP) {
				huge = "huge"
			}
			if h2 {
				form = " event"
			}
			r, err := s.Post(t.Context(), "large", pingBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Case", huge+form)
			got := call(t, agent, r)
			want := results[huge]
			if h2 {
				want = slices.Concat([]byte("data: "), want, []byte("\n\n"))
			}
			if got.err != nil || !bytes.Equal(got.body, want) {
				t.Errorf("%d bytes came, %v; want %d", len(got.body), got.err, len(want))
			}
		})
	})
}

// A stream that breaks at the upstream never looks like one that has ended:
// between two events without ids, of which one that has not come whole is held
// back, an error event says so, otherwise the response is aborted.
func TestUpstreamThatDiesInItsStream(t *testing.T) {
	exact := newExact(t)
	broken := func(stream string) string {
		whole := chunked(200, "Content-Type: text/event-stream\r\n", stream)
		return strings.TrimSuffix(whole, "0\r\n\r\n")
	}
	exact.answer("between", broken(notice))
	exact.answer("after a comment", broken(notice+": comment\n"))
	exact.answer("at once", broken(": hello\n\n"))
	exact.answer("inside", broken(notice+"data: {\"half"))
	exact.answer("between lines", broken(notice+"data: {}\n"))
	exact.answer("inside a long event", broken(notice+`data: {"result":"`+strings.Repeat("x", 70<<10)))
	exact.answer("behind the response", broken(notice+"data: {\"id\":"+bigID+",\"result\":{}}\n\n"))
	exact.answer("with ids", broken("id: 1\n"+notice))
	exact.answer("JSON", strings.TrimSuffix(chunked(200, "Content-Type: application/json\r\n", `{"jsonrpc":"2.0"`), "0\r\n\r\n"))
	exact.answer("JSON with a length", strings.TrimSuffix(sized(200, "Content-Type: application/json\r\n", `{"jsonrpc":"2.0"}`), `"}`))
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("exact", exact.url) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			ask := func(name, method, body string) answer {
				r, err := s.Post(t.Context(), "exact", body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Case", name)
				if r.Method = method; body == "" {
					r.Body, r.ContentLength = nil, 0
					r.Header.Del("Content-Type")
				}
				return call(t, agent, r)
			}
			for name, before := range map[string]int{"between": 1, "after a comment": 1, "at once": 1, "inside": 1, "between lines": 1} {
				got := ask(name, http.MethodPost, pingBody)
				if got.err != nil {
					t.Errorf("%s: %v after %q", name, got.err, got.body)
					continue
				}
				e := eventError(t, got.body, before+1)
				if e.Error.Code != -32014 || e.Error.Data.Delivered != "unknown" || string(e.ID) != bigID {
					t.Errorf("%s: the stream ends in %q", name, got.body)
				}
			}
			// Nothing of these has been sent on when they break, so that there is room for a whole error.
			for _, name := range []string{"JSON", "JSON with a length"} {
				mustRefuse(t, ask(name, http.MethodPost, pingBody), 502, -32014, "unknown")
			}
			if got := ask("behind the response", http.MethodPost, pingBody); got.err != nil || !strings.HasSuffix(string(got.body), "\"result\":{}}\n\n") {
				t.Errorf("all was answered, and the stream ends with %v after %q", got.err, got.body)
			}
			for _, name := range []string{"inside a long event", "with ids"} {
				if got := ask(name, http.MethodPost, pingBody); got.err == nil {
					t.Errorf("%s: the stream ends cleanly after %.200q", name, got.body)
				} else if errors.Is(got.err, io.EOF) {
					t.Errorf("%s: EOF", name)
				}
			}
			// Nothing waits for an answer on these, so that no error event can be one.
			if got := ask("between", http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/x"}`); got.err == nil {
				t.Errorf("a notification's stream ends cleanly after %q", got.body)
			}
			if got := ask("between", http.MethodGet, ""); got.err == nil {
				t.Errorf("a GET stream ends cleanly after %q", got.body)
			}
		})
}
