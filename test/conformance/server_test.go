package conformance_test

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// endpoint is the server's path. It takes any.
const endpoint = "/mcp"

// buildServer builds the go-sdk's server for the suite, at the version that
// go.mod names.
func buildServer(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "everything-server")
	const source = "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// startServer runs the server until the test ends. It takes no open socket,
// only an address: somebody else may have that port by the time it listens, so
// that it gets three tries.
func startServer(t *testing.T, binary, flag string) (addr string) {
	t.Helper()
	var said string
	for range 3 {
		l := listen(t)
		addr = l.Addr().String()
		_ = l.Close()
		var ok bool
		if ok, said = tryServer(t, binary, addr, flag); ok {
			return addr
		}
	}
	t.Fatalf("the conformance server does not come up:\n%s", said)
	return ""
}

// tryServer reports whether the server listens at addr, and else what it said.
func tryServer(t *testing.T, binary, addr, flag string) (ok bool, said string) {
	t.Helper()
	cmd := exec.Command(binary, "-http", addr, flag)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var waiter sync.WaitGroup
	ended := make(chan struct{})
	waiter.Go(func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	})
	stop := func() {
		_ = cmd.Process.Kill()
		waiter.Wait()
	}
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		select {
		case <-ended:
			return false, stderr.String()
		case <-time.After(10 * time.Millisecond): // who cannot listen has ended by now, and left its port to another
			if err == nil {
				t.Cleanup(stop)
				return true, ""
			}
		}
	}
	stop()
	return false, stderr.String()
}
