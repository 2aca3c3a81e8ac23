package connector

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/credential/inject"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const testKey = "upstream-key-canary-0123456789"

func withKey(t testing.TB) func(*Config) {
	return func(c *Config) {
		s := c.Servers["wiki"]
		s.AllowPlaintext = true
		s.Credentials = []Credential{{Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: secretFile(t, "key", testKey)}}
		c.Servers["wiki"] = s
	}
}

// serving runs a connector in front of an upstream, and gives what calls it.
func serving(t testing.TB, upstream http.Handler, change func(*Config)) (*running, func(method, body string, header http.Header) answered) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	g := newFakeGateway(t)
	r := run(t, g, server.URL, change)
	s := g.next(t)
	return r, func(method, body string, header http.Header) answered {
		return g.call(t, s, r.Instance(), method, body, header)
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }

func reasonOf(body string) string {
	_, rest, _ := strings.Cut(body, `"reason":"`)
	word, _, _ := strings.Cut(rest, `"`)
	return word
}

// TestHeaderHygiene: what reaches the upstream, and what reaches the gateway.
func TestHeaderHygiene(t *testing.T) {
	got := make(chan *http.Request, 1)
	bodies := make(chan string, 1)
	r, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- string(body)
		h := w.Header()
		for name, value := range map[string]string{
			"Set-Cookie": "a=b", "WWW-Authenticate": "Basic", "Sallyport-Outcome": "refused", "Sallyport-X": "y", "Server": "x", "Location": "/x",
			"Mcp-Session-Id": "s1", "X-Custom": "kept",
		} {
			h.Set(name, value)
		}
		h["Date"], h["Content-Type"] = nil, nil
		w.WriteHeader(http.StatusAccepted)
	}), withKey(t))
	const body = " {\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"method\":\"tools/list\"}\n"
	a := call(http.MethodPost, body, http.Header{
		"Authorization": {"Bearer agents-own"}, "Authorization_": {"x"}, "Cookie": {"a=b"}, "Idempotency-Key": {"x"}, "X-Forwarded-For": {"1.2.3.4"},
		"Accept-Encoding": {"gzip"}, "Connection": {"close, X-Nominated"}, "X-Nominated": {"x"}, "Sallyport-Other": {"x"}, "Mcp-Session-Id": {"s1"},
		"Traceparent": {"00-1-2-3"}, "Accept": {"application/json, text/event-stream"},
	})
	up := <-got
	if sent := <-bodies; sent != body {
		t.Errorf("the body became %q", sent)
	}
	if v := up.Header["Authorization"]; len(v) != 1 || v[0] != "Bearer "+testKey {
		t.Errorf("Authorization %q", v)
	}
	for name := range up.Header {
		switch name {
		case "Authorization", "Content-Type", "Content-Length", "Accept", "Accept-Encoding", "Mcp-Session-Id", "Mcp-Protocol-Version", "Traceparent":
		default:
			t.Errorf("%s reached the upstream: %q", name, up.Header[name])
		}
	}
	if up.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("Accept-Encoding %q", up.Header.Get("Accept-Encoding"))
	}
	if a.StatusCode != http.StatusAccepted || a.Header.Get("Mcp-Session-Id") != "s1" || a.Header.Get("X-Custom") != "kept" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	for _, gone := range []string{"Set-Cookie", "Www-Authenticate", "Sallyport-Outcome", "Sallyport-X", "Server", "Location", "Date", "Content-Type"} {
		if v, there := a.Header[gone]; there {
			t.Errorf("%s: %q came back", gone, v)
		}
	}
	if strings.Contains(r.log.String(), testKey) || strings.Contains(r.log.String(), "agents-own") {
		t.Error("a credential is in the log")
	}
}

// TestRefusals: the connector's own answers are marked, and the upstream is
// not touched.
func TestRefusals(t *testing.T) {
	denied, err := policy.New([]policy.Rule{{Servers: []string{"wiki"}, Allow: false}})
	if err != nil {
		t.Fatal(err)
	}
	key := secretFile(t, "gone", testKey)
	path, _ := key.File()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		method string
		body   string
		header http.Header
		status int
		reason string
	}{
		"policy denies":         {func(c *Config) { c.Policy = denied }, "POST", listTools, nil, 403, "denied"},
		"credential is missing": {func(c *Config) { withKey(t)(c); c.Servers["wiki"].Credentials[0].Secret = key }, "POST", listTools, nil, 503, "credential_unavailable"},
		"address not allowed":   {func(c *Config) { c.Upstream.AllowedIPs = []string{"10.0.0.0/8"} }, "POST", listTools, nil, 502, "upstream_unreachable"},
		"no assertion":          {nil, "POST", listTools, http.Header{mcp.HeaderAssertion: nil}, 401, "unauthenticated"},
		"two assertions":        {nil, "POST", listTools, http.Header{mcp.HeaderAssertion: {"a", "b"}}, 401, "unauthenticated"},
		"a forged assertion":    {nil, "POST", listTools, http.Header{mcp.HeaderAssertion: {"a.b.c"}}, 401, "unauthenticated"},
		"duplicate keys":        {nil, "POST", `{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}`, nil, 400, "parse_error"},
		"a body above max_body": {func(c *Config) { c.MaxBody = 10 }, "POST", listTools, nil, 413, "too_large"},
		"another method":        {nil, "PUT", "", nil, 405, "method_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			var hits atomic.Int64
			r, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				ok(w, r)
			}), test.change)
			a := call(test.method, test.body, test.header)
			if a.StatusCode != test.status || reasonOf(a.body) != test.reason || a.outcome() != mcp.OutcomeRefused {
				t.Errorf("%d %q %s, want %d %s\n%s", a.StatusCode, a.outcome(), a.body, test.status, test.reason, r.log)
			}
			if hits.Load() != 0 {
				t.Error("the upstream was touched")
			}
			if strings.Contains(a.body, "gone") || strings.Contains(r.log.String(), testKey) {
				t.Errorf("a secret or its name is said: %s", a.body)
			}
		})
	}
}

func TestOtherPathsDoNotExist(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(ok))
	defer server.Close()
	c, _ := newConnector(t, newFakeGateway(t), server.URL, nil)
	h := c.handler(authtest.Checker(t, testTunnel, c.Instance()), hop{tunnel: testTunnel}, nil)
	for _, path := range []string{"/", "/t/acme/wiki", "/t/acme/none/mcp", "/t/other/wiki/mcp", "/t/acme/wiki/mcp?x=1", "/t/acme/%77iki/mcp", "/t/acme/wiki/mcp/", "http://x/t/acme/wiki/mcp"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(listTools)))
		if w.Code != http.StatusNotFound || w.Header().Get(mcp.HeaderOutcome) != string(mcp.OutcomeRefused) {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestAssertionOfAnotherConnector: bound to this one, this tunnel and server.
func TestAssertionOfAnotherConnector(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(ok))
	defer server.Close()
	g := newFakeGateway(t)
	r := run(t, g, server.URL, nil)
	s := g.next(t)
	who := auth.Principal{Issuer: authtest.Issuer, Subject: authtest.Subject}
	for name, a := range map[string]auth.Assertion{
		"another connector": {Tunnel: testTunnel, Server: "wiki", Connector: "other", Principal: who},
		"another server":    {Tunnel: testTunnel, Server: "docs", Connector: r.Instance(), Principal: who},
		"another tunnel":    {Tunnel: "other", Server: "wiki", Connector: r.Instance(), Principal: who},
	} {
		token, err := g.signer.Sign(a)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.call(t, s, r.Instance(), http.MethodPost, listTools, http.Header{mcp.HeaderAssertion: {token}}); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, got.StatusCode)
		}
	}
}

// rawUpstream answers each connection by hand.
func rawUpstream(t testing.TB, answer func(net.Conn, *http.Request)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				answer(conn, r)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

func saying(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) { _, _ = io.WriteString(conn, text) }
}

// TestUpstreamAnswers: what becomes of the answers that cannot be passed on.
func TestUpstreamAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer  string
		status  int
		reason  string
		outcome mcp.Outcome
	}{
		"401":                {"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer canary\r\nContent-Length: 0\r\n\r\n", 502, "credential_rejected", mcp.OutcomeDelivered},
		"403 and challenge":  {"HTTP/1.1 403 No\r\nWWW-Authenticate: Bearer canary\r\nContent-Length: 0\r\n\r\n", 502, "credential_rejected", mcp.OutcomeDelivered},
		"403":                {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 403, "", ""},
		"404":                {"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}", 404, "", ""},
		"500":                {"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", 500, "", ""},
		"a redirect":         {"HTTP/1.1 307 No\r\nLocation: http://canary/\r\nContent-Length: 0\r\n\r\n", 502, "upstream_invalid", mcp.OutcomeDelivered},
		"gzip":               {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 502, "upstream_invalid", mcp.OutcomeDelivered},
		"identity":           {"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", 200, "", ""},
		"101":                {"HTTP/1.1 101 Up\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 502, "upstream_invalid", mcp.OutcomeDelivered},
		"a status below 100": {"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\n{}", 502, "upstream_invalid", mcp.OutcomeDelivered},
		"the key reflected":  {"HTTP/1.1 200 OK\r\nX-Echo: Bearer " + testKey + "\r\nContent-Length: 2\r\n\r\n{}", 200, "", ""},
		"hangs up":           {"", 502, "outcome_unknown", mcp.OutcomeUncertain},
		"garbage":            {"canary-garbage " + testKey + "\r\n\r\n", 502, "outcome_unknown", mcp.OutcomeUncertain},
		"a bad field":        {"HTTP/1.1 200 OK\r\ncanary-garbage\r\n\r\n", 502, "outcome_unknown", mcp.OutcomeUncertain},
		"half a head":        {"HTTP/1.1 200 OK\r\nContent-Le", 502, "outcome_unknown", mcp.OutcomeUncertain},
		"a large head":       {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", 502, "outcome_unknown", mcp.OutcomeUncertain},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFakeGateway(t)
			r := run(t, g, rawUpstream(t, saying(test.answer)), withKey(t))
			a := g.call(t, g.next(t), r.Instance(), http.MethodPost, listTools, nil)
			if a.StatusCode != test.status || reasonOf(a.body) != test.reason || a.outcome() != test.outcome || a.err != nil {
				t.Errorf("%d %q %s %v, want %d %q %q\n%s", a.StatusCode, a.outcome(), a.body, a.err, test.status, test.outcome, test.reason, r.log)
			}
			var head strings.Builder
			_ = a.Header.Write(&head)
			for _, sink := range []string{a.body, head.String(), r.log.String()} {
				if strings.Contains(sink, "canary") {
					t.Errorf("a piece of the answer, or the key, is repeated: %s", sink)
				}
			}
		})
	}
}

func TestUpstreamUnreachable(t *testing.T) {
	g := newFakeGateway(t)
	r := run(t, g, nowhere, nil)
	a := g.call(t, g.next(t), r.Instance(), http.MethodPost, listTools, nil)
	if a.StatusCode != http.StatusBadGateway || reasonOf(a.body) != "upstream_unreachable" || a.outcome() != mcp.OutcomeRefused {
		t.Errorf("%d %q %s", a.StatusCode, a.outcome(), a.body)
	}
}

func TestCallTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, call := serving(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}), func(c *Config) {
		s := c.Servers["wiki"]
		s.CallTimeout = time.Second
		c.Servers["wiki"] = s
	})
	start := time.Now()
	a := call(http.MethodPost, listTools, nil)
	if a.StatusCode != http.StatusGatewayTimeout || !strings.Contains(a.body, "-32014") || a.outcome() != mcp.OutcomeUncertain {
		t.Errorf("%d %q %s", a.StatusCode, a.outcome(), a.body)
	}
	if took := time.Since(start); took < time.Second || took > 5*time.Second {
		t.Errorf("after %s", took)
	}
}

// notification is an event that an upstream may send at any time.
const notification = `data: {"jsonrpc":"2.0","method":"notifications/message"}` + "\n\n"

// TestBrokenStreams: never a clean end, and an error event only where one may
// stand.
func TestBrokenStreams(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	for name, test := range map[string]struct {
		answer string
		event  bool
		clean  bool // all was answered before the end
	}{
		"between two events":    {answer: head + chunk(notification), event: true},
		"before any event":      {answer: head, event: true},
		"within an event":       {answer: head + chunk(notification+"data: canary"), event: true}, // which is held back
		"within a long event":   {answer: head + chunk(notification+"data: "+strings.Repeat("x", 70<<10))},
		"behind an event's id":  {answer: head + chunk("id: 4\n"+notification)},
		"behind the response":   {answer: head + chunk(`data: {"jsonrpc":"2.0","id":7,"result":{}}`+"\n\n"), clean: true},
		"no event stream":       {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("{"), event: true}, // whose beginning is held back, too
		"a body cut short":      {answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", event: true},
		"a long body cut short": {answer: "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 70<<10)},
		"a bad trailer":         {answer: head + chunk(notification) + "0\r\ncanary\r\n\r\n", event: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFakeGateway(t)
			r := run(t, g, rawUpstream(t, saying(test.answer)), nil)
			a := g.call(t, g.next(t), r.Instance(), http.MethodPost, listTools, nil)
			event := strings.Contains(a.body, `"code":-32014`) && strings.Contains(a.body, `"id":7`)
			if event != test.event || (a.err == nil) != (test.event || test.clean) {
				t.Errorf("error event: %v, end: %v\n%.300s", event, a.err, a.body)
			}
			if strings.Contains(r.log.String(), "canary") {
				t.Errorf("a piece of the answer is in the log: %s", r.log)
			}
		})
	}
}

// TestAgentLeaves: the upstream's context ends within a second.
func TestAgentLeaves(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	defer server.Close()
	g := newFakeGateway(t)
	r := run(t, g, server.URL, nil)
	s := g.next(t)
	for _, leave := range []func(net.Conn){
		func(conn net.Conn) { _ = conn.Close() },
		func(net.Conn) { s.CloseWith(tunnel.Reason{}) },
	} {
		conn := g.start(t, s, r.Instance(), http.MethodPost, listTools, nil)
		<-begun
		leave(conn)
		select {
		case <-ended:
		case <-time.After(time.Second):
			t.Error("the upstream's call goes on")
		}
		_ = conn.Close()
	}
}

// TestLeave: SIGTERM finishes the call in flight, takes no new one, and is not
// held up by an event stream without a request.
func TestLeave(t *testing.T) {
	begun, finish := make(chan string, 2), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			begun <- "get"
			<-r.Context().Done()
			return
		}
		begun <- "post"
		<-finish
		ok(w, r)
	}))
	defer server.Close()
	g := newFakeGateway(t)
	g.patient = true
	r := run(t, g, server.URL, nil)
	s := g.next(t)
	answers := make(chan answered, 1)
	go func() { answers <- g.call(t, s, r.Instance(), http.MethodPost, listTools, nil) }()
	get := g.start(t, s, r.Instance(), http.MethodGet, "", nil)
	defer func() { _ = get.Close() }()
	events, err := http.ReadResponse(bufio.NewReader(get), nil)
	if err != nil || events.StatusCode != http.StatusOK {
		t.Fatal(events, err)
	}
	<-begun
	<-begun
	start := time.Now()
	r.stop()
	<-s.Draining()
	if _, err := s.Open(t.Context()); err == nil {
		t.Error("a new call may begin")
	}
	if _, err := io.ReadAll(events.Body); err == nil {
		t.Error("the event stream ended as if it were complete")
	}
	close(finish)
	if a := <-answers; a.StatusCode != http.StatusOK || a.body != "{}" || a.err != nil {
		t.Errorf("the call in flight: %d %q %v", a.StatusCode, a.body, a.err)
	}
	select {
	case <-s.Done():
		t.Error("the connector hung up first, which could cost the end of an answer")
	case <-time.After(800 * time.Millisecond):
	}
	s.CloseWith(tunnel.Reason{}) // as a gateway does with a drained session
	if err := r.ended(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("leaving took %s", took)
	}
}

// TestLeaveIsBounded: a call that does not end is given up after 30 s.
func TestLeaveIsBounded(t *testing.T) {
	c, _ := newConnector(t, newFakeGateway(t), nowhere, nil)
	leaveBounded(t, c)
}

// TestEventStreamWithALength: an upstream that announces the length of its
// events gets no comment cut into it, and its answer arrives whole.
func TestEventStreamWithALength(t *testing.T) {
	const events = notification
	g := newFakeGateway(t)
	r := run(t, g, rawUpstream(t, saying(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(events), events))), nil)
	a := g.call(t, g.next(t), r.Instance(), http.MethodPost, listTools, nil)
	if a.body != events || a.Header.Get("Content-Length") != "" || a.ContentLength >= 0 || a.err != nil {
		t.Errorf("%q, length %q, %v", a.body, a.Header.Get("Content-Length"), a.err)
	}
}

// TestLogCutsMethods: no line repeats more of a stranger's words than 128 bytes of each.
func TestLogCutsMethods(t *testing.T) {
	r, call := serving(t, http.HandlerFunc(ok), rules(t, policy.Rule{Allow: true}))
	if got := call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"`+strings.Repeat("m", 250)+`","params":{}}`, nil); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	r.stop()
	err := <-r.done
	r.done <- err
	if log := r.log.String(); err != nil || !strings.Contains(log, strings.Repeat("m", 128)+"…") || strings.Contains(log, strings.Repeat("m", 129)) {
		t.Errorf("%v\n%s", err, log)
	}
}

// TestLastCallsAreToldOf: who waits until no call is under way has what is told of all of them.
func TestLastCallsAreToldOf(t *testing.T) {
	c, _ := newConnector(t, newFakeGateway(t), nowhere, nil)
	t.Cleanup(c.Close)
	u := c.current().servers["wiki"]
	for range 2000 {
		var told atomic.Bool
		c.ended = telemetry.NewBacklog(c.log, func(*note) { told.Store(true) })
		entered, over := make(chan struct{}), make(chan struct{})
		call := c.record(hop{tunnel: testTunnel}, c.find(testTunnel, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered) })))
		go func() {
			defer close(over)
			call.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/t/"+testTunnel+"/wiki/mcp", nil))
		}()
		<-entered
		u.calls.Wait()
		c.ended.Close()
		if !told.Load() {
			t.Fatal("a call was not told of")
		}
		<-over
	}
}
