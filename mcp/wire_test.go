package mcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// upstream counts what passed Inspect and answers with the body it got.
func upstream(hits *atomic.Int64) http.Handler {
	return Inspect(InspectConfig{MaxBody: 64 << 10})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		for name := range r.Trailer {
			w.Header().Set("Saw-Trailer", name)
		}
		_, _ = io.Copy(w, r.Body)
	}))
}

func head(rest string) string {
	return "POST /x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n" + rest
}

// TestSlowBodiesAreCut times the deadline of a body on a real server: 10 s, then one KiB a second.
func TestSlowBodiesAreCut(t *testing.T) {
	full := listBody + strings.Repeat(" ", 20<<10)
	tests := []struct {
		name  string
		raw   string        // sent at once
		every time.Duration // then one piece of the body at a time
		piece int
		want  int
		after time.Duration // at the latest
	}{
		{"silence", head("Content-Length: 20\r\n\r\n"), 0, 0, 408, 10 * time.Second},
		{"silence in a chunked body", head("Transfer-Encoding: chunked\r\n\r\n5\r\n{\"js"), 0, 0, 408, 10 * time.Second},
		{"silence after 100-continue", head("Expect: 100-continue\r\nContent-Length: 20\r\n\r\n"), 0, 0, 408, 10 * time.Second},
		{"a byte a second", head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(full))), time.Second, 1, 408, 10 * time.Second},
		{"half a KiB a second", head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(full))), time.Second, 512, 408, 20 * time.Second},
		{"two KiB a second", head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(full))), time.Second, 2 << 10, 200, 12 * time.Second},
		{"refused, then silence", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\n\r\n", 0, 0, 415, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hits atomic.Int64
				conn := serve(t, upstream(&hits), nil)()
				done := make(chan struct{})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, _ = io.WriteString(conn, test.raw)
					for rest := full; test.piece > 0 && rest != ""; {
						select {
						case <-done:
							return
						case <-time.After(test.every):
						}
						n := min(test.piece, len(rest))
						if _, err := io.WriteString(conn, rest[:n]); err != nil {
							return
						}
						rest = rest[n:]
					}
				}()
				begun := time.Now()
				from := send(t, conn, "")
				response, body := answer(t, from)
				for response.StatusCode == http.StatusContinue {
					response, body = answer(t, from)
				}
				if took := time.Since(begun); response.StatusCode != test.want || took > test.after {
					t.Errorf("%d after %v, want %d within %v: %s", response.StatusCode, took, test.want, test.after, body)
				}
				if passed := hits.Load() == 1; passed != (test.want == 200) {
					t.Errorf("%d requests passed", hits.Load())
				}
				if test.want == 408 && !response.Close {
					t.Error("the connection is kept although the body was cut")
				}
				close(done)
				_ = conn.Close()
				<-ended
			})
		})
	}
}

// deadlines records the read deadlines that a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

func TestTheDeadlineOfAWholeBodyIsLifted(t *testing.T) {
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, body := range []string{listBody, "{}"} {
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		Inspect(InspectConfig{})(next).ServeHTTP(d, post(body, nil))
		if len(d.set) != 2 || d.set[0].IsZero() || !d.set[1].IsZero() {
			t.Errorf("%s: %v", body, d.set)
		}
	}
	cut := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	Inspect(InspectConfig{})(next).ServeHTTP(cut, post(listBody, pair("Content-Type", "text/plain")))
	if len(cut.set) != 1 || cut.set[0].IsZero() {
		t.Errorf("unread: %v", cut.set)
	}
	none := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	Inspect(InspectConfig{})(next).ServeHTTP(none, httptest.NewRequest(http.MethodGet, "/x", nil))
	if len(none.set) != 0 {
		t.Errorf("GET: %v", none.set)
	}
}

// TestAnAnswerMayOutlastTheBodyDeadline sees to it on a real server, which reads on during a call and would take an
// expired deadline for the agent's leaving.
func TestAnAnswerMayOutlastTheBodyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := Inspect(InspectConfig{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
				_, _ = io.WriteString(w, "cancelled")
			}
		}))
		conn := serve(t, slow, nil)()
		from := send(t, conn, "")
		for range 2 { // and the connection serves again
			if _, err := io.WriteString(conn, head(fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(listBody), listBody))); err != nil {
				t.Fatal(err)
			}
			if response, body := answer(t, from); response.StatusCode != 200 || body != "done" {
				t.Errorf("got %d %s", response.StatusCode, body)
			}
		}
		_ = conn.Close()
	})
}

func TestBadFramingNeverPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests := []struct{ name, raw string }{
			{"bare LF in a chunk", head("Transfer-Encoding: chunked\r\n\r\n5\n{\"jso\r\n0\r\n\r\n")},
			{"chunk longer than said", head("Transfer-Encoding: chunked\r\n\r\n2\r\n{\"jso\r\n0\r\n\r\n")},
			{"chunk size is no number", head("Transfer-Encoding: chunked\r\n\r\nxyz\r\n")},
			{"two values", head(fmt.Sprintf("Content-Length: %d\r\n\r\n%s%s", 2*len(listBody), listBody, listBody))},
		}
		for _, test := range tests {
			var hits atomic.Int64
			response, _ := answer(t, send(t, serve(t, upstream(&hits), nil)(), test.raw))
			if response.StatusCode != 400 || hits.Load() != 0 {
				t.Errorf("%s: got %d, %d passed", test.name, response.StatusCode, hits.Load())
			}
		}
	})
}

func TestTrailersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hits atomic.Int64
		raw := head("Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n") +
			fmt.Sprintf("%x\r\n%s\r\n0\r\nAuthorization: Bearer stolen\r\n\r\n", len(listBody), listBody)
		response, body := answer(t, send(t, serve(t, upstream(&hits), nil)(), raw))
		if response.StatusCode != 200 || body != listBody || response.Header.Get("Saw-Trailer") != "" {
			t.Errorf("got %d %v %s", response.StatusCode, response.Header, body)
		}
	})
}

func TestARefusalKeepsTheConnectionWhereTheBodyWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hits atomic.Int64
		from := send(t, serve(t, upstream(&hits), nil)(), head("Content-Length: 2\r\n\r\n{}")+head("Content-Length: 1000000\r\n\r\n"))
		if response, _ := answer(t, from); response.StatusCode != 400 || response.Close {
			t.Errorf("first: %d, close %v", response.StatusCode, response.Close)
		}
		if response, _ := answer(t, from); response.StatusCode != 413 || !response.Close {
			t.Errorf("second: %d, close %v", response.StatusCode, response.Close)
		}
	})
}

// TestHTTP2 goes the same ways over HTTP/2, where the deadline and the end belong to a stream.
func TestHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hits atomic.Int64
		var protocols http.Protocols
		protocols.SetUnencryptedHTTP2(true)
		dial := serve(t, upstream(&hits), &protocols)
		transport := &http.Transport{
			Protocols:      &protocols,
			DialContext:    func(context.Context, string, string) (net.Conn, error) { return dial(), nil },
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nil, tls.AlertError(0) },
		}
		defer transport.CloseIdleConnections()
		try := func(body io.Reader, length int64) (int, string, time.Duration) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://h/x", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = length
			begun := time.Now()
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode, string(text), time.Since(begun)
		}
		if status, text, _ := try(strings.NewReader(listBody), int64(len(listBody))); status != 200 || text != listBody {
			t.Errorf("got %d %s", status, text)
		}
		if status, text, _ := try(strings.NewReader(listBody), -1); status != 200 || text != listBody {
			t.Errorf("unknown length: got %d %s", status, text)
		}
		reader, writer := io.Pipe()
		status, text, took := try(reader, 100)
		if status != 408 || took != 10*time.Second {
			t.Errorf("silence: got %d after %v: %s", status, took, text)
		}
		_ = writer.Close()
		if status, text, _ := try(strings.NewReader(listBody), -1); status != 200 || text != listBody {
			t.Errorf("the next stream: got %d %s", status, text)
		}
		if hits.Load() != 3 {
			t.Errorf("%d passed", hits.Load())
		}
	})
}
