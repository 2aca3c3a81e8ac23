package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/mcp"
)

func TestParseRoute(t *testing.T) {
	forty := strings.Repeat("a", 40)
	for path, want := range map[string]route{
		"/t/acme/wiki/mcp":                   {"acme", "wiki", mcp.EndpointMCP},
		"/t/a/b/mcp":                         {"a", "b", mcp.EndpointMCP},
		"/t/-a-/0-9/mcp":                     {"-a-", "0-9", mcp.EndpointMCP},
		"/t/" + forty + "/" + forty + "/mcp": {forty, forty, mcp.EndpointMCP},
		"":                                   {},
		"/":                                  {},
		"/t/acme/wiki":                       {},
		"/t/acme/wiki/":                      {},
		"/t/acme/wiki/mcp/":                  {},
		"/t/acme/wiki/sse":                   {"acme", "wiki", mcp.EndpointSSE},
		"/t/acme/wiki/messages":              {"acme", "wiki", mcp.EndpointMessages},
		"/t/acme/wiki/message":               {},
		"/t/acme/wiki/sse/":                  {},
		"/t/acme/wiki/SSE":                   {},
		"/t/acme/wiki/messages/mcp":          {},
		"/T/acme/wiki/mcp":                   {},
		"//t/acme/wiki/mcp":                  {},
		"/t//wiki/mcp":                       {},
		"/t/acme//mcp":                       {},
		"/t/acme/mcp":                        {},
		"/t/acme/a/b/mcp":                    {},
		"/t/acme/../mcp":                     {},
		"/t/acme/./wiki/mcp":                 {},
		"/t/acme/%77iki/mcp":                 {},
		"/t/acme/wiki;v=1/mcp":               {},
		"/t/acme/Wiki/mcp":                   {},
		"/t/acme/wi_ki/mcp":                  {},
		"/t/ac--me/wiki/mcp":                 {},
		"/t/acme/wi--ki/mcp":                 {},
		"/t/acme/wiki\x00/mcp":               {},
		"/t/acme/wiki/mcp\n":                 {},
		"/t/" + forty + "a/wiki/mcp":         {},
		"/t/acme/" + forty + "a/mcp":         {},
	} {
		got, ok := parseRoute(path)
		if got != want || ok != (want != route{}) {
			t.Errorf("%q: %v %v, want %v", path, got, ok, want)
		}
		if ok && got.path() != path {
			t.Errorf("%q is printed as %q", path, got.path())
		}
	}
}

// serve sends a request through the gateway's chain, and has it told of.
func serve(g *Gateway, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, r)
	g.ended.Flush()
	return w
}

func TestHostAndServerName(t *testing.T) {
	for _, test := range []struct {
		public, host, header, sni string
		own                       bool
	}{
		{testPublicURL, "tunnel.example.com", "", "tunnel.example.com", true},
		{testPublicURL, "TUNNEL.example.com:443", "", "Tunnel.Example.Com", true},
		{testPublicURL, "tunnel.example.com", "", "", true},
		{testPublicURL, "tunnel.example.com", "tunnel.example.com", "", true},
		{testPublicURL, "tunnel.example.com", "evil.example.com", "", false},
		{testPublicURL, "tunnel.example.com:8443", "", "", false},
		{testPublicURL, "tunnel.example.com.", "", "", false},
		{testPublicURL, "evil.example.com", "", "tunnel.example.com", false},
		{testPublicURL, "tunnel.example.com", "", "evil.example.com", false},
		{testPublicURL, "", "", "", false},
		{"https://tunnel.example.com:8443", "tunnel.example.com:8443", "", "tunnel.example.com", true},
		{"https://tunnel.example.com:8443", "tunnel.example.com", "", "", false},
		{"https://[::1]:8443", "[::1]:8443", "", "", true},
		{"http://127.0.0.1:80", "127.0.0.1", "", "", true},
	} {
		g, _ := newGateway(t, func(c *Config) { c.PublicURL = test.public })
		r := post(testAgentToken, "wiki", listTools)
		r.Method, r.Body, r.Host = http.MethodHead, http.NoBody, test.host // refused behind the check, without a wait
		if test.header != "" {
			r.Header.Set("Host", test.header)
		}
		r = r.WithContext(context.WithValue(r.Context(), connInfoKey{}, connInfo{serverName: test.sni}))
		if got := serve(g, r).Code != http.StatusMisdirectedRequest; got != test.own {
			t.Errorf("%+v: taken as our own: %v", test, got)
		}
	}
}

// TestMisdirectedIsExplainedInTheLog, without the control characters that a stranger may send.
func TestMisdirectedIsExplainedInTheLog(t *testing.T) {
	g, log := newGateway(t, nil)
	r := post(testAgentToken, "wiki", listTools)
	r.Method, r.Body, r.Host = http.MethodHead, http.NoBody, "evil\x1b.example.com"+strings.Repeat("x", 300)
	answer := serve(g, r)
	for _, part := range []string{`evil\\x1b.example.com`, "expected tunnel.example.com"} { // as %+q and then JSON write it
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in the log:\n%s", part, log)
		}
	}
	if strings.Contains(log.String(), strings.Repeat("x", 260)) || strings.Contains(answer.Body.String(), "evil") {
		t.Errorf("too much of the host is repeated: %s", log)
	}
}

func TestOrigin(t *testing.T) {
	g, _ := newGateway(t, func(c *Config) { c.Agents.Origins = []string{"https://app.example.com"} })
	for _, test := range []struct {
		method  string
		origins []string
		status  int
	}{
		{http.MethodHead, nil, http.StatusMethodNotAllowed}, // behind the check
		{http.MethodHead, []string{"https://app.example.com"}, http.StatusMethodNotAllowed},
		{http.MethodHead, []string{"https://evil.example.com"}, http.StatusForbidden},
		{http.MethodHead, []string{"https://app.example.com.evil.com"}, http.StatusForbidden},
		{http.MethodHead, []string{"null"}, http.StatusForbidden},
		{http.MethodHead, []string{""}, http.StatusForbidden},
		{http.MethodHead, []string{"https://app.example.com", "https://app.example.com"}, http.StatusForbidden},
		{http.MethodOptions, nil, http.StatusMethodNotAllowed},
		{http.MethodOptions, []string{"https://evil.example.com"}, http.StatusForbidden},
		{http.MethodOptions, []string{"https://app.example.com"}, http.StatusNoContent},
	} {
		r := httptest.NewRequest(test.method, "/t/acme/wiki/mcp", nil)
		r.Host = "tunnel.example.com"
		r.Header.Set("Authorization", "Bearer "+testAgentToken)
		r.Header["Origin"] = test.origins
		w := serve(g, r)
		if w.Code != test.status {
			t.Errorf("%s from %q: %d, want %d", test.method, test.origins, w.Code, test.status)
		}
		allowed := w.Header().Get("Access-Control-Allow-Origin")
		if granted := test.status != http.StatusForbidden && len(test.origins) > 0; granted != (allowed == "https://app.example.com") {
			t.Errorf("%s from %q: Access-Control-Allow-Origin %q", test.method, test.origins, allowed)
		}
	}
}

func TestPreflight(t *testing.T) {
	g, _ := newGateway(t, func(c *Config) { c.Agents.Origins = []string{"https://app.example.com"} })
	for asked, want := range map[string]string{
		"authorization, mcp-session-id": "authorization, mcp-session-id",
		"x\r\ny: z":                     "authorization, content-type",
	} {
		r := httptest.NewRequest(http.MethodOptions, "/t/acme/wiki/mcp", nil)
		r.Host = "tunnel.example.com"
		r.Header["Origin"] = []string{"https://app.example.com"}
		r.Header["Access-Control-Request-Headers"] = []string{asked}
		// A control character never gets past the header check, so the function is asked as well.
		if got := corsHeaders(r); got != want {
			t.Errorf("%q: %q, want %q", asked, got, want)
		}
	}
	r := httptest.NewRequest(http.MethodOptions, "/t/acme/wiki/mcp", nil)
	r.Host = "tunnel.example.com"
	r.Header.Set("Origin", "https://app.example.com")
	w := serve(g, r)
	if got := w.Header().Get("Access-Control-Allow-Methods"); got != "POST, GET, DELETE" || w.Body.Len() > 0 {
		t.Errorf("methods %q, body %q", got, w.Body)
	}
	if w.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Error("credentials of the browser are allowed")
	}
}

// TestVaryKeepsOrigin: an upstream's Vary must not hide that ours differs by
// origin.
func TestVaryKeepsOrigin(t *testing.T) {
	g, _ := newGateway(t, func(c *Config) { c.Agents.Origins = []string{"https://app.example.com"} })
	attachFake(t, g, "one", answering("HTTP/1.1 200 OK\r\nVary: Accept\r\nContent-Length: 2\r\n\r\n{}"), "wiki")
	r := post(testAgentToken, "wiki", listTools)
	r.Header.Set("Origin", "https://app.example.com")
	if got := serve(g, r).Header()["Vary"]; strings.Join(got, ",") != "Origin,Accept" {
		t.Errorf("Vary: %q", got)
	}
}

func TestMetadataIsTheSameForEveryName(t *testing.T) {
	g, _ := newGateway(t, nil)
	attachFake(t, g, "one", answering(okAnswer), "wiki")
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "tunnel.example.com"
		return serve(g, r)
	}
	exists, not := get(metadataPrefix+"/t/acme/wiki/mcp"), get(metadataPrefix+"/t/none/none/mcp")
	if exists.Code != http.StatusOK || not.Code != http.StatusOK {
		t.Fatalf("%d and %d", exists.Code, not.Code)
	}
	if want := `"resource":"` + testPublicURL + `/t/acme/wiki/mcp"`; !strings.Contains(exists.Body.String(), want) {
		t.Errorf("%s lacks %s", exists.Body, want)
	}
	if a, b := strings.ReplaceAll(exists.Body.String(), "acme/wiki", "none/none"), not.Body.String(); a != b {
		t.Errorf("%s and %s differ in more than the name", a, b)
	}
	for _, path := range []string{
		metadataPrefix, metadataPrefix + "/", metadataPrefix + "/t/acme/mcp", metadataPrefix + "/t/acme/wiki/mcp?x=1",
		metadataPrefix + "/t/acme/WIKI/mcp", "/.well-known/oauth-authorization-server",
	} {
		if w := get(path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

func TestChallengeIsTheSameForEveryName(t *testing.T) {
	g, _ := newGateway(t, nil)
	attachFake(t, g, "one", answering(okAnswer), "wiki")
	for name, token := range map[string]string{"none": "", "wrong": strings.Repeat("x1", 20)} {
		seen := func(server string) string {
			w := callAs(t, g, token, server, listTools)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("token %s: status %d", name, w.Code)
			}
			want := `resource_metadata="` + testPublicURL + metadataPrefix + "/t/acme/" + server + `/mcp"`
			if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, want) {
				t.Errorf("token %s: %s lacks %s", name, got, want)
			}
			text := w.Header().Get("WWW-Authenticate") + "\n" + requestID.ReplaceAllString(w.Body.String(), "")
			return strings.ReplaceAll(text, "/"+server+"/", "/NAME/")
		}
		if a, b := seen("wiki"), seen("none"); a != b {
			t.Errorf("token %s: an existing server answers\n%s\nand another\n%s", name, a, b)
		}
	}
	r := post("", "wiki", listTools)
	r.Header["Authorization"] = []string{"Bearer a", "Bearer b"}
	if w := serve(g, r); w.Code != http.StatusBadRequest {
		t.Errorf("two tokens: %d", w.Code)
	}
}

func TestUnknownAndNotGrantedAnswerTheSame404(t *testing.T) {
	g, _ := newGateway(t, nil)
	attachFake(t, g, "one", answering(okAnswer), "granted", "other")
	if w := callAs(t, g, testNarrowToken, "granted", listTools); w.Code != http.StatusOK {
		t.Fatalf("the granted server: %d %s", w.Code, w.Body)
	}
	answer := func(token, tunnel, server string) string {
		r := post(token, server, listTools)
		r.URL.Path = "/t/" + tunnel + "/" + server + "/mcp"
		r.RequestURI = r.URL.Path
		w := serve(g, r)
		var all strings.Builder
		_ = w.Result().Header.Write(&all)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s/%s: status %d", tunnel, server, w.Code)
		}
		return all.String() + w.Body.String()
	}
	want := answer(testNarrowToken, testTunnel, "other") // exists, not granted
	for _, got := range []string{
		answer(testNarrowToken, testTunnel, "none"),
		answer(testNarrowToken, "none", "none"),
		answer(testAgentToken, testTunnel, "none"), // granted all, and no connector serves it
		answer(testAgentToken, "none", "other"),
	} {
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestMethodsOfTheListener(t *testing.T) {
	g, _ := newGateway(t, nil)
	for method, want := range map[string]int{
		"TRACE": 405, "CONNECT": 405, "PATCH": 405, "PUT": 405, "QUERY": 405, "HEAD": 405, "OPTIONS": 405,
	} {
		r := post(testAgentToken, "wiki", "")
		r.Method, r.Body, r.ContentLength = method, http.NoBody, 0
		if w := serve(g, r); w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
	}
}
