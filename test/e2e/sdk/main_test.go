// Package sdk_test lets clients and servers that others wrote talk to each
// other through the whole system, as they do without it. It knows nothing of
// what is between them.
package sdk_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The revisions that both implementations speak: the last with MCP sessions,
// and the first without.
const (
	sessionful = "2025-11-25"
	stateless  = "2026-07-28"
)

const patience = 15 * time.Second

// client is one of the client implementations, connected.
type client interface {
	// version is the revision that was agreed on.
	version() string
	// session is the MCP session's id, or "".
	session() string
	tools(ctx context.Context) ([]string, error)
	// call calls a tool and returns the text of its result. Progress is asked for.
	call(ctx context.Context, tool string, arguments map[string]any) (string, error)
	// close ends the MCP session.
	close() error
}

// dialer connects one of the client implementations to a URL.
type dialer func(ctx context.Context, url, revision string, agent *http.Client, on events) (client, error)

// events is what a client reports.
type events struct {
	progress func() // progress of a call has come
	changed  func() // the server's list of tools has changed
	asked    func() // the server has asked the user something
}

// server is one of the server implementations. Each has the tools echo (gives
// its argument text back), count (reports progress three times), ask (asks the
// user, and answers with the user's action) and wait (until it is cancelled).
type server struct {
	http.Handler
	// change adds a tool.
	change func()
	// cancelled gets a value when a call of wait has been cancelled.
	cancelled chan struct{}
	// close ends what the server runs.
	close func()
}
