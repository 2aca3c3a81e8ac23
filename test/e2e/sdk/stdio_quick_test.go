package sdk_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

func TestStdioQuick(t *testing.T) {
	everything, err := filepath.Abs(filepath.Join(peersDir, "node_modules/.bin/mcp-server-everything"))
	if err != nil {
		t.Fatal(err)
	}
	s := stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: map[string]connector.Server{
		"peer": {Command: []string{everything, "stdio"}},
	}})
	t.Cleanup(func() { t.Logf("%s", s.Log) })
	for _, c := range []target{
		{url: s.URL("peer"), over: streamable, revision: sessionful},
		{url: s.SSEURL("peer"), over: httpSSE, revision: v20241105},
		{url: s.URL("peer"), over: streamable, revision: stateless},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		c.agent = s.Agent(t, true)
		agent, err := dialGoSDK(ctx, t, c, events{progress: func() { t.Log("progress") }, notified: func(m string) { t.Log("notified", m) }, asked: func() { t.Log("asked") }})
		if err != nil {
			t.Errorf("%s: %v", c.revision, err)
			cancel()
			continue
		}
		t.Log(agent.version())
		t.Log(agent.tools(ctx))
		sc := everything2()
		t.Log(agent.call(ctx, sc.echo(oddText)))
		t.Log(agent.call(ctx, sc.count))
		t.Log(agent.call(ctx, sc.sample))
		t.Log(agent.close())
		cancel()
	}
}

func everything2() script { return everything(http.NotFoundHandler(), http.NotFoundHandler()).script }
