package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// passed is what the judge makes of a stream: the bytes that it let by, where
// in them each message ended, and why it stopped, if it did.
type passed struct {
	out    []byte
	bounds []int
	err    error
}

// judgeAll feeds a stream in pieces of the given sizes, over and over.
func judgeAll(stream []byte, sizes ...int) passed {
	var f framing
	var p passed
	var in []byte
	for i := 0; len(stream) > 0 || len(in) > 0; i++ {
		for len(in) > 0 {
			n, err := f.judge(in)
			if err != nil {
				p.err = err
				return p
			}
			if n == 0 {
				break
			}
			p.out, in = append(p.out, in[:n]...), in[n:]
			if f.inHead() {
				p.bounds = append(p.bounds, len(p.out))
			}
		}
		if len(stream) == 0 {
			return p
		}
		n := min(len(stream), max(sizes[i%len(sizes)], 1))
		in, stream = append(in, stream[:n]...), stream[n:]
	}
	return p
}

const (
	plainPost = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
	chunkPost = "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1F\r\n" +
		"0123456789012345678901234567890\r\n0\r\nX-T: 1\r\n\r\n"
	bareGet = "GET /c HTTP/1.1\r\nHost: h\r\n\r\n"
)

func TestFraming(t *testing.T) {
	post := func(fields, body string) string { return "POST / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + body }
	chunked := func(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }
	for _, c := range []struct {
		name   string
		stream string
		whole  int // messages that pass
		err    error
	}{
		{"length", plainPost, 1, nil},
		{"chunks and trailer", chunkPost, 1, nil},
		{"no body", bareGet, 1, nil},
		{"pipelined", plainPost + chunkPost + bareGet + plainPost, 4, nil},
		{"chunked in capitals", post("transfer-encoding:\tCHUNKED\r\n", "0\r\n\r\n"), 1, nil},
		{"empty value", post("X:\r\n", ""), 1, nil},
		{"head of the greatest size", post("X: "+strings.Repeat("a", maxHead-33)+"\r\n", ""), 1, nil},
		{"body that looks like heads", post("Content-Length: 9\r\n", "\n\r\n\r\x00a: b"), 1, nil},

		{"length and coding", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 0, errFraming},
		{"coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 0, errFraming},
		{"two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""), 0, errFraming},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", ""), 0, errFraming},
		{"identity", post("Transfer-Encoding: identity\r\n", ""), 0, errFraming},
		{"chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", ""), 0, errFraming},
		{"vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", ""), 0, errFraming},
		{"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, errFraming},
		{"space before the colon", post("Transfer-Encoding : chunked\r\n", ""), 0, errFraming},
		{"signed length", post("Content-Length: +3\r\n", "abc"), 0, errFraming},
		{"list of lengths", post("Content-Length: 3, 3\r\n", "abc"), 0, errFraming},
		{"two lengths", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 0, errFraming},
		{"empty length", post("Content-Length:\r\n", ""), 0, errFraming},
		{"hexadecimal length", post("Content-Length: 0x3\r\n", "abc"), 0, errFraming},
		{"length that overflows", post("Content-Length: 18446744073709551619\r\n", "abc"), 0, errFraming},
		{"bare LF everywhere", "POST / HTTP/1.1\nHost: h\n\n", 0, errFraming},
		{"bare LF at one end", "POST / HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n", 0, errFraming},
		{"bare CR", post("X: a\rb\r\n", ""), 0, errFraming},
		{"CR before CRLF", post("X: a\r\r\n", ""), 0, errFraming},
		{"folded line", post("X: a\r\n b\r\n", ""), 0, errFraming},
		{"first line folded", "POST / HTTP/1.1\r\n Host: h\r\n\r\n", 0, errFraming},
		{"line without a colon", post("Host\r\n", ""), 0, errFraming},
		{"line without a name", post(": a\r\n", ""), 0, errFraming},
		{"empty line first", "\r\n" + bareGet, 0, errFraming},
		{"head too large", post("X: "+strings.Repeat("a", maxHead-32)+"\r\n", ""), 0, errHead},
		{"head without end", "GET /" + strings.Repeat("a", 2*maxHead), 0, errHead},
		{"chunk extension", chunked("3;a=b\r\nabc\r\n0\r\n\r\n"), 0, errFraming},
		{"chunk extension without end", chunked("3;" + strings.Repeat("a", 100)), 0, errFraming},
		{"bare LF behind a size", chunked("3\nabc\r\n0\r\n\r\n"), 0, errFraming},
		{"bare LF behind a chunk", chunked("3\r\nabc\n0\r\n\r\n"), 0, errFraming},
		{"chunk longer than its size", chunked("3\r\nabcd\r\n0\r\n\r\n"), 0, errFraming},
		{"size with a sign", chunked("+3\r\nabc\r\n0\r\n\r\n"), 0, errFraming},
		{"size in quotes of space", chunked(" 3\r\nabc\r\n0\r\n\r\n"), 0, errFraming},
		{"no size", chunked("\r\nabc"), 0, errFraming},
		{"size of 17 digits", chunked("00000000000000003\r\nabc\r\n0\r\n\r\n"), 0, errFraming},
		{"folded trailer", chunked("0\r\nX: a\r\n b\r\n\r\n"), 0, errFraming},
		{"trailer without a colon", chunked("0\r\nPOST / HTTP/1.1\r\n\r\n"), 0, errFraming},
		{"bare LF in the trailer", chunked("0\r\nX: a\n\r\n"), 0, errFraming},
		{"trailer too large", chunked("0\r\nX: " + strings.Repeat("a", maxTrailer)), 0, errFraming},

		{"good, then bad", plainPost + chunkPost + "GET / HTTP/1.1\n\n", 2, errFraming},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := judgeAll([]byte(c.stream), len(c.stream))
			if !errors.Is(whole.err, c.err) || len(whole.bounds) != c.whole {
				t.Fatalf("%d messages passed, then %v; want %d and %v", len(whole.bounds), whole.err, c.whole, c.err)
			}
			if c.err == nil && string(whole.out) != c.stream {
				t.Errorf("passed %q of %q", whole.out, c.stream)
			}
			sameVerdict(t, []byte(c.stream), whole, 1)
			if len(c.stream) < 1000 {
				for at := 1; at < len(c.stream); at++ {
					sameVerdict(t, []byte(c.stream), whole, at, len(c.stream))
				}
			}
		})
	}
}

// sameVerdict checks that how a stream is cut does not matter.
func sameVerdict(t *testing.T, stream []byte, want passed, sizes ...int) {
	t.Helper()
	got := judgeAll(stream, sizes...)
	if !errors.Is(got.err, want.err) || !slices.Equal(got.bounds, want.bounds) {
		t.Fatalf("cut into pieces of %v: messages end at %v, then %v; want %v and %v", sizes, got.bounds, got.err, want.bounds, want.err)
	}
	if want.err == nil && !bytes.Equal(got.out, want.out) {
		t.Fatalf("cut into pieces of %v: other bytes passed", sizes)
	}
}

// FuzzFraming holds the judge against net/http: what passes as one message must
// be one message of the same length to net/http, unless that refuses it.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		plainPost, chunkPost, bareGet, plainPost + chunkPost + bareGet,
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd" + bareGet,
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nabcde\r\n0\r\n\r\n",
		"POST / HTTP/1.1\nHost: h\n\n",
	} {
		f.Add([]byte(seed), uint8(3), uint8(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint8) {
		whole := judgeAll(stream, len(stream))
		sameVerdict(t, stream, whole, int(a), int(b))
		counted := &countingReader{r: bytes.NewReader(whole.out)}
		reader := bufio.NewReader(counted)
		for _, bound := range whole.bounds {
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if at := counted.n - reader.Buffered(); at != bound {
				t.Fatalf("a message of %q ends at %d for net/http, at %d for the judge", whole.out, at, bound)
			}
		}
	})
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// rawServer serves one connection in memory as the gateway does, and returns
// the client's end. Each request is answered with the hash of its body.
func rawServer(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	listener := newHandoff(server.LocalAddr())
	s := &http.Server{
		MaxHeaderBytes:    maxHead,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			if r.Header.Get("Slow") != "" {
				select {
				case <-time.After(time.Minute):
				case <-r.Context().Done():
				}
			}
			_, _ = fmt.Fprintf(w, "%s %x", r.URL.Path, sha256.Sum256(body))
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(listener) }()
	listener.put(&rawConn{Conn: server})
	t.Cleanup(func() {
		_ = client.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-done
	})
	return client
}

// answers reads every answer until the server hangs up or max have come.
func answers(t *testing.T, conn net.Conn, max int) (list []string) {
	t.Helper()
	reader := bufio.NewReader(conn)
	for len(list) < max {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			return list
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			body = nil
		}
		list = append(list, fmt.Sprintf("%d %s", resp.StatusCode, body))
	}
	return list
}

func want200(path, body string) string {
	return fmt.Sprintf("200 %s %x", path, sha256.Sum256([]byte(body)))
}

func TestRawConnServesRequestsInAnyPieces(t *testing.T) {
	stream := plainPost + chunkPost + bareGet
	want := []string{want200("/a", "abc"), want200("/b", "abc0123456789012345678901234567890"), want200("/c", "")}
	for size := 1; size <= len(stream); size++ {
		synctest.Test(t, func(t *testing.T) {
			conn := rawServer(t)
			go func() {
				for rest := stream; rest != ""; {
					n := min(size, len(rest))
					if _, err := io.WriteString(conn, rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
			}()
			if got := answers(t, conn, 3); !slices.Equal(got, want) {
				t.Fatalf("pieces of %d: got %q, want %q", size, got, want)
			}
		})
	}
}

func TestRawConnAnswersABadHeadBehindTheGoodOnes(t *testing.T) {
	for _, c := range []struct{ name, stream, last string }{
		{"length and coding", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400 "},
		{"bare LF", "GET / HTTP/1.1\nHost: h\n\n", "400 "},
		{"short line", "A\r\n\r\n", "400 "},
		{"line ends in the first bytes", "G\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\n", "400 "},
		{"spaces in the first bytes", "G / HTTP/1.1\r\nHost : h\r\n\r\n", "400 "},
		{"too large", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", maxHead) + "\r\n\r\n", "431 "},
		{"no coding in HTTP/1.0", "POST /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 "},
	} {
		for _, size := range []int{1, 3, 4, 5, 1 << 20} {
			t.Run(fmt.Sprintf("%s in pieces of %d", c.name, size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn := rawServer(t)
					go func() {
						for rest := plainPost + c.stream; rest != ""; {
							n := min(size, len(rest))
							if _, err := io.WriteString(conn, rest[:n]); err != nil {
								return // the server has hung up
							}
							rest = rest[n:]
						}
					}()
					if got, want := answers(t, conn, 9), []string{want200("/a", "abc"), c.last}; !slices.Equal(got, want) {
						t.Fatalf("got %q, want %q", got, want)
					}
				})
			})
		}
	}
}

// The first bytes of a head start net/http's clock for it, also on a connection
// that has served requests before and would otherwise count as idle.
func TestRawConnTimesTheSecondHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := rawServer(t)
		go func() { _, _ = io.WriteString(conn, bareGet+"GET / HTTP/1.1\r\nHost") }()
		start := time.Now()
		// The 400 is net/http's way with a request line that ends in a timeout.
		if got := answers(t, conn, 9); !slices.Equal(got, []string{want200("/c", ""), "400 "}) {
			t.Fatalf("got %q", got)
		}
		if took := time.Since(start); took != readHeaderTimeout {
			t.Errorf("the connection was closed after %v, want %v", took, readHeaderTimeout)
		}
	})
}

// A request in flight must not notice what comes behind it, bad or unfinished.
func TestRawConnLeavesTheRequestInFlightAlone(t *testing.T) {
	slow := "GET /slow HTTP/1.1\r\nHost: h\r\nSlow: 1\r\n\r\n"
	for _, c := range []struct{ name, behind, last string }{
		{"a bad head", "GET / HTTP/1.1\nHost: h\n\n", "400 "},
		{"half a head", "GET / HTTP/1.1\r\nHo", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := rawServer(t)
				go func() { _, _ = io.WriteString(conn, slow+c.behind) }()
				start := time.Now()
				want := []string{want200("/slow", "")}
				if got := answers(t, conn, 1); !slices.Equal(got, want) || time.Since(start) != time.Minute {
					t.Fatalf("got %q after %v", got, time.Since(start))
				}
				if c.last != "" {
					if got := answers(t, conn, 9); !slices.Equal(got, []string{c.last}) {
						t.Fatalf("then got %q, want %q", got, c.last)
					}
				}
			})
		})
	}
}

// A head sent byte by byte must cost no more than its length: the buffer
// doubles, and no byte is looked at twice.
func TestRawConnReadsASlowHeadInLinearMemory(t *testing.T) {
	head := "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", maxHead-100) + "\r\n\r\n"
	conn := &rawConn{Conn: &drip{rest: head}}
	allocs := testing.AllocsPerRun(1, func() {
		conn = &rawConn{Conn: &drip{rest: head}}
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != head {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
	if allocs > 100 {
		t.Errorf("%v allocations for a head in %d pieces", allocs, len(head))
	}
}

// drip is a connection that gives one byte at a time.
type drip struct {
	net.Conn
	rest string
}

func (d *drip) Read(p []byte) (int, error) {
	if d.rest == "" {
		return 0, io.EOF
	}
	p[0], d.rest = d.rest[0], d.rest[1:]
	return 1, nil
}
