package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/cmd/sallyport/heap"
	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

// The tunnel of a run, and its token.
const (
	tunnelName  = "acme"
	tunnelToken = "figures-tunnel-token-0123456789abcdefghijklmno"
)

// job is the first line that a child reads: what it shall be.
type job struct {
	Role      string // "proxy", "gateway" or "connector"
	Dir       string // of this child alone
	Backend   string // host:port
	Gateway   string // host:port that a connector dials
	CAFile    string
	Transport string
	Silent    bool     // no access log
	Collector string   // base URL of what telemetry is sent to; empty for none
	Sample    *float64 // part of the calls that is traced
}

// ready is the first line that a child writes.
type ready struct {
	Addr   string // where agents call
	Tunnel string // where connectors dial
	CAFile string
}

// usage is what a process has used since it began, and what it holds.
type usage struct {
	CPU      time.Duration
	Mallocs  uint64
	Resident int64 // bytes of memory, garbage apart; only if that was asked for
}

func (u usage) minus(v usage) usage {
	return usage{u.CPU - v.CPU, u.Mallocs - v.Mallocs, u.Resident - v.Resident}
}

// serveRole is a child's life: one job, then orders, until standard input ends.
func serveRole(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return fmt.Errorf("no job: %w", io.ErrUnexpectedEOF)
	}
	var j job
	if err := json.Unmarshal(lines.Bytes(), &j); err != nil {
		return err
	}
	run, up, err := j.prepare()
	if err != nil {
		return fmt.Errorf("%s: %w", j.Role, err)
	}
	if j.Role != "proxy" {
		defer heap.Floor()() // as the command does
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	answers := json.NewEncoder(out)
	err = answers.Encode(up)
	for err == nil && lines.Scan() {
		err = obey(lines.Text(), answers)
	}
	stop()
	if ended := <-done; err == nil {
		err = ended
	}
	return err
}

// obey carries out one order: to say what was used, or to begin or end a profile.
func obey(order string, answers *json.Encoder) error {
	verb, path, _ := strings.Cut(order, " ")
	switch verb {
	case "usage":
		return answers.Encode(used())
	case "resident":
		u := used()
		u.Resident = resident()
		return answers.Encode(u)
	case "profile":
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		return answers.Encode(used())
	case "profiled":
		pprof.StopCPUProfile()
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
			return err
		}
		return answers.Encode(used())
	}
	return fmt.Errorf("unknown order %q", verb)
}

// used reads the process's own clocks and counters.
func used() usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // it fails for unknown arguments alone
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Mallocs: m.Mallocs}
}

// resident is the memory that the process holds, in bytes, after what it does not need has gone back to the system.
func resident() int64 {
	debug.FreeOSMemory()
	statm, _ := os.ReadFile("/proc/self/statm") // pages: all, resident, …; elsewhere than on Linux there is none
	var all, held int64
	_, _ = fmt.Sscan(string(statm), &all, &held)
	return held * int64(os.Getpagesize())
}

// prepare makes the role, which lives in run.
func (j job) prepare() (run func(context.Context) error, up ready, err error) {
	switch j.Role {
	case "proxy":
		return j.proxy()
	case "gateway":
		return j.gateway()
	case "connector":
		return j.connector()
	}
	return nil, ready{}, fmt.Errorf("unknown role %q", j.Role)
}

// proxy is the yardstick: one hop of the standard library's reverse proxy, with a pool large enough for all agents.
func (j job) proxy() (func(context.Context) error, ready, error) {
	target := &url.URL{Scheme: "http", Host: j.Backend}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", forward)
	mux.Handle("/events", buffered(forward))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, ready{}, err
	}
	return func(ctx context.Context) error { return serve(ctx, server, listener) }, ready{Addr: listener.Addr().String()}, nil
}

// buffered reads a request whole before next sees it: while it streams the body, ReverseProxy cuts some event streams short.
func buffered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// serve serves until ctx ends.
func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// gateway serves agents without TLS, as behind a balancer on the same machine.
func (j job) gateway() (func(context.Context) error, ready, error) {
	agents, err := freePort()
	if err != nil {
		return nil, ready{}, err
	}
	tcp, udp, err := bothPorts()
	if err != nil {
		return nil, ready{}, err
	}
	token, agentRef := j.secret("tunnel.token", tunnelToken), j.secret("agent.token", agentToken)
	logger, err := j.logger()
	if err != nil {
		return nil, ready{}, err
	}
	told, err := j.tell(context.Background())
	if err != nil {
		return nil, ready{}, err
	}
	cfg := gateway.Config{
		PublicURL: "http://" + agents,
		StateDir:  j.Dir,
		TLS:       gateway.TLS{SelfSigned: true},
		Tunnels:   []gateway.Tunnel{{Name: tunnelName, TunnelToken: token}},
		Agents: gateway.Agents{
			Listen:  agents,
			Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			Tokens:  []gateway.Token{{Name: "figures", Token: agentRef, Tunnels: []string{tunnelName}, Servers: []string{"*"}}},
		},
		Logger: slog.New(told.Handler(logger.Handler())), Tracer: told.Tracer, Meter: told.Meter,
	}
	cfg.Telemetry.Metrics.Names = true
	g, err := gateway.New(cfg)
	if err != nil {
		return nil, ready{}, err
	}
	g.Sockets(tcp, udp)
	return j.untilTold(told, g.Run), ready{Addr: agents, Tunnel: tcp.Addr().String(), CAFile: g.CAFile()}, nil
}

// connector serves the backend under several names, of which two have credentials, with an open policy.
func (j job) connector() (func(context.Context) error, ready, error) {
	logger, err := j.logger()
	if err != nil {
		return nil, ready{}, err
	}
	told, err := j.tell(context.Background())
	if err != nil {
		return nil, ready{}, err
	}
	c, err := connector.New(connector.Config{
		Gateway:     j.Gateway,
		GatewayCA:   j.CAFile,
		TunnelToken: j.secret("tunnel.token", tunnelToken),
		Transport:   j.Transport,
		Servers: map[string]connector.Server{
			"mcp":    {URL: "http://" + j.Backend + "/mcp"},
			"events": {URL: "http://" + j.Backend + "/events"},
			"idle":   {URL: "http://" + j.Backend + "/idle"},
			"bulk":   {URL: "http://" + j.Backend + "/bulk"},

			"keyed":     j.keyed("http://" + j.Backend + "/mcp"),
			"bulkkeyed": j.keyed("http://" + j.Backend + "/bulk"),
		},
		Policy: policy.Open(),
		Logger: slog.New(told.Handler(logger.Handler())), Tracer: told.Tracer, Meter: told.Meter,
	})
	if err != nil {
		return nil, ready{}, err
	}
	return j.untilTold(told, c.Run), ready{}, nil
}

// logger writes to a file what the command would write to standard error.
func (j job) logger() (*slog.Logger, error) {
	cfg := telemetry.LogConfig{}
	if j.Silent {
		cfg.Level = "error"
	}
	f, err := os.Create(filepath.Join(j.Dir, "log"))
	if err != nil {
		return nil, err
	}
	logger, _, err := telemetry.NewLogger(telemetry.NewBuffer(f), cfg)
	return logger, err
}

// secret writes a secret file; one that cannot be written shows when it is read.
func (j job) secret(name, value string) secret.Ref {
	path := filepath.Join(j.Dir, name)
	_ = os.WriteFile(path, []byte(value), 0o600)
	ref, _ := secret.ParseRef("file:" + path)
	return ref
}

// freePort is a TCP address on which nobody listens.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// bothPorts opens one port number on TCP and UDP.
func bothPorts() (net.Listener, net.PacketConn, error) {
	var err error
	for range 50 {
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return tcp, udp, nil
		}
		_ = tcp.Close()
	}
	return nil, nil, err
}
