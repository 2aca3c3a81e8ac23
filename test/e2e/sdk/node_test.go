package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const peersDir = "../../peers"

// node prepares a command of the npm packages. It gets nothing of the
// environment but where programs are, and a home of its own; it is the head of
// a process group, which is killed as a whole when ctx ends.
func node(ctx context.Context, t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(peersDir, "node_modules/.bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is not installed: run make setup (%v)", name, err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = patience
	return cmd
}

// trusting lets a command verify by a CA, if there is one.
func trusting(cmd *exec.Cmd, ca string) *exec.Cmd {
	if ca != "" {
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+ca)
	}
	return cmd
}

// killGroup kills what is left of a command's process group.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// process is a server of the npm packages.
type process struct {
	name      string
	port      string
	said      tail
	up, ended chan struct{}
}

// serve runs a server until the test ends. It says ready on one of its outputs
// when it listens, on its port of every interface.
func serve(t *testing.T, port, ready string, env []string, name string, args ...string) *process {
	t.Helper()
	cmd := node(context.WithoutCancel(t.Context()), t, name, args...)
	cmd.Env = append(cmd.Env, env...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	stdin, err := cmd.StdinPipe() // some end with it, should this process be killed
	if err == nil {
		err = cmd.Start()
	}
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		t.Fatalf("start %s: %v; it needs Node.js: run make setup", name, err)
	}
	p := &process{name: name, port: port, up: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer func() { _ = r.Close() }()
		var once sync.Once
		for lines := bufio.NewReader(r); ; {
			line, err := lines.ReadString('\n')
			p.said.add(line)
			if strings.Contains(line, ready) {
				once.Do(func() { close(p.up) })
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // lets it end its own children
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Errorf("%s does not end", name)
		}
		_ = killGroup(cmd)
		_ = stdin.Close()
		<-p.ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said last:\n%s", name, &p.said)
		}
	})
	return p
}

// await waits until the server listens.
func (p *process) await(t *testing.T) *process {
	t.Helper()
	select {
	case <-p.up:
	case <-p.ended:
		t.Fatalf("%s has ended:\n%s", p.name, &p.said)
	case <-time.After(2 * patience):
		t.Fatalf("%s does not come up:\n%s", p.name, &p.said)
	}
	return p
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *tail) add(line string) {
	const most = 8 << 10
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.WriteString(line)
	if s.buf.Len() > 2*most {
		s.buf.Next(s.buf.Len() - most)
	}
}

func (s *tail) Write(p []byte) (int, error) {
	s.add(string(p))
	return len(p), nil
}

func (s *tail) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// freePort finds a port for a process that cannot say which one it got. It is
// none of those that the kernel gives to outgoing connections, so that only
// another server could take it meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := fmt.Sprint(10000 + rand.IntN(20000))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// forward serves what the process serves.
func (p *process) forward(t *testing.T) http.Handler {
	t.Helper()
	p.await(t)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "127.0.0.1:" + p.port}) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // clients leave in the middle of streams
	}
}
