package attack

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	scriptField     = "X-Script"         // names what the upstream does
	upstreamSession = "upstream-session" // what it calls every MCP session
)

// The events of scripts. The honest calls have the id 1.
const (
	eventNotice   = `data: {"jsonrpc":"2.0","method":"notifications/message"}` + "\n\n"
	eventResponse = `data: {"jsonrpc":"2.0","id":1,"result":{}}` + "\n\n"
	eventForeign  = `data: {"jsonrpc":"2.0","id":2,"result":"for another"}` + "\n\n"
	eventRequest  = `data: {"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}` + "\n\n"
)

// scripts are the misdeeds of upstreams, by name.
func scripts() map[string]func(http.ResponseWriter) {
	all := map[string]func(http.ResponseWriter){
		"1xx flood":           raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+credentialCanary+">\r\n\r\n", 200)),
		"one 103":             raw("HTTP/1.1 103 Early Hints\r\nLink: </" + credentialCanary + ">\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
		"status 999":          raw("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
		"HTTP/0.9":            raw(credentialCanary + " is all there is\n"),
		"a head of 1 MiB":     raw("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 1<<20) + "\r\nContent-Length: 0\r\n\r\n"),
		"cut in a chunk":      raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n40\r\ndata: ", len(eventNotice), eventNotice)),
		"cut in a head":       raw("HTTP/1.1 200 OK\r\nContent-Type: appl"),
		"two lengths":         raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
		"hangs up":            raw(""),
		"gzip":                raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"),
		"gzip events":         raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n\x1f\x8b"),
		"redirect":            raw("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
		"cookies and more":    raw("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAlt-Svc: h3=\":1\"\r\nRefresh: 0\r\nClear-Site-Data: \"*\"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
		"a challenge":         raw("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer resource_metadata=\"http://169.254.169.254/\"\r\nContent-Length: 0\r\n\r\n"),
		"public cache":        raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: public, max-age=600\r\nContent-Length: 71\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","ttlMs":60000}}`),
		"a schema with $ref":  raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 108\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{"$ref":"http://169.254.169.254/x"}}]}}`),
		"an answer cut short": raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 4000\r\n\r\n" + eventNotice),
	}
	for name, stream := range map[string]string{
		"an honest stream":            eventNotice + eventResponse,
		"endpoint":                    eventNotice + "event: endpoint\ndata: https://evil.example/m\n\n",
		"id":                          "id: 7\n" + eventNotice,
		"retry 0":                     eventNotice + "retry: 0\n\n",
		"foreign response":            eventNotice + eventForeign,
		"two responses":               eventResponse + strings.Replace(eventResponse, "{}", `"again"`, 1),
		"a response, then a foreign":  eventResponse + eventForeign,
		"a response, then a request":  eventResponse + eventRequest,
		"a response, then a notice":   eventResponse + eventNotice,
		"a request":                   eventNotice + eventRequest,
		"a bare CR":                   eventNotice + "data: {\"jsonrpc\":\"2.0\",\"method\":\"a\"}\rdata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":1}\n\n",
		"no JSON":                     eventNotice + "data: hello\n\n",
		"an id twice":                 eventNotice + `data: {"jsonrpc":"2.0","id":2,"id":1,"result":1}` + "\n\n",
		"an id in capitals":           eventNotice + `data: {"jsonrpc":"2.0","id":1,"ID":2,"result":1}` + "\n\n",
		"a foreign one at the end":    eventNotice + strings.TrimSuffix(eventForeign, "\n\n"),
		"a foreign one of 100 KiB":    eventNotice + `data: {"result":"` + strings.Repeat("x", 100<<10) + `","id":2}` + "\n\n",
		"an endpoint of ours":         "event: endpoint\ndata: /private\n\n",
		"an endpoint of another host": "event: endpoint\ndata: https://evil.example/m\n\n",
		"no endpoint":                 eventNotice,
		"two endpoints":               "event: endpoint\ndata: /private\n\nevent: endpoint\ndata: /private\n\n",
	} {
		all[name] = func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, stream)
		}
	}
	return all
}

// raw writes bytes as they are, and hangs up.
func raw(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}
