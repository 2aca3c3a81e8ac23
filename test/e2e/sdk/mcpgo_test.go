package sdk_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

type mcpGoClient struct {
	*mcpclient.Client
	stop func() // of the subscription
}

// human answers what servers ask.
type human struct{ asked func() }

func (h human) Elicit(_ context.Context, r mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	h.asked()
	if r.Params.Message != sure {
		return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: mcp.ElicitationResponseActionDecline}}, nil
	}
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{
		Action: mcp.ElicitationResponseActionAccept, Content: map[string]any{"sure": true},
	}}, nil
}

func (h human) CreateMessage(context.Context, mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	h.asked()
	var out mcp.CreateMessageResult
	out.Role, out.Model, out.Content = mcp.RoleAssistant, "none", mcp.NewTextContent("sampled text")
	return &out, nil
}

func dialMCPGo(ctx context.Context, _ *testing.T, to target, on events) (client, error) {
	var over transport.Interface
	var err error
	quiet := slog.New(slog.DiscardHandler)
	switch {
	case to.over == stdio:
		over = transport.NewStdio(to.local.command[0], to.local.environ(), to.local.command[1:]...)
	case to.over == httpSSE:
		over, err = transport.NewSSE(to.url, transport.WithHTTPClient(to.agent), transport.WithSSELogger(quiet))
	case to.revision < stateless:
		//nolint:staticcheck // listening is deprecated with the revision 2026-07-28; this test pins earlier ones
		over, err = transport.NewStreamableHTTP(to.url, transport.WithHTTPBasicClient(to.agent), transport.WithHTTPLogger(quiet), transport.WithContinuousListening())
	default:
		over, err = transport.NewStreamableHTTP(to.url, transport.WithHTTPBasicClient(to.agent), transport.WithHTTPLogger(quiet))
	}
	if err != nil {
		return nil, err
	}
	c := mcpclient.NewClient(over, mcpclient.WithProtocolVersion(to.revision),
		mcpclient.WithElicitationHandler(human{on.asked}), mcpclient.WithSamplingHandler(human{on.asked}))
	c.OnNotification(func(n mcp.JSONRPCNotification) {
		if n.Method == "notifications/progress" {
			on.progress()
			return
		}
		on.notified(n.Method)
	})
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	var init mcp.InitializeRequest
	init.Params.ProtocolVersion = to.revision
	init.Params.ClientInfo = mcp.Implementation{Name: "mcp-go client", Version: "1"}
	if _, err := c.Initialize(ctx, init); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	stop := func() {}
	if c.ProtocolVersion() == stateless {
		stop, err = c.ListenAsync(ctx, mcp.SubscriptionFilter{ToolsListChanged: true}, func(error) {})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return mcpGoClient{c, stop}, nil
}

func (c mcpGoClient) version() string { return c.ProtocolVersion() }

func (c mcpGoClient) close() error {
	c.stop()
	return leftBehind(c.Close())
}

func (c mcpGoClient) tools(ctx context.Context) ([]string, error) {
	list, err := c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func (c mcpGoClient) call(ctx context.Context, do request) (string, error) {
	var r mcp.CallToolRequest
	r.Params.Name, r.Params.Arguments = do.tool, do.arguments
	r.Params.Meta = &mcp.Meta{ProgressToken: "progress of " + do.tool}
	result, err := c.CallTool(ctx, r)
	if err != nil {
		return "", err
	}
	if len(result.Content) == 0 {
		return "", errors.New("the result has no content")
	}
	text, ok := mcp.AsTextContent(result.Content[0])
	if !ok {
		return "", errors.New("the result is no text")
	}
	if result.IsError {
		return "", errors.New("the result is an error: " + text.Text)
	}
	return text.Text, nil
}

func serveMCPGo(string) *server {
	out := &server{script: plain(), waiting: make(chan struct{}, 10), cancelled: make(chan struct{}, 10)}
	released, release := context.WithCancel(context.Background())
	out.release = release
	s := mcpserver.NewMCPServer("mcp-go server", "1", mcpserver.WithToolCapabilities(true), mcpserver.WithElicitation(), mcpserver.WithLogger(slog.New(slog.DiscardHandler)))
	s.AddTool(mcp.NewTool("echo", mcp.WithString("text")), func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(r.GetString("text", "")), nil
	})
	s.AddTool(mcp.NewTool("count"), func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 3 {
			err := s.SendNotificationToClient(ctx, "notifications/progress", map[string]any{"progressToken": r.Params.Meta.ProgressToken, "progress": i + 1, "total": 3})
			if err != nil {
				return nil, err
			}
		}
		select { // this implementation may drop what is still queued when the result goes out
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
		return mcp.NewToolResultText("counted"), nil
	})
	s.AddTool(mcp.NewTool("ask"), func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		answer := mcpserver.ElicitationResponse(r.Params.InputResponses, "sure")
		if answer == nil {
			return mcpserver.NewInputRequestBuilder("asked").
				Elicit("sure", mcp.ElicitationParams{Message: sure, RequestedSchema: schema()}).ToolResult(), nil
		}
		return mcp.NewToolResultText(string(answer.Action)), nil
	})
	s.AddTool(mcp.NewTool("sample"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		//nolint:staticcheck // deprecated with the revision 2026-07-28; this is of earlier ones
		answer, err := s.RequestSampling(ctx, mcp.CreateMessageRequest{CreateMessageParams: mcp.CreateMessageParams{MaxTokens: 10}})
		if err != nil {
			return nil, err
		}
		return mcp.NewToolResultText(mcp.GetTextFromContent(answer.Content)), nil
	})
	s.AddTool(mcp.NewTool("wait"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		out.waiting <- struct{}{}
		select {
		case <-ctx.Done():
			out.cancelled <- struct{}{}
			return nil, ctx.Err()
		case <-released.Done():
			return mcp.NewToolResultText("nobody has cancelled until the end"), nil
		}
	})
	s.AddTool(mcp.NewTool("change"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		out.news(ctx, nil)
		return mcp.NewToolResultText("changed"), nil
	})
	s.EnableSampling()
	out.stdio = func(ctx context.Context, in io.ReadCloser, to io.WriteCloser) error {
		return mcpserver.NewStdioServer(s).Listen(ctx, in, to)
	}
	h := mcpserver.NewStreamableHTTPServer(s, mcpserver.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)))
	legacy := mcpserver.NewSSEServer(s)
	mux := http.NewServeMux()
	mux.Handle("/mcp", h)
	mux.Handle("/", legacy)
	out.Handler = mux
	out.news = func(context.Context, client) {
		s.AddTool(mcp.NewTool("new"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText("new"), nil
		})
	}
	out.close = func() {
		out.release()
		_ = h.Shutdown(context.Background())
		legacy.CloseSessions()
	}
	return out
}
