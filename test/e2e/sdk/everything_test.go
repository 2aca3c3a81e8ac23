package sdk_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

// The reference server of the protocol, in Node.js, behind the connector.
func TestServerEverything(t *testing.T) {
	t.Parallel()
	url := startEverything(t)
	for _, transport := range stack.Transports() {
		t.Run(string(transport), func(t *testing.T) {
			s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"everything": {URL: url}}})
			for _, h2 := range []bool{false, true} {
				t.Run(map[bool]string{false: "h1", true: "h2"}[h2], func(t *testing.T) { useEverything(t, s.URL("everything"), s.Agent(t, h2)) })
			}
		})
	}
}

func useEverything(t *testing.T, url string, agent *http.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var progress, asked, sampled atomic.Int64
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress.Add(1) },
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			asked.Add(1)
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
		//nolint:staticcheck // deprecated with the revision 2026-07-28; servers of earlier ones still sample
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			sampled.Add(1)
			//nolint:staticcheck // as above
			return &mcp.CreateMessageResult{Role: "assistant", Model: "none", Content: &mcp.TextContent{Text: "sampled text"}}, nil
		},
	})
	session, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: agent}, &mcp.ClientSessionOptions{ProtocolVersion: sessionful})
	if err != nil {
		t.Fatalf("initialize: %v", err)
	}
	defer func() {
		if err := session.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if got := session.InitializeResult(); got.ServerInfo.Name != "mcp-servers/everything" || got.ProtocolVersion != sessionful || session.ID() == "" {
		t.Errorf("server %s, revision %s, session %q", got.ServerInfo.Name, got.ProtocolVersion, session.ID())
	}
	call := func(name string, arguments map[string]any) string {
		t.Helper()
		params := &mcp.CallToolParams{Name: name, Arguments: arguments}
		params.SetProgressToken(name)
		result, err := session.CallTool(ctx, params)
		if err != nil || result.IsError {
			t.Fatalf("%s: %v, %+v", name, err, result)
		}
		var text strings.Builder
		for _, content := range result.Content {
			if part, ok := content.(*mcp.TextContent); ok {
				text.WriteString(part.Text)
			}
		}
		return text.String()
	}

	eventually(t, "the tools that need a client's capabilities are offered", func() bool {
		tools, err := session.ListTools(ctx, nil)
		return err == nil && slices.ContainsFunc(tools.Tools, func(tool *mcp.Tool) bool { return tool.Name == "trigger-sampling-request" })
	})
	prompts, err := session.ListPrompts(ctx, nil)
	if err != nil || len(prompts.Prompts) == 0 {
		t.Fatalf("prompts: %v", err)
	}
	if prompt, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "simple-prompt"}); err != nil || len(prompt.Messages) == 0 {
		t.Errorf("simple-prompt: %v", err)
	}
	resources, err := session.ListResources(ctx, nil)
	if err != nil || len(resources.Resources) == 0 {
		t.Fatalf("resources: %v", err)
	}
	if read, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: resources.Resources[0].URI}); err != nil || len(read.Contents) == 0 {
		t.Errorf("%s: %v", resources.Resources[0].URI, err)
	}
	if got := call("echo", map[string]any{"message": "grüße 😀"}); got != "Echo: grüße 😀" {
		t.Errorf("echo: %q", got)
	}
	if got := call("trigger-long-running-operation", map[string]any{"duration": 0.5, "steps": 5}); !strings.Contains(got, "completed") {
		t.Errorf("long-running operation: %q", got)
	}
	eventually(t, "progress is reported five times", func() bool { return progress.Load() == 5 })
	if got := call("trigger-sampling-request", map[string]any{"prompt": "p", "maxTokens": 10}); sampled.Load() != 1 || !strings.Contains(got, "sampled text") {
		t.Errorf("sampling: %q, %d requests", got, sampled.Load())
	}
	if call("trigger-elicitation-request", map[string]any{}); asked.Load() != 1 {
		t.Errorf("elicitation: %d requests", asked.Load())
	}
}

// startEverything runs the reference server, which listens on a port of every
// interface, until the test ends.
func startEverything(t *testing.T) (url string) {
	t.Helper()
	const binary = "../../peers/node_modules/.bin/mcp-server-everything"
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the reference MCP server is not installed: run make setup (%v)", err)
	}
	path, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	cmd := exec.CommandContext(context.Background(), path, "streamableHttp")
	cmd.Env = append(os.Environ(), "PORT="+port)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start the reference MCP server: %v; it needs Node.js: run make setup", err)
	}
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "listening") {
				close(listening)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	select {
	case <-listening:
	case <-ended:
		t.Fatal("the reference MCP server has ended")
	case <-time.After(2 * patience):
		t.Fatal("the reference MCP server does not come up")
	}
	return fmt.Sprintf("http://127.0.0.1:%s/mcp", port)
}
