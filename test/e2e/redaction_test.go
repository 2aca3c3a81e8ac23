package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
	"sallyport.dev/gateway"
	"sallyport.dev/mcp/sqlite"
	"sallyport.dev/mcp/sqlite/sqlitetest"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// watched is a stack whose roles tell all they can.
type watched struct {
	*stack.Stack
	wire     *backends.Receiver
	told     []*telemetry.Telemetry
	marks    marks
	trusted  string // the token of an agent that is
	idp      *providertest.Server
	exact    *exactUpstream
	stateDir string // of the connector
}

// sentinel is in all that is exported, to show that the search looks at it.
const sentinel = "sentinel-4711"

// watch has a role tell all it can.
func (w *watched) watch(t *testing.T, role string, log *slog.Logger) (*telemetry.Telemetry, *slog.Logger) {
	t.Helper()
	everything := 1.0
	key := stack.SecretFile(t, t.TempDir(), "collector", w.marks.new(role+"'s key for the collector"))
	told, err := telemetry.Setup(t.Context(), telemetry.Config{
		Resource: map[string]string{"deployment.environment.name": sentinel},
		OTLP: telemetry.OTLP{
			Endpoint: w.wire.URL, Flush: 100 * time.Millisecond, Headers: map[string]telemetry.Header{"X-Key": {Secret: key}},
			Signals: []string{telemetry.SignalTraces, telemetry.SignalMetrics, telemetry.SignalLogs, telemetry.SignalAudit},
		},
		Traces:  telemetry.Traces{Sample: &everything},
		Metrics: telemetry.Metrics{Names: true, Every: time.Second},
	}, telemetry.Options{Scraped: true, Role: role, Version: "test", Instance: role, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.told = append(w.told, told)
	t.Cleanup(told.Shutdown)
	return told, slog.New(told.Handler(log.Handler()))
}

// newWatched runs a stack with a server for each kind of credential.
func newWatched(t *testing.T, transport tunnel.Transport) *watched {
	t.Helper()
	w := &watched{wire: backends.StartReceiver(t), marks: make(marks), idp: providertest.New(t, providertest.Options{}), exact: newExact(t), stateDir: t.TempDir()}
	w.trusted = w.marks.new("a trusted agent's token")
	dir := t.TempDir()
	file := func(what string) secret.Ref { return stack.SecretFile(t, dir, url.PathEscape(what), w.marks.new(what)) }
	echo := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("X-Echo", r.Header.Get("Authorization"))
		_, _ = fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%q}]}}`, bigID, fmt.Sprint(r.Header, r.RequestURI, string(body)))
	})
	client := w.marks.new("the OAuth client's secret")
	tokens := oauthtest.New(oauthtest.Options{ClientID: "sallyport", ClientSecret: client})
	grants := serve(t, tokens.ServeHTTP)
	with := func(at string, c connector.Credential) connector.Server {
		return connector.Server{URL: at, AllowPlaintext: true, Credentials: []connector.Credential{c}}
	}
	bearer := &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}
	child := local(t, childOld)
	child.Env["KEY"] = connector.Variable{Secret: file("a variable of a command")}
	shop := sqlitetest.Sample(t)
	sqlitetest.Exec(t, shop, "INSERT INTO customers VALUES (4711, '"+w.marks.new("a value in a database")+"', 'Linz')")
	servers := map[string]connector.Server{
		"exact":  with(w.exact.url, connector.Credential{Header: bearer, Secret: file("a header's secret")}),
		"header": with(echo.URL, connector.Credential{Header: bearer, Secret: file("a header's secret that comes back")}),
		"basic":  with(echo.URL, connector.Credential{Basic: &inject.Basic{User: "svc"}, Secret: file("a password")}),
		"query":  with(echo.URL, connector.Credential{Query: &inject.Query{Name: "api_key"}, Secret: file("a secret in a query")}),
		"down":   with("http://"+closedPort(t), connector.Credential{Query: &inject.Query{Name: "api_key"}, Secret: file("a secret in the query of what is down")}),
		"cookie": with(echo.URL, connector.Credential{Cookie: &inject.Cookie{Name: "session"}, Secret: file("a cookie")}),
		"body":   with(echo.URL, connector.Credential{Body: &inject.Body{Pointer: "/params/arguments/api_key"}, Secret: file("a secret in a body")}),
		"sigv4": with(echo.URL, connector.Credential{
			SigV4: &connector.SigV4{Region: "eu-central-1", Service: "execute-api", AccessKey: stack.SecretFile(t, dir, "id", "AKIDEXAMPLE0123456789")}, Secret: file("a signing key"),
		}),
		"oauth": with(echo.URL, connector.Credential{OAuth: &oauth.Config{
			TokenURL: grants.URL + "/token", ClientID: "sallyport", ClientSecret: stack.SecretFile(t, dir, "client", client), AllowPlaintext: true,
		}}),
		"refused": with(echo.URL, connector.Credential{OAuth: &oauth.Config{
			TokenURL: grants.URL + "/token", ClientID: "sallyport", ClientSecret: file("a secret that the token server refuses"), AllowPlaintext: true,
		}}),
		"local": child,
		"file":  {SQLite: &connector.SQLite{Place: sqlite.Config{File: shop}}},
	}
	rules, err := policy.New([]policy.Rule{{Servers: []string{"*"}, When: `mcp.tool != "forbidden"`, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	w.Stack = stack.New(t, stack.Options{
		Transport: transport, Servers: servers, Policy: &rules,
		Gateway: func(cfg *gateway.Config) {
			told, log := w.watch(t, "gateway", cfg.Logger)
			cfg.Tracer, cfg.Meter, cfg.Metrics, cfg.OnAudit, cfg.Logger = told.Tracer, told.Meter, told.Metrics(), told.Audit, log
			cfg.Telemetry.Metrics.Names = true
			cfg.Audit = audit.Config{Mode: audit.Strict}
			cfg.Agents.Tokens = append(cfg.Agents.Tokens, gateway.Token{
				Name: "trusted", Token: stack.SecretFile(t, dir, "trusted", w.trusted), Tunnels: []string{"*"}, Servers: []string{"*"}, TrustTrace: true,
			})
			issuer := trusting(w.idp)
			issuer.Tunnels = []string{stack.Tunnel}
			cfg.Agents.Issuers = []oidc.Config{issuer}
		},
		Connector: func(cfg *connector.Config) {
			told, log := w.watch(t, "connector", cfg.Logger)
			cfg.Tracer, cfg.Meter, cfg.Metrics, cfg.OnAudit, cfg.Logger = told.Tracer, told.Meter, told.Metrics(), told.Audit, log
			cfg.StateDir, cfg.Audit = w.stateDir, audit.Config{Mode: audit.Strict}
		},
	})
	t.Cleanup(func() {
		for _, issued := range tokens.Secrets() {
			if log := w.Log.String(); strings.Contains(log, issued) {
				t.Error("a token of the OAuth server is in the log")
			}
		}
	})
	w.marks["the agent's token"], w.marks["the tunnel's token"] = stack.AgentToken, stack.TunnelToken
	return w
}

// ask makes a call with marks in all that a stranger can write, and reads all of its answer.
func (w *watched) ask(t *testing.T, agent *http.Client, server, body string, more ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := w.Post(ctx, server, body)
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header
	h["X-Own"] = []string{w.marks.new("a header")}
	h["User-Agent"] = []string{w.marks.new("User-Agent")}
	h["Cookie"] = []string{"c=" + w.marks.new("an agent's cookie")}
	h["Baggage"] = []string{"k=" + w.marks.new("baggage")}
	h["B3"] = []string{w.marks.new("b3")}
	h["Traceparent"] = []string{"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"}
	h["Tracestate"] = []string{"v=" + w.marks.new("the tracestate of an agent that nobody trusts")}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	got, err := whole(agent, r)
	if err != nil {
		return answer{err: err}
	}
	return got
}

// callWith is the body of a tool call with marks in it.
func (w *watched) callWith(tool string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":{"a":%q,"nested":{"b":[%q]},"note":%q},`+
		`"_meta":{"progressToken":%q,"traceparent":%q,"tracestate":%q,"baggage":%q,"example.com/x":%q}}}`, bigID, tool, w.marks.new("an argument"), w.marks.new("an argument within"),
		base64.StdEncoding.EncodeToString([]byte(w.marks.new("an argument in base64"))), w.marks.new("a progress token"), "00-"+w.marks.new("a traceparent in _meta")+"-01",
		"v="+w.marks.new("a tracestate in _meta"), "k="+w.marks.new("baggage in _meta"), w.marks.new("_meta"))
}

// rawAnswers are answers of an upstream, each with a mark in it.
func (w *watched) rawAnswers() map[string]string {
	const json, stream = "Content-Type: application/json\r\n", "Content-Type: text/event-stream\r\n"
	m := w.marks
	failed := func(code string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%s,"message":%q,"data":{"d":%q}}}`, bigID, code, m.new("the message of an error"), m.new("the data of an error"))
	}
	return map[string]string{
		"an error":     sized(200, json, failed("-32050")),
		"a 500":        sized(500, json, failed("-32603")),
		"a text":       sized(502, "Content-Type: text/html\r\n", "<h1>"+m.new("an error page")+"</h1>"),
		"a tool error": sized(200, json, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"isError":true,"content":[{"type":"text","text":%q}]}}`, bigID, m.new("a tool's error"))),
		"a result":     sized(200, json+"X-Own: "+m.new("an answer's header")+"\r\nSet-Cookie: c="+m.new("an upstream's cookie")+"\r\n", fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"r":%q}}`, bigID, m.new("a result"))),
		"a 401":        sized(401, "WWW-Authenticate: Bearer realm=\""+m.new("a challenge")+"\"\r\n", ""),
		"a redirect":   sized(307, "Location: http://user:"+m.new("a password in Location")+"@127.0.0.1/"+m.new("a path in Location")+"?q="+m.new("a query in Location")+"\r\n", ""),
		"a reason":     strings.Replace(sized(503, "", ""), "Service Unavailable", m.new("a reason"), 1),
		"no header":    "HTTP/1.1 200 OK\r\n" + m.new("no header") + "\r\n\r\n",
		"no status":    "HTTP/1.1 " + m.new("no status") + "\r\n\r\n",
		"no HTTP":      m.new("no HTTP") + "\r\n\r\n",
		"no length":    "HTTP/1.1 200 OK\r\nContent-Length: " + m.new("no length") + "\r\n\r\n",
		"no coding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + m.new("no coding") + "\r\n\r\n",
		"no chunk":     "HTTP/1.1 200 OK\r\n" + json + "Transfer-Encoding: chunked\r\n\r\n" + m.new("no chunk") + "\r\n",
		"no JSON":      sized(200, json, `{"jsonrpc":"2.0","`+m.new("no JSON")+`":`),
		"two ids":      sized(200, json, `{"jsonrpc":"2.0","id":"`+m.new("another id")+`","result":{}}`),
		"a type":       sized(200, "Content-Type: application/"+m.new("a type")+"\r\n", "x"),
		"an encoding":  sized(200, json+"Content-Encoding: "+m.new("an encoding")+"\r\n", "x"),
		"events": "HTTP/1.1 200 OK\r\n" + stream + "\r\nid: " + m.new("an event's id") + "\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"" +
			m.new("an event") + "\"}}\r\n\r\n",
		"no event": "HTTP/1.1 200 OK\r\n" + stream + "\r\ndata: {\"" + m.new("no event") + "\r\n\r\n",
		"a question": "HTTP/1.1 200 OK\r\n" + stream + "\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"" + m.new("a question's id") + "\",\"method\":\"sampling/createMessage\",\"params\":{\"x\":\"" +
			m.new("a question") + "\"}}\r\n\r\n",
		"cut": strings.Replace(sized(200, json, `{"x":"`+m.new("a body that is cut")), "Content-Length: ", "Content-Length: 9", 1),
	}
}

// goThrough makes calls of every kind.
func (w *watched) goThrough(t *testing.T, agent *http.Client) {
	t.Helper()
	for _, server := range []string{"exact", "header", "basic", "query", "down", "cookie", "body", "sigv4", "oauth", "refused", "gone"} {
		w.ask(t, agent, server, w.callWith("x"))
	}
	w.ask(t, agent, "header", w.callWith("forbidden"))
	for name, raw := range w.rawAnswers() {
		w.exact.answer(name, raw)
		w.ask(t, agent, "exact", w.callWith("x"), "X-Case", name)
	}
	session := w.exact.session(t, w.Stack, agent, "exact", w.marks.new("an upstream's session id"))
	w.ask(t, agent, "exact", w.callWith("x"), "Mcp-Session-Id", session)
	w.ask(t, agent, "exact", w.callWith("x"), "Mcp-Session-Id", w.marks.new("a session id that is none"))
	for _, body := range []string{
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"resources/read","params":{"uri":"https://user:%s@host.example/doc?q=%s#%s"}}`,
			bigID, w.marks.new("a password in a URI"), w.marks.new("a query in a URI"), w.marks.new("a fragment in a URI")),
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"prompts/get","params":{"name":"p","arguments":{"a":%q}}}`, bigID, w.marks.new("a prompt's argument")),
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"n","value":%q}}}`, bigID, w.marks.new("a completion")),
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":%q,"version":"1"}}}`, bigID, w.marks.new("a client's name")),
		fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%q,"message":%q}}`, w.marks.new("a notification's token"), w.marks.new("a notification")),
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"x":%q}}`, bigID, w.marks.new("a client's result")),
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"x","arguments":{"a":%q`, bigID, w.marks.new("half a body")),
		fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"id":%q,"method":"tools/call"}`, bigID, w.marks.new("a second id")),
		w.marks.new("no body"),
	} {
		w.ask(t, agent, "exact", body)
	}
	w.ask(t, agent, "exact", w.callWith("x"), "Mcp-Protocol-Version", w.marks.new("a version"))
	w.ask(t, agent, "exact", w.callWith("x"), "Traceparent", "00-"+w.marks.new("a traceparent")+"-1112131415161718-01")
	w.ask(t, agent, "exact", w.callWith("x"), "Traceparent", w.marks.new("a traceparent that is none"), "Accept", w.marks.new("Accept"))
	w.ask(t, agent, "exact", w.callWith("x"), "Origin", "https://"+w.marks.new("an origin")+".example")
	w.ask(t, agent, "exact", w.callWith("x"), "Content-Type", "application/"+w.marks.new("a request's type"))
	w.ask(t, agent, "exact", w.callWith("x"), "Content-Encoding", w.marks.new("a request's encoding"))
	w.database(t, agent)
	w.command(t, agent)
}

func (w *watched) database(t *testing.T, agent *http.Client) {
	t.Helper()
	for _, arguments := range []string{
		fmt.Sprintf(`{"sql":"SELECT '%s' AS x, name FROM customers WHERE id = 4711"}`, w.marks.new("a statement")),
		fmt.Sprintf(`{"sql":"SELECT * FROM customers WHERE name = ?","params":[%q]}`, w.marks.new("a parameter")),
		fmt.Sprintf(`{"sql":"SELECT %s FROM nowhere"}`, w.marks.new("a column that is none")),
		fmt.Sprintf(`{"sql":"SELEC '%s'"}`, w.marks.new("a statement that is none")),
		fmt.Sprintf(`{"sql":"DELETE FROM customers WHERE name = '%s'"}`, w.marks.new("a statement that is refused")),
		fmt.Sprintf(`{"sql":"SELECT ?","params":[{"x":%q}]}`, w.marks.new("a parameter that is none")),
		fmt.Sprintf(`{%q:1}`, w.marks.new("an argument's name")),
	} {
		w.ask(t, agent, "file", toolCall("query", arguments))
	}
	w.ask(t, agent, "file", toolCall("describe_table", fmt.Sprintf(`{"table":%q}`, w.marks.new("a table"))))
}

func (w *watched) command(t *testing.T, agent *http.Client) {
	t.Helper()
	url := w.URL("local")
	began := inSession(t, agent, http.MethodPost, url, "", initialize)
	session := began.header.Get("Mcp-Session-Id")
	for _, tool := range []string{"who", "environment", "complain", "unknown", "other", "twice", "exit"} {
		_, _ = whole(agent, w.request(t, http.MethodPost, url, session, w.callWith(tool)))
	}
	_, _ = whole(agent, w.request(t, http.MethodDelete, url, session, ""))
}

func (w *watched) request(t *testing.T, method, url, session, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {session}, "Content-Type": {"application/json"}}
	return r
}

// strangers come with tokens of all kinds.
func (w *watched) strangers(t *testing.T, h2 bool) {
	t.Helper()
	claims := func(more map[string]any) map[string]any {
		all := map[string]any{"sub": "olga", "email": w.marks.new("a claim"), "groups": []string{w.marks.new("a group")}}
		maps.Copy(all, more)
		return all
	}
	for name, token := range map[string]string{
		"none":     w.marks.new("a token that is none"),
		"genuine":  tokenFor(w.Stack, w.idp, "exact", claims(nil)),
		"expired":  tokenFor(w.Stack, w.idp, "exact", claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		"audience": tokenFor(w.Stack, w.idp, "exact", claims(map[string]any{"aud": "https://" + w.marks.new("an audience") + ".example"})),
		"issuer":   tokenFor(w.Stack, w.idp, "exact", claims(map[string]any{"iss": "https://" + w.marks.new("an issuer") + ".example"})),
		"scope":    tokenFor(w.Stack, w.idp, "exact", claims(map[string]any{"scope": w.marks.new("a scope")})),
		"kid":      w.idp.Issue(claims(map[string]any{"aud": w.URL("exact")}), providertest.Head("kid", w.marks.new("a kid"))),
		"type":     w.idp.Issue(claims(map[string]any{"aud": w.URL("exact")}), providertest.Head("typ", w.marks.new("a typ"))),
	} {
		got := w.ask(t, w.AgentWith(t, h2, token), "exact", w.callWith("x"))
		if want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[name == "genuine" || name == "scope"]; got.status != want {
			t.Errorf("a token of the kind %q gives %d %s, %v", name, got.status, got.body, got.err)
		}
		if parts := strings.Split(token, "."); len(parts) == 3 {
			w.marks[fmt.Sprint("a signature #", len(w.marks))] = parts[2]
		}
	}
	w.ask(t, w.Client(t, h2), "exact", w.callWith("x"), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("u:"+w.marks.new("a password of an agent"))))
	r := w.request(t, http.MethodPost, w.URL("exact")+"?access_token="+w.marks.new("a token in the query"), "", w.callWith("x"))
	_, _ = whole(w.Client(t, h2), r)
	trusted := w.AgentWith(t, h2, w.trusted)
	if got := w.ask(t, trusted, "exact", w.callWith("x"), "Tracestate", "v=trusted"); got.status != http.StatusOK {
		t.Errorf("a trusted agent gets %d %s", got.status, got.body)
	}
}

// TestNothingSecretIsTold makes calls of every kind with canaries in all that passes, and finds none in what the two roles tell of themselves:
// spans, metrics, lines and events of the audit log as a collector gets them over the wire, the text that Prometheus reads, standard
// error, and files.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		t.Parallel()
		w := newWatched(t, transport)
		bothVersions(t, func(t *testing.T, h2 bool) {
			w.goThrough(t, w.Agent(t, h2))
			w.strangers(t, h2)
		})
		sinks := make(map[string][]byte)
		for i, told := range w.told {
			for _, accept := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
				r.Header.Set("Accept", accept)
				page := httptest.NewRecorder()
				told.Metrics().ServeHTTP(page, r)
				sinks[fmt.Sprintf("the metrics of role %d as %s", i, accept)] = page.Body.Bytes()
			}
		}
		w.StopConnector()
		w.StopGateway()
		for _, told := range w.told {
			told.Shutdown()
		}
		for _, r := range w.wire.Requests() {
			sink := "what was sent to " + r.Path
			if sinks[sink] = append(sinks[sink], r.Body...); r.Status != http.StatusOK {
				t.Errorf("the collector has not taken what was sent to %s: %d", r.Path, r.Status)
			}
		}
		sinks["standard error"] = []byte(w.Log.String())
		for _, dir := range []string{w.stateDir, filepath.Join(w.StateDir(), "audit")} {
			addFiles(t, dir, sinks)
		}
		w.search(t, sinks)
		w.complete(t)
	})
}

func addFiles(t *testing.T, dir string, to map[string][]byte) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(d.Name(), "lock") {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && len(text) > 0 {
			to[path] = text
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// search fails for each canary that is in a sink.
func (w *watched) search(t *testing.T, sinks map[string][]byte) {
	t.Helper()
	for _, path := range []string{"traces", "metrics", "logs"} {
		if !bytes.Contains(sinks["what was sent to /v1/"+path], []byte(sentinel)) {
			t.Errorf("no %s were sent", path)
		}
	}
	if len(w.marks) < 200 {
		t.Errorf("%d canaries", len(w.marks))
	}
	for sink, text := range sinks {
		if len(text) == 0 {
			t.Errorf("%s is empty, so that the search means nothing", sink)
		}
		for _, form := range w.marks.forms() {
			if at := bytes.Index(text, []byte(form)); at >= 0 {
				near := text[max(0, at-200):min(len(text), at+100)]
				t.Errorf("%s holds %s: %q", sink, w.marks.in(near), near)
			}
		}
	}
}

// complete fails unless both roles have told of all that there was.
func (w *watched) complete(t *testing.T) {
	t.Helper()
	seen := make(map[string]int)
	for _, span := range w.wire.Spans() {
		seen["span "+span.GetName()]++
	}
	for _, line := range w.wire.Logs() {
		seen["line "+line.GetEventName()+line.GetBody().GetStringValue()]++
	}
	for name, least := range map[string]int{
		"span tools/call x": 100, "span tools/call query": 10, "span resources/read": 4, "span prompts/get p": 4,
		"line call": 200, "line sallyport.audit": 100, "line a local server says": 1, "line connector attached": 1,
	} {
		if seen[name] < least {
			t.Errorf("%d of %q, where at least %d were to be", seen[name], name, least)
		}
	}
	for name, service := range map[string]string{
		"mcp.server.operation.duration": "sallyport-gateway", "mcp.client.operation.duration": "sallyport-connector", "sallyport.refusals": "sallyport-gateway", "sallyport.scrub.hits": "sallyport-connector",
	} {
		if w.wire.Metric(service, name) == nil {
			t.Errorf("%s has no %s", service, name)
		}
	}
}
