package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/test/stack"
)

// The binary, as processes of its own: what the kernel says of the connector's
// sockets, and what becomes of the tunnel when a process is killed.
func TestProcesses(t *testing.T) {
	t.Parallel()
	binary := build(t)
	url := echoes(t)
	for _, transport := range []string{"tcp", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			d := deploy(t, url, transport)
			gateway := start(t, binary, "gateway", d.gateway)
			gateway.says(t, `"gateway is up"`, 1)
			connector := start(t, binary, "connector", d.connector)
			connector.says(t, `"attached"`, 2)
			d.call(t)

			// Loopback has no secrets from /proc: every socket of the process is there.
			tcp, udp := sockets(t, connector.pid())
			if len(tcp) > 0 {
				t.Errorf("the connector listens on TCP at %v", tcp)
			}
			if listening, _ := sockets(t, gateway.pid()); len(listening) == 0 {
				t.Error("the gateway seems not to listen either, so that nothing was looked at")
			}
			if (len(udp) > 0) != (transport == "quic") {
				t.Errorf("over %s the connector has the UDP sockets %v", transport, udp)
			}
			if n := probe(t, d.addr); n == 0 {
				t.Error("not even the gateway answers the probe")
			}
			for _, port := range udp {
				if n := probe(t, fmt.Sprintf("127.0.0.1:%d", port)); n > 0 {
					t.Errorf("the connector's UDP port %d answered %d packets to a stranger", port, n)
				}
			}

			gateway.kill(t)
			gateway = start(t, binary, "gateway", d.gateway)
			gateway.says(t, `"gateway is up"`, 1)
			begin := time.Now()
			connector.says(t, `"attached"`, 3)
			back := time.Since(begin)
			d.call(t)
			t.Logf("the killed gateway's connector is back %s after its restart", back)
			if back > 6*time.Second { // one heartbeat and the back-off, with slack; 13 s without the reset key
				t.Error("a killed and restarted gateway is noticed too late")
			}

			if transport == "tcp" { // over QUIC only silence tells, after 13 s
				connector.kill(t)
				if got := mustRefuse(t, d.post(t), 503, -32010, "no"); string(got.ID) != bigID {
					t.Errorf("the error answers the id %s", got.ID)
				}
				connector = start(t, binary, "connector", d.connector)
				connector.says(t, `"attached"`, 2)
				d.call(t)
			}
			connector.terminate(t)
			gateway.terminate(t)
		})
	}
}

// A connector that is killed leaves none of its commands behind, nor what they
// have started, whether they are kept apart or not.
func TestKilledConnectorLeavesNoProcess(t *testing.T) {
	t.Parallel()
	binary := build(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, isolation := range []string{"namespaces", "none"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			tag := rand.Text()
			d := deploy(t, "http://127.0.0.1:9/mcp", "tcp")
			d.serve(t, fmt.Sprintf(`{ echo: { command: [%q, %q], env: { %s: %s }, isolation: %s } }`, self, tag, childVariable, childOld, isolation))
			gateway := start(t, binary, "gateway", d.gateway)
			gateway.says(t, `"gateway is up"`, 1)
			connector := start(t, binary, "connector", d.connector)
			connector.says(t, `"attached"`, 2)
			connector.says(t, `"a local server is ready"`, 1)
			s := &stack.Stack{PublicURL: "https://" + d.addr, Roots: roots(t, d.ca)}
			agent := s.Agent(t, false)
			defer agent.CloseIdleConnections()
			for _, tool := range []string{"who", "stubborn", "breed"} {
				use(t, agent, s.URL("echo"), begin(t, agent, s.URL("echo")), tool)
			}
			until(t, patience, "three sessions' processes run, and what one of them has started", func() bool { return len(processes(t, tag)) >= 5 })
			connector.kill(t)
			noProcess(t, tag)
			connector = start(t, binary, "connector", d.connector)
			connector.says(t, `"a local server is ready"`, 1)
			begin(t, agent, s.URL("echo"))
			connector.terminate(t)
			noProcess(t, tag)
			gateway.terminate(t)
		})
	}
}

// What an upstream sends behind its answer is in no log: net/http would quote it, past all redaction.
func TestStrayBytesAreNotLogged(t *testing.T) {
	t.Parallel()
	const stray = "canary-behind-the-answer"
	got := make(chan struct{}, 1)
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		conn, _, hijackErr := http.NewResponseController(w).Hijack()
		if err != nil || hijackErr != nil {
			t.Errorf("%v, %v", err, hijackErr)
			return
		}
		body = stack.Echo(body)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(body), body, stray)
		_, _ = io.Copy(io.Discard, conn) // until the connector has seen it and hangs up
		_ = conn.Close()
		got <- struct{}{}
	})
	d := deploy(t, upstream.URL, "tcp")
	binary := build(t)
	gateway := start(t, binary, "gateway", d.gateway)
	gateway.says(t, `"gateway is up"`, 1)
	connector := start(t, binary, "connector", d.connector)
	connector.says(t, `"attached"`, 2)
	d.call(t)
	within(t, patience, got, "the connector hangs up")
	connector.terminate(t)
	gateway.terminate(t)
	for _, p := range []*process{gateway, connector} {
		if log := strings.Join(p.log, "\n"); strings.Contains(log, stray) {
			t.Errorf("the log has what the upstream sent behind its answer:\n%s", log)
		}
	}
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sallyport")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "sallyport.dev/cmd/sallyport").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// deployment is a pair of configurations for one port.
type deployment struct {
	gateway, connector string // files
	addr, ca           string
}

func deploy(t *testing.T, upstream, transport string) deployment {
	t.Helper()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	tcp, udp := stack.Port(t)
	addr := tcp.Addr().String()
	_, _ = tcp.Close(), udp.Close()
	agent := stack.SecretFile(t, dir, "agent.token", stack.AgentToken)
	token := stack.SecretFile(t, dir, "tunnel.token", stack.TunnelToken)
	d := deployment{
		gateway: filepath.Join(dir, "gateway.yaml"), connector: filepath.Join(dir, "connector.yaml"),
		addr: addr, ca: filepath.Join(state, "self-signed-ca.crt"),
	}
	for file, text := range map[string]string{
		d.gateway: fmt.Sprintf(`
listen: %q
public_url: "https://%s"
state_dir: %q
tls: { self_signed: true }
tunnels: [{ name: %s, tunnel_token: %q }]
agents: { tokens: [{ name: tester, token: %q, tunnels: ["*"], servers: ["*"] }] }
`, addr, addr, state, stack.Tunnel, token.String(), agent.String()),
		d.connector: fmt.Sprintf(`
gateway: %q
gateway_ca: %q
tunnel_token: %q
transport: %s
servers: { echo: { url: %q } }
policy: open
`, addr, d.ca, token.String(), transport, upstream),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// serve gives the connector other servers.
func (d deployment) serve(t *testing.T, servers string) {
	t.Helper()
	text, err := os.ReadFile(d.connector)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "servers:") {
			lines[i] = "servers: " + servers
		}
	}
	if err := os.WriteFile(d.connector, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// post makes one call, as an agent without kept connections.
func (d deployment) post(t *testing.T) answer {
	t.Helper()
	s := &stack.Stack{PublicURL: "https://" + d.addr, Roots: roots(t, d.ca)}
	agent := s.Agent(t, false)
	defer agent.CloseIdleConnections()
	return post(t, s, agent, "echo", pingBody)
}

func (d deployment) call(t *testing.T) {
	t.Helper()
	if got := d.post(t); got.status != http.StatusOK || string(got.body) != string(stack.Echo([]byte(pingBody))) {
		t.Fatalf("status %d, body %s", got.status, got.body)
	}
}

// process is a running role.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when its log has ended
	out  stack.Log     // what it has printed

	mu  sync.Mutex // guards log
	log []string
}

func start(t *testing.T, binary, role, config string) *process {
	t.Helper()
	return startWith(t, nil, binary, role, "-c", config, "--log-format", "json")
}

// startWith is start with more variables of the environment, and other arguments.
func startWith(t *testing.T, env []string, binary string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(context.Background(), binary, args...), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout = append(os.Environ(), env...), &p.out
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log = append(p.log, lines.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", args[0], strings.Join(p.log, "\n"))
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// says waits until the log has n lines with a text.
func (p *process) says(t *testing.T, text string, n int) {
	t.Helper()
	until(t, patience, fmt.Sprintf("the log has %d lines with %s", n, text), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		count := 0
		for _, line := range p.log {
			if strings.Contains(line, text) {
				count++
			}
		}
		return count >= n
	})
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, patience, p.done, "a killed process ends")
	_ = p.cmd.Wait()
}

// terminate asks a process to end, which must succeed.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	within(t, patience, p.done, "a process ends after SIGTERM")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// sockets lists the addresses where a process listens on TCP and the ports of
// its UDP sockets, as the kernel has them.
func sockets(t *testing.T, pid int) (tcp []string, udp []int64) {
	t.Helper()
	own := make(map[string]bool)
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("the process's files cannot be read: %v", err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, "socket:[") {
			own[strings.Trim(name[len("socket:"):], "[]")] = true
		}
	}
	const listening = "0A"
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			fields := strings.Fields(string(line))
			if len(fields) < 10 || !own[fields[9]] {
				continue
			}
			_, hexPort, _ := strings.Cut(fields[1], ":")
			port, err := hex.DecodeString(hexPort)
			if err != nil || len(port) != 2 {
				t.Fatalf("/proc/net/%s: %q", table, line)
			}
			switch {
			case strings.HasPrefix(table, "udp"):
				udp = append(udp, int64(port[0])<<8|int64(port[1]))
			case fields[3] == listening:
				tcp = append(tcp, fields[1])
			}
		}
	}
	slices.Sort(udp)
	return tcp, udp
}
