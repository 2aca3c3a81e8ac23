package attack

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const initializeBody = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`

// withSession begins an MCP session, as somebody else if so asked, and
// sends the request that is made of its id.
func withSession(stranger bool, use func(r *rig, id string) request) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		t.Helper()
		return r.afterBeginning(p, stranger, request{target: heldPath, body: initializeBody}, func(a answer) (request, error) {
			id := a.header.Get("Mcp-Session-Id")
			if !strings.HasSuffix(id, "."+upstreamSession) {
				return request{}, errors.New("no MCP session was begun")
			}
			return use(r, id), nil
		})
	}
}

// withPlace opens a stream of HTTP+SSE and posts to what is made of its session.
func withPlace(stranger bool, change func(session string) string) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		t.Helper()
		listen := request{method: "GET", target: "/t/acme/held/sse", bodiless: true, drop: []string{"Content-Type", "MCP-Protocol-Version"},
			fields: []field{{scriptField, "an endpoint of ours"}}}
		return r.afterBeginning(p, stranger, listen, func(a answer) (request, error) {
			_, session, found := bytes.Cut(bytes.TrimSpace(a.body), []byte("sessionId="))
			if !found {
				return request{}, errors.New("no endpoint event came")
			}
			return request{target: "/t/acme/held/messages?sessionId=" + change(string(session))}, nil
		})
	}
}

// afterBeginning makes a first request, and then the attack that follows from
// its answer: as the same agent, or as another one.
func (r *rig) afterBeginning(p proto, stranger bool, first request, next func(answer) (request, error)) (answer, error) {
	begun, err := r.send(p, first)
	if err != nil {
		return begun, err
	}
	q, err := next(begun)
	if err != nil {
		return begun, err
	}
	if stranger {
		q.fields = append(q.fields, field{"Authorization", "Bearer " + secondToken})
	}
	before := r.held.bytes.Load()
	got, err := r.send(p, q)
	if r.held.bytes.Load() != before {
		err = errors.Join(err, errors.New("the upstream of the session was touched"))
	}
	return got, err
}

// sessionAttacks use MCP sessions that are not the caller's, or none at all.
func sessionAttacks() []attack {
	bad := want{status: 400, code: -32600, reason: "invalid_request"}
	gone := want{status: 404, code: -32001, reason: "session_not_found"}
	use := func(target string, change func(string) string) func(*rig, string) request {
		return func(_ *rig, id string) request {
			return request{target: target, fields: []field{{"Mcp-Session-Id", change(id)}}}
		}
	}
	same := func(id string) string { return id }
	part := func(n int, with string) func(string) string {
		return func(id string) string {
			parts := strings.SplitN(id, ".", 3)
			parts[n] = with
			return strings.Join(parts, ".")
		}
	}
	const response = `{"jsonrpc":"2.0","id":5,"result":{}}`
	guess := func(id string) request { return request{fields: []field{{"Mcp-Session-Id", id}}} }
	return []attack{
		{id: "73", what: "a response without a session", send: request{body: response}, want: bad},
		{id: "73", what: "a response with a session that nobody gave", send: request{body: response, fields: []field{{"Mcp-Session-Id", "guess"}}}, want: gone},
		{id: "73", what: "a response in another agent's session", do: withSession(true, func(_ *rig, id string) request {
			return request{target: heldPath, body: response, fields: []field{{"Mcp-Session-Id", id}}}
		}), want: gone},
		{id: "75", what: "another agent's session", do: withSession(true, use(heldPath, same)), want: gone},
		{id: "75", what: "a session given to somebody else to use", do: withSession(true, use(heldPath, same)), want: gone},
		{id: "75", what: "a session at another server", do: withSession(false, use(wikiPath, same)), want: gone},
		{id: "75", what: "a session at another tunnel", do: withSession(false, use(foreignPath, same)), want: gone},
		{id: "75", what: "the upstream's own id", do: withSession(false, use(heldPath, func(string) string { return upstreamSession })), want: gone},
		{id: "75", what: "another connector in it", do: withSession(false, use(heldPath, part(0, "OTHER"))), want: gone},
		{id: "75", what: "another MAC in it", do: withSession(false, use(heldPath, part(1, "AAAAAAAAAAAAAAAAAAAAAA"))), want: gone},
		{id: "75", what: "no MAC in it", do: withSession(false, use(heldPath, part(1, ""))), want: gone},
		{id: "75", what: "another session behind its MAC", do: withSession(false, use(heldPath, part(2, "victim"))), want: gone},
		{id: "75", what: "a guess", send: guess("1"), want: gone},
		{id: "75", what: "a session of 10 KiB", send: guess(long("a", 10<<10)), want: bad},
		{id: "75", what: "an empty session", send: guess(""), want: bad},
		{id: "75", what: "a session with a space", send: guess("a b"), want: bad},
		{id: "75", what: "a session with CR LF in it", over: []proto{h1}, send: guess("a\r\nX-Evil: 1"), want: gone},
		{id: "75", what: "two sessions", send: request{fields: []field{{"Mcp-Session-Id", "a"}, {"Mcp-Session-Id", "b"}}}, want: want{status: 400, code: -32020, reason: "header_mismatch"}},
		{id: "76", what: "the Last-Event-ID of another agent's session", do: withSession(true, func(_ *rig, id string) request {
			return request{method: "GET", target: heldPath, bodiless: true, drop: []string{"Content-Type"}, fields: []field{{"Mcp-Session-Id", id}, {"Last-Event-ID", "1"}}}
		}), want: gone},
		{id: "75", what: "the end of another agent's session", do: withSession(true, func(_ *rig, id string) request {
			return request{method: "DELETE", target: heldPath, bodiless: true, drop: []string{"Content-Type"}, fields: []field{{"Mcp-Session-Id", id}}}
		}), want: gone},
	}
}

// contentAttacks hide orders where only the two ends of a call may look.
func contentAttacks() []attack {
	passed := want{status: 200, hits: 1}
	meta := func(content string) request {
		return request{body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","_meta":{` + content + `}}}`}
	}
	return []attack{
		{id: "77", what: "a traceparent of 1 MiB in `_meta`", send: meta(`"traceparent":"` + long("a", 1<<20) + `"`), want: passed},
		{id: "77", what: "baggage of 1 MiB in `_meta`", send: meta(`"baggage":"` + long("a", 1<<20) + `"`), want: passed},
		{id: "77", what: "another tenant in `_meta`", send: meta(`"tenant":"globex","io.modelcontextprotocol/tunnel":"globex"`), want: passed},
		{id: "77", what: "a revision in `_meta` that the head does not have", send: meta(`"io.modelcontextprotocol/protocolVersion":"2026-07-28"`), want: want{status: 400, code: -32020, reason: "header_mismatch"}},
		{id: "78", what: "a schema that refers to `http://169.254.169.254/x`: never fetched", send: script("a schema with $ref"), want: passed},
	}
}

// answerAttacks are answers that are not what HTTP or the call's owner expects.
func answerAttacks() []attack {
	broken := want{status: 502, code: -32014, reason: "outcome_unknown", hits: 1}
	invalid := want{status: 502, code: -32019, reason: "upstream_invalid", hits: 1}
	return []attack{
		{id: "80", what: "a redirect to the metadata service", send: script("redirect"), want: invalid},
		{id: "81", what: "a 401 with a challenge of its own", send: script("a challenge"), want: want{status: 502, code: -32017, reason: "credential_rejected", hits: 1}},
		{id: "82", what: "cookies, Alt-Svc, Refresh, Clear-Site-Data: dropped", send: script("cookies and more"), want: want{status: 200, hits: 1,
			header: []field{{"Set-Cookie", ""}, {"Alt-Svc", ""}, {"Refresh", ""}, {"Clear-Site-Data", ""}}}},
		{id: "83", what: "a connection that ends before the answer", send: script("hangs up"), want: broken},
		{id: "83", what: "a connection that ends in the head", send: script("cut in a head"), want: broken},
		{id: "83", what: "an event stream that ends within a chunk", send: script("cut in a chunk"), want: want{status: 200, hits: 1, event: "-32014 `outcome_unknown`"}},
		{id: "83", what: "an event stream shorter than its length", send: script("an answer cut short"), want: want{status: 200, hits: 1, event: "-32014 `outcome_unknown`"}},
		{id: "83", what: "two lengths", send: script("two lengths"), want: broken},
		{id: "85", what: "200 informal answers with the credential in them", send: script("1xx flood"), want: broken},
		{id: "85", what: "an early hint with the credential in it: dropped", send: script("one 103"), want: want{status: 200, hits: 1}},
		{id: "85", what: "the status 999", send: script("status 999"), want: want{status: 999, hits: 1}},
		{id: "85", what: "HTTP/0.9, with the credential", send: script("HTTP/0.9"), want: broken},
		{id: "85", what: "a head of 1 MiB", send: script("a head of 1 MiB"), want: broken},
		{id: "83", what: "an answer in gzip", send: script("gzip"), want: invalid},
		{id: "83", what: "an event stream in another encoding", send: script("gzip events"), want: invalid},
		{id: "87", what: "`cacheScope: public`: each caller gets an answer of its own", do: func(_ *testing.T, r *rig, p proto) (answer, error) {
			if a, err := r.send(p, script("public cache")); err != nil {
				return a, err
			}
			return r.send(p, script("public cache", field{"Authorization", "Bearer " + secondToken}))
		}, want: want{status: 200, hits: 2}},
	}
}
