package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
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

// generationRounds is how many rounds one set of processes lives: how fast a process is depends on its luck with memory, too.
const generationRounds = 3

// tellingTimes is how many more rounds than others this takes: what is to be seen is smaller than what one round differs from the next by.
const tellingTimes = 3

// tellingSlices is into how many parts the load of each way is cut in a round. What a neighbour on the same hardware takes, which
// nobody here can see, comes and goes within a second, and so falls on all ways alike.
const tellingSlices = 4

// measureTelemetry loads a gateway and a connector over QUIC for each way of telling, all in turn, and with processes made anew now
// and then.
func (p plan) measureTelemetry(ctx context.Context, self string) (f telemetryFigures, err error) {
	f.ways = tellings()
	f.rates, f.mallocs = make([][]float64, len(f.ways)), make([][]float64, len(f.ways))
	rounds := tellingTimes * p.rounds
	for done := 0; done < rounds && err == nil; done += generationRounds {
		err = p.tellingGeneration(ctx, self, &f, done/generationRounds, min(generationRounds, rounds-done))
	}
	return f, err
}

// tellingGeneration measures some rounds with processes of their own. Who is started first changes from one to the next.
func (p plan) tellingGeneration(ctx context.Context, self string, f *telemetryFigures, generation, rounds int) (err error) {
	fleet, stop, err := newFleet(self)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, stop()) // which has them send what still waits
		f.took += fleet.collected.Load()
	}()
	targets := make([]target, len(f.ways))
	for turn := range targets {
		i := (turn + generation) % len(targets)
		if targets[i], err = fleet.telling(ctx, f.ways[i]); err != nil {
			return err
		}
		if err := p.warm(ctx, targets[i]); err != nil {
			return err
		}
	}
	for range rounds {
		if err := p.tellingRound(ctx, f, targets); err != nil {
			return err
		}
	}
	return nil
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

// fastest are the rounds, half of them, in which all ways together had the highest rates: in the others the hardware was somebody
// else's, too.
func (f *telemetryFigures) fastest() []int {
	speed := func(round int) (sum float64) {
		for way := range f.rates {
			sum += math.Log(f.rates[way][round])
		}
		return sum
	}
	rounds := make([]int, len(f.rates[0]))
	for i := range rounds {
		rounds[i] = i
	}
	slices.SortFunc(rounds, func(a, b int) int { return cmp.Compare(speed(b), speed(a)) })
	return rounds[:(len(rounds)+1)/2]
}

// table is what telling costs, in Markdown.
func (f *telemetryFigures) table() string {
	var b strings.Builder
	b.WriteString("| gateway and connector tell of | calls/s | against off | allocations a call |\n|---|--:|--:|--:|\n")
	fastest := f.fastest()
	for i, way := range f.ways {
		var rates, ratios, mallocs []float64
		for _, round := range fastest {
			rates, ratios, mallocs = append(rates, f.rates[i][round]), append(ratios, f.rates[i][round]/f.rates[0][round]), append(mallocs, f.mallocs[i][round])
		}
		slices.Sort(ratios)
		fmt.Fprintf(&b, "| %s | %.0f | %.2f (%.2f–%.2f) | %.0f |\n", way.name, middle(rates), middle(ratios), ratios[len(ratios)/4], ratios[len(ratios)*3/4], middle(mallocs))
	}
	return b.String()
}
