package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	maxMeasured  = 4096 // sets of attributes that are kept for the next call alike
	maxErrorKind = 64   // codes of servers' errors that are labels
)

// metrics are the gateway's instruments, and what they know calls by.
type metrics struct {
	names bool // of tunnels, servers and tools are labels

	operations *telemetry.Durations
	sessions   metric.Float64Histogram
	refusals   metric.Int64Counter
	ended      metric.Int64Counter
	inFlight   atomic.Int64
	streams    metric.Int64UpDownCounter

	servers telemetry.NameLabels // and tools
	errors  *telemetry.Labels
	alive   *telemetry.Lifetimes[measured] // MCP sessions, as agents name them
	totals  *tunnel.Totals

	mu    sync.RWMutex // guards known
	known map[measured]*alike
}

// measured is what operations are told apart by.
type measured struct {
	method, failure, version, transport string
	tunnel, server, tool                string
	proven                              bool // there is such a tool: the call has succeeded
}

// alike are requests with the same labels.
type alike struct {
	labels measured
	series *telemetry.Series // of those that are operations
}

// newMetrics makes the instruments; nil without a meter.
func (g *Gateway) newMetrics() (*metrics, error) {
	if g.cfg.Meter == nil {
		return nil, nil //nolint:nilnil // nothing is measured
	}
	m := &metrics{
		names:  g.cfg.Telemetry.Metrics.Names,
		errors: telemetry.NewLabels(maxErrorKind, "tool_error", outcomeBroken, outcomeUnknown, outcomeCancelled), totals: new(tunnel.Totals),
		known: make(map[measured]*alike),
	}
	m.alive = telemetry.NewLifetimes(func(what measured, d time.Duration) {
		m.sessions.Record(context.Background(), d.Seconds(), metric.WithAttributeSet(what.attributes()))
	})
	const scope = "sallyport.dev/gateway"
	meter := g.cfg.Meter.Meter(scope, metric.WithInstrumentationVersion(g.cfg.Version))
	var errs [12]error
	m.operations = g.cfg.Meter.Durations(scope, g.cfg.Version, "mcp.server.operation.duration", "From an agent's message to the end of what it was answered")
	m.sessions, errs[1] = meter.Float64Histogram("mcp.server.session.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(telemetry.Buckets...),
		metric.WithDescription("From the beginning of an agent's MCP session to its end, or to the last call of one that nobody ended"))
	m.refusals, errs[2] = meter.Int64Counter("sallyport.refusals", metric.WithUnit("{call}"), metric.WithDescription("Requests that the gateway itself has answered with an error"))
	m.ended, errs[3] = meter.Int64Counter("sallyport.tunnel.sessions.ended", metric.WithUnit("{session}"), metric.WithDescription("Sessions of the tunnel that have ended"))
	_, errs[4] = meter.Int64ObservableUpDownCounter("sallyport.calls.in_flight", metric.WithUnit("{call}"), metric.WithDescription("Requests under way"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			g.ended.Flush() // whoever reads has all that has ended
			o.Observe(m.inFlight.Load())
			return nil
		}))
	m.streams, errs[5] = meter.Int64UpDownCounter("sallyport.event_streams", metric.WithUnit("{stream}"), metric.WithDescription("Answers under way that are event streams"))
	errs[6] = m.observeTunnel(meter, g)
	if g.cfg.Audit.Enabled() {
		_, errs[7] = meter.Int64ObservableCounter("sallyport.audit.lost", metric.WithUnit("{event}"), metric.WithDescription("Events that are not in the audit log"),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				if log := g.audit.Load(); log != nil {
					o.Observe(log.Lost())
				}
				return nil
			}))
	}
	return m, errors.Join(errs[:]...)
}

// observeTunnel measures what carries the calls.
func (m *metrics) observeTunnel(meter metric.Meter, g *Gateway) error {
	_, err := meter.Int64ObservableUpDownCounter("sallyport.tunnel.sessions", metric.WithUnit("{session}"), metric.WithDescription("Sessions of connectors that are attached"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for k, n := range m.countSessions(g) {
				attrs := []attribute.KeyValue{telemetry.AttrTransport.String(k.transport)}
				if k.tunnel != "" {
					attrs = append(attrs, telemetry.AttrTunnel.String(k.tunnel))
				}
				o.Observe(n, metric.WithAttributes(attrs...))
			}
			return nil
		}))
	return errors.Join(err, telemetry.ObserveLinks(meter, func() (links []telemetry.Link) {
		for transport, sum := range m.totals.Sums() {
			links = append(links, telemetry.Link{
				Transport: string(transport), Streams: sum.Streams, BytesIn: sum.BytesIn, BytesOut: sum.BytesOut, RTT: sum.RTT.Seconds(),
				HasPackets: transport == tunnel.QUIC, PacketsSent: sum.PacketsSent, PacketsLost: sum.PacketsLost,
			})
		}
		return links
	}))
}

// sessionKind is what sessions are counted by.
type sessionKind struct{ transport, tunnel string }

// countSessions counts the sessions that are attached. That there is none is what somebody must hear of, so that kinds of which
// there is none are counted too.
func (m *metrics) countSessions(g *Gateway) map[sessionKind]int64 {
	count := make(map[sessionKind]int64)
	for _, transport := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		if !m.names {
			count[sessionKind{transport: string(transport)}] = 0
			continue
		}
		for _, name := range g.tunnels.sorted {
			count[sessionKind{string(transport), name}] = 0
		}
	}
	for _, s := range g.sessions.all() {
		k := sessionKind{transport: string(s.Peer().Transport)}
		if m.names {
			k.tunnel = s.tunnel
		}
		count[k]++
	}
	return count
}

// attached counts a session from now on, until the returned function is called with why it has ended.
func (m *metrics) attached(s *attached) (ended func(reason string)) {
	if m == nil {
		return func(string) {}
	}
	m.totals.Add(s.Session)
	return func(reason string) {
		m.totals.Remove(s.Session)
		m.ended.Add(context.Background(), 1, metric.WithAttributes(telemetry.AttrTransport.String(string(s.Peer().Transport)), telemetry.AttrReason.String(reason)))
	}
}

// began counts a request that is under way.
func (m *metrics) began() {
	if m != nil {
		m.inFlight.Add(1)
	}
}

// streaming counts an event stream that is under way.
func (m *metrics) streaming(ctx context.Context, by int64) {
	if m != nil {
		m.streams.Add(ctx, by)
	}
}

// over counts a request that is not under way any more.
func (m *metrics) over() {
	if m != nil {
		m.inFlight.Add(-1)
	}
}

// record measures a request that has ended.
func (m *metrics) record(n *note) {
	if m == nil {
		return
	}
	of := m.of(m.about(n))
	if n.refused != nil && !n.gone() {
		attrs := []attribute.KeyValue{telemetry.AttrReason.String(n.refused.Reason)}
		if of.labels.server != "" {
			attrs = append(attrs, telemetry.AttrTunnel.String(of.labels.tunnel), telemetry.AttrServer.String(of.labels.server))
		}
		m.refusals.Add(n.about().Context(context.Background()), 1, metric.WithAttributes(attrs...))
	}
	m.session(n, &of.labels)
	if n.call == nil || len(n.call.Messages) == 0 || n.call.Messages[0].Method == "" || n.route.endpoint == mcp.EndpointMessages {
		return // an event stream, the end of a session, an answer to the server: no operation; or one that is answered on the stream of HTTP+SSE
	}
	of.series.Record(n.ended.Sub(n.start), n.ended, n.span.Context)
}

// about says what a request is told apart by, with names as they were called.
func (m *metrics) about(n *note) (what measured) {
	if n.session != nil {
		what.transport = string(n.session.Peer().Transport)
	}
	what.failure = m.failure(n)
	if n.call == nil {
		return what
	}
	what.version = n.version
	named := m.names && n.session != nil
	if named { // a connector is attached that serves it
		what.tunnel, what.server = n.route.tunnel, n.route.server
	}
	if len(n.call.Messages) == 0 {
		return what
	}
	message := &n.call.Messages[0]
	if what.method = message.Method; what.method != "" && !mcp.KnownMethod(what.method) {
		what.method = telemetry.Other
	}
	if named && message.Method == "tools/call" {
		what.tool, what.proven = message.Name, n.verdict.OK && message.ID != nil
	}
	return what
}

// failure is error.type, of which servers and connectors can make only so many.
func (m *metrics) failure(n *note) string {
	if n.failure == "" || n.refused != nil && n.refused.Code != 0 || m.errors.Admit(n.failure) {
		return n.failure
	}
	return telemetry.Other
}

// of gives the labels of requests that are alike, and what they are recorded in.
func (m *metrics) of(what measured) *alike {
	m.mu.RLock()
	known := m.known[what]
	m.mu.RUnlock()
	if known != nil {
		return known
	}
	made := &alike{labels: m.labels(what)}
	if what.method != "" {
		made.series = m.operations.Of(made.labels.attributes())
	}
	if made.labels.tool == telemetry.Other {
		return made // it may be a label yet, and may be long
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) < maxMeasured {
		m.known[what] = made
	}
	return made
}

// labels replaces names that are no labels.
func (m *metrics) labels(what measured) measured {
	if what.server == "" {
		return what
	}
	label := m.servers.Claimed
	if what.proven {
		label = m.servers.Proven
	}
	var server telemetry.ServerName
	server, what.tool = label(telemetry.ServerName{Tunnel: what.tunnel, Name: what.server}, what.tool)
	what.tunnel, what.server = server.Tunnel, server.Name
	return what
}

// attributes are those of a measurement.
func (what *measured) attributes() attribute.Set {
	attrs := make([]attribute.KeyValue, 0, 8)
	for _, a := range []attribute.KeyValue{
		telemetry.AttrMCPMethod.String(what.method), telemetry.AttrErrorType.String(what.failure), telemetry.AttrMCPVersion.String(what.version), telemetry.AttrTool.String(what.tool),
		telemetry.AttrTransport.String(what.transport), telemetry.AttrTunnel.String(what.tunnel), telemetry.AttrServer.String(what.server),
	} {
		if a.Value.AsString() != "" {
			attrs = append(attrs, a)
		}
	}
	if what.method == "tools/call" {
		attrs = append(attrs, telemetry.AttrOperation.String("execute_tool"))
	}
	return attribute.NewSet(attrs...)
}

// session follows the MCP session that a request belongs to: one begins with the answer to initialize, and ends when the agent
// deletes it, or the server does not know it any more; one of HTTP+SSE is its stream.
func (m *metrics) session(n *note, what *measured) {
	about := measured{version: what.version, tunnel: what.tunnel, server: what.server, failure: what.failure}
	switch {
	case n.route.endpoint == mcp.EndpointSSE && n.session != nil && n.status == http.StatusOK:
		m.sessions.Record(context.Background(), n.ended.Sub(n.start).Seconds(), metric.WithAttributeSet(about.attributes()))
	case n.named != "" && n.call.Method() == "initialize" && n.verdict.OK:
		m.alive.Begin(n.named, about)
	case n.call == nil || n.call.SessionID == "" || n.session == nil:
	case n.status == http.StatusNotFound, n.verb == http.MethodDelete && n.status < http.StatusMultipleChoices:
		m.alive.End(n.call.SessionID)
	default:
		m.alive.Alive(n.call.SessionID)
	}
}
