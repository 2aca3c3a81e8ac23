package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"sallyport.dev/cmd/sallyport/agent"
	"sallyport.dev/mcp/diag"
)

// ErrProof means that a hop saw what it must not see, or lacked what it needs.
var ErrProof = errors.New("demo: what a hop saw is not what it should have seen")

const (
	callTimeout = 20 * time.Second
	joinTimeout = 3 * time.Second // until both roles have logged a call
	slowSteps   = 3
	lateTries   = 5 // of a call whose progress came late: what buffers does so each time, a busy machine does not
)

// Once calls the servers as an agent would, over QUIC and again over TCP, writes what each hop saw and how long it took,
// and fails if a hop saw what it must not see.
func Once(ctx context.Context, cfg Config, out io.Writer) error {
	gatewayLog := new(transcript)
	cfg.Log = fanOut{cfg.Log, slog.NewTextHandler(gatewayLog, &slog.HandlerOptions{Level: slog.LevelDebug})}
	d, err := New(cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	fmt.Fprintf(out, "Sallyport demo, once: an agent calls %s.\n", d.howMany())
	if d.without != nil {
		fmt.Fprintf(out, "The fifth, a local command, is left out: %v\n", d.without)
	}
	err = d.Run(ctx, func(ctx context.Context) error {
		for _, transport := range []string{"quic", "tcp"} {
			r := &round{demo: d, transport: transport, out: out, logs: gatewayLog, wire: new(transcript)}
			if err := d.Connect(ctx, transport, r.run); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		fmt.Fprintf(out, "\nAll of this was checked, not only printed.\n")
	}
	return err
}

// round is the calls over one transport.
type round struct {
	demo      *Demo
	transport string
	out       io.Writer
	logs      *transcript // of both roles
	wire      *transcript // of the agent
	timings   []timing
	keys      map[string]string // by server: the fingerprint of the credential that it says it got
	denied    string            // the line of the audit log about the call that policy denied
	view      *diag.View        // what the local server says it sees
}

// timing is one call, in milliseconds as each hop has measured it. Upstream is 0 for a local command, which nobody but the
// connector can time.
type timing struct {
	server, call                        string
	agent, gateway, connector, upstream float64
	note                                string
}

func (r *round) run(ctx context.Context) error {
	var facts hops
	for _, server := range r.demo.ownNames() {
		if err := r.callServer(ctx, server, &facts); err != nil {
			return fmt.Errorf("call %s over %s: %w", server, r.transport, err)
		}
	}
	r.print(facts)
	return r.prove(facts)
}

// callServer makes the calls on one server, over one connection of an agent.
func (r *round) callServer(ctx context.Context, server string, facts *hops) error {
	d := r.demo
	var progress progress
	d.drainCalls()
	start := time.Now()
	a, err := agent.Dial(ctx, agent.Config{
		URL: d.URL(server), Token: d.token, CAFile: d.gateway.CAFile(), Timeout: callTimeout,
		Version: d.cfg.Version, Wrap: r.wire.around, Notify: progress.see,
	})
	if err != nil {
		return err
	}
	defer a.Close()
	measure := func(call string) error { return r.measure(ctx, server, call, start, facts) }
	if err := measure("connect"); err != nil {
		return err
	}
	r.timings[len(r.timings)-1].note = "TLS, then server/discover of MCP " + a.Protocol()
	start = time.Now()
	tools, err := a.Tools(ctx)
	if err == nil {
		err = measure("tools/list")
	}
	if err != nil {
		return err
	}
	r.timings[len(r.timings)-1].note = fmt.Sprintf("%d tools", len(tools))
	if server == notesName {
		if err := r.tryErasing(ctx, a, tools); err != nil {
			return err
		}
	}
	do := func(step step) error {
		progress.reset()
		start = time.Now()
		result, err := a.Call(ctx, step.call)
		if err == nil {
			err = measure(step.call.Tool)
		}
		if err == nil {
			r.timings[len(r.timings)-1].note, err = step.check(r, result, &progress, start)
		}
		return err
	}
	for _, step := range stepsOn(server) {
		err := do(step)
		for try := 1; errors.Is(err, errLate) && try < lateTries; try++ {
			r.timings = r.timings[:len(r.timings)-1]
			err = do(step)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.call.Tool, err)
		}
	}
	return nil
}

// measure notes the call that has just ended, as each hop saw it.
func (r *round) measure(ctx context.Context, server, call string, start time.Time, facts *hops) error {
	took := time.Since(start)
	seen, err := r.demo.nextCall(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	t := timing{server: server, call: call, agent: ms(took), gateway: seen.Gateway, connector: seen.Connector}
	if upstream, overHTTP := map[string]*upstream{diagName: r.demo.diag, notesName: r.demo.notes, ticketsName: r.demo.tickets}[server]; overHTTP {
		one, err := upstream.next(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", call, err)
		}
		t.upstream = ms(one.took)
		facts.add(server, one)
	}
	facts.calls = append(facts.calls, seen)
	r.timings = append(r.timings, t)
	return nil
}

func (r *round) print(facts hops) {
	names := map[string]string{"quic": "QUIC", "tcp": "TCP"}
	fmt.Fprintf(r.out, "\nOver %s: agent -> gateway %s -> %s -> connector -> server. Milliseconds, as each hop measured:\n\n",
		names[r.transport], r.demo.gatewayAddr(), r.transport)
	fmt.Fprintf(r.out, "  %-7s %-10s %8s %8s %10s %8s\n", "server", "call", "agent", "gateway", "connector", "server")
	for _, t := range r.timings {
		upstream := "-"
		if t.upstream > 0 {
			upstream = fmt.Sprintf("%.1f", t.upstream)
		}
		fmt.Fprintf(r.out, "  %-7s %-10s %8.1f %8.1f %10.1f %8s   %s\n", t.server, t.call, t.agent, t.gateway, t.connector, upstream, t.note)
	}
	fmt.Fprintln(r.out, "\nWhat each hop saw:")
	for _, line := range r.saw(facts) {
		fmt.Fprintf(r.out, "  %-10s %s\n", line.hop, line.text)
	}
}

// progress follows the progress notifications of one call.
type progress struct {
	arrived chan time.Time
}

func (p *progress) reset() { p.arrived = make(chan time.Time, 64) }

func (p *progress) see(n mcp.JSONRPCNotification) {
	if n.Method != string(mcp.MethodNotificationProgress) || p.arrived == nil {
		return
	}
	select {
	case p.arrived <- time.Now():
	default: // more than a call of the demo sends
	}
}

// fanOut is a slog.Handler that hands every record to both.
type fanOut struct{ a, b slog.Handler }

// Enabled implements slog.Handler.
func (f fanOut) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (f fanOut) Handle(ctx context.Context, r slog.Record) error {
	err := f.b.Handle(ctx, r)
	if f.a != nil && f.a.Enabled(ctx, r.Level) {
		err = errors.Join(err, f.a.Handle(ctx, r))
	}
	return err
}

// WithAttrs implements slog.Handler.
func (f fanOut) WithAttrs(attrs []slog.Attr) slog.Handler {
	f.b = f.b.WithAttrs(attrs)
	if f.a != nil {
		f.a = f.a.WithAttrs(attrs)
	}
	return f
}

// WithGroup implements slog.Handler.
func (f fanOut) WithGroup(name string) slog.Handler {
	f.b = f.b.WithGroup(name)
	if f.a != nil {
		f.a = f.a.WithGroup(name)
	}
	return f
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
