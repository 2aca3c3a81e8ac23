package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// knife keeps the connector's sessions, to cut them.
type knife struct {
	mu       sync.Mutex // guards sessions
	sessions []*tunnel.Session
}

// cutting makes a stack whose sessions can be cut.
func cutting(t *testing.T, transport tunnel.Transport, servers map[string]connector.Server) (*stack.Stack, *knife) {
	t.Helper()
	k := new(knife)
	s := stack.New(t, stack.Options{Transport: transport, NoConnector: true, Servers: servers, Connector: func(c *connector.Config) {
		dial := c.Dial // of the in-memory transport
		ca, addr := c.GatewayCA, c.Gateway
		c.Dial = func(ctx context.Context, self tunnel.Config) (session *tunnel.Session, err error) {
			if dial != nil {
				session, err = dial(ctx, self)
			} else {
				d := tunnel.Dialer{Config: self, Addr: addr, Transport: transport, TLS: &tls.Config{RootCAs: roots(t, ca), MinVersion: tls.VersionTLS13}}
				session, err = d.Dial(ctx)
			}
			if err == nil {
				k.mu.Lock()
				k.sessions = append(k.sessions, session)
				k.mu.Unlock()
			}
			return session, err
		}
	}})
	s.StartConnector(t)
	attached(t, s, 2)
	return s, k
}

// cut ends all sessions at once, as the end of the connector's process would.
func (k *knife) cut() {
	k.mu.Lock()
	sessions := k.sessions
	k.sessions = nil
	k.mu.Unlock()
	var crew sync.WaitGroup
	for _, session := range sessions {
		crew.Go(func() { session.CloseWith(tunnel.Reason{Code: tunnel.CodeOK, Text: "cut"}) })
	}
	crew.Wait()
}

// A tunnel that is cut under a call never makes its answer look whole: before
// the answer the agent is told that the outcome is unknown, between events an
// error event says so, otherwise the response is aborted.
func TestTunnelIsCutUnderACall(t *testing.T) {
	arrived := make(chan struct{})
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if stream := r.Header.Get("X-Case"); stream != "" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, strings.ReplaceAll(stream, "|", "\n"))
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case arrived <- struct{}{}:
		case <-r.Context().Done():
		}
		<-r.Context().Done()
	})
	echo := serve(t, func(http.ResponseWriter, *http.Request) {})
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		bothVersions(t, func(t *testing.T, h2 bool) {
			s, k := cutting(t, transport, map[string]connector.Server{"slow": {URL: upstream.URL}, "echo": {URL: echo.URL}})
			agent := s.Agent(t, h2)
			ask := func(stream string) answer {
				until(t, patience, "the connector is back", func() bool { return post(t, s, agent, "echo", pingBody).status == http.StatusOK })
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				r, err := s.Post(ctx, "slow", pingBody)
				if err != nil {
					t.Fatal(err)
				}
				if stream != "" {
					r.Header.Set("X-Case", stream)
				}
				var crew sync.WaitGroup
				defer crew.Wait()
				crew.Go(func() {
					select {
					case <-arrived:
					case <-ctx.Done():
						return
					}
					select {
					case <-time.After(100 * time.Millisecond): // what was flushed travels
					case <-ctx.Done():
					}
					k.cut()
				})
				start := time.Now()
				got := call(t, agent, r)
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%q: the agent was told after %s", stream, took)
				}
				return got
			}
			if e := mustRefuse(t, ask(""), 502, -32012, "unknown"); string(e.ID) != bigID {
				t.Errorf("the error answers the id %s", e.ID)
			}
			for _, stream := range []string{`data: {"method":"m"}||`, `data: {"method":"m"}||data: {"half`} {
				got := ask(stream)
				if got.err != nil {
					t.Errorf("%q: %v after %q", stream, got.err, got.body)
				} else if e := eventError(t, got.body, 2); e.Error.Code != -32012 || e.Error.Data.Delivered != "unknown" || string(e.ID) != bigID {
					t.Errorf("%q: the stream ends in %q", stream, got.body)
				}
			}
			if got := ask(`data: {"id":` + bigID + `,"result":{}}||`); got.err != nil || strings.Contains(string(got.body), "error") {
				t.Errorf("all was answered, and the stream ends with %v after %q", got.err, got.body)
			}
			for _, stream := range []string{`id: 1|data: {"method":"m"}||`} {
				if got := ask(stream); got.err == nil {
					t.Errorf("%q: the stream ends cleanly after %q", stream, got.body)
				}
			}
		})
	})
}

// Whatever happens to the tunnel, an answer is right about the call: what was
// answered ran once, what is said not to be delivered never ran, and nothing
// ran twice.
func TestDeliveryIsHonest(t *testing.T) {
	t.Parallel()
	ran := new(hits)
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return
		}
		ran.add(body)
		_, _ = w.Write(stack.Echo(body))
	})
	var calls atomic.Int64 // ids differ over all transports
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s, k := cutting(t, transport, one("echo", upstream.URL))
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent := s.Agent(t, h2)
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
			defer stop()
			var crew sync.WaitGroup
			var mu sync.Mutex // guards outcomes
			outcomes := make(map[string]int)
			for range 8 {
				crew.Go(func() {
					for ctx.Err() == nil {
						id := fmt.Sprint(calls.Add(1))
						body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"x","pad":%q}}`, id, strings.Repeat("p", 2000))
						outcome := deliver(t, s, agent, ran, id, body)
						mu.Lock()
						outcomes[outcome]++
						mu.Unlock()
					}
				})
			}
			served := func() int {
				mu.Lock()
				defer mu.Unlock()
				return outcomes["ok"]
			}
			for ctx.Err() == nil {
				before := served()
				pause(t, 200*time.Millisecond)
				if served() > before { // there is something to cut
					k.cut()
				}
			}
			crew.Wait()
			t.Log(outcomes)
			if outcomes["ok"] == 0 {
				t.Error("no call came through")
			}
		})
	})
}

// deliver makes one call and checks what its answer says against what the
// upstream has seen.
func deliver(t *testing.T, s *stack.Stack, agent *http.Client, ran *hits, id, body string) string {
	r, err := s.Post(t.Context(), "echo", body)
	if err != nil {
		t.Error(err)
		return "broken"
	}
	got, err := whole(agent, r)
	if err != nil || got.err != nil {
		if ran.of(id) > 1 {
			t.Errorf("call %s was aborted and ran %d times", id, ran.of(id))
		}
		return "aborted"
	}
	if got.status == http.StatusOK {
		if string(got.body) != string(stack.Echo([]byte(body))) || ran.of(id) != 1 {
			t.Errorf("call %s was answered with %.99q and ran %d times", id, got.body, ran.of(id))
		}
		return "ok"
	}
	var e refusal
	if err := json.Unmarshal(got.body, &e); err != nil || string(e.ID) != id {
		t.Errorf("call %s: status %d, body %q", id, got.status, got.body)
	}
	switch outcome := fmt.Sprint(e.Error.Code); {
	case got.status == 503 && (outcome == "-32010" || outcome == "-32011") && e.Error.Data.Delivered == "no":
		if n := ran.of(id); n != 0 {
			t.Errorf("call %s is said not to be delivered and ran %d times", id, n)
		}
		return outcome
	case got.status == 502 && outcome == "-32012" && e.Error.Data.Delivered == "unknown":
		if n := ran.of(id); n > 1 {
			t.Errorf("call %s ran %d times", id, n)
		}
		return outcome
	default:
		t.Errorf("call %s: status %d, body %s", id, got.status, got.body)
		return outcome
	}
}
