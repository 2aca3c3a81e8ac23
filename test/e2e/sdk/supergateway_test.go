package sdk_test

import (
	"context"
	"path/filepath"
	"testing"

	"sallyport.dev/test/stack"
)

// startSupergateway puts supergateway in front of the reference server's
// stdio mode, until the test ends.
func startSupergateway(t *testing.T, over wire) *process {
	t.Helper()
	everything, err := filepath.Abs(filepath.Join(peersDir, "node_modules/.bin/mcp-server-everything"))
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	args := []string{"--stdio", "'" + everything + "' stdio", "--port", port, "--outputTransport", "sse"}
	if over == streamable {
		args = append(args[:len(args)-1], "streamableHttp", "--stateful")
	}
	return serve(t, port, "Listening on port", nil, "supergateway", args...)
}

// dialSupergateway runs supergateway as a server over stdio that passes
// everything on.
func dialSupergateway(ctx context.Context, t *testing.T, to target, on events) (client, error) {
	mode := "--streamableHttp"
	if to.over == httpSSE {
		mode = "--sse"
	}
	return dialStdio(ctx, t, to, on, "supergateway", mode, to.url, "--oauth2Bearer", stack.AgentToken, "--logLevel", "info")
}
