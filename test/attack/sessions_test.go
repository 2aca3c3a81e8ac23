package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/test/stack"
)

// The sessions that are begun before any attack. "mine" is the attacker's own
// at the server that is attacked; the rest is not.
const (
	mine       = "mine"           // the attacker's at wiki
	victims    = "victim's"       // the second agent's there
	vaults     = "vault's"        // the attacker's at another server
	tenants    = "other tenant's" // the attacker's at the same server of another tunnel
	streamMine = "stream, mine"   // the same of HTTP+SSE, at old
	streamHers = "stream, victim's"
	streamNext = "stream, another server's"
	streamAway = "stream, other tenant's"
	streamGone = "stream, of a connector that has gone"
)

// beginSessions begins them, and replaces the connector of the other tenant.
func (r *rig) beginSessions(t *testing.T) {
	t.Helper()
	r.ids = map[string]string{
		mine: r.begin(t, wikiPath, stack.AgentToken), victims: r.begin(t, wikiPath, secondToken),
		vaults: r.begin(t, vaultPath, stack.AgentToken), tenants: r.begin(t, foreignPath, stack.AgentToken),
		streamMine: r.listen(t, oldPath+"sse", stack.AgentToken), streamHers: r.listen(t, oldPath+"sse", secondToken),
		streamNext: r.listen(t, "/t/"+stack.Tunnel+"/older/sse", stack.AgentToken), streamGone: r.listen(t, "/t/globex/old/sse", stack.AgentToken),
	}
	r.StopConnector()
	r.StartConnector(t)
	r.ids[streamAway] = r.listen(t, "/t/globex/old/sse", stack.AgentToken)
}

// begin begins an MCP session and returns the id that the agent got.
func (r *rig) begin(t *testing.T, path, token string) string {
	t.Helper()
	a, err := r.sendH1(context.Background(), request{target: path, fields: []field{{"Authorization", "Bearer " + token}},
		body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`})
	id := a.header.Get("Mcp-Session-Id")
	if err != nil || id == "" {
		t.Fatalf("no session at %s: status %d, %v", path, a.status, err)
	}
	return id
}

// listen opens an event stream of HTTP+SSE, returns the session that its
// endpoint event gives, and leaves.
func (r *rig) listen(t *testing.T, path, token string) string {
	t.Helper()
	session, leave := r.stay(t, path, token)
	leave()
	return session
}

// stay is listen, and leaves later.
func (r *rig) stay(t *testing.T, path, token string) (session string, leave func()) {
	t.Helper()
	conn, err := r.dial(context.Background(), publicName, "", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	q := request{method: http.MethodGet, target: path, bodiless: true, drop: []string{"Content-Type"}, fields: []field{{"Authorization", "Bearer " + token}}}
	_, err = io.WriteString(conn, q.fill(r.host).encode())
	var text []byte
	for b := make([]byte, 1); err == nil && !bytes.HasSuffix(text, []byte("\n\n")); {
		_, err = conn.Read(b)
		text = append(text, b...)
	}
	_, session, _ = strings.Cut(string(text), "sessionId=")
	session, _, _ = strings.Cut(session, "\n")
	if err != nil || session == "" {
		t.Fatalf("no endpoint event at %s: %v, %q", path, err, text)
	}
	return session, func() { _ = conn.Close() }
}

// with sends a request with an MCP session that is only known once the rig
// runs: change makes it from one of those that were begun.
func with(q request, whose string, change func(string) string) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		id := r.ids[whose]
		if change != nil {
			id = change(id)
		}
		q := q
		q.fields = append([]field{{"Mcp-Session-Id", id}}, q.fields...)
		return r.perform(t, attack{send: q}, p)
	}
}

// The parts of a session's id.
func instanceOf(id string) string { return strings.SplitN(id, ".", 3)[0] }
func macOf(id string) string      { return strings.SplitN(id, ".", 3)[1] }
func originalOf(id string) string { return strings.SplitN(id, ".", 3)[2] }

// alterations change an id in each of its parts.
func alterations() (list []struct {
	what   string
	change func(string) string
}) {
	add := func(what string, change func(string) string) {
		list = append(list, struct {
			what   string
			change func(string) string
		}{what, change})
	}
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	flip := func(s string, i int) string { // one character, which stays one of base64
		c := byte('A')
		if s[i] == c {
			c = 'B'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	add("another instance", func(id string) string { return join(flip(instanceOf(id), 0), macOf(id), originalOf(id)) })
	add("no instance", func(id string) string { return join("", macOf(id), originalOf(id)) })
	add("a dot moved from the original to the MAC", func(id string) string { return join(instanceOf(id), macOf(id)+originalOf(id)[:1], originalOf(id)[1:]) })
	add("another MAC", func(id string) string { return join(instanceOf(id), flip(macOf(id), 0), originalOf(id)) })
	add("bits of the MAC that do not count", func(id string) string {
		mac := macOf(id)
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, mac[len(mac)-1])
		return join(instanceOf(id), mac[:len(mac)-1]+string(alphabet[last|1]), originalOf(id))
	})
	add("a padded MAC", func(id string) string { return join(instanceOf(id), macOf(id)+"==", originalOf(id)) })
	add("half of the MAC", func(id string) string { return join(instanceOf(id), macOf(id)[:11], originalOf(id)) })
	add("no MAC", func(id string) string { return join(instanceOf(id), "", originalOf(id)) })
	add("a MAC of zeros", func(id string) string { return join(instanceOf(id), strings.Repeat("A", 22), originalOf(id)) })
	add("another original", func(id string) string {
		return join(instanceOf(id), macOf(id), flip(originalOf(id), len(originalOf(id))-1))
	})
	add("no original", func(id string) string { return join(instanceOf(id), macOf(id), "") })
	add("another character behind it", func(id string) string { return id + "0" })
	add("the upstream's own id", originalOf)
	add("all in capitals", strings.ToUpper)
	add("twice", func(id string) string { return join(id, id) })
	return list
}

// sessionAttacks use MCP sessions that are not the caller's.
func sessionAttacks() []attack {
	unknown := want{status: 404, code: -32001, reason: "session_not_found"}
	invalid := want{status: 400, code: -32600, reason: "invalid_request"}
	const response = `{"jsonrpc":"2.0","id":1,"result":{}}`
	get := request{method: http.MethodGet, bodiless: true, drop: []string{"Content-Type"}}
	end := request{method: http.MethodDelete, bodiless: true, drop: []string{"Content-Type"}}
	victim := []field{{"Authorization", "Bearer " + secondToken}}
	session := func(value string) request { return request{fields: []field{{"Mcp-Session-Id", value}}} }
	resume := func(q request, id string) request {
		q.fields = append(q.fields, field{"Last-Event-ID", id})
		return q
	}
	list := []attack{
		{id: "73", what: "a response from a client with a session of another user", do: with(request{body: response}, victims, nil), want: unknown},
		{id: "73", what: "a response with a guessed session", send: request{body: response, fields: []field{{"Mcp-Session-Id", "guess"}}}, want: unknown},
		{id: "73", what: "an error with a session of another server", do: with(request{body: `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`}, vaults, nil), want: unknown},
		{id: "73", what: "a response in 2026-07-28, which drops sessions", do: with(request{body: response, fields: []field{{"MCP-Protocol-Version", revision}}}, mine, nil), want: invalid},
		{id: "73", what: "a response in the caller's own session: passed", do: with(request{body: response}, mine, nil), want: want{status: 200, hits: 1}},

		{id: "75", what: "the caller's own session: passed under the upstream's name", do: with(request{}, mine, nil), want: want{status: 200, hits: 1, check: hasSession(mine)}},
		{id: "75", what: "another user's session", do: with(request{}, victims, nil), want: unknown},
		{id: "75", what: "another server's session", do: with(request{}, vaults, nil), want: unknown},
		{id: "75", what: "the session of a server of that name of another tenant", do: with(request{}, tenants, nil), want: unknown},
		{id: "75", what: "fixation: the attacker's own session, sent by the victim", do: with(request{fields: victim}, mine, nil), want: unknown},
		{id: "75", what: "another user's session on a GET", do: with(get, victims, nil), want: unknown},
		{id: "75", what: "another user's session on a DELETE", do: with(end, victims, nil), want: unknown},
		{id: "75", what: "the messages session of HTTP+SSE as an MCP session", do: with(request{}, streamMine, nil), want: unknown},
		{id: "75", what: "two sessions, the caller's own first", want: want{status: 400, code: -32020, reason: "header_mismatch"},
			do: with(session("guess"), mine, nil)},
		{id: "75", what: "an empty session", send: session(""), want: invalid},
		{id: "75", what: "a session of 10 KiB", send: session(strings.Repeat("a", 10<<10)), want: invalid},
		{id: "75", what: "a session of 1,024 bytes", send: session(strings.Repeat("a.", 512)), want: unknown},
		{id: "75", what: "a session of 200 KiB", over: []proto{h1}, send: session(strings.Repeat("a", 200<<10)), want: want{status: 431}},
		{id: "75", what: "a session of 200 KiB", over: []proto{h2}, send: session(strings.Repeat("a", 200<<10)), want: want{reset: "COMPRESSION_ERROR"}},
		{id: "75", what: "CR LF and a header behind a session", over: []proto{h1}, do: with(request{}, mine, func(id string) string { return id + "0\r\nX-Tenant: evil" }), want: unknown},
		{id: "75", what: "CR LF and a header behind a session", over: []proto{h2}, do: with(request{}, mine, func(id string) string { return id + "\r\nX-Tenant: evil" }), want: want{reset: "PROTOCOL_ERROR"}},
		{id: "75", what: "a space within a session", do: with(request{}, mine, func(id string) string { return id + " x" }), want: invalid},
		{id: "75", what: "a session in the query", send: request{target: wikiPath + "?Mcp-Session-Id=x"}, want: invalid},
		{id: "75", what: "a session that was deleted", do: deleted, want: want{status: 404, hits: 3}},

		{id: "76", what: "Last-Event-ID of another user's stream, in that user's session", do: with(resume(get, "upstream-session-2-1"), victims, nil), want: unknown},
		{id: "76", what: "Last-Event-ID of another user's stream, without a session: the upstream's to refuse", send: resume(get, "upstream-session-2-1"), want: want{status: 404, hits: 1}},
		{id: "76", what: "Last-Event-ID of another user's stream, in the caller's own session: its own events", do: with(resume(get, "upstream-session-2-1"), mine, nil),
			want: want{status: 200, hits: 1, check: func(t *testing.T, a answer, _ []received) {
				t.Helper()
				if !bytes.Contains(a.body, []byte(`"of":"upstream-session-1"`)) || bytes.Contains(a.body, []byte("session-2")) {
					t.Errorf("the agent got %q", a.body)
				}
			}}},
		{id: "76", what: "Last-Event-ID on a DELETE in another user's session", do: with(resume(end, "upstream-session-2-1"), victims, nil), want: unknown},
	}
	for i := range list { // the upstream's own 404 has no reason of ours
		if list[i].id == "76" && list[i].send.method == http.MethodGet {
			list[i].want.check = func(*testing.T, answer, []received) {}
		}
	}
	for _, c := range alterations() {
		list = append(list, attack{id: "75", what: "an altered session: " + c.what, do: with(request{}, mine, c.change), want: unknown})
	}
	return list
}

// hasSession holds what the upstream got to its own name of a session.
func hasSession(string) func(*testing.T, answer, []received) {
	return func(t *testing.T, _ answer, records []received) {
		t.Helper()
		for _, r := range records {
			if got := fmt.Sprint(r.header["Mcp-Session-Id"]); got != "[upstream-session-1]" {
				t.Errorf("the upstream got the session %s", got)
			}
		}
	}
}

// deleted begins a session, ends it, and uses it.
func deleted(t *testing.T, r *rig, p proto) (answer, error) {
	id := r.begin(t, wikiPath, stack.AgentToken)
	end := request{method: http.MethodDelete, bodiless: true, drop: []string{"Content-Type"}, fields: []field{{"Mcp-Session-Id", id}}}
	if a, err := r.perform(t, attack{send: end}, p); err != nil || a.status != http.StatusNoContent {
		t.Errorf("DELETE: status %d, %v", a.status, err)
	}
	return r.perform(t, attack{send: request{fields: []field{{"Mcp-Session-Id", id}}}}, p)
}

// legacyAttacks post to sessions of HTTP+SSE that are not the caller's.
func legacyAttacks() []attack {
	unknown := want{status: 404, code: -32001, reason: "session_not_found"}
	invalid := want{status: 400, code: -32600, reason: "invalid_request"}
	list := []attack{
		{id: "75", what: "the caller's own session: passed", want: want{status: 202, hits: 2}, do: func(t *testing.T, r *rig, p proto) (answer, error) {
			session, leave := r.stay(t, oldPath+"sse", stack.AgentToken)
			defer leave()
			return r.perform(t, attack{send: request{target: oldPath + "messages?sessionId=" + session}}, p)
		}},
		{id: "75", what: "another user's session", do: post("?sessionId=%s", streamHers, nil), want: unknown},
		{id: "75", what: "another server's session", do: post("?sessionId=%s", streamNext, nil), want: unknown},
		{id: "75", what: "another tenant's session", do: post("?sessionId=%s", streamAway, nil), want: unknown},
		{id: "75", what: "an MCP session of streamable HTTP", do: post("?sessionId=%s", mine, nil), want: unknown},
		{id: "75", what: "a guess", do: post("?sessionId=guess", mine, nil), want: unknown},
		{id: "75", what: "replayed after the stream ended: the upstream's to refuse", do: post("?sessionId=%s", streamMine, nil), want: want{status: 404, hits: 1}},
		{id: "75", what: "no session", do: post("", streamMine, nil), want: invalid},
		{id: "75", what: "an empty session", do: post("?sessionId=", streamMine, nil), want: invalid},
		{id: "75", what: "another name of the parameter", do: post("?sessionid=%s", streamMine, nil), want: invalid},
		{id: "75", what: "another spelling of the parameter", do: post("?session_id=%s", streamMine, nil), want: invalid},
		{id: "75", what: "a parameter behind it", do: post("?sessionId=%s&x=y", streamMine, nil), want: invalid},
		{id: "75", what: "a parameter before it", do: post("?x=y&sessionId=%s", streamMine, nil), want: invalid},
		{id: "75", what: "a second session", do: post("?sessionId=%s&sessionId=guess", streamMine, nil), want: invalid},
		{id: "75", what: "a semicolon and a second session", do: post("?sessionId=%s;sessionId=guess", streamMine, nil), want: invalid},
		{id: "75", what: "a percent-encoded name", do: post("?session%%49d=%s", streamMine, nil), want: invalid},
		{id: "75", what: "a percent-encoded dot", do: post("?sessionId=%s", streamMine, func(s string) string { return strings.Replace(s, ".", "%2E", 1) }), want: invalid},
		{id: "75", what: "a plus sign", do: post("?sessionId=%s+", streamMine, nil), want: invalid},
		{id: "75", what: "a path of the upstream", do: post("?sessionId=../../private", streamMine, nil), want: invalid},
		{id: "75", what: "10 KiB", do: post("?sessionId="+strings.Repeat("a", 10<<10), streamMine, nil), want: invalid},
		{id: "75", what: "the session in the head alone", want: invalid, do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{target: oldPath + "messages", fields: []field{{"Mcp-Session-Id", r.ids[streamMine]}}}}, p)
		}},
		{id: "73", what: "a response from a client without a session", send: request{target: oldPath + "messages", body: answered}, want: invalid},
		{id: "73", what: "a response with a forged session", send: request{target: oldPath + "messages?sessionId=a.b.c", body: answered}, want: unknown},
		{id: "40", what: "POST to the stream's URL", send: request{target: oldPath + "sse"}, want: want{status: 405, code: -32600, reason: "method_not_allowed", header: []field{{"Allow", "GET"}}}},
		{id: "70", what: "2026-07-28, which has no such transport", want: invalid, send: request{method: http.MethodGet, bodiless: true, drop: []string{"Content-Type"}, target: oldPath + "sse",
			fields: []field{{"MCP-Protocol-Version", revision}}}},
		{id: "75", what: "a session at the stream's own URL", do: func(t *testing.T, r *rig, p proto) (answer, error) {
			q := request{method: http.MethodGet, bodiless: true, drop: []string{"Content-Type"}, target: oldPath + "sse?sessionId=" + r.ids[streamMine]}
			return r.perform(t, attack{send: q}, p)
		}, want: invalid},
		{id: "75", what: "the messages URL, asked for a stream", do: func(t *testing.T, r *rig, p proto) (answer, error) {
			q := request{method: http.MethodGet, bodiless: true, drop: []string{"Content-Type"}, target: oldPath + "messages?sessionId=" + r.ids[streamMine]}
			return r.perform(t, attack{send: q}, p)
		}, want: want{status: 405, code: -32600, reason: "method_not_allowed"}},
	}
	for _, c := range alterations() {
		w := unknown
		if c.what == "a padded MAC" { // no character of a session
			w = invalid
		}
		list = append(list, attack{id: "75", what: "an altered session: " + c.what, do: post("?sessionId=%s", streamMine, c.change), want: w})
	}
	return list
}

// goneAttacks wait for a connector that will not come back.
func goneAttacks() []attack {
	return []attack{{id: "75", what: "a session of HTTP+SSE after its connector's restart", want: want{status: 404, code: -32001, reason: "session_not_found"},
		do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{target: "/t/globex/old/messages?sessionId=" + r.ids[streamGone]}}, p)
		}}}
}

// post posts to the messages of HTTP+SSE, with a query that has a session in it.
func post(query, whose string, change func(string) string) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		id := r.ids[whose]
		if change != nil {
			id = change(id)
		}
		q := query
		if strings.Contains(query, "%") {
			q = fmt.Sprintf(query, id)
		}
		return r.perform(t, attack{send: request{target: oldPath + "messages" + q}}, p)
	}
}
