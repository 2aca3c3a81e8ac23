package sdk_test

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type goClient struct{ *mcp.ClientSession }

func dialGoSDK(ctx context.Context, url, revision string, agent *http.Client, on events) (client, error) {
	c := mcp.NewClient(&mcp.Implementation{Name: "go-sdk client", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { on.progress() },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { on.changed() },
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			on.asked()
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"sure": true}}, nil
		},
	})
	session, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: agent}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		return nil, err
	}
	return goClient{session}, nil
}

func (c goClient) version() string { return c.InitializeResult().ProtocolVersion }

func (c goClient) session() string { return c.ID() }

func (c goClient) close() error { return c.Close() }

func (c goClient) tools(ctx context.Context) ([]string, error) {
	list, err := c.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func (c goClient) call(ctx context.Context, tool string, arguments map[string]any) (string, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: arguments}
	params.SetProgressToken("progress of " + tool)
	result, err := c.CallTool(ctx, params)
	if err != nil {
		return "", err
	}
	if len(result.Content) != 1 || result.IsError {
		return "", errors.New("the result is an error or has no content")
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok {
		return "", errors.New("the result is no text")
	}
	return text.Text, nil
}

func serveGoSDK(revision string) *server {
	out := &server{cancelled: make(chan struct{}, 10)}
	s := mcp.NewServer(&mcp.Implementation{Name: "go-sdk server", Version: "1"}, nil)
	text := func(t string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: t}}}
	}
	type argument struct {
		Text string `json:"text,omitempty"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in argument) (*mcp.CallToolResult, any, error) {
		return text(in.Text), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "count"}, func(ctx context.Context, req *mcp.CallToolRequest, _ argument) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3})
			if err != nil {
				return nil, nil, err
			}
		}
		return text("counted"), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ argument) (*mcp.CallToolResult, any, error) {
		question := &mcp.ElicitParams{Mode: "form", Message: "Sure?", RequestedSchema: schema()}
		if req.ProtocolVersion() < stateless {
			answer, err := req.Session.Elicit(ctx, question)
			if err != nil {
				return nil, nil, err
			}
			return text(answer.Action), nil, nil
		}
		answer, ok := req.Params.InputResponses["sure"].(*mcp.ElicitResult)
		if !ok {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"sure": question}, RequestState: "asked"}, nil, nil
		}
		return text(answer.Action), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ argument) (*mcp.CallToolResult, any, error) {
		select {
		case <-ctx.Done():
			out.cancelled <- struct{}{}
			return nil, nil, ctx.Err()
		case <-time.After(patience):
			return text("nobody has cancelled"), nil, nil
		}
	})
	out.Handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{PropagateRequestCancellation: true, Stateless: revision == stateless})
	out.change = func() {
		mcp.AddTool(s, &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, argument) (*mcp.CallToolResult, any, error) {
			return text("new"), nil, nil
		})
	}
	out.close = func() {
		for session := range s.Sessions() {
			_ = session.Close()
		}
	}
	return out
}

// schema asks for one boolean.
func schema() map[string]any {
	return map[string]any{"type": "object", "properties": map[string]any{"sure": map[string]any{"type": "boolean"}}}
}
