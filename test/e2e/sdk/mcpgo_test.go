package sdk_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
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

type accepting struct{ asked func() }

func (a accepting) Elicit(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	a.asked()
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{
		Action: mcp.ElicitationResponseActionAccept, Content: map[string]any{"sure": true},
	}}, nil
}

func dialMCPGo(ctx context.Context, url, revision string, agent *http.Client, on events) (client, error) {
	options := []transport.StreamableHTTPCOption{transport.WithHTTPBasicClient(agent), transport.WithHTTPLogger(slog.New(slog.DiscardHandler))}
	if revision == sessionful {
		//nolint:staticcheck // deprecated with the revision 2026-07-28; this test pins an earlier one
		options = append(options, transport.WithContinuousListening())
	}
	t, err := transport.NewStreamableHTTP(url, options...)
	if err != nil {
		return nil, err
	}
	c := mcpclient.NewClient(t, mcpclient.WithProtocolVersion(revision), mcpclient.WithElicitationHandler(accepting{on.asked}))
	c.OnNotification(func(n mcp.JSONRPCNotification) {
		switch n.Method {
		case "notifications/progress":
			on.progress()
		case "notifications/tools/list_changed":
			on.changed()
		}
	})
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	var init mcp.InitializeRequest
	init.Params.ProtocolVersion = revision
	init.Params.ClientInfo = mcp.Implementation{Name: "mcp-go client", Version: "1"}
	if _, err := c.Initialize(ctx, init); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	stop := func() {}
	if revision == stateless {
		stop, err = c.ListenAsync(ctx, mcp.SubscriptionFilter{ToolsListChanged: true}, func(error) {})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return mcpGoClient{c, stop}, nil
}

func (c mcpGoClient) version() string { return c.ProtocolVersion() }

func (c mcpGoClient) session() string { return c.GetSessionId() }

func (c mcpGoClient) close() error {
	c.stop()
	return c.Close()
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

func (c mcpGoClient) call(ctx context.Context, tool string, arguments map[string]any) (string, error) {
	var request mcp.CallToolRequest
	request.Params.Name, request.Params.Arguments = tool, arguments
	request.Params.Meta = &mcp.Meta{ProgressToken: "progress of " + tool}
	result, err := c.CallTool(ctx, request)
	if err != nil {
		return "", err
	}
	if len(result.Content) != 1 || result.IsError {
		return "", errors.New("the result is an error or has no content")
	}
	text, ok := mcp.AsTextContent(result.Content[0])
	if !ok {
		return "", errors.New("the result is no text")
	}
	return text.Text, nil
}

func serveMCPGo(string) *server {
	out := &server{cancelled: make(chan struct{}, 10)}
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
				Elicit("sure", mcp.ElicitationParams{Message: "Sure?", RequestedSchema: schema()}).ToolResult(), nil
		}
		return mcp.NewToolResultText(string(answer.Action)), nil
	})
	s.AddTool(mcp.NewTool("wait"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		select {
		case <-ctx.Done():
			out.cancelled <- struct{}{}
			return nil, ctx.Err()
		case <-time.After(patience):
			return mcp.NewToolResultText("nobody has cancelled"), nil
		}
	})
	h := mcpserver.NewStreamableHTTPServer(s, mcpserver.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)))
	out.Handler = h
	out.change = func() {
		s.AddTool(mcp.NewTool("new"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText("new"), nil
		})
	}
	out.close = func() { _ = h.Shutdown(context.Background()) }
	return out
}
