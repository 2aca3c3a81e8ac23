package connector

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"sallyport.dev/cell"
	"sallyport.dev/credential/scrub"
	"sallyport.dev/mcp"
	"sallyport.dev/mcp/stdio"
	"sallyport.dev/secret"
)

// TestEndedProcessIsNotFound: a process that ends while its first call is answered does not become findable behind that, or
// its session would never get the 404 that makes clients begin anew.
func TestEndedProcessIsNotFound(t *testing.T) {
	cs := newChildren(slog.New(slog.DiscardHandler), 1, "")
	_, in := io.Pipe()
	conn := stdio.New(stdio.Config{In: in, Out: io.NopCloser(strings.NewReader("")), Kind: stdio.Session, CallTimeout: time.Minute})
	if err := conn.Run(t.Context()); err == nil {
		t.Fatal("a command without output goes on")
	}
	c := &child{session: "s", owner: "o", conn: conn, started: time.Now()}
	cs.all[c] = true // while what it has started is being ended
	cs.forget(c)
	cs.name(c)
	if found, _ := cs.find("o", "s"); found != nil || len(cs.sessions) > 0 {
		t.Error("a process that has ended can be found")
	}
}

// TestLastMomentsOfASession: a message that comes between the end of a process and its being forgotten gets that 404 too.
func TestLastMomentsOfASession(t *testing.T) {
	out, in := io.Pipe()
	_ = out.Close() // it reads no more, but its output is still open
	said, saying := io.Pipe()
	conn := stdio.New(stdio.Config{In: in, Out: said, Kind: stdio.Session, CallTimeout: time.Minute})
	ended := make(chan error, 1)
	go func() { ended <- conn.Run(t.Context()) }()
	c := &child{conn: conn}
	var e *mcp.Error
	if _, err := c.orGone(conn.Do(t.Context(), request(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))); !errors.As(err, &e) || e.Reason != "session_not_found" {
		t.Errorf("got %v", err)
	}
	_ = saying.Close()
	if err := <-ended; err == nil {
		t.Error("the conversation goes on")
	}
}

// TestFoundProcessIsNotIdle: what has been found for a call is not ended in favour of another before the call.
func TestFoundProcessIsNotIdle(t *testing.T) {
	cs := newChildren(slog.New(slog.DiscardHandler), 1, "")
	_, in := io.Pipe()
	c := &child{owner: "o", conn: stdio.New(stdio.Config{In: in, Kind: stdio.Stateless, CallTimeout: time.Minute}), started: time.Now().Add(-time.Second)}
	cs.all[c] = true
	cs.name(c)
	if cs.idlest() != c {
		t.Error("a process that nobody uses is not idle")
	}
	found, release := cs.sharedBy("o")
	if found != c || cs.idlest() != nil {
		t.Error("a process that is found is idle")
	}
	release()
	time.Sleep(time.Millisecond)
	if cs.idlest() != c {
		t.Error("a process that is released is not idle")
	}
}

// TestSilentCommand: whoever waits for a command in vain learns that it may have run the call, also if the patience ends
// before an event stream has begun.
func TestSilentCommand(t *testing.T) {
	for timeout, want := range map[time.Duration]int{time.Second: http.StatusGatewayTimeout, 3 * time.Second: http.StatusOK} {
		t.Run(timeout.String(), func(t *testing.T) {
			t.Parallel()
			g := newFakeGateway(t)
			r := run(t, g, nowhere, func(c *Config) {
				c.Servers["wiki"] = Server{Command: []string{"/bin/sh", "-c", "while read x; do :; done"}, Isolation: cell.None, CallTimeout: timeout}
			})
			a := g.call(t, g.next(t), r.Instance(), http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, nil)
			if a.StatusCode != want || !strings.Contains(a.body, `"delivered":"unknown"`) || !strings.Contains(a.body, "did not answer in time") {
				t.Errorf("status %d, outcome %q: %s", a.StatusCode, a.outcome(), a.body)
			}
		})
	}
}

func TestQuotelessKeepsOurs(t *testing.T) {
	ours := mcp.UpstreamTimeout(nil)
	if got := quoteless(fmt.Errorf("read: %w", ours)); !errors.Is(got, ours) {
		t.Errorf("got %v", got)
	}
}

// TestSecretsOnStderr: no part of a secret is logged, wherever it stands.
func TestSecretsOnStderr(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 60)
	secrets := secretTexts([]secret.Value{secret.New("short"), secret.New("short-and-more"), secret.New("first line\r\nsecond line"), secret.New(long)})
	for _, said := range []string{"it is short-and-more!", "it is first line!", "it is second line!", strings.Repeat(long, 40)} {
		log := new(logged)
		to := newThrottle(slog.New(slog.NewTextHandler(log, nil)))
		to.limiter.SetLimit(rate.Inf)
		logStderr(strings.NewReader(said+"\n"), to, secrets, (*scrub.Scrubber)(nil).Text)
		for _, part := range []string{"short", "more", "first line", "second line", "0123456789"} {
			if strings.Contains(log.String(), part) {
				t.Errorf("the log has %q", part)
			}
		}
		if !strings.Contains(log.String(), "[redacted]") {
			t.Errorf("the log says %q", log.String())
		}
	}
}
