package sdk_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type goClient struct{ *mcp.ClientSession }

func dialGoSDK(ctx context.Context, _ *testing.T, to target, on events) (client, error) {
	switch to.over {
	case stdio:
		return connectGoSDK(ctx, &mcp.CommandTransport{Command: to.local.cmd()}, to.revision, on)
	case httpSSE:
		return connectGoSDK(ctx, &mcp.SSEClientTransport{Endpoint: to.url, HTTPClient: to.agent}, to.revision, on)
	}
	return connectGoSDK(ctx, &mcp.StreamableClientTransport{Endpoint: to.url, HTTPClient: to.agent}, to.revision, on)
}

func connectGoSDK(ctx context.Context, over mcp.Transport, revision string, on events) (client, error) {
	c := mcp.NewClient(&mcp.Implementation{Name: "go-sdk client", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { on.progress() },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { on.notified("notifications/tools/list_changed") },
		//nolint:staticcheck // deprecated with the revision 2026-07-28; servers of earlier ones still log
		LoggingMessageHandler: func(context.Context, *mcp.LoggingMessageRequest) { on.notified("notifications/message") },
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			on.asked()
			if r.Params.Message != sure {
				return &mcp.ElicitResult{Action: "decline"}, nil
			}
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"sure": true}}, nil
		},
		//nolint:staticcheck // deprecated with the revision 2026-07-28; servers of earlier ones still sample
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			on.asked()
			//nolint:staticcheck // as above
			return &mcp.CreateMessageResult{Role: "assistant", Model: "none", Content: &mcp.TextContent{Text: "sampled text"}}, nil
		},
	})
	session, err := c.Connect(ctx, over, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		return nil, err
	}
	return goClient{session}, nil
}

func (c goClient) version() string { return c.InitializeResult().ProtocolVersion }

func (c goClient) close() error { return leftBehind(c.Close()) }

// leftBehind is the error of a client whose server over stdio may not end by
// itself when it is left, and is then killed by the client.
func leftBehind(err error) error {
	if _, killed := errors.AsType[*exec.ExitError](err); killed {
		return nil
	}
	return err
}

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

func (c goClient) call(ctx context.Context, do request) (string, error) {
	params := &mcp.CallToolParams{Name: do.tool, Arguments: do.arguments}
	params.SetProgressToken("progress of " + do.tool)
	result, err := c.CallTool(ctx, params)
	if err != nil {
		return "", err
	}
	if len(result.Content) == 0 {
		return "", errors.New("the result has no content")
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok {
		return "", errors.New("the result is no text")
	}
	if result.IsError {
		return "", errors.New("the result is an error: " + text.Text)
	}
	return text.Text, nil
}

func serveGoSDK(revision string) *server {
	out := &server{script: plain(), waiting: make(chan struct{}, 10), cancelled: make(chan struct{}, 10)}
	released, release := context.WithCancel(context.Background())
	out.release = release
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
		question := &mcp.ElicitParams{Mode: "form", Message: sure, RequestedSchema: schema()}
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
	mcp.AddTool(s, &mcp.Tool{Name: "sample"}, func(ctx context.Context, req *mcp.CallToolRequest, _ argument) (*mcp.CallToolResult, any, error) {
		ctx, giveUp := context.WithCancel(ctx) // a session that waits for an answer cannot always be closed
		defer giveUp()
		defer context.AfterFunc(released, giveUp)()
		//nolint:staticcheck // deprecated with the revision 2026-07-28; this is of earlier ones
		answer, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{answer.Content}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ argument) (*mcp.CallToolResult, any, error) {
		out.waiting <- struct{}{}
		select {
		case <-ctx.Done():
			out.cancelled <- struct{}{}
			return nil, nil, ctx.Err()
		case <-released.Done():
			return text("nobody has cancelled until the end"), nil, nil
		}
	})
	mcp.AddTool(s, &mcp.Tool{Name: "change"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ argument) (*mcp.CallToolResult, any, error) {
		out.news(ctx, nil)
		return text("changed"), nil, nil
	})
	out.stdio = func(ctx context.Context, in io.ReadCloser, to io.WriteCloser) error {
		return s.Run(ctx, &mcp.IOTransport{Reader: in, Writer: to})
	}
	get := func(*http.Request) *mcp.Server { return s }
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{PropagateRequestCancellation: true, Stateless: revision == stateless}))
	mux.Handle("/sse", mcp.NewSSEHandler(get, nil))
	out.Handler = mux
	out.news = func(context.Context, client) {
		mcp.AddTool(s, &mcp.Tool{Name: "new"}, func(context.Context, *mcp.CallToolRequest, argument) (*mcp.CallToolResult, any, error) {
			return text("new"), nil, nil
		})
	}
	out.close = func() {
		out.release()
		for session := range s.Sessions() {
			_ = session.Close()
		}
	}
	return out
}
