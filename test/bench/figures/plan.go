package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// plan is how much is measured.
type plan struct {
	rounds   int
	agents   int
	load     time.Duration // of each path in a round, with all agents
	single   time.Duration // of each path in a round, with one agent
	streams  int           // event streams of each path in a round
	idle     int           // event streams that are open at once, silent, over each transport
	profiles string        // folder; empty for none
}

// target is one path to the backend.
type target struct {
	name     string
	addr     string
	wire     []byte   // a call that is answered by JSON
	events   []byte   // one that is answered by an event stream
	idle     []byte   // a GET whose event stream is silent after its first event; nil if none is
	children []*child // whose cost counts: gateway and connector, or the proxy
	sides    []string // what the children are, for profiles
}

// sample is one path in one round.
type sample struct {
	rate               float64 // calls a second
	p50, p99           time.Duration
	cpu                []time.Duration // a call, of each child
	mallocs            []float64       // a call, of each child
	single, firstEvent time.Duration   // medians, one at a time
	strangers          float64         // share of the processors that other processes took
}

// result is one path in all rounds.
type result struct {
	name    string
	samples []sample
	idle    []float64 // bytes that a silent event stream holds in each child; none if that was not measured
}

// run starts everything, measures and stops it again.
func (p plan) run(ctx context.Context, self string) (results []result, err error) {
	f, stop, err := newFleet(self)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	targets, err := f.start(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		results = append(results, result{name: t.name})
		if err := p.warm(ctx, t); err != nil {
			return nil, err
		}
	}
	for range p.rounds {
		for i, t := range targets {
			s, err := p.measure(ctx, t)
			if err != nil {
				return nil, err
			}
			results[i].samples = append(results[i].samples, s)
		}
	}
	for i, t := range targets {
		if t.idle == nil || p.idle == 0 {
			continue
		}
		if results[i].idle, err = p.measureIdle(ctx, t); err != nil {
			return nil, err
		}
	}
	return results, p.profile(ctx, targets)
}

// partFigures are what is measured beside the paths.
type partFigures struct {
	local       localFigures
	credentials credentialFigures
	decisions   policyFigures
	callers     callerFigures
	telling     telemetryFigures
}

// measureParts measures what is beside the paths.
func (p plan) measureParts(ctx context.Context, self string) (f partFigures, err error) {
	if f.telling, err = p.measureTelemetry(ctx, self); err != nil {
		return f, fmt.Errorf("telemetry: %w", err)
	}
	if f.local, err = p.measureLocal(ctx, self); err != nil {
		return f, fmt.Errorf("local commands: %w", err)
	}
	if f.credentials, err = p.measureCredentials(ctx, self); err != nil {
		return f, fmt.Errorf("credentials: %w", err)
	}
	if f.decisions, err = p.measurePolicy(ctx); err != nil {
		return f, fmt.Errorf("policy: %w", err)
	}
	if f.callers, err = p.measureCallers(ctx); err != nil {
		return f, fmt.Errorf("callers: %w", err)
	}
	return f, nil
}

// fleet is the processes of a run.
type fleet struct {
	self, dir, backend string
	children           []*child
	collected          atomic.Int64 // bytes that were told
}

// newFleet starts the backend. The returned function ends that and all processes.
func newFleet(self string) (f *fleet, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "figures-")
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	f = &fleet{self: self, dir: dir, backend: listener.Addr().String()}
	server := &http.Server{Handler: backend(f.collect), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Close
	}()
	return f, func() error {
		err := f.stop()
		_ = server.Close()
		<-served
		return errors.Join(err, os.RemoveAll(dir))
	}, nil
}

// start starts the proxy, and a gateway with a connector for each transport, with and without access logs.
func (f *fleet) start(ctx context.Context) ([]target, error) {
	targets := []target{{name: "direct", addr: f.backend, wire: request(f.backend, "/mcp"), events: request(f.backend, "/events")}}
	proxy, err := f.child(ctx, job{Role: "proxy", Backend: f.backend})
	if err != nil {
		return nil, err
	}
	addr := proxy.up.Addr
	targets = append(targets, target{
		name: "ReverseProxy, one hop", addr: addr, wire: request(addr, "/mcp"), events: request(addr, "/events"),
		children: []*child{proxy}, sides: []string{"proxy"},
	})
	for _, silent := range []bool{false, true} {
		for _, transport := range []string{"quic", "tcp"} {
			t, err := f.sallyport(ctx, transport, silent)
			if err != nil {
				return nil, err
			}
			targets = append(targets, t)
		}
	}
	return targets, nil
}

func (f *fleet) sallyport(ctx context.Context, transport string, silent bool) (target, error) {
	gateway, err := f.child(ctx, job{Role: "gateway", Silent: silent})
	if err != nil {
		return target{}, err
	}
	connector, err := f.child(ctx, job{
		Role: "connector", Silent: silent, Backend: f.backend, Gateway: gateway.up.Tunnel, CAFile: gateway.up.CAFile, Transport: transport,
	})
	if err != nil {
		return target{}, err
	}
	name := "Sallyport, " + transport
	if silent {
		name += ", no access log"
	}
	addr := gateway.up.Addr
	var idle []byte
	if silent { // a stream that lives has logged nothing yet
		idle = listening(addr, "/t/"+tunnelName+"/idle/mcp")
	}
	return target{
		idle: idle,
		name: name, addr: addr, wire: request(addr, "/t/"+tunnelName+"/mcp/mcp"), events: request(addr, "/t/"+tunnelName+"/events/mcp"),
		children: []*child{gateway, connector}, sides: []string{"gateway", "connector"},
	}, nil
}

// child starts one process with a folder of its own.
func (f *fleet) child(ctx context.Context, j job) (*child, error) {
	j.Dir = filepath.Join(f.dir, fmt.Sprintf("%d-%s", len(f.children), j.Role))
	if err := os.Mkdir(j.Dir, 0o700); err != nil {
		return nil, err
	}
	c, err := start(ctx, f.self, j)
	if err == nil {
		f.children = append(f.children, c)
	}
	return c, err
}

// stop ends the processes, connectors before their gateways.
func (f *fleet) stop() error {
	var errs []error
	for _, c := range slices.Backward(f.children) {
		errs = append(errs, c.stop())
	}
	return errors.Join(errs...)
}

// warmRetry is between two attempts to reach a path that was just started.
const warmRetry = 50 * time.Millisecond

// warm waits until the path works, and lets pools fill.
func (p plan) warm(ctx context.Context, t target) error {
	var err error
	for range 20 { // the connector may still be attaching; a gateway waits 2 s for it
		if _, err = load(ctx, t, 1, 10*time.Millisecond); err == nil {
			break
		}
		select {
		case <-time.After(warmRetry): // the gateway may not listen yet
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	_, err = load(ctx, t, p.agents, p.load)
	return err
}

// measure takes one sample of one path.
func (p plan) measure(ctx context.Context, t target) (sample, error) {
	before, err := t.usage()
	if err != nil {
		return sample{}, err
	}
	self, machine, began := used().CPU, busy(), time.Now()
	calls, err := load(ctx, t, p.agents, p.load)
	if err != nil {
		return sample{}, err
	}
	took := time.Since(began)
	after, err := t.usage()
	if err != nil {
		return sample{}, err
	}
	ours, all := used().CPU-self, busy()-machine
	s := sample{rate: float64(len(calls)) / took.Seconds(), p50: at(calls, 0.5), p99: at(calls, 0.99)}
	for i := range after {
		spent := after[i].minus(before[i])
		ours += spent.CPU
		s.cpu = append(s.cpu, spent.CPU/time.Duration(len(calls)))
		s.mallocs = append(s.mallocs, float64(spent.Mallocs)/float64(len(calls)))
	}
	s.strangers = max(0, (all-ours).Seconds()/took.Seconds()/float64(runtime.NumCPU()))
	alone, err := load(ctx, t, 1, p.single)
	if err != nil {
		return sample{}, err
	}
	events, err := firstEvents(ctx, t, p.streams)
	if err != nil {
		return sample{}, err
	}
	s.single, s.firstEvent = at(alone, 0.5), at(events, 0.5)
	return s, nil
}

// usage asks each child of the path.
func (t target) usage() ([]usage, error) { return t.ask("usage") }

// ask gives an order to each child of the path.
func (t target) ask(order string) ([]usage, error) {
	all := make([]usage, 0, len(t.children))
	for _, c := range t.children {
		u, err := c.order(order)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// profile loads each path once more, profiled, if that was asked for.
func (p plan) profile(ctx context.Context, targets []target) error {
	if p.profiles == "" {
		return nil
	}
	for number, t := range targets {
		file := func(i int, kind string) string {
			return filepath.Join(p.profiles, fmt.Sprintf("%d-%s.%s.pprof", number, t.sides[i], kind))
		}
		for i, c := range t.children {
			if _, err := c.order("profile " + file(i, "cpu")); err != nil {
				return err
			}
		}
		if _, err := load(ctx, t, p.agents, 4*p.load); err != nil {
			return err
		}
		for i, c := range t.children {
			if _, err := c.order("profiled " + file(i, "allocs")); err != nil {
				return err
			}
		}
	}
	return nil
}

// at is a quantile of sorted values.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
