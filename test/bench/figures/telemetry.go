package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/telemetry"
)

// telling is one way in which gateway and connector tell of what they do.
type telling struct {
	name   string
	silent bool     // no access log
	sample *float64 // part of the calls that is traced; nil without telemetry
}

// tellings are the ways that are compared, the one that the others are measured by first.
func tellings() []telling {
	tenth, all := 0.1, 1.0
	return []telling{
		{name: "off", silent: true}, {name: "access log"},
		{name: "access log, metrics, 10 % of the calls traced", sample: &tenth}, {name: "access log, metrics, all calls traced", sample: &all},
	}
}

// telemetryFigures are what telling costs.
type telemetryFigures struct {
	ways    []telling
	rates   [][]float64 // calls a second, by way and round
	mallocs [][]float64 // allocations a call of both sides, by way and round
	took    int64       // bytes that the collector has got
}

// tellingTimes is how many more rounds than others this takes: what is to be seen is smaller than what two sets of processes that do the
// same differ by.
const tellingTimes = 3

// tellingSlices is into how many parts the load of each way is cut in a round. What a neighbour on the same hardware takes, which
// nobody here can see, comes and goes within a second, and so falls on all ways alike.
const tellingSlices = 4

// measureTelemetry loads a gateway and a connector over QUIC for each way of telling. How fast a process is depends on its luck with
// memory, too, so that each round has processes of its own.
func (p plan) measureTelemetry(ctx context.Context, self string) (f telemetryFigures, err error) {
	f.ways = tellings()
	f.rates, f.mallocs = make([][]float64, len(f.ways)), make([][]float64, len(f.ways))
	for range tellingTimes * p.rounds {
		if err := p.tellingFleet(ctx, self, &f); err != nil {
			return f, err
		}
	}
	return f, nil
}

// tellingFleet measures one round with processes of its own, which are started in an order that chance has.
func (p plan) tellingFleet(ctx context.Context, self string, f *telemetryFigures) (err error) {
	fleet, stop, err := newFleet(self)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, stop()) // which has them send what still waits
		f.took += fleet.collected.Load()
	}()
	targets := make([]target, len(f.ways))
	for _, way := range rand.Perm(len(targets)) {
		if targets[way], err = fleet.telling(ctx, f.ways[way]); err != nil {
			return err
		}
		if err := p.warm(ctx, targets[way]); err != nil {
			return err
		}
	}
	return p.tellingRound(ctx, f, targets)
}

// tellingRound measures all ways once, slice by slice, in an order that chance has, so that none always comes after the same other.
func (p plan) tellingRound(ctx context.Context, f *telemetryFigures, targets []target) error {
	sums := make([]tellingSample, len(targets))
	for range tellingSlices {
		for _, way := range rand.Perm(len(targets)) {
			if err := sums[way].add(ctx, targets[way], p.agents, p.load/tellingSlices); err != nil {
				return err
			}
		}
	}
	for way, sum := range sums {
		f.rates[way] = append(f.rates[way], float64(sum.calls)/sum.took.Seconds())
		f.mallocs[way] = append(f.mallocs[way], float64(sum.mallocs)/float64(sum.calls))
	}
	return nil
}

// tellingSample is what one way did in a round.
type tellingSample struct {
	calls   int
	took    time.Duration
	mallocs uint64 // of both sides
}

// add loads a path once more.
func (s *tellingSample) add(ctx context.Context, t target, agents int, d time.Duration) error {
	before, err := t.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	calls, err := load(ctx, t, agents, d)
	if err != nil {
		return err
	}
	s.took += time.Since(began)
	s.calls += len(calls)
	after, err := t.usage()
	if err != nil {
		return err
	}
	for side := range after {
		s.mallocs += after[side].minus(before[side]).Mallocs
	}
	return nil
}

// telling starts a gateway and a connector that tell in one way.
func (f *fleet) telling(ctx context.Context, way telling) (target, error) {
	gateway, err := f.child(ctx, job{Role: "gateway", Silent: way.silent, Collector: f.collector(way), Sample: way.sample})
	if err != nil {
		return target{}, err
	}
	connector, err := f.child(ctx, job{
		Role: "connector", Silent: way.silent, Backend: f.backend, Gateway: gateway.up.Tunnel, CAFile: gateway.up.CAFile, Transport: "quic",
		Collector: f.collector(way), Sample: way.sample,
	})
	if err != nil {
		return target{}, err
	}
	addr := gateway.up.Addr
	return target{
		name: way.name, addr: addr, wire: request(addr, "/t/"+tunnelName+"/mcp/mcp"), children: []*child{gateway, connector}, sides: []string{"gateway", "connector"},
	}, nil
}

// collector is where a way of telling sends to.
func (f *fleet) collector(way telling) string {
	if way.sample == nil {
		return ""
	}
	return "http://" + f.backend
}

// collect takes what is told, and counts its bytes.
func (f *fleet) collect(_ http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	f.collected.Add(n)
}

// tell sets a child's telemetry up, if it is to tell of anything.
func (j job) tell(ctx context.Context) (*telemetry.Telemetry, error) {
	if j.Collector == "" {
		return new(telemetry.Telemetry), nil
	}
	return telemetry.Setup(ctx, telemetry.Config{
		OTLP: telemetry.OTLP{Endpoint: j.Collector}, Traces: telemetry.Traces{Sample: j.Sample}, Metrics: telemetry.Metrics{Names: true},
	}, telemetry.Options{Role: j.Role, Version: "figures"})
}

// untilTold runs a role, and then sends what still waits.
func (j job) untilTold(told *telemetry.Telemetry, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer told.Shutdown()
		return run(ctx)
	}
}

// against is what a way's rates are, as parts of the first's in the same round: their geometric mean, and how far from that it may be with
// a probability of 95 %, as a factor.
func (f *telemetryFigures) against(way int) (mean, factor float64) {
	n := float64(len(f.rates[way]))
	sum, squares := 0.0, 0.0
	for round, rate := range f.rates[way] {
		ratio := math.Log(rate / f.rates[0][round])
		sum += ratio
		squares += ratio * ratio
	}
	sum /= n
	deviation := math.Sqrt(max(0, squares/n-sum*sum) / max(1, n-1))
	return math.Exp(sum), math.Exp(2 * deviation)
}

// table is what telling costs, in Markdown.
func (f *telemetryFigures) table() string {
	var b strings.Builder
	b.WriteString("| gateway and connector tell of | calls/s | against off | allocations a call |\n|---|--:|--:|--:|\n")
	for i, way := range f.ways {
		mean, factor := f.against(i)
		fmt.Fprintf(&b, "| %s | %.0f | %.3f (%.3f–%.3f) | %.0f |\n", way.name, middle(f.rates[i]), mean, mean/factor, mean*factor, middle(f.mallocs[i]))
	}
	return b.String()
}
