package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// ServerOptions are what a server is made with beside its configuration.
type ServerOptions struct {
	// Name is how the server introduces itself, and the host of its resources' URIs. Required.
	Name string
	// Version is the version that it gives. Optional; default "dev".
	Version string
	// Failed gets what went wrong that the agent is not told. Optional.
	Failed func(tool string, err error)
}

// Server is the MCP server of one database. It keeps no state between requests but what it knows of the schema.
type Server struct {
	cfg     Config
	driver  Driver
	dialect Dialect
	name    string
	failed  func(tool string, err error)
	schema  *catalogue
	mcp     *server.MCPServer
	http    http.Handler
}

// NewServer returns a server for a configuration that Validate has passed.
func NewServer(cfg Config, d Driver, o ServerOptions) *Server {
	s := &Server{cfg: cfg, driver: d, dialect: d.Dialect(), name: o.Name, failed: o.Failed, schema: newCatalogue(d)}
	if s.failed == nil {
		s.failed = func(string, error) {}
	}
	hooks := new(server.Hooks)
	options := []server.ServerOption{
		server.WithToolCapabilities(false), server.WithInputSchemaValidation(), server.WithRecovery(), server.WithHooks(hooks),
		server.WithLogger(slog.New(slog.DiscardHandler)), server.WithInstructions(s.instructions()),
	}
	if !cfg.NamedOnly {
		options = append(options, server.WithResourceCapabilities(false, false), server.WithCompletions(), server.WithResourceCompletionProvider(s), server.WithResourceRecovery())
		hooks.AddAfterListTools(s.sketch)
	}
	s.mcp = server.NewMCPServer(o.Name, cmp.Or(o.Version, "dev"), options...)
	if !cfg.NamedOnly {
		s.mcp.AddTools(s.query(), s.explain(), s.listSchemas(), s.listTables(), s.describeTable())
		s.addResources()
	}
	for _, n := range cfg.Statements {
		s.mcp.AddTools(s.named(n))
	}
	s.http = server.NewStreamableHTTPServer(s.mcp, server.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)), server.WithDisableLocalhostProtection(true))
	return s
}

func (s *Server) instructions() string {
	if s.cfg.NamedOnly {
		return fmt.Sprintf("A %s database. Its tools are statements that its operator has written.", s.dialect.Name)
	}
	return fmt.Sprintf("A %s database, read-only. Look at list_tables and describe_table before you write a query.", s.dialect.Name)
}

// ServeHTTP answers MCP over streamable HTTP, for all revisions up to 2026-07-28. The request's context has the caller
// ([WithCaller]). There is nothing that the server says by itself, and so no stream to get.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Allow", "POST, DELETE")
		http.Error(w, "this server has no stream of its own", http.StatusMethodNotAllowed)
		return
	}
	if r.Header.Get(server.HeaderKeySessionID) == "" {
		// The library wants one of revisions that have sessions, and finds by it what a notification cancels. Without a
		// session nothing can be cancelled by another request.
		r = r.Clone(r.Context())
		r.Header.Set(server.HeaderKeySessionID, new(server.StatelessGeneratingSessionIdManager).Generate())
	}
	s.http.ServeHTTP(w, r)
}

// Warnings says what a login may do that it should not. It fails if the database does not answer the login.
func (s *Server) Warnings(ctx context.Context, as Login) ([]string, error) {
	if _, err := s.driver.Schemas(ctx, as); err != nil {
		return nil, err
	}
	return s.driver.Warnings(ctx, as)
}

// Close ends all connections.
func (s *Server) Close() { s.driver.Close() }

// grace is how long after its timeout a statement may take to end.
const grace = 5 * time.Second

// run runs a statement within its time, and tells whoever wants to know that it still runs.
func (s *Server) run(ctx context.Context, r mcp.CallToolRequest, as Login, statement Statement) (*mcp.CallToolResult, error) {
	statement.Timeout = s.cfg.StatementTimeout
	ctx, cancel := context.WithTimeout(ctx, statement.Timeout+grace)
	defer cancel()
	stop := s.report(ctx, r)
	defer stop()
	rows := NewRows(s.cfg.MaxRows, s.cfg.MaxBytes)
	if err := s.driver.Run(ctx, as, statement, rows); err != nil {
		return s.failure(ctx, r.Params.Name, err)
	}
	return mcp.NewToolResultStructured(rows.structured(), rows.text()), nil
}

// failure is the result of a tool that has failed.
func (s *Server) failure(ctx context.Context, tool string, err error) (*mcp.CallToolResult, error) {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return nil, cause // the caller has left, or has cancelled
	}
	e := asError(err)
	if errors.Is(err, context.DeadlineExceeded) {
		e = &Error{Text: "the database did not answer in time: try again later", Unknown: e.Unknown, Err: e.Err}
	}
	if e.Err != nil {
		s.failed(tool, e.Err)
	}
	return mcp.NewToolResultError(e.Error()), nil
}

// reportEvery is how often a caller hears that a statement still runs.
const reportEvery = 5 * time.Second

// settle is the pause between the last notification and the result. The library's forwarder drops a notification that it
// holds when the result overtakes it (mcp-go v1.2.1, streamable_http.go, handlePost).
const settle = 20 * time.Millisecond

// report sends progress, if the request carries a token for it, until the returned function is called.
func (s *Server) report(ctx context.Context, r mcp.CallToolRequest) (stop func()) {
	if r.Params.Meta == nil || r.Params.Meta.ProgressToken == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for seconds := reportEvery; ; seconds += reportEvery {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			_ = s.mcp.SendNotificationToClient(ctx, string(mcp.MethodNotificationProgress), map[string]any{ // there is another one
				"progressToken": r.Params.Meta.ProgressToken, "progress": seconds.Seconds(), "message": fmt.Sprintf("the statement has run for %s", seconds),
			})
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
