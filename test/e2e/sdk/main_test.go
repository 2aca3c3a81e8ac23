// Package sdk_test lets clients and servers that others wrote talk to each
// other through the whole system, as they do without it, and keeps
// docs/compatibility.md. It knows nothing of what is between them.
package sdk_test

import (
	"context"
	"flag"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	apart "sallyport.dev/cell"
)

// TestMain lets more conversations go on beside each other than there are
// processors: most of them wait for a process that starts.
func TestMain(m *testing.M) {
	apart.Main()
	playPeer()
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// The protocol's revisions: the one of HTTP+SSE, those with MCP sessions over
// streamable HTTP, and the first without any.
const (
	v20241105  = "2024-11-05"
	v20250326  = "2025-03-26"
	v20250618  = "2025-06-18"
	sessionful = "2025-11-25"
	stateless  = "2026-07-28"
)

// wire is one of the protocol's transports over HTTP.
type wire string

const (
	streamable wire = "streamable HTTP"
	httpSSE    wire = "HTTP+SSE"
	// stdio is how a client calls a local server directly; it is in no tunnel.
	stdio wire = "stdio"
)

const patience = time.Minute

// oddText is what every pair must carry exactly.
const oddText = "héllo \u2028 \"quoted\" \\ 😀 <b>&amp;</b> 9007199254740993"

// target is what a client is to call, and how.
type target struct {
	url      string
	over     wire
	revision string
	agent    *http.Client // adds the token, and trusts ca
	ca       string       // a file; "" where the URL is of plain HTTP
	local    local        // in place of all that, over stdio
}

// client is one of the client implementations, connected.
type client interface {
	// version is the revision that was agreed on, or "" if the client does not tell.
	version() string
	tools(ctx context.Context) ([]string, error)
	// call calls a tool and returns the text of its result. Progress is asked for.
	call(ctx context.Context, do request) (string, error)
	// close ends the MCP session.
	close() error
}

// dialer connects one of the client implementations. What it starts ends
// with the client, or with the test.
type dialer func(ctx context.Context, t *testing.T, to target, on events) (client, error)

// events is what a client reports.
type events struct {
	progress func()              // progress of a call has come
	notified func(method string) // the server has said something unasked
	asked    func()              // the server has asked the user, or the user's model, something
}

// request is a call of a tool.
type request struct {
	tool      string
	arguments map[string]any
}

// script is how the tools of a server are called for what every server does.
type script struct {
	// echo gives a text back, behind echoed.
	echo   func(text string) request
	echoed string
	// count reports progress steps times, and answers with counted in its text.
	count   request
	steps   int64
	counted string
	// sample asks the client's model and elicit the user, and answer with
	// sampled and elicited in their texts.
	sample, elicit    request
	sampled, elicited string
	// wait goes on until it is cancelled.
	wait request
	// unasked is the notification that the server sends on its own, after news.
	unasked string
}

// server is one of the server implementations, which serves streamable HTTP
// at /mcp and HTTP+SSE at /sse.
type server struct {
	http.Handler
	// stdio serves one client over stdin and stdout, until it leaves; nil if it cannot.
	stdio  func(ctx context.Context, in io.ReadCloser, out io.WriteCloser) error
	script script
	// news makes the server send what it sends unasked. It may be called again.
	news func(ctx context.Context, c client)
	// waiting gets a value when a call of wait has begun, and cancelled when it
	// has been cancelled; nil if the server does not tell.
	waiting, cancelled chan struct{}
	// release ends the calls that nobody has cancelled or answered.
	release func()
	// close ends what the server runs.
	close func()
}

// sure is the question that clients accept; they decline all others.
const sure = "Sure?"

// schema asks for one boolean.
func schema() map[string]any {
	return map[string]any{"type": "object", "properties": map[string]any{"sure": map[string]any{"type": "boolean"}}}
}

// noArguments are no arguments, which some servers want to be an object all the same.
func noArguments() map[string]any { return map[string]any{} }

// plain is the script of the servers that are written here.
func plain() script {
	return script{
		echo:  func(text string) request { return request{"echo", map[string]any{"text": text}} },
		count: request{"count", noArguments()}, steps: 3, counted: "counted",
		sample: request{"sample", noArguments()}, sampled: "sampled text",
		elicit: request{"ask", noArguments()}, elicited: "accept",
		wait:    request{"wait", noArguments()},
		unasked: "notifications/tools/list_changed",
	}
}
