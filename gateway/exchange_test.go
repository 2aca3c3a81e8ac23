package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/mcp"
)

// dying reads n bytes of the request, or all of it if n is negative, and hangs
// up without an answer.
func dying(n int64) func(net.Conn) {
	return func(conn net.Conn) {
		if n < 0 {
			_, _, _ = readRequest(conn)
		} else {
			_, _ = io.CopyN(io.Discard, conn, n)
		}
		_ = conn.Close()
	}
}

const refused503 = "HTTP/1.1 503 Service Unavailable\r\nSallyport-Outcome: refused\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n" +
	`{"error":{"data":{"reason":"from-connector","delivered":"x"}`

// largeCall is a request of several pieces.
func largeCall() string {
	return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":"` + strings.Repeat("y", 300<<10) + `"}}}`
}

// TestDelivery: what an agent is told of a call whose connector misbehaves,
// and how often the call was tried. Both sessions behave alike.
func TestDelivery(t *testing.T) {
	head := func(extra string) string { return "HTTP/1.1 200 OK\r\n" + extra + "\r\n" }
	for name, test := range map[string]struct {
		behave    func(net.Conn)
		body      string
		status    int
		reason    string
		delivered string
		tries     int64
	}{
		"refuses":                    {answering(refused503), listTools, 503, "from-connector", "x", 2},
		"does not believe us":        {answering("HTTP/1.1 401 Unauthorized\r\nSallyport-Outcome: refused\r\nContent-Length: 0\r\n\r\n"), listTools, 503, "not_delivered", "no", 2},
		"refuses for good":           {answering(strings.Replace(refused503, "503 Service Unavailable", "403 Forbidden", 1)), listTools, 403, "from-connector", "x", 1},
		"503 of the upstream":        {answering(strings.Replace(refused503, "Sallyport-Outcome: refused\r\n", "", 1)), listTools, 503, "from-connector", "x", 1},
		"dies in a large body":       {dying(100 << 10), largeCall(), 503, "not_delivered", "no", 2},
		"dies in a small body":       {dying(100), listTools, 502, "outcome_unknown", "unknown", 1},
		"dies after the request":     {dying(-1), listTools, 502, "outcome_unknown", "unknown", 1},
		"dies after a large request": {dying(-1), largeCall(), 502, "outcome_unknown", "unknown", 1},
		"garbage":                    {answering("canary-garbage\r\n\r\n"), listTools, 502, "outcome_unknown", "unknown", 1},
		"garbage in a field":         {answering(head("canary-garbage\r\n")), listTools, 502, "outcome_unknown", "unknown", 1},
		"half a head":                {answeringAndClose("HTTP/1.1 200 OK\r\nContent-Le"), listTools, 502, "outcome_unknown", "unknown", 1},
		"no length":                  {answering(head("Content-Type: application/json\r\n") + "canary"), listTools, 502, "outcome_unknown", "unknown", 1},
		"HTTP/1.0":                   {answering("HTTP/1.0 200 OK\r\n\r\n{}"), listTools, 502, "outcome_unknown", "unknown", 1},
		"switches protocols":         {answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), listTools, 502, "outcome_unknown", "unknown", 1},
		"a few 1xx":                  {answering(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 7) + okAnswer), listTools, 200, "", "", 1},
		"a flood of 1xx":             {flooding("HTTP/1.1 102 Processing\r\n\r\n"), listTools, 502, "outcome_unknown", "unknown", 1},
		"a head of 100 KiB":          {answering(head("X-Large: "+strings.Repeat("z", 100<<10)+"\r\n") + "{}"), listTools, 502, "outcome_unknown", "unknown", 1},
		"an endless head":            {flooding("X-More: zzzzzzzzzzzzzzzzzzzzzzzz\r\n", "HTTP/1.1 200 OK\r\n"), listTools, 502, "outcome_unknown", "unknown", 1},
		"a good answer":              {answering(okAnswer), listTools, 200, "", "", 1},
		"a good answer, large call":  {answering(okAnswer), largeCall(), 200, "", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := newGateway(t, nil)
			var tries atomic.Int64
			for _, instance := range []string{"one", "two"} {
				attachFake(t, g, instance, func(conn net.Conn) {
					tries.Add(1)
					test.behave(conn)
				}, "wiki")
			}
			w := call(t, g, "wiki", test.body)
			word, delivered := reason(w.Body.Bytes())
			if w.Code != test.status || word != test.reason || delivered != test.delivered || tries.Load() != test.tries {
				t.Errorf("%d %q %q after %d tries, want %d %q %q after %d\n%s", w.Code, word, delivered, tries.Load(),
					test.status, test.reason, test.delivered, test.tries, log)
			}
			if strings.Contains(log.String(), "canary") || strings.Contains(w.Body.String(), "canary") {
				t.Errorf("a piece of the answer is repeated: %s\n%s", w.Body, log)
			}
			if w.Code == http.StatusBadGateway && word == "outcome_unknown" && !strings.Contains(w.Body.String(), "-32012") {
				t.Errorf("code: %s", w.Body)
			}
			for _, a := range g.sessions.all() {
				if n := a.inFlight.Load(); n != 0 {
					t.Errorf("%d calls in flight are left", n)
				}
			}
		})
	}
}

func answeringAndClose(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		if _, _, err := readRequest(conn); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

// flooding answers without an end.
func flooding(piece string, first ...string) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		if _, _, err := readRequest(conn); err != nil {
			return
		}
		if _, err := io.WriteString(conn, strings.Join(first, "")); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
		}
	}
}

func TestRetryTakesTheOtherSession(t *testing.T) {
	g, log := newGateway(t, nil)
	first := attachFake(t, g, "bad", answering(refused503), "wiki")
	var good atomic.Int64
	attachFake(t, g, "good", func(conn net.Conn) {
		good.Add(1)
		answering(okAnswer)(conn)
	}, "wiki")
	for _, a := range g.sessions.all() { // the refusing one is preferred
		if a.instance == "good" {
			a.inFlight.Add(1)
		}
	}
	if w := call(t, g, "wiki", listTools); w.Code != http.StatusOK || good.Load() != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), `"attempts":2`) {
		t.Errorf("the log does not tell of two attempts:\n%s", log)
	}
	first.hangUp()
	if w := call(t, g, "wiki", listTools); w.Code != http.StatusOK || good.Load() != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestOpenThatFailsIsRetried: a session that drains refuses streams before the
// map of sessions has heard of it.
func TestOpenThatFailsIsRetried(t *testing.T) {
	g, _ := newGateway(t, nil)
	attachFake(t, g, "good", answering(okAnswer), "wiki")
	bad := attachFake(t, g, "bad", answering(okAnswer), "wiki")
	for range 100 {
		w := call(t, g, "wiki", listTools)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		_ = bad.Drain()
	}
}

// TestEarlyAnswerToLargeBody: an answer that overtakes its request arrives
// whole, and leaves nothing behind.
func TestEarlyAnswerToLargeBody(t *testing.T) {
	g, _ := newGateway(t, nil)
	attachFake(t, g, "one", func(conn net.Conn) {
		defer conn.Close()
		_, _ = http.ReadRequest(bufio.NewReaderSize(conn, 1<<10))
		_, _ = io.WriteString(conn, okAnswer)
		_, _ = io.Copy(io.Discard, conn)
	}, "wiki")
	for range 20 {
		if w := call(t, g, "wiki", largeCall()); w.Code != http.StatusOK || w.Body.String() != "{}" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

// TestFinishAfterABackgroundWrite: the result of the write may be taken before
// the stream is closed for another reason.
func TestFinishAfterABackgroundWrite(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	x := &exchange{conn: here, buffers: newBuffers(), reader: bufio.NewReader(here), reuses: true, resp: &http.Response{Close: true}}
	x.head, x.release = &headLimit{r: here}, func() bool { return true }
	x.writing = make(chan error, 1)
	x.writing <- nil
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.finish()
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("finish waits for a result that it has taken already")
	}
}

// TestRequestOnTheWire: the head that goes down the tunnel is the hop's, and
// the body is the agent's to the byte.
func TestRequestOnTheWire(t *testing.T) {
	g, _ := newGateway(t, nil)
	type seen struct {
		r    *http.Request
		body []byte
	}
	got := make(chan seen, 1)
	attachFake(t, g, "one", func(conn net.Conn) {
		defer conn.Close()
		r, body, err := readRequest(conn)
		if err != nil {
			return
		}
		got <- seen{r, body}
		_, _ = io.WriteString(conn, okAnswer)
		_, _ = io.Copy(io.Discard, conn)
	}, "wiki")
	r := post(testAgentToken, "wiki", " {\"jsonrpc\":\"2.0\" , \"id\":1e3,\"method\":\"tools/list\"}\n")
	for name, value := range map[string]string{
		"Cookie": "a=b", "Sallyport-Assertion": "forged", "Sallyport-Request-Id": "forged", "Idempotency-Key": "x",
		"X_Api_Key": "x", "Connection": "X-Nominated", "X-Nominated": "x", "Traceparent": "00-1-2-3", "X-Forwarded-For": "1.2.3.4",
	} {
		r.Header[name] = []string{value}
	}
	if w := serve(g, r); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	s := <-got
	if s.r.RequestURI != "/t/acme/wiki/mcp" || s.r.Host != testTunnel || string(s.body) != " {\"jsonrpc\":\"2.0\" , \"id\":1e3,\"method\":\"tools/list\"}\n" {
		t.Errorf("%s %s %q", s.r.RequestURI, s.r.Host, s.body)
	}
	for _, gone := range []string{"Authorization", "Cookie", "Idempotency-Key", "X_Api_Key", "X-Nominated", "X-Forwarded-For", "User-Agent", "Traceparent"} {
		if v, ok := s.r.Header[gone]; ok {
			t.Errorf("%s: %q went down the tunnel", gone, v)
		}
	}
	if v := s.r.Header[mcp.HeaderAssertion]; len(v) != 1 || v[0] == "forged" || strings.Count(v[0], ".") != 2 {
		t.Errorf("assertion %q", v)
	}
	if v := s.r.Header[mcp.HeaderRequestID]; len(v) != 1 || v[0] == "forged" {
		t.Errorf("request id %q", v)
	}
}

// TestAnswerOnTheWire: what may not reach an agent, and what must.
func TestAnswerOnTheWire(t *testing.T) {
	g, _ := newGateway(t, nil)
	attachFake(t, g, "one", answering("HTTP/1.1 202 Accepted\r\nSet-Cookie: a=b\r\nWWW-Authenticate: Basic\r\nSallyport-Outcome: delivered\r\n"+
		"Sallyport-X: y\r\nServer: x\r\nLocation: http://x\r\nMcp-Session-Id: s1\r\nX-Custom: kept\r\nContent-Length: 0\r\n\r\n"), "wiki")
	w := call(t, g, "wiki", listTools)
	if w.Code != http.StatusAccepted || !strings.HasPrefix(w.Header().Get("Mcp-Session-Id"), "one.") || !strings.HasSuffix(w.Header().Get("Mcp-Session-Id"), ".s1") || w.Header().Get("X-Custom") != "kept" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, gone := range []string{"Set-Cookie", "Www-Authenticate", "Sallyport-Outcome", "Sallyport-X", "Server", "Location"} {
		if v := w.Header().Get(gone); v != "" {
			t.Errorf("%s: %q reached the agent", gone, v)
		}
	}
	for _, unsaid := range []string{"Date", "Content-Type"} {
		if v, ok := w.Header()[unsaid]; !ok || v != nil {
			t.Errorf("%s: %q is added, and nobody sent it", unsaid, v)
		}
	}
}

// TestBrokenAnswers: never a clean end, and an error event only where one may
// stand.
func TestBrokenAnswers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	for name, test := range map[string]struct {
		answer string
		event  bool
	}{
		"between two events":   {answer: head + chunk("data: 1\n\n"), event: true},
		"before any event":     {answer: head, event: true},
		"within an event":      {answer: head + chunk("data: 1\n\ndata: canary"), event: true}, // which is held back
		"within a long event":  {answer: head + chunk("data: 1\n\ndata: "+strings.Repeat("x", 70<<10))},
		"behind an event's id": {answer: head + chunk("id: 4\ndata: 1\n\n")},
		"behind the response":  {answer: head + chunk(`data: {"jsonrpc":"2.0","id":7.0,"result":{}}`+"\n\n")}, // by a connector that is there: it has stopped the stream
		"behind another's":     {answer: head + chunk(`data: {"jsonrpc":"2.0","id":8,"result":{}}`+"\n\n"), event: true},
		"a broken chunk":       {answer: head + chunk("data: 1\n\n") + "canary\r\n", event: true},
		"no event stream":      {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("{")},
		"a body cut short":     {answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := newGateway(t, nil)
			attachFake(t, g, "one", answeringAndClose(test.answer), "wiki")
			w := call(t, g, "wiki", listTools)
			aborted := w.Header().Get("Test-Aborted") != ""
			event := strings.Contains(w.Body.String(), `"code":-32012`) && strings.Contains(w.Body.String(), `"id":7`)
			if event != test.event || aborted == test.event {
				t.Errorf("error event: %v, aborted: %v\n%.300s", event, aborted, w.Body)
			}
			if strings.Contains(log.String(), "canary") {
				t.Errorf("a piece of the answer is in the log: %s", log)
			}
			for _, a := range g.sessions.all() {
				if n := a.inFlight.Load(); n != 0 {
					t.Errorf("%d calls in flight are left", n)
				}
			}
		})
	}
}

// TestEventsAreFlushedEach: each piece of an event stream is handed on before
// the next one exists, whether its length is announced or not.
func TestEventsAreFlushedEach(t *testing.T) {
	for _, head := range []string{"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n", "Content-Length: 18\r\n\r\ndata: 1\n\n"} {
		g, _ := newGateway(t, nil)
		next := make(chan struct{})
		attachFake(t, g, "one", func(conn net.Conn) {
			defer conn.Close()
			if _, _, err := readRequest(conn); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+head)
			<-next
		}, "wiki")
		server := httptest.NewUnstartedServer(g.handler)
		server.Start()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/t/acme/wiki/mcp", strings.NewReader(listTools))
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.Header = "tunnel.example.com", post(testAgentToken, "wiki", "").Header
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 9)
		if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != "data: 1\n\n" {
			t.Errorf("%q %v", piece, err)
		}
		close(next)
		_ = resp.Body.Close()
		server.Close()
	}
}
