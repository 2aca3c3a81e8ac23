package connector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/mcp"
	"sallyport.dev/tunnel"
)

// TestKeepAlive: a comment after exactly 15 s of silence, between events only,
// and none after the end.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newConnector(t, newFakeGateway(t), nowhere, nil)
		w := new(textWriter)
		body, upstream := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- c.copyEvents(w, body, newAnswer(new(mcp.Call), false, nil)) }()
		var want strings.Builder
		send := func(piece string) {
			_, _ = io.WriteString(upstream, piece)
			want.WriteString(piece)
		}
		check := func(what string) {
			t.Helper()
			synctest.Wait()
			if got := w.text.String(); got != want.String() {
				t.Fatalf("%s:\n%q, want\n%q", what, got, want.String())
			}
		}
		time.Sleep(keepAliveAfter - time.Millisecond)
		check("after 14.999 s")
		time.Sleep(time.Millisecond)
		want.WriteString(mcp.KeepAliveComment)
		check("after 15 s")
		time.Sleep(10 * time.Second)
		send(notification)
		time.Sleep(keepAliveAfter - time.Millisecond)
		check("14.999 s after an event")
		time.Sleep(time.Millisecond)
		want.WriteString(mcp.KeepAliveComment)
		check("15 s after an event")
		time.Sleep(2 * keepAliveAfter)
		want.WriteString(mcp.KeepAliveComment + mcp.KeepAliveComment)
		check("after two more silences")
		half, rest := notification[:20], notification[20:]
		_, _ = io.WriteString(upstream, half)
		time.Sleep(3 * keepAliveAfter)
		want.WriteString(strings.Repeat(mcp.KeepAliveComment, 3))
		check("in an event that is held back")
		_, _ = io.WriteString(upstream, rest)
		want.WriteString(half + rest)
		check("after its end")
		send(`data: {"method":"n/a","params":"` + strings.Repeat("x", 70<<10))
		time.Sleep(10 * keepAliveAfter)
		check("in the middle of an event that has begun to pass")
		send("\"}\n\n")
		time.Sleep(keepAliveAfter)
		want.WriteString(mcp.KeepAliveComment)
		check("after its end")
		_ = upstream.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		check("after the end of the stream")
	})
}

// textWriter is an answer that a test can read while it is written.
type textWriter struct {
	http.ResponseWriter
	text logged
}

func (w *textWriter) Write(p []byte) (int, error) { return w.text.Write(p) }

func (w *textWriter) FlushError() error { return nil }

// TestKeepAliveBehindAWrite: a comment that was due while an event was being
// written comes 15 s after that event, not at once.
func TestKeepAliveBehindAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(textWriter)
		e := &eventWriter{w: w, control: http.NewResponseController(w), answer: newAnswer(new(mcp.Call), false, nil)}
		e.start()
		time.Sleep(keepAliveAfter - time.Millisecond)
		if err := e.write([]byte(notification)); err != nil {
			t.Fatal(err)
		}
		e.keepAlive() // what the timer had begun before the write
		time.Sleep(keepAliveAfter - time.Millisecond)
		if got := w.text.String(); got != notification {
			t.Errorf("%q", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := w.text.String(); got != notification+mcp.KeepAliveComment {
			t.Errorf("%q", got)
		}
		e.stop()
	})
}

// leaveBounded leaves a session whose one call never ends.
func leaveBounded(t *testing.T, c *Connector) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		theirs, ours, err := tunnel.Pipe(t.Context(), tunnel.Config{Instance: "gateway"}, tunnel.Config{Instance: c.instance})
		if err != nil {
			t.Fatal(err)
		}
		begun := make(chan struct{})
		l := &live{Session: ours, served: make(chan struct{}), since: time.Now(), leave: func() {}}
		l.server = c.httpServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		}))
		go func() {
			defer close(l.served)
			_ = l.server.Serve(ours.Streams())
		}()
		conn, err := theirs.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		<-begun
		start := time.Now()
		c.leave(l)
		if took := time.Since(start); took < drainTime || took > drainTime+3*time.Second {
			t.Errorf("left after %s", took)
		}
		_ = conn.Close()
		theirs.CloseWith(tunnel.Reason{})
	})
}

// fallback is a gateway that is reached over TCP, and over QUIC from some
// moment on.
func fallback(t *testing.T, quicAfter time.Duration) (g *fakeGateway, c *Connector, tries *[]time.Duration) {
	t.Helper()
	g = newFakeGateway(t)
	c, _ = newConnector(t, g, nowhere, nil)
	tries = new([]time.Duration)
	start := time.Now()
	c.upgrade = func(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
		*tries = append(*tries, time.Since(start))
		if time.Since(start) < quicAfter {
			return nil, errors.New("UDP does not get through")
		}
		return g.dial(ctx, self)
	}
	return g, c, tries
}

// TestPromotion: a session over TCP looks for QUIC about every five minutes,
// and gives way to it after 30 s of health.
func TestPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, c, tries := fallback(t, 8*time.Minute)
		old, err := c.connect(t.Context(), g.dial)
		if err != nil {
			t.Fatal(err)
		}
		first := g.next(t)
		start := time.Now()
		var better *live
		for better == nil {
			time.Sleep(around(probeEvery))
			better = c.promote(t.Context(), old, &g.crew)
		}
		if took := time.Since(start); took < 8*time.Minute+promoteAfter || took > 20*time.Minute {
			t.Errorf("promoted after %s", took)
		}
		if n := len(*tries); n < 2 || n > 5 {
			t.Errorf("QUIC was tried at %v", *tries)
		}
		if old.Err() != nil {
			t.Error("the old session ended before the new one was healthy")
		}
		g.next(t)
		c.leave(old)
		<-first.Done()
		c.leave(better)
		g.crew.Wait()
	})
}

// TestPromotionWhenTheOldSessionEnds: there is no reason to wait any more.
func TestPromotionWhenTheOldSessionEnds(t *testing.T) {
	for name, quicWorks := range map[string]bool{"QUIC works": true, "QUIC hangs": false} {
		synctest.Test(t, func(t *testing.T) {
			g, c, _ := fallback(t, 0)
			if !quicWorks {
				c.upgrade = func(ctx context.Context, _ tunnel.Config) (*tunnel.Session, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			old, err := c.connect(t.Context(), g.dial)
			if err != nil {
				t.Fatal(err)
			}
			end := g.next(t)
			time.AfterFunc(5*time.Second, func() { end.CloseWith(tunnel.Reason{}) })
			start := time.Now()
			better := c.promote(t.Context(), old, &g.crew)
			if took := time.Since(start); took > 8*time.Second || (better != nil) != quicWorks {
				t.Errorf("%s: %v after %s", name, better != nil, took)
			}
			if better != nil {
				c.leave(better)
			}
			c.leave(old)
			g.crew.Wait()
		})
	}
}
