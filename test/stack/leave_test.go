package stack_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

const listTools = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`

// TestStopLosesNoAnswer: whichever side is told to stop in the middle of an
// answer, the agent gets all of it, and at once when it is done.
func TestStopLosesNoAnswer(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 64<<10)
	const pieces = 128
	first := append([]byte(`{"jsonrpc":"2.0","id":7,"result":"`), bytes.Repeat([]byte("x"), 2*len(piece))...)[:2*len(piece)] // more than is judged before any of it passes
	last := append(bytes.Clone(piece[2:]), `"}`...)
	for _, who := range []string{"connector", "gateway"} {
		for _, transport := range stack.Transports() {
			t.Run(who+"/"+string(transport), func(t *testing.T) {
				begun, finish := make(chan struct{}), make(chan struct{})
				upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write(first)
					_ = http.NewResponseController(w).Flush()
					close(begun)
					<-finish
					for range pieces - 3 {
						_, _ = w.Write(piece)
					}
					_, _ = w.Write(last)
				}))
				defer upstream.Close()
				s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": {URL: upstream.URL}}})
				req, err := s.Post(t.Context(), "wiki", listTools)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := s.Agent(t, false).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				<-begun
				stop := map[string]func(){"connector": s.StopConnector, "gateway": s.StopGateway}[who]
				start := time.Now()
				var crew sync.WaitGroup
				crew.Go(stop)
				waitFor(t, s, map[string]string{"connector": `"msg":"connector attached"`, "gateway": "gateway is draining"}[who])
				close(finish)
				// A slow agent: the end of the answer still waits in the tunnel when the connector has written it.
				var got int64
				for err == nil {
					var n int64
					n, err = io.CopyN(io.Discard, resp.Body, int64(len(piece)))
					got += n
					time.Sleep(time.Millisecond)
				}
				if !errors.Is(err, io.EOF) || got != int64(pieces*len(piece)) {
					t.Errorf("%d of %d bytes, %v", got, pieces*len(piece), err)
				}
				crew.Wait()
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("stopping took %s", took)
				}
			})
		}
	}
}

// waitFor waits until the log has this text.
func waitFor(t *testing.T, s *stack.Stack, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(s.Log.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q:\n%s", text, s.Log)
		}
		time.Sleep(time.Millisecond)
	}
}

// pausable forwards TCP connections, each of which can be made to stand still.
type pausable struct {
	addr string

	mu     sync.Mutex // guards paused
	paused map[int]chan struct{}
}

func newPausable(t *testing.T, target string) *pausable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pausable{addr: l.Addr().String(), paused: make(map[int]chan struct{})}
	var crew sync.WaitGroup
	var open []net.Conn
	crew.Go(func() {
		for i := 0; ; i++ {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", target)
			if err != nil {
				_ = here.Close()
				continue
			}
			p.mu.Lock()
			open = append(open, here, there)
			p.mu.Unlock()
			crew.Go(func() { p.copy(i, there, here) })
			crew.Go(func() { p.copy(i, here, there) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.resume()
		p.mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		p.mu.Unlock()
		crew.Wait()
	})
	return p
}

func (p *pausable) copy(i int, to, from net.Conn) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		gate := p.paused[i]
		p.mu.Unlock()
		if gate != nil {
			<-gate
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (p *pausable) pause(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused[i] = make(chan struct{})
}

func (p *pausable) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, gate := range p.paused {
		close(gate)
		delete(p.paused, i)
	}
}

// TestSuspectSessionGetsNoCalls: 6 s after a session has fallen silent all
// calls go to the other.
func TestSuspectSessionGetsNoCalls(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	t.Cleanup(upstream.Close)
	var proxy *pausable
	s := stack.New(t, stack.Options{Transport: tunnel.TCP, NoConnector: true, Servers: map[string]connector.Server{"wiki": {URL: upstream.URL}},
		Connector: func(c *connector.Config) { c.Gateway = proxy.addr }})
	proxy = newPausable(t, s.Addr)
	s.StartConnector(t)
	t.Cleanup(proxy.resume)
	for deadline := time.Now().Add(10 * time.Second); strings.Count(s.Log.String(), `"msg":"connector attached"`) < 2; {
		if time.Now().After(deadline) {
			t.Fatalf("not attached twice:\n%s", s.Log)
		}
		time.Sleep(time.Millisecond)
	}
	proxy.pause(0)
	time.Sleep(8200 * time.Millisecond) // a heartbeat may just have been answered
	client := s.Agent(t, true)
	for range 50 {
		req, err := s.Post(t.Context(), "wiki", listTools)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != http.StatusOK || took > time.Second {
			t.Fatalf("%d after %s", resp.StatusCode, took)
		}
	}
}
