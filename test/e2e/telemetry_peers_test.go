package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgotypes "github.com/mark3labs/mcp-go/mcp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// wiki is an MCP server by the go-sdk that traces what it does, and keeps the heads of the calls that it got.
type wiki struct {
	url string

	mu    sync.Mutex // guards heads
	heads []http.Header
}

func newWiki(t *testing.T, collector string) *wiki {
	t.Helper()
	tracer := elsewhere(t, "wiki", collector)
	server := mcp.NewServer(&mcp.Implementation{Name: "wiki", Version: "1"}, nil)
	type argument struct {
		Text string `json:"text"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "search"}, func(ctx context.Context, _ *mcp.CallToolRequest, in argument) (*mcp.CallToolResult, any, error) {
		_, span := tracer.Start(ctx, "search the index")
		defer span.End()
		time.Sleep(3 * time.Millisecond)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "found " + in.Text}}}, nil, nil
	})
	w := new(wiki)
	handler := traced(tracer, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	w.url = serve(t, func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.heads = append(w.heads, r.Header.Clone())
		w.mu.Unlock()
		handler.ServeHTTP(rw, r)
	}).URL + "/mcp"
	return w
}

// took returns the heads of the calls so far, and forgets them.
func (w *wiki) took() []http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	heads := w.heads
	w.heads = nil
	return heads
}

// caller calls a tool by a client that others wrote.
type caller func(ctx context.Context, tool string, arguments map[string]any) error

// tracedClients connects clients to a server.
var tracedClients = map[string]func(ctx context.Context, t *testing.T, url string, agent *http.Client) caller{
	"go-sdk": func(ctx context.Context, t *testing.T, url string, agent *http.Client) caller {
		t.Helper()
		c := mcp.NewClient(&mcp.Implementation{Name: "go-sdk client", Version: "1"}, nil)
		session, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: agent, DisableStandaloneSSE: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = session.Close() })
		return func(ctx context.Context, tool string, arguments map[string]any) error {
			result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
			if err == nil && result.IsError {
				err = fmt.Errorf("a tool error: %v", result.Content)
			}
			return err
		}
	},
	"mcp-go": func(ctx context.Context, t *testing.T, url string, agent *http.Client) caller {
		t.Helper()
		over, err := transport.NewStreamableHTTP(url, transport.WithHTTPBasicClient(agent), transport.WithHTTPLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		c := mcpgo.NewClient(over)
		t.Cleanup(func() { _ = c.Close() })
		var init mcpgotypes.InitializeRequest
		init.Params.ClientInfo = mcpgotypes.Implementation{Name: "mcp-go client", Version: "1"}
		init.Params.ProtocolVersion = mcpgotypes.LATEST_PROTOCOL_VERSION
		if err := c.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Initialize(ctx, init); err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, tool string, arguments map[string]any) error {
			var call mcpgotypes.CallToolRequest
			call.Params.Name, call.Params.Arguments = tool, arguments
			result, err := c.CallTool(ctx, call)
			if err == nil && result.IsError {
				err = fmt.Errorf("a tool error: %v", result.Content)
			}
			return err
		}
	},
}
