package sdk_test

import (
	"context"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"sallyport.dev/test/stack"
)

// bridge is a client over stdio to a process that passes on what it gets.
type bridge struct {
	goClient
	kill func()
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
	kill := sync.OnceFunc(func() {
		if cmd.Process != nil {
			_ = killGroup(cmd)
		}
	})
	t.Cleanup(kill)
	c, err := connectGoSDK(ctx, &mcp.CommandTransport{Command: cmd}, min(to.revision, sessionful), on)
	if err != nil {
		return nil, err
	}
	return bridge{goClient: c.(goClient), kill: kill}, nil
}

func (b bridge) close() error {
	defer b.kill()
	_ = b.goClient.close() // some bridges end with an error when their input ends
	return nil
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
