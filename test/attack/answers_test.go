package attack

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/test/stack"
)

// answerAttacks are answers that break HTTP, or say too much.
func answerAttacks() []attack {
	broken := want{status: 502, code: -32014, reason: "outcome_unknown", hits: 1}
	invalid := want{status: 502, code: -32019, reason: "upstream_invalid", hits: 1}
	aborted := want{status: 200, cut: true, hits: 1}
	const begun = `{"jsonrpc":"2.0","id":1,"result":"`
	secret := "X-Note: " + offenceCanary + "\r\n"
	ok := sized(asJSON, answered)
	whole := func(body string) want {
		return want{status: 200, hits: 1, check: func(t *testing.T, a answer, _ []received) {
			t.Helper()
			if string(a.body) != body {
				t.Errorf("the agent got %q", a.body)
			}
		}}
	}
	status := func(line string) *script {
		return raw(line, "\r\nConnection: close\r\n", secret, "Content-Length: 0\r\n\r\n")
	}
	early := linger(ok)
	early.early = true
	get := request{method: "GET", bodiless: true, drop: []string{"Content-Type"}, target: hostilePath}
	stream := get
	stream.target = strings.Replace(hostilePath, "/mcp", "/sse", 1)
	events := "data: " + offenceCanary + "\n\n"
	dropped := want{status: 200, hits: 1, header: []field{{"Set-Cookie", ""}, {"Alt-Svc", ""}, {"Refresh", ""}, {"Clear-Site-Data", ""}}}
	list := []attack{
		{id: "80", what: "a redirect to the metadata service", script: raw("HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: http://169.254.169.254/", offenceCanary, "\r\nContent-Length: 0\r\n\r\n"), want: invalid},
		{id: "81", what: "a 401 with a challenge of its own", script: raw("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nWWW-Authenticate: Bearer resource_metadata=\"http://169.254.169.254/", offenceCanary, "\"\r\nContent-Length: 0\r\n\r\n"),
			want: want{status: 502, code: -32017, reason: "credential_rejected", hits: 1}},
		{id: "82", what: "Server, Via, Proxy-*, Link, Location and more of its own: dropped", script: raw(sized("Server: "+offenceCanary+"\r\nVia: 1.1 "+offenceCanary+"\r\nProxy-Authenticate: Basic\r\nProxy-Status: x\r\nLink: </a>; rel=preload\r\nLocation: http://10.0.0.1/\r\nX-Powered-By: "+offenceCanary+"\r\n"+asJSON, "{}")),
			want: want{status: 200, hits: 1, header: []field{{"Server", ""}, {"Via", ""}, {"Proxy-Authenticate", ""}, {"Proxy-Status", ""}, {"Link", ""}, {"Location", ""}, {"X-Powered-By", ""}}}},
		{id: "82", what: "cookies, Alt-Svc, Refresh, Clear-Site-Data: dropped", script: raw(sized("Set-Cookie: a=b\r\nAlt-Svc: h3=\":1\"\r\nRefresh: 0\r\nClear-Site-Data: \"*\"\r\n"+asJSON, "{}")), want: dropped},
		{id: "83", what: "an answer before the request is read", script: early, send: request{body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","pad":"` + strings.Repeat("x", 1<<20) + `"}}`},
			want: want{status: 200, hits: 1}},
		{id: "83", what: "hanging up without an answer", script: raw(), want: broken},
		{id: "83", what: "hanging up in the head", script: raw("HTTP/1.1 200 OK\r\n", secret), want: broken},
		{id: "83", what: "hanging up in a chunk", script: raw(openChunks(asJSON, `{"jsonrpc"`), "20\r\n:\"2"), want: broken},
		{id: "83", what: "hanging up between two chunks", script: raw(openChunks(asJSON, `{"jsonrpc"`)), want: broken},
		{id: "83", what: "a chunk size that is none", script: raw(openChunks(asJSON, `{"jsonrpc"`), "xyz\r\n"), want: broken},
		{id: "83", what: "a Content-Length above the body's", script: raw("HTTP/1.1 200 OK\r\n", asJSON, "Content-Length: 100\r\n\r\n{}"), want: broken},
		{id: "83", what: "a Content-Length above a long body's", script: raw("HTTP/1.1 200 OK\r\n", asJSON, "Content-Length: 300000\r\n\r\n", begun, strings.Repeat("x", 200_000)), want: aborted},
		{id: "83", what: "a Content-Length below the body's", script: raw("HTTP/1.1 200 OK\r\nConnection: close\r\n", asJSON, "Content-Length: 2\r\n\r\n{}"+offenceCanary), want: whole("{}")},
		{id: "83", what: "the same on a connection that is kept, then another call", key: "kept", script: linger("HTTP/1.1 200 OK\r\n" + asJSON + "Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n" + asJSON +
			"Content-Length: 34\r\n\r\n" + offenceCanary + "..."), do: twoCalls("kept", stack.AgentToken, secondToken), want: want{status: 200, hits: 2}},
		{id: "83", what: "two different lengths", script: raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}", offenceCanary), want: broken},
		{id: "83", what: "a length and chunks", script: raw("HTTP/1.1 200 OK\r\nConnection: close\r\n", asJSON, "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", offenceCanary), want: whole("{}")},

		{id: "85", what: "a flood of 100 Continue", script: raw(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10_000), ok), want: broken},
		{id: "85", what: "103 Early Hints with a secret: dropped", script: raw("HTTP/1.1 103 Early Hints\r\nLink: </", offenceCanary, ">\r\n", secret, "\r\n", ok), want: whole(answered)},
		{id: "85", what: "101 Switching Protocols", script: raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", secret, "\r\n", offenceCanary), want: invalid},
		{id: "85", what: "status 999", script: status("HTTP/1.1 999 Odd"), want: invalid},
		{id: "85", what: "status 600", script: status("HTTP/1.1 600 Odd"), want: invalid},
		{id: "85", what: "status 099", script: status("HTTP/1.1 099 Odd"), want: invalid},
		{id: "85", what: "status 1000", script: status("HTTP/1.1 1000 Odd"), want: broken},
		{id: "85", what: "an answer of HTTP/0.9", script: raw("<html>", offenceCanary, "</html>\r\n"), want: broken},
		{id: "85", what: "a header of 1 MiB", script: raw("HTTP/1.1 200 OK\r\n", secret, "X-Long: ", strings.Repeat("x", 1<<20), "\r\nContent-Length: 0\r\n\r\n"), want: broken},
		{id: "85", what: "20,000 header fields", script: raw("HTTP/1.1 200 OK\r\n", secret, strings.Repeat("A: b\r\n", 20_000), "Content-Length: 0\r\n\r\n"), want: broken},
		{id: "85", what: "a NUL in a header's value", script: raw("HTTP/1.1 200 OK\r\nX-A: a\x00", offenceCanary, "\r\nContent-Length: 2\r\n\r\n{}"), want: broken},
		{id: "85", what: "the gateway's own headers, and two MCP sessions", script: raw(sized("Mcp-Session-Id: a\r\nMcp-Session-Id: b\r\nSallyport-Outcome: refused\r\n"+secret, "{}")), want: invalid},
		{id: "85", what: "an MCP session with a space", script: raw(sized("Mcp-Session-Id: a b\r\n"+secret, "{}")), want: invalid},
		{id: "85", what: "an MCP session of 600 bytes", script: raw(sized("Mcp-Session-Id: "+strings.Repeat("a", 600)+"\r\n"+secret, "{}")), want: invalid},
		{id: "85", what: "a trailer with a secret: dropped", script: raw("HTTP/1.1 200 OK\r\nConnection: close\r\nTrailer: X-Note\r\n", asJSON, "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", secret, "\r\n"), want: whole("{}")},

		{id: "84", what: "JSON in gzip", script: raw(sized(asJSON+"Content-Encoding: gzip\r\n", bomb(1<<20))), want: invalid},
		{id: "84", what: "an event stream in gzip", script: raw(sized(asEvents+"Content-Encoding: gzip\r\n", bomb(1<<20))), want: invalid},
		{id: "84", what: "Content-Encoding twice, identity first", script: raw(sized(asEvents+"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", bomb(1<<20))), want: invalid},
		{id: "84", what: "a GET answered by JSON", script: raw(sized(asJSON, offenceCanary)), send: get, want: invalid},
		{id: "84", what: "HTTP+SSE's stream as text/plain", script: raw(sized("Content-Type: text/plain\r\n", events)), send: stream, want: invalid},
	}
	list = append(list, jsonAnswers(invalid, aborted)...)
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		for _, place := range []struct{ what, url string }{
			{"another host", "http://trap.attack.test/" + offenceCanary}, {"another port of its host", "http://127.0.0.1:1/" + offenceCanary},
			{"another scheme", "https://127.0.0.1/" + offenceCanary}, {"another path of its own", "/" + offenceCanary},
		} {
			list = append(list, attack{id: "80", what: status + " to " + place.what, want: invalid,
				script: raw("HTTP/1.1 ", status, " Moved\r\nConnection: close\r\nLocation: ", place.url, "\r\nContent-Length: 0\r\n\r\n")})
		}
	}
	for _, kind := range []string{"text/event-stream, application/json", "application/json; x=text/event-stream", "text/event-stream-x", "text/event-stream\r\nContent-Type: application/json", "application/json\r\nContent-Type: Text/Event-Stream",
		"text/event-stream; charset=utf-16le", "text/event-stream; charset=utf-7", "text/event-stream; charset=utf-8; charset=utf-16", "text/event-stream; charset"} {
		list = append(list, attack{id: "84", what: "events of the type `" + strings.ReplaceAll(kind, "\r\nContent-Type:", "` and `") + "`", script: raw(sized("Content-Type: "+kind+"\r\n", events)), want: invalid})
	}
	return list
}

// jsonAnswers are answers in JSON that are no response to their call, or that ask what policy forbids.
func jsonAnswers(invalid, aborted want) []attack {
	var list []attack
	denied := want{status: 403, code: -32003, reason: "result_denied", hits: 1}
	ended := want{status: 200, code: -32003, reason: "result_denied", hits: 1}
	add := func(what, body string, q request, w want) {
		list = append(list, attack{id: "84", what: "JSON: " + what, script: raw(sized(asJSON, body)), send: q, want: w})
	}
	asks := `{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{"x":"` + offenceCanary + `"}}`
	lists := `{"jsonrpc":"2.0","id":8,"result":{"tools":[{"name":"` + offenceCanary + `"}]}}`
	links := `{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","elicitationId":"1","url":"https://evil.example/` + offenceCanary + `","message":"x"}]}}}`
	pad := `"pad":"` + strings.Repeat("x", 100<<10) + `",`
	old := []field{{"MCP-Protocol-Version", "2025-03-26"}}
	latest := modern("tools/call", `"name":"add"`, field{"Mcp-Name", "add"})
	listing := request{body: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`}
	batch := request{fields: old, body: `[{"jsonrpc":"2.0","id":1,"method":"tools/list"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`}

	add("a request to the client", asks, request{}, invalid)
	add("a request to the client, in 2026-07-28", asks, latest, invalid)
	add("a request to the client, to a request for a list", asks, listing, invalid)
	add("a request to the client, in an array", "["+asks+","+answered+"]", request{}, invalid)
	add("a request to the client, in an array, to a batch", "["+asks+","+answered+"]", batch, invalid)
	add("a request to the client, with `meth\\u006fd`", strings.Replace(asks, "method", `meth\u006fd`, 1), request{}, invalid)
	add("a request to the client, with `Method`", strings.Replace(asks, "method", "Method", 1), request{}, invalid)
	add("a notification", `{"jsonrpc":"2.0","method":"`+offenceCanary+`"}`, request{}, invalid)
	add("a response for another id", foreign, request{}, invalid)
	add("a response for another id, in 2026-07-28", foreign, latest, invalid)
	add("a response for another id, to a batch", "["+answered+","+foreign+"]", batch, invalid)
	add("a list for another id", lists, request{}, invalid)
	add("a list for another id, to a request for a list", lists, listing, invalid)
	add("an array in 2025-11-25", "["+strings.Replace(answered, "{}", `"`+offenceCanary+`"`, 1)+"]", request{}, invalid)
	add("a response for the id as a string", `{"jsonrpc":"2.0","id":"1","result":"`+offenceCanary+`"}`, request{}, invalid)
	add("an error for the id as a string", `{"jsonrpc":"2.0","id":"1","error":{"code":1,"message":"`+offenceCanary+`"}}`, request{}, invalid)
	add("a result for the id null", `{"jsonrpc":"2.0","id":null,"result":"`+offenceCanary+`"}`, request{}, invalid)
	add("an id in another case beside it", `{"jsonrpc":"2.0","id":1,"ID":8,"result":"`+offenceCanary+`"}`, request{}, invalid)
	add("an id twice", `{"jsonrpc":"2.0","id":1,"id":8,"result":"`+offenceCanary+`"}`, request{}, invalid)
	add("a response for another id, behind 64 KiB", strings.Replace(foreign, `"id":8,"result":`, `"result":{`+pad+`"x":0},"id":8,"x":`, 1), request{}, aborted)
	add("a request to the client, behind a response of 100 KiB", strings.Replace(answered, "{}", "{"+pad+`"x":0}`, 1)+asks, request{}, aborted)
	add("an error with a URL to visit", links, request{}, denied)
	add("an error with a URL to visit, with `Elicitations`", strings.Replace(links, "elicitations", "Elicitations", 1), request{}, denied)
	add("an error with a URL to visit behind 64 KiB", strings.Replace(links, `"message"`, pad+`"message"`, 1), request{}, aborted)
	list = append(list,
		attack{id: "84", what: "JSON as text/plain: a request to the client", script: raw(sized("Content-Type: text/plain\r\n", asks)), want: invalid},
		attack{id: "84", what: "JSON of status 400: a request to the client", script: raw(strings.Replace(sized(asJSON, asks), "200 OK", "400 Bad", 1)), want: invalid},
		attack{id: "84", what: "JSON of status 500: a response for another id", script: raw(strings.Replace(sized(asJSON, foreign), "200 OK", "500 Oops", 1)), want: invalid},
		attack{id: "84", what: "an error with a URL to visit, in an event", script: raw(chunked(asEvents, "data: "+links+"\n\n")), want: ended},
		attack{id: "84", what: "an error with a URL to visit, in an event of several lines", script: raw(chunked(asEvents, "data: "+strings.Replace(links, `,"error"`, ",\ndata: \"error\"", 1)+"\n\n")), want: ended},
	)
	return list
}

// twoCalls calls one after the other, for two agents, on connections that the
// connector may keep.
func twoCalls(key string, tokens ...string) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (a answer, err error) {
		for _, token := range tokens {
			a, err = r.perform(t, attack{send: request{target: hostilePath, fields: []field{{caseHeader, key}, {"Authorization", "Bearer " + token}}}}, p)
			searchAnswer(t, a)
			if err != nil || string(a.body) != "{}" {
				return a, fmt.Errorf("the agent got %q, %w", a.body, err)
			}
		}
		return a, err
	}
}

// slowAnswerAttacks keep the connector waiting, which gives a call to this
// server a second.
func slowAnswerAttacks() []attack {
	const (
		tick  = 50 * time.Millisecond
		begun = `{"jsonrpc":"2.0","id":1,"result":"`
	)
	within := func(w want) want {
		w.hits = 1
		w.check = func(t *testing.T, a answer, _ []received) {
			t.Helper()
			if a.took < 900*time.Millisecond || a.took > 5*time.Second || len(a.all) > 16<<20 {
				t.Errorf("it came after %v, %d bytes", a.took, len(a.all))
			}
		}
		return w
	}
	timedOut := within(want{status: 504, code: -32014, reason: "outcome_unknown"})
	aborted := within(want{status: 200, cut: true})
	head := "HTTP/1.1 200 OK\r\n" + asJSON
	return []attack{
		{id: "83", what: "no answer", script: linger(""), want: timedOut},
		{id: "83", what: "half a head, then silence", script: linger(head), want: timedOut},
		{id: "83", what: "a head of one byte each 50 ms", script: drip(head+"X-A: ", "x", tick), want: timedOut},
		{id: "83", what: "100 Continue each 50 ms", script: drip("", "HTTP/1.1 100 Continue\r\n\r\n", tick), want: timedOut},
		{id: "83", what: "half a body, then silence", script: linger(head + "Content-Length: 100\r\n\r\n{"), want: timedOut},
		{id: "83", what: "a body of one byte each 50 ms", script: drip(openChunks(asJSON, begun), "1\r\nx\r\n", tick), want: timedOut},
		{id: "83", what: "a body without end", script: drip(openChunks(asJSON, begun), "8000\r\n"+strings.Repeat("x", 0x8000)+"\r\n", tick), want: aborted},
		{id: "83", what: "a body without length, chunks and end", script: drip(head+"\r\n"+begun, strings.Repeat("x", 0x8000), tick), want: aborted},
	}
}

// sharedAttacks ask somebody to keep one user's answer for another.
func sharedAttacks() []attack {
	var served atomic.Int64
	private := &script{play: func(conn net.Conn) {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","ttlMs":86400000,"answer":%d}}`, served.Add(1))
		_, _ = io.WriteString(conn, sized(asJSON+"Cache-Control: public, max-age=86400, s-maxage=86400\r\nETag: \"one\"\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\r\nAge: 0\r\n", body))
	}}
	orders := "X-Accel-Expires: 3600\r\nX-Accel-Redirect: /t/acme/vault/mcp\r\nSurrogate-Control: max-age=3600\r\nCDN-Cache-Control: max-age=3600\r\n"
	uncached := want{status: 200, hits: 1, header: []field{
		{"Cache-Control", "no-store"}, {"X-Accel-Expires", ""}, {"X-Accel-Redirect", ""}, {"Surrogate-Control", ""}, {"Cdn-Cache-Control", ""},
	}, check: func(*testing.T, answer, []received) {}}
	var list []attack
	for _, control := range []string{"public", "max-age=60, S-MaxAge=60", "private\r\nCache-Control: public, max-age=60", "must-revalidate, max-age=60"} {
		list = append(list, attack{id: "87", what: "Cache-Control: `" + strings.ReplaceAll(control, "\r\nCache-Control:", "` and `") + "`, with orders to nginx and to CDNs: no-store",
			script: raw(sized(asJSON+orders+"Cache-Control: "+control+"\r\n", answered)), want: uncached})
	}
	return append(list, attack{id: "87", what: "`cacheScope: public` and Cache-Control: public on one URL, two users, one of them twice", key: "shared", script: private, want: want{status: 200, hits: 3},
		do: func(t *testing.T, r *rig, p proto) (a answer, err error) {
			var seen [][]byte
			for _, token := range []string{stack.AgentToken, secondToken, stack.AgentToken} {
				q := modern("tools/list", `"cursor":"x"`, field{caseHeader, "shared"}, field{"Authorization", "Bearer " + token}, field{"If-None-Match", `"one"`})
				q.target = hostilePath
				if a, err = r.perform(t, attack{send: q}, p); err != nil {
					return a, err
				}
				for _, other := range seen {
					if bytes.Equal(a.body, other) {
						t.Errorf("two calls share the answer %q", other)
					}
				}
				seen = append(seen, a.body)
			}
			return a, err
		}})
}
