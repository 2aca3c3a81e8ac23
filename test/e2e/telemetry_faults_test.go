package e2e_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"sallyport.dev/telemetry"
	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
)

const (
	// queueSize is how many spans may wait for a collector.
	queueSize = 2048
	// endTime is how long the end of telemetry may take, and endSlack what a machine with other things to do may add.
	endTime  = 5 * time.Second
	endSlack = 2 * time.Second
)

// fault is a collector that does not do what it should.
type fault struct {
	name string
	cfg  telemetry.Config
	// gives says that what it gets is lost at once; elsewhere it waits.
	gives bool
	// check looks at what has come of it. Optional.
	check func(t *testing.T)
}

// badCollectors are all kinds of them, running until the test ends. The header of each is a secret.
func badCollectors(t *testing.T) []fault {
	t.Helper()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	dead := "http://" + closed.Addr().String()
	hole := "http://" + accepting(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	mute := "https://" + accepting(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	slow := "http://" + accepting(t, drip)

	var elsewhere atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	away := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.Path)
		w.WriteHeader([]int{http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}[time.Now().UnixNano()%3])
	})
	var flood, floods atomic.Int64
	huge := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Header().Set("Content-Length", strconv.Itoa(1<<30))
		piece := make([]byte, 64<<10)
		floods.Add(1)
		for range (1 << 30) / len(piece) {
			n, err := w.Write(piece)
			flood.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	failing := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	later := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	over := func(url, protocol string) telemetry.Config {
		cfg := collector(url, telemetry.SignalTraces, telemetry.SignalMetrics, telemetry.SignalLogs)
		cfg.OTLP.Protocol, cfg.OTLP.Headers = protocol, map[string]telemetry.Header{"Authorization": {Text: "Bearer canary-of-the-collector"}}
		return cfg
	}
	return []fault{
		{name: "dead", cfg: over(dead, "")},
		{name: "black hole", cfg: over(hole, "")},
		{name: "one byte a second", cfg: over(slow, "")},
		{name: "hangs in TLS", cfg: over(mute, "")},
		{name: "500", cfg: over(failing.URL, ""), gives: true},
		{name: "1 GiB", cfg: over(huge.URL, ""), gives: true, check: func(t *testing.T) {
			t.Helper()
			const buffers = 16 << 20 // of sockets, which fill whether anybody reads or not
			if n := flood.Load(); floods.Load() == 0 || n/floods.Load() > buffers {
				t.Errorf("%d MiB of %d huge answers were taken", n>>20, floods.Load())
			}
		}},
		{name: "redirects", cfg: over(away.URL, ""), gives: true, check: func(t *testing.T) {
			t.Helper()
			if n := elsewhere.Load(); n > 0 {
				t.Errorf("%d requests followed a redirect to another host", n)
			}
		}},
		{name: "429, an hour", cfg: over(later.URL, ""), gives: true},
		{name: "gRPC, dead", cfg: over(dead, "grpc")},
		{name: "gRPC, black hole", cfg: over(hole, "grpc")},
	}
}

// accepting hands each connection to a function, and ends with the test.
func accepting(t *testing.T, each func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var crew sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	crew.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			crew.Go(func() {
				defer c.Close()
				each(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		crew.Wait()
	})
	return l.Addr().String()
}

// drip reads a request and answers it slowly.
func drip(c net.Conn) {
	go func() { _, _ = io.Copy(io.Discard, bufio.NewReader(c)) }() // ends with the connection
	for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("\n", 1000)) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// No collector, whatever it does, costs a call anything: none fails, none takes noticeably longer, no memory fills and nothing is left
// running. It runs alone, because it compares times.
func TestCollectorsDoNotMatter(t *testing.T) {
	running := goleak.IgnoreCurrent()
	before := heapInUse()
	t.Run("all", func(t *testing.T) {
		const rounds, warm = 200, 20
		upstream := echoes(t)
		plain := stack.New(t, stack.Options{Servers: one("echo", upstream)})
		faults := badCollectors(t)
		stacks := []*stack.Stack{plain}
		var told []*observed
		for _, f := range faults {
			o := observe(t, stack.Options{Servers: one("echo", upstream)}, f.cfg)
			told, stacks = append(told, o), append(stacks, o.Stack)
		}
		times := make([][]time.Duration, len(stacks))
		agents := make([]*http.Client, len(stacks))
		for i, s := range stacks {
			agents[i] = s.Agent(t, true)
		}
		for round := range warm + rounds { // in turn, so that what else the machine does is the same for all
			for i, s := range stacks {
				began := time.Now()
				got := post(t, s, agents[i], "echo", pingBody)
				if got.status != http.StatusOK || got.err != nil || string(got.body) != string(stack.Echo([]byte(pingBody))) {
					t.Fatalf("call %d: %d, %v, %s", round, got.status, got.err, got.body)
				}
				if round >= warm {
					times[i] = append(times[i], time.Since(began))
				}
			}
		}
		base := median(times[0])
		for i, f := range faults {
			m := median(times[i+1])
			t.Logf("%-18s median %s, %.2f of %s without telemetry; slowest %s", f.name, m, float64(m)/float64(base), base, slices.Max(times[i+1]))
			if m > 3*base {
				t.Errorf("%s: the median is %s, without telemetry %s", f.name, m, base)
			}
		}
		flooded := told[slices.IndexFunc(faults, func(f fault) bool { return f.name == "black hole" })]
		const flood, crewSize = 2400, 8
		agent := flooded.Agent(t, true)
		var crew sync.WaitGroup
		for range crewSize {
			crew.Go(func() {
				for range flood / crewSize {
					r, err := flooded.Post(t.Context(), "echo", pingBody)
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := whole(agent, r); err != nil || got.status != http.StatusOK || got.err != nil {
						t.Errorf("%d, %v, %v", got.status, err, got.err)
						return
					}
				}
			})
		}
		crew.Wait()
		for role, spans := range map[*telemetry.Telemetry]int{flooded.gateway: 1, flooded.connector: 2} { // of a call, or more
			_, _ = dropped(t, role) // which has the last calls told of
			if full, _ := dropped(t, role); full < spans*(warm+rounds+flood)-queueSize {
				t.Errorf("%d spans are counted as lost, after %d calls that nobody was told of", full, warm+rounds+flood)
			}
		}
		if grown := heapInUse() - before; grown > 128<<20 {
			t.Errorf("the heap has grown by %d MiB", grown>>20)
		}
		ends := make([][2]time.Duration, len(told))
		for i, o := range told {
			o.StopConnector()
			o.StopGateway()
			for j, role := range []*telemetry.Telemetry{o.gateway, o.connector} {
				crew.Go(func() {
					began := time.Now()
					role.Shutdown()
					ends[i][j] = time.Since(began)
				})
			}
		}
		crew.Wait()
		for i, f := range faults {
			t.Logf("%-18s ends: gateway %s, connector %s", f.name, ends[i][0], ends[i][1])
			if slices.Max(ends[i][:]) > endTime+endSlack {
				t.Errorf("%s: the end takes %v", f.name, ends[i])
			}
			if f.check != nil {
				f.check(t)
			}
			log := told[i].log.String() + told[i].Log.String()
			if strings.Contains(log, "canary") {
				t.Errorf("%s: the log has the collector's header", f.name)
			}
			for _, signal := range []string{telemetry.SignalTraces, telemetry.SignalMetrics, telemetry.SignalLogs} {
				for _, role := range []string{"gateway", "connector"} {
					taken, lost := 0, 0
					for line := range strings.Lines(told[i].log.String()) {
						switch {
						case !strings.Contains(line, fmt.Sprintf(`"role":%q,"signal":%q`, role, signal)):
						case strings.Contains(line, "the process ends before"):
							lost++
						default:
							taken++
						}
					}
					if taken > 1 || lost > 1 {
						t.Errorf("%s: the %s says %d times that %s are not taken, and %d times that some are lost", f.name, role, taken, signal, lost)
					}
				}
			}
		}
	})
	if err := goleak.Find(running); err != nil {
		t.Errorf("something is left running: %v", err)
	}
	if grown := heapInUse() - before; grown > 64<<20 {
		t.Errorf("%d MiB of the heap are left", grown>>20)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// record makes n spans, from several goroutines.
func record(told *telemetry.Telemetry, n int) {
	const crew = 8
	var wait sync.WaitGroup
	for c := range crew {
		wait.Go(func() {
			for i := c; i < n; i += crew {
				span := told.Tracer.Begin(trace.SpanContext{}, time.Now())
				told.Tracer.End(span, telemetry.Ended{Name: "a call", Kind: trace.SpanKindServer, End: time.Now()})
			}
		})
	}
	wait.Wait()
}

// dropped reads from /metrics how many spans are lost, for want of room and because the collector did not take them.
func dropped(t *testing.T, told *telemetry.Telemetry) (full, failed int) {
	t.Helper()
	for line := range strings.Lines(shown(t, told)) {
		if !strings.HasPrefix(line, "sallyport_telemetry_dropped_total{") || !strings.Contains(line, `sallyport_signal="traces"`) {
			continue
		}
		fields := strings.Fields(line)
		n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, `"queue_full"`) {
			full += int(n)
		} else {
			failed += int(n)
		}
	}
	return full, failed
}

// Not a span is unaccounted for: those that a collector has and those that are counted as lost are all that were made. At most 2048
// wait.
func TestDropsAreCounted(t *testing.T) {
	t.Parallel()
	const made = 20_000
	setup := func(t *testing.T, cfg telemetry.Config) *telemetry.Telemetry {
		t.Helper()
		told, err := telemetry.Setup(t.Context(), cfg, telemetry.Options{Scraped: true, Role: "gateway", Version: "test", Instance: rand.Text()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(told.Shutdown)
		return told
	}
	for _, f := range badCollectors(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			told := setup(t, f.cfg)
			record(told, made)
			if !f.gives { // none is sent, and what is not lost waits; a batch whose connection breaks makes room
				full, failed := dropped(t, told)
				if waiting := made - full - failed; waiting < 0 || waiting > queueSize || failed == 0 && waiting != queueSize {
					t.Errorf("%d and %d are counted as lost, with %d made and %d of room", full, failed, made, queueSize)
				}
			} else {
				until(t, patience, "all are counted as lost", func() bool {
					full, failed := dropped(t, told)
					return full+failed == made
				})
			}
			began := time.Now()
			told.Shutdown()
			if took := time.Since(began); took > endTime+endSlack {
				t.Errorf("the end takes %s", took)
			}
		})
	}
	t.Run("one that takes every other request", func(t *testing.T) {
		t.Parallel()
		receiver := new(backends.Receiver)
		var asked atomic.Int64
		receiver.Judge = func(*http.Request) int {
			if asked.Add(1)%2 == 0 {
				return http.StatusBadRequest
			}
			return 0
		}
		server := httptest.NewServer(receiver)
		t.Cleanup(server.Close)
		told := setup(t, collector(server.URL, telemetry.SignalTraces))
		record(told, made)
		until(t, patience, "all are sent or lost", func() bool {
			full, failed := dropped(t, told)
			return full+failed+len(receiver.Spans()) == made
		})
		full, failed := dropped(t, told)
		distinct := make(map[string]bool)
		for _, span := range receiver.Spans() {
			distinct[string(span.GetSpanId())] = true
		}
		if failed == 0 || len(distinct) == 0 || len(distinct)+full+failed != made {
			t.Errorf("%d distinct spans are there, %d found no room, %d were refused, of %d", len(distinct), full, failed, made)
		}
		t.Logf("%d spans are there, %d found no room, %d were refused, of %d", len(distinct), full, failed, made)
	})
}

// What waits when a process is told to end is sent, and a collector that does not take it holds nobody up.
func TestProcessesEndDespiteCollectors(t *testing.T) {
	t.Parallel()
	binary := build(t)
	hole := "http://" + accepting(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	receiver := backends.StartReceiver(t)
	d := deploy(t, echoes(t), "tcp")
	gateway := startWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL, "OTEL_BSP_SCHEDULE_DELAY=60000"}, binary, "gateway", "-c", d.gateway, "--log-format", "json")
	gateway.says(t, `"gateway is up"`, 1)
	connector := startWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + hole}, binary, "connector", "-c", d.connector, "--log-format", "json")
	connector.says(t, `"attached"`, 2)
	d.call(t)
	began := time.Now()
	connector.terminate(t)
	if took := time.Since(began); took > endTime+endSlack {
		t.Errorf("the connector ended after %s", took)
	}
	if n := len(receiver.Spans()); n > 0 {
		t.Errorf("%d spans were sent at once", n)
	}
	began = time.Now()
	gateway.terminate(t)
	if took := time.Since(began); took > endTime+endSlack {
		t.Errorf("the gateway ended after %s", took)
	}
	if len(receiver.Spans()) == 0 { // one, and those of phases that took long
		t.Error("no span was sent at the end")
	}
}
