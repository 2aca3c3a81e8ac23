// Package diag is a built-in MCP server to try a path with: it echoes, takes its time, streams, and tells what reached it or,
// as a local command, what it can see.
// It knows nothing of tunnels, of who may call it or of what carries its requests.
package diag

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"

	"github.com/mark3labs/mcp-go/server"
)

// Config configures the server.
type Config struct {
	// Name is how the server introduces itself. Optional; default "diag".
	Name string
	// Version is the version that it gives. Optional; default "dev".
	Version string
}

// New returns the server as a handler of MCP over streamable HTTP, for all revisions up to 2026-07-28. It keeps no state
// between requests, and authenticates nobody.
func New(cfg Config) http.Handler {
	s := newServer(cfg, "Diagnostic tools: echo, slow, stream and whoami. They touch nothing.")
	s.AddTools(echo(), slow(s), stream(s), Whoami())
	return Handler(s)
}

// newServer returns a server without tools.
func newServer(cfg Config, instructions string) *server.MCPServer {
	return server.NewMCPServer(cmp.Or(cfg.Name, "diag"), cmp.Or(cfg.Version, "dev"),
		server.WithToolCapabilities(false),
		server.WithLogging(),
		server.WithLogger(slog.New(slog.DiscardHandler)),
		server.WithInstructions(instructions),
	)
}

// Handler serves s over streamable HTTP, without MCP sessions, so that its tools can see the request that reached them, as
// [Whoami] does.
func Handler(s *server.MCPServer) http.Handler {
	return server.NewStreamableHTTPServer(s,
		server.WithStateLess(true),
		server.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)),
		server.WithHTTPContextFunc(func(ctx context.Context, r *http.Request) context.Context {
			return context.WithValue(ctx, arrivalKey{}, arrival{header: r.Header, proto: r.Proto, local: localAddr(r)})
		}),
	)
}
