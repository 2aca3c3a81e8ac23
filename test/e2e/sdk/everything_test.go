package sdk_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

// The reference server of the protocol, in Node.js, behind the connector with
// nothing between the two: what the table of TestCompatibility does not try.
func TestServerEverything(t *testing.T) {
	t.Parallel()
	url := "http://127.0.0.1:" + startEverything(t, streamable).await(t).port + "/mcp"
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
	deaf := events{progress: func() {}, asked: func() {}, notified: func(string) {}}
	c, err := dialGoSDK(ctx, t, target{url: url, over: streamable, revision: sessionful, agent: agent}, deaf)
	if err != nil {
		t.Fatalf("initialize: %v", err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	session := c.(goClient).ClientSession
	if got := session.InitializeResult(); got.ServerInfo.Name != "mcp-servers/everything" || got.ProtocolVersion != sessionful || session.ID() == "" {
		t.Errorf("server %s, revision %s, session %q", got.ServerInfo.Name, got.ProtocolVersion, session.ID())
	}
	err = eventually(ctx, "the tools that need a client's capabilities are offered", func() bool {
		tools, err := c.tools(ctx)
		return err == nil && slices.Contains(tools, "trigger-sampling-request")
	})
	if err != nil {
		t.Error(err)
	}
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
	s := everythingScript()
	if got, err := c.call(ctx, s.echo(oddText)); err != nil || got != s.echoed+oddText {
		t.Errorf("echo: %q, %v", got, err)
	}
	if got, err := c.call(ctx, s.sample); err != nil {
		t.Errorf("sampling: %q, %v", got, err)
	}
}

// startEverything runs the reference server until the test ends.
func startEverything(t *testing.T, over wire) *process {
	t.Helper()
	port := freePort(t)
	mode, ready := "streamableHttp", "listening on port"
	if over == httpSSE {
		mode, ready = "sse", "running on port"
	}
	return serve(t, port, ready, []string{"PORT=" + port}, "mcp-server-everything", mode)
}

// everythingScript says how the reference server's tools are used. It has none
// that waits, but one that takes long.
func everythingScript() script {
	long := func(seconds float64, steps int) request {
		return request{"trigger-long-running-operation", map[string]any{"duration": seconds, "steps": steps}}
	}
	return script{
		echo:   func(text string) request { return request{"echo", map[string]any{"message": text}} },
		echoed: "Echo: ",
		count:  long(0.3, 3), steps: 3, counted: "completed",
		sample: request{"trigger-sampling-request", map[string]any{"prompt": "p", "maxTokens": 10}}, sampled: "sampled text",
		elicit: request{"trigger-elicitation-request", noArguments()}, elicited: "declined",
		wait:    long(2*patience.Seconds(), 1),
		unasked: "notifications/message",
	}
}

// everything is the reference server at one client's disposal, at what runs it.
func everything(mcp, sse http.Handler) *server {
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp)
	mux.Handle("/", sse)
	out := everythingOverStdio()
	out.Handler = mux
	return out
}

// everythingOverStdio is the reference server, but for what serves it.
func everythingOverStdio() *server {
	var once sync.Once
	return &server{
		script: everythingScript(),
		news: func(ctx context.Context, c client) {
			once.Do(func() { // a second call would stop it; it logs every 5 s
				_, _ = c.call(ctx, request{"toggle-simulated-logging", noArguments()})
			})
		},
		release: func() {},
		close:   func() {},
	}
}
