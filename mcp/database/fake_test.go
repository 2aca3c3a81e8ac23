package database

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a database that says what it was asked.
type fake struct {
	mu     sync.Mutex // guards what follows
	ran    []Statement
	as     []Login
	looks  int
	rows   int
	err    error
	delay  time.Duration
	tables int // in the schema many
}

func (f *fake) Dialect() Dialect {
	return Dialect{Name: "FakeSQL", Scheme: "fake", DefaultSchema: "main", Placeholders: "?, ?", Quoted: `"name"`}
}

func (f *fake) Run(ctx context.Context, as Login, s Statement, out *Rows) error {
	f.mu.Lock()
	f.ran, f.as = append(f.ran, s), append(f.as, as)
	rows, err, delay := f.rows, f.err, f.delay
	f.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	if s.Write {
		out.SetAffected(3)
		return nil
	}
	out.SetColumns([]Column{{Name: "n", Type: "bigint"}, {Name: `te"xt`, Type: "text"}})
	for i := range rows {
		if !out.Add([]json.RawMessage{Integer(1<<53 - 2 + int64(i)), Text("é\n")}) {
			break
		}
	}
	return nil
}

func (f *fake) Explain(context.Context, Login, Statement) (string, error) { return "Seq Scan", f.err }

func (f *fake) Schemas(context.Context, Login) ([]Schema, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return []Schema{{Name: "main", Comment: "Sales"}, {Name: "many"}}, f.err
}

func (f *fake) Tables(_ context.Context, _ Login, schema, after string, limit int) (tables []Table, err error) {
	if schema == "main" {
		if after != "" {
			return nil, nil
		}
		return []Table{{Schema: "main", Name: "orders", Kind: "table", Comment: "One row\nan order \x1b[31m", EstimatedRows: 7}, {Schema: "main", Name: "odd/name", Kind: "view", EstimatedRows: -1}}, f.err
	}
	for i := range f.tables {
		name := fmt.Sprintf("t%05d", i)
		if name > after && len(tables) < limit {
			tables = append(tables, Table{Schema: schema, Name: name, Kind: "table"})
		}
	}
	return tables, f.err
}

func (f *fake) Describe(_ context.Context, _ Login, schema, table string) (Table, error) {
	if table == "gone" {
		return Table{}, ErrNoTable
	}
	return Table{Schema: schema, Name: table, Kind: "table", Comment: "One row\nan order \x1b[31m", Columns: []Column{{Name: "id", Type: "bigint"}, {Name: "total", Type: "numeric(12,2)", Nullable: true}}}, f.err
}

func (f *fake) Warnings(context.Context, Login) ([]string, error) {
	return []string{"it may do all"}, nil
}

func (f *fake) Close() {}

// eras are the two ways to speak to the server.
var eras = map[string][]client.ClientOption{"2025-11-25": {client.WithProtocolVersion("2025-11-25")}, "2026-07-28": nil}

// peer is a client of a server.
type peer struct {
	*client.Client
	mu       sync.Mutex // guards progress
	progress int
}

// connect makes a client of a server of a fake, for a caller.
func connect(t *testing.T, cfg Config, f *fake, who Caller, options ...client.ClientOption) *peer {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := NewServer(cfg, f, ServerOptions{Name: "orders", Version: "1.2.3"})
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), who)))
	}))
	t.Cleanup(listener.Close)
	pool := &http.Transport{}
	t.Cleanup(pool.CloseIdleConnections)
	over, err := transport.NewStreamableHTTP(listener.URL+"/mcp", transport.WithHTTPBasicClient(&http.Client{Transport: pool}))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Client: client.NewClient(over, options...)}
	t.Cleanup(func() { _ = p.Close() })
	p.OnNotification(func(n mcp.JSONRPCNotification) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if n.Method == "notifications/progress" {
			p.progress++
		}
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Initialize(t.Context(), mcp.InitializeRequest{}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) call(t *testing.T, tool, arguments string) *mcp.CallToolResult {
	t.Helper()
	var r mcp.CallToolRequest
	r.Params.Name, r.Params.Arguments = tool, json.RawMessage(arguments)
	r.Params.Meta = &mcp.Meta{ProgressToken: "p"}
	result, err := p.CallTool(t.Context(), r)
	if err != nil {
		t.Fatalf("%s %s: %v", tool, arguments, err)
	}
	return result
}

func textOf(result *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range result.Content {
		if one, ok := c.(mcp.TextContent); ok {
			b.WriteString(one.Text)
		}
	}
	return b.String()
}
