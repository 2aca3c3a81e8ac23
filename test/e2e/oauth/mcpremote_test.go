package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// remoteRedirect is where mcp-remote listens for browsers, without its port.
const remoteRedirect = "http://127.0.0.1/oauth/callback"

// remoteCaller calls through mcp-remote, which is a server over stdio to it.
type remoteCaller struct {
	caller
	kill func()
}

func (c remoteCaller) close() error {
	defer c.kill()
	_ = c.caller.close() // it may end with an error when its input ends
	return nil
}

// dialMCPRemote runs mcp-remote, with this binary as the browser.
func dialMCPRemote(ctx context.Context, t *testing.T, to signIn) (caller, error) {
	if to.home == "" {
		to.home, to.port = t.TempDir(), freePort(t)
	}
	script, err := filepath.Abs(filepath.Join(peersDir, "node_modules/mcp-remote/dist/proxy.js"))
	if err == nil {
		_, err = os.Stat(script)
	}
	if err != nil {
		t.Fatalf("mcp-remote is not installed: run make setup (%v)", err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{script, to.target(), fmt.Sprint(to.port), "--host", "127.0.0.1", "--transport", "http-only", "--auth-timeout", "60"}
	info := map[string]string{"client_id": publicClient}
	switch to.by {
	case dynamic:
	case document:
		args = append(args, "--client-metadata-url", to.library.publish(t, to.user, fmt.Sprintf("http://127.0.0.1:%d/oauth/callback", to.port)))
	case public:
		args = append(args, "--static-oauth-client-info", encode(t, info))
		if to.scope != "" {
			args = append(args, "--static-oauth-client-metadata", encode(t, map[string]string{"scope": to.scope}))
		}
	case unattended:
		args = append(args, "--client-credentials")
		fallthrough
	case confidential:
		info["client_id"], info["client_secret"] = secretClient, clientSecret
		how := map[string]string{"token_endpoint_auth_method": "client_secret_post"}
		args = append(args, "--static-oauth-client-info", encode(t, info), "--static-oauth-client-metadata", encode(t, how))
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), node(), args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + to.home, "NODE_EXTRA_CA_CERTS=" + to.ca,
		"BROWSER=" + own, browserUserVar + "=" + to.user, browserCAVar + "=" + to.ca,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said := new(output)
	cmd.Stderr = said
	cmd.WaitDelay = patience
	kill := sync.OnceFunc(func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("mcp-remote said:\n%s", said)
		}
	})
	c, err := connectGoSDK(ctx, &mcp.CommandTransport{Command: cmd})
	if err != nil {
		kill()
		return nil, errors.Join(err, errors.New(said.String()))
	}
	return remoteCaller{c, kill}, nil
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// freePort finds a port for a process that cannot say which one it got. It is
// none of those that the kernel gives to outgoing connections, so that only
// another server could take it meanwhile.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
