package attack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Parts of event streams.
const (
	progress = `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}` + "\n\n"
	result   = `data: ` + answered + "\n\n"
	foreign  = `{"jsonrpc":"2.0","id":8,"result":"` + offenceCanary + `"}`
	question = `data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"x":"` + offenceCanary + `"}}` + "\n\n"
	badPlace = "event: endpoint\ndata: http://127.0.0.2/" + offenceCanary + "\n\n"
)

// eventAttacks are event streams that say what an upstream may not say. The
// stream ends there: with an error for what has no answer, or aborted.
func eventAttacks() []attack {
	ended := want{status: 200, code: -32019, reason: "upstream_invalid", hits: 1}
	lost := want{status: 200, code: -32014, reason: "outcome_unknown", hits: 1}
	aborted := want{status: 200, cut: true, hits: 1}
	passed := want{status: 200, hits: 1}
	first := want{status: 200, cut: true, hits: 1, check: func(t *testing.T, a answer, _ []received) {
		t.Helper()
		if string(a.body) != result {
			t.Errorf("the agent got %q", a.body)
		}
	}}
	var list []attack
	stream := func(pieces ...string) *script { return raw(chunked(asEvents, pieces...)) }
	add := func(what string, s *script, q request, w want) {
		list = append(list, attack{id: "84", what: what, script: s, send: q, want: w})
	}
	latest := modern("tools/call", `"name":"add"`, field{"Mcp-Name", "add"})
	get := request{method: http.MethodGet, bodiless: true, drop: []string{"Content-Type"}, target: hostilePath}
	sse := get
	sse.target = strings.Replace(hostilePath, "/mcp", "/sse", 1)
	resumed := get
	resumed.fields = []field{{"Last-Event-ID", "1"}}
	resumedCall := request{fields: []field{{"Last-Event-ID", "1"}}}

	add("a response for another id", stream(progress, "data: "+foreign+"\n\n"), request{}, ended)
	add("a response for another id, in 2026-07-28", stream(progress, "data: "+foreign+"\n\n"), latest, ended)
	add("a response for another id, on a POST with Last-Event-ID", stream(progress, "data: "+foreign+"\n\n"), resumedCall, ended)
	add("a response for another id, cut off at the stream's end", stream(progress, "data: "+foreign), request{}, ended)
	add("a response for another id, behind an event id", stream("id: 1\n"+progress, "data: "+foreign+"\n\n"), request{}, aborted)
	add("a response for another id, on a GET", stream(progress, "data: "+foreign+"\n\n"), get, aborted)
	add("a response for the id as a string", stream(`data: {"jsonrpc":"2.0","id":"1","result":"`+offenceCanary+`"}`+"\n\n"), request{}, ended)
	add("a response for another id in a batch", stream(`data: [`+answered+`,`+foreign+"]\n\n"), request{}, ended)
	add("an honest stream", stream(progress, result), request{}, passed)
	add("an honest stream, in 2026-07-28", stream(progress, result), latest, passed)
	add("an event id, in 2025-11-25: passed", stream("id: 7\n"+progress, result), request{}, passed)
	add("a response, and a notification behind it, in 2025-11-25: passed", stream(result, progress), request{}, passed)
	add("a request to the client, in 2025-11-25: passed", stream(progress, strings.Replace(question, offenceCanary, "", 1), result), request{}, passed)
	add("a response for another id, of 100 KiB", stream(`data: {"jsonrpc":"2.0","result":"`+strings.Repeat("x", 100<<10)+`","id":8}`+"\n\n"), request{}, want{status: 200, cut: true, hits: 1,
		check: func(t *testing.T, a answer, _ []received) {
			t.Helper()
			if bytes.HasSuffix(a.body, []byte("\n\n")) {
				t.Error("its event has an end")
			}
		}})
	add("an id in another case beside it", stream(`data: {"jsonrpc":"2.0","id":1,"ID":8,"result":"`+offenceCanary+`"}`+"\n\n"), request{}, ended)
	add("a response, and one for another id", stream(result, "data: "+foreign+"\n\n"), request{}, first)
	add("two responses: aborted behind the first", stream(result, `data: {"jsonrpc":"2.0","id":1,"result":"`+offenceCanary+`"}`+"\n\n"), request{}, first)
	add("a response, and a request behind it: aborted behind the response", stream(result, question), request{}, first)
	add("a response, and a notification behind it, in 2026-07-28: aborted behind the response", stream(result, strings.Replace(progress, "1}", `"`+offenceCanary+`"}`, 1)), latest, first)
	add("a request to the client, in 2026-07-28", stream(progress, question), latest, ended)
	add("an event id, in 2026-07-28", stream(progress, "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\""+offenceCanary+"\"}\n\n"), latest, ended)
	add("`retry: 0`", stream(progress, "retry: 0\ndata: {\"jsonrpc\":\"2.0\",\"method\":\""+offenceCanary+"\"}\n\n"), request{}, ended)
	add("`retry:  0`, to readers that trim", stream(progress, "retry:  0 \ndata: {\"jsonrpc\":\"2.0\",\"method\":\""+offenceCanary+"\"}\n\n"), request{}, ended)
	add("`event: endpoint` on streamable HTTP", stream(progress, badPlace), request{}, ended)
	add("`event: endpoint` in 2026-07-28", stream(progress, badPlace), latest, ended)
	add("`event: endpoint` on a GET", stream(progress, badPlace), get, aborted)
	add("a name that is endpoint once trimmed", stream(progress, strings.Replace(badPlace, " endpoint", "\tendpoint ", 1)), request{}, ended)
	add("a name that is endpoint behind 64 spaces", stream(progress, strings.Replace(badPlace, " endpoint", strings.Repeat(" ", 70)+"endpoint", 1)), request{}, ended)
	add("an id twice in a message", stream(`data: {"jsonrpc":"2.0","id":1,"id":8,"result":"`+offenceCanary+`"}`+"\n\n"), request{}, ended)
	add("`Result` beside `result`, under another event name", stream("event: ping\ndata: "+`{"jsonrpc":"2.0","id":8,"result":1,"Result":"`+offenceCanary+`"}`+"\n\n"), request{}, ended)
	add("a no-break space before a response, under another event name", stream("event: ping\ndata: \u00a0"+foreign+"\n\n"), request{}, ended)
	add("data that is no JSON", stream(progress, "data: "+offenceCanary+"\n\n"), request{}, ended)
	add("a raw CR in data", stream(progress, "data: {\"jsonrpc\":\"2.0\",\r\"id\":1,\"result\":\""+offenceCanary+"\"}\n\n"), request{}, ended)
	add("a raw LF in data", stream(progress, "data: {\"jsonrpc\":\"2.0\",\n\"id\":1,\"result\":\""+offenceCanary+"\"}\n\n"), request{}, ended)
	add("a response behind two raw CR, for readers that split at LF", stream(progress, "data:\r\r"+foreign+"\n\n"), request{}, ended)
	add("an event name behind a raw CR, for readers that split at CR", stream(progress, ": a\revent: ping\ndata: {\"id\":8,\r\"result\":\""+offenceCanary+"\"}\n\n"), request{}, ended)
	add("hanging up in an event", raw(openChunks(asEvents, progress, `data: {"jsonrpc":"2.0","id":1,"result":"`+offenceCanary)), request{}, lost)
	add("hanging up in an event, behind an event id", raw(openChunks(asEvents, "id: 1\n"+progress, `data: {"jsonrpc":"2.0","id":1,"result":"`+offenceCanary)), request{}, aborted)
	add("hanging up in an event of a GET", raw(openChunks(asEvents, progress, `data: {"jsonrpc":"2.0","method":"`+offenceCanary)), get, aborted)
	add("hanging up behind the response", raw(openChunks(asEvents, progress, result)), request{}, passed)
	add("fewer bytes than a stream's Content-Length", raw("HTTP/1.1 200 OK\r\n", asEvents, "Content-Length: 4000\r\n\r\n", progress), request{}, lost)
	add("a response on a GET that resumes: passed", stream(result), resumed, passed)

	add("HTTP+SSE: an endpoint of another origin", stream(badPlace), sse, aborted)
	add("HTTP+SSE: an endpoint of another host without a scheme", stream(strings.Replace(badPlace, "http:", "", 1)), sse, aborted)
	add("HTTP+SSE: an endpoint of another scheme", stream("event: endpoint\ndata: javascript:"+offenceCanary+"\n\n"), sse, aborted)
	add("HTTP+SSE: an endpoint with a backslash", stream("event: endpoint\ndata: /\\127.0.0.2/"+offenceCanary+"\n\n"), sse, aborted)
	add("HTTP+SSE: an endpoint in two lines", stream("event: endpoint\ndata: /private\ndata: /"+offenceCanary+"\n\n"), sse, aborted)
	add("HTTP+SSE: a message before the endpoint", stream("data: "+foreign+"\n\n"), sse, aborted)
	add("HTTP+SSE: a second endpoint", stream("event: endpoint\ndata: /private\n\n", badPlace), sse, aborted)
	add("HTTP+SSE: a second endpoint for readers that trim", stream("event: endpoint\ndata: /private\n\n", strings.Replace(badPlace, " endpoint", "  endpoint", 1)), sse, aborted)
	add("HTTP+SSE: a second endpoint for readers that split at LF", stream("event: endpoint\ndata: /private\n\n", "event: endpoint\n: a\revent: ping\ndata: http://127.0.0.2/"+offenceCanary+"\n\n"), sse, aborted)

	list = append(list,
		attack{id: "84", what: "HTTP+SSE: an endpoint elsewhere, and a message to whatever the agent was given", key: "away", script: stream(badPlace), do: followPlace, want: want{status: 200, cut: true, hits: 1}},
		attack{id: "84", what: "a line of 100 MiB", over: []proto{h1}, key: "line", script: longLine(), do: readLong, want: want{status: 200, cut: true, hits: 1}},
	)
	return list
}

// followPlace asks for a stream and posts to whatever place it names.
func followPlace(t *testing.T, r *rig, p proto) (answer, error) {
	q := request{method: http.MethodGet, bodiless: true, drop: []string{"Content-Type"}, target: strings.Replace(hostilePath, "/mcp", "/sse", 1), fields: []field{{caseHeader, "away"}}}
	a, err := r.perform(t, attack{send: q}, p)
	if bytes.Contains(a.body, []byte("endpoint")) {
		t.Errorf("the agent was given %q", a.body)
	}
	return a, err
}

// longLine is an event that does not end for 100 MiB.
func longLine() *script {
	return &script{play: func(conn net.Conn) {
		piece := []byte(fmt.Sprintf("%x\r\n%s\r\n", 1<<20, strings.Repeat("x", 1<<20)))
		_, err := io.WriteString(conn, openChunks(asEvents, `data: {"jsonrpc":"2.0","id":1,"result":"`))
		for range 100 {
			if err == nil {
				_, err = conn.Write(piece)
			}
		}
		if err == nil {
			_, _ = io.WriteString(conn, "0\r\n\r\n")
		}
	}}
}

// readLong reads an answer that is too long to keep.
func readLong(t *testing.T, r *rig, _ proto) (a answer, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := r.dial(ctx, publicName, "", "http/1.1")
	if err != nil {
		return a, err
	}
	defer func() { _ = conn.Close() }()
	q := request{target: hostilePath, fields: []field{{caseHeader, "line"}}}
	if _, err := io.WriteString(conn, q.fill(r.host).encode()); err != nil {
		return a, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	a.status, a.header, a.cut = resp.StatusCode, resp.Header, errors.Is(err, io.ErrUnexpectedEOF)
	if n > 65<<20 {
		t.Errorf("%d bytes of one line passed", n)
	}
	return a, nil
}
