package sdk_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"sallyport.dev/test/stack"
)

// startSupergateway puts supergateway in front of the reference server's
// stdio mode, until the test ends.
func startSupergateway(t *testing.T, over wire) (port string) {
	t.Helper()
	everything, err := filepath.Abs(filepath.Join(peersDir, "node_modules/.bin/mcp-server-everything"))
	if err != nil {
		t.Fatal(err)
	}
	port = freePort(t)
	args := []string{"--stdio", "'" + everything + "' stdio", "--port", port, "--outputTransport", "sse"}
	if over == streamable {
		args = append(args[:len(args)-1], "streamableHttp", "--stateful")
	}
	serve(t, "Listening on port", nil, "supergateway", args...)
	return port
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

// dialMCPRemote runs mcp-remote as a server over stdio.
func dialMCPRemote(ctx context.Context, t *testing.T, to target, on events) (client, error) {
	transport := "http-only"
	if to.over == httpSSE {
		transport = "sse-only"
	}
	args := []string{to.url, "--transport", transport, "--header", "Authorization: Bearer " + stack.AgentToken}
	if to.revision == stateless {
		args = append(args, "--protocol", "auto")
	}
	return dialStdio(ctx, t, to, on, "mcp-remote", args...)
}

// bridge is a client over stdio to a process that passes on what it gets.
type bridge struct {
	goClient
	kill func()
	said *tail
}

// dialStdio lets go-sdk be the host of a bridge, which speaks revisions with
// sessions only.
func dialStdio(ctx context.Context, t *testing.T, to target, on events, name string, args ...string) (client, error) {
	cmd := trusting(node(context.WithoutCancel(ctx), t, name, args...), to.ca)
	said := new(tail)
	cmd.Stderr = said
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said last:\n%s", name, said)
		}
	})
	c, err := connectGoSDK(ctx, &mcp.CommandTransport{Command: cmd}, min(to.revision, sessionful), on)
	if err != nil {
		return nil, err
	}
	b := bridge{goClient: c.(goClient), kill: func() { _ = killGroup(cmd) }, said: said}
	t.Cleanup(b.kill)
	return b, nil
}

func (b bridge) close() error {
	defer b.kill()
	_ = b.goClient.close() // some bridges end with an error when their input ends
	return nil
}
