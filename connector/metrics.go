package connector

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"sallyport.dev/credential/watch"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	maxMeasured   = 4096 // sets of attributes that are kept for the next call alike
	maxErrorKinds = 64   // codes of servers' errors that are labels
)

// metrics are the connector's instruments, and what they know calls by. The nil metrics measure nothing.
type metrics struct {
	served, called *telemetry.Durations
	sessions       metric.Float64Histogram
	eventStreams   metric.Int64UpDownCounter
	inFlight       atomic.Int64
	refusals       metric.Int64Counter
	attachFailures metric.Int64Counter
	sessionsEnded  metric.Int64Counter
	fetches        metric.Int64Counter
	fetchTimes     metric.Float64Histogram
	masked         metric.Int64Counter
	processes      metric.Int64UpDownCounter
	processStarts  metric.Int64Counter
	processEnds    metric.Int64Counter

	names  telemetry.NameLabels // of servers, and of tools of which a call has succeeded
	errors *telemetry.Labels
	alive  *telemetry.Lifetimes[measured] // MCP sessions with upstreams
	totals tunnel.Totals

	catchUp func() // measures all calls that have ended

	mu      sync.RWMutex // guards what follows
	known   map[measured]*alike
	decided map[judgement]*atomic.Int64 // decisions of policy
}

// measured is what operations are told apart by.
type measured struct {
	method, failure, version, server, tool string
	hop                                    string // what carries the tunnel
	upstream                               string // what carries the way to the upstream
	proven                                 bool   // there is such a tool: the call has succeeded
}

// alike are requests with the same labels, and what they are recorded in if they are operations.
type alike struct {
	labels         measured
	served, called *telemetry.Series
}

// instruments makes instruments, and keeps what goes wrong.
type instruments struct {
	meter metric.Meter
	errs  []error
}

func (i *instruments) counter(name, unit, about string) metric.Int64Counter {
	made, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(about))
	i.errs = append(i.errs, err)
	return made
}

func (i *instruments) level(name, unit, about string) metric.Int64UpDownCounter {
	made, err := i.meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
	i.errs = append(i.errs, err)
	return made
}

func (i *instruments) times(name, about string) metric.Float64Histogram {
	made, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(telemetry.Buckets...), metric.WithDescription(about))
	i.errs = append(i.errs, err)
	return made
}

// newMetrics makes the instruments; nil without a meter.
func (c *Connector) newMetrics() (*metrics, error) {
	if c.cfg.Meter == nil {
		return nil, nil //nolint:nilnil // nothing is measured
	}
	const scope = "sallyport.dev/connector"
	i := &instruments{meter: c.cfg.Meter.Meter(scope, metric.WithInstrumentationVersion(c.cfg.Version))}
	m := &metrics{
		served:         c.cfg.Meter.Durations(scope, c.cfg.Version, "mcp.server.operation.duration", "From a message's coming over the tunnel to the end of what it was answered"),
		called:         c.cfg.Meter.Durations(scope, c.cfg.Version, "mcp.client.operation.duration", "From sending a message to an upstream to the end of its answer"),
		sessions:       i.times("mcp.client.session.duration", "From the beginning of an MCP session with an upstream to its end, or to the last call of one that nobody ended"),
		eventStreams:   i.level("sallyport.event_streams", "{stream}", "Answers under way that are event streams"),
		refusals:       i.counter("sallyport.refusals", "{call}", "Requests that the connector itself has answered with an error"),
		attachFailures: i.counter("sallyport.attach.failures", "{attempt}", "Attempts to attach to a gateway that have failed"),
		sessionsEnded:  i.counter("sallyport.tunnel.sessions.ended", "{session}", "Sessions of the tunnel that have ended"),
		fetches:        i.counter("sallyport.credential.fetches", "{fetch}", "Fetches of credentials that a call has waited for, and those that failed"),
		fetchTimes:     i.times("sallyport.credential.fetch.duration", "How long calls have waited for a credential that was not at hand"),
		masked:         i.counter("sallyport.scrub.hits", "{secret}", "Secrets that a server has sent back, and that were masked"),
		processes:      i.level("sallyport.processes", "{process}", "Processes of local servers"),
		processStarts:  i.counter("sallyport.process.starts", "{process}", "Processes of local servers that were started"),
		processEnds:    i.counter("sallyport.process.ends", "{process}", "Processes of local servers that have ended"),
		errors:         telemetry.NewLabels(maxErrorKinds, "tool_error", outcomeBroken, outcomeCancelled, "outcome_unknown"),
		known:          make(map[measured]*alike),
		decided:        make(map[judgement]*atomic.Int64),
		catchUp:        c.ended.Flush,
	}
	m.alive = telemetry.NewLifetimes(func(what measured, d time.Duration) {
		m.sessions.Record(context.Background(), d.Seconds(), metric.WithAttributeSet(what.asClient()))
	})
	return m, errors.Join(append(i.errs, c.observe(i.meter, m))...)
}

// observe measures what is looked at only when somebody asks.
func (c *Connector) observe(meter metric.Meter, m *metrics) error {
	_, sessionsErr := meter.Int64ObservableUpDownCounter("sallyport.tunnel.sessions", metric.WithUnit("{session}"), metric.WithDescription("Sessions that are attached to a gateway"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			count := map[string]int64{string(tunnel.QUIC): 0, string(tunnel.TCP): 0} // that there is none is what somebody must hear of
			for _, s := range c.sessions.status() {
				count[s.Transport]++
			}
			for transport, n := range count {
				o.Observe(n, metric.WithAttributes(telemetry.AttrTransport.String(transport)))
			}
			return nil
		}))
	_, inFlightErr := meter.Int64ObservableUpDownCounter("sallyport.calls.in_flight", metric.WithUnit("{call}"), metric.WithDescription("Requests under way"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			m.catchUp() // whoever reads has all that has ended
			o.Observe(m.inFlight.Load())
			return nil
		}))
	_, decisionsErr := meter.Int64ObservableCounter("sallyport.policy.decisions", metric.WithUnit("{decision}"), metric.WithDescription("Decisions of policy, with what decision services and humans made of them"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			m.eachDecision(func(j judgement, n int64) {
				o.Observe(n, metric.WithAttributes(telemetry.AttrDecision.String(word(j.allow)), telemetry.AttrRule.String(j.rule), telemetry.AttrServer.String(j.server)))
			})
			return nil
		}))
	_, approvalsErr := meter.Int64ObservableGauge("sallyport.approvals.waiting", metric.WithUnit("{call}"), metric.WithDescription("Calls that wait for a human"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(len(c.approvals.list())))
			return nil
		}))
	_, ageErr := meter.Float64ObservableGauge("sallyport.credential.age", metric.WithUnit("s"), metric.WithDescription("Since when the value of a credential has been in use that was used last"),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			c.eachAge(func(name string, age time.Duration) {
				o.Observe(age.Seconds(), metric.WithAttributes(telemetry.AttrCredential.String(name)))
			})
			return nil
		}))
	var auditErr error
	if c.cfg.Audit.Enabled() {
		_, auditErr = meter.Int64ObservableCounter("sallyport.audit.lost", metric.WithUnit("{event}"), metric.WithDescription("Events that are not in the audit log"),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				if log := c.audit.Load(); log != nil {
					o.Observe(log.Lost())
				}
				return nil
			}))
	}
	return errors.Join(sessionsErr, inFlightErr, decisionsErr, approvalsErr, ageErr, auditErr, telemetry.ObserveLinks(meter, func() (links []telemetry.Link) {
		for transport, sum := range m.totals.Sums() {
			links = append(links, telemetry.Link{
				Transport: string(transport), Streams: sum.Streams, BytesIn: sum.BytesIn, BytesOut: sum.BytesOut, RTT: sum.RTT.Seconds(),
				HasPackets: transport == tunnel.QUIC, PacketsSent: sum.PacketsSent, PacketsLost: sum.PacketsLost,
			})
		}
		return links
	}))
}

// eachAge visits the credentials whose values have been used and are not a caller's own.
func (c *Connector) eachAge(visit func(name string, age time.Duration)) {
	now := c.current()
	for _, name := range now.names {
		u := now.servers[name]
		if u.since == nil {
			continue
		}
		names := u.credentialNames()
		for i, since := range u.since() {
			if !since.IsZero() && !u.cfg.Credentials[i].isPersonal() {
				visit(names[i], time.Since(since))
			}
		}
	}
}

// attached counts a session of the tunnel from now on.
func (m *metrics) attached(s *tunnel.Session) {
	if m != nil {
		m.totals.Add(s)
	}
}

// left counts a session that has ended.
func (m *metrics) left(s *tunnel.Session) {
	if m == nil {
		return
	}
	m.totals.Remove(s)
	m.sessionsEnded.Add(context.Background(), 1, metric.WithAttributes(telemetry.AttrTransport.String(string(s.Peer().Transport)), telemetry.AttrReason.String(whyEnded(s.Err()))))
}

// whyEnded is the word for why a session has ended. A code that is not known here is one of a gateway's choosing.
func whyEnded(err error) string {
	ended, ok := errors.AsType[*tunnel.CloseError](err)
	if !ok {
		return telemetry.Other
	}
	if !ended.Code.Known() {
		return telemetry.Other
	}
	return ended.Code.String()
}

// notAttached counts an attempt that has failed.
func (m *metrics) notAttached(err error) {
	if m == nil {
		return
	}
	reason := "unreachable"
	switch _, closed := errors.AsType[*tunnel.CloseError](err); {
	case errors.Is(err, errRefused):
		reason = "refused"
	case errors.Is(err, errCrowded):
		reason = "crowded"
	case errors.Is(err, errDraining):
		reason = "draining"
	case errors.Is(err, tunnel.ErrVersion):
		reason = "version"
	case closed:
		reason = whyEnded(err)
	}
	m.attachFailures.Add(context.Background(), 1, metric.WithAttributes(telemetry.AttrReason.String(reason)))
}

// reflected returns what counts the secrets that a server has sent back.
func (m *metrics) reflected(server string) func() {
	if m == nil {
		return func() {}
	}
	by := []metric.AddOption{metric.WithAttributes(telemetry.AttrServer.String(server))}
	return func() { m.masked.Add(context.Background(), 1, by...) }
}

// fetched counts a fetch of a credential, unless the value was at hand.
func (m *metrics) fetched(ctx context.Context, name string, f *watch.Fetch) {
	if m == nil || !f.Asked && f.Err == nil {
		return
	}
	outcome := "ok"
	if f.Err != nil {
		outcome = "error"
	}
	m.fetches.Add(ctx, 1, metric.WithAttributes(telemetry.AttrCredential.String(name), telemetry.AttrOutcome.String(outcome)))
	m.fetchTimes.Record(ctx, f.Took.Seconds(), metric.WithAttributes(telemetry.AttrCredential.String(name)))
}

// started counts a process of a server, until the returned function is called with why it has ended. The MCP session that it is
// for, if there is one, ends with it.
func (m *metrics) started(server, session string) (ended func(reason string)) {
	if m == nil {
		return func(string) {}
	}
	of := telemetry.AttrServer.String(server)
	m.processStarts.Add(context.Background(), 1, metric.WithAttributes(of))
	m.processes.Add(context.Background(), 1, metric.WithAttributes(of))
	return func(reason string) {
		m.processes.Add(context.Background(), -1, metric.WithAttributes(of))
		m.processEnds.Add(context.Background(), 1, metric.WithAttributes(of, telemetry.AttrReason.String(reason)))
		if session != "" {
			m.catchUp() // it may have begun just now
			m.alive.End(sessionKey(server, session))
		}
	}
}

// judgement is what decisions of policy are told apart by. The names of servers and rules are the operator's.
type judgement struct {
	server, rule string
	allow        bool
}

// decide counts a decision of policy.
func (m *metrics) decide(j judgement) {
	if m == nil {
		return
	}
	m.mu.RLock()
	count := m.decided[j]
	m.mu.RUnlock()
	if count == nil {
		count = m.countedFromNow(j)
	}
	count.Add(1)
}

func (m *metrics) countedFromNow(j judgement) *atomic.Int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.decided) >= maxMeasured {
		j = judgement{telemetry.Other, telemetry.Other, j.allow} // of rules that reloads have brought and taken
	}
	if m.decided[j] == nil {
		m.decided[j] = new(atomic.Int64)
	}
	return m.decided[j]
}

// eachDecision visits the decisions that there were.
func (m *metrics) eachDecision(visit func(judgement, int64)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for j, count := range m.decided {
		visit(j, count.Load())
	}
}

// began counts a request that is under way.
func (m *metrics) began() {
	if m != nil {
		m.inFlight.Add(1)
	}
}

// streaming counts event streams that are under way.
func (m *metrics) streaming(ctx context.Context, by int64) {
	if m != nil {
		m.eventStreams.Add(ctx, by)
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
	what := m.about(n)
	of := m.of(what)
	if n.refused != nil && !n.gone() {
		attrs := []attribute.KeyValue{telemetry.AttrReason.String(n.refused.Reason)}
		if of.labels.server != "" {
			attrs = append(attrs, telemetry.AttrServer.String(of.labels.server))
		}
		m.refusals.Add(n.about().Context(context.Background()), 1, metric.WithAttributes(attrs...))
	}
	if n.upstream == nil || n.call == nil {
		return
	}
	if n.decision.Rule != "" {
		m.decide(judgement{n.server, n.decision.Rule, n.decision.Allow})
	}
	m.session(n, &of.labels)
	if n.call.Method() == "" {
		return // an event stream, the end of a session, or an answer to the server: no operation
	}
	of.served.Record(n.ended.Sub(n.start), n.ended, n.span.Context)
	if n.asked {
		if !n.clientFailed() && what.failure != "" {
			what.failure = ""
			of = m.of(what)
		}
		of.called.Record(n.ended.Sub(n.client.Start), n.ended, n.client.Context)
	}
}

// about says what a request is told apart by, with the tool as it was called.
func (m *metrics) about(n *note) measured {
	what := measured{failure: n.failure, hop: string(n.hop.transport)}
	if n.failure != "" && (n.refused == nil || n.refused.Code == 0) && !m.errors.Admit(n.failure) {
		what.failure = telemetry.Other // an upstream makes up more codes than there is room for
	}
	if n.upstream == nil { // what was asked for is a stranger's word
		return what
	}
	what.server, what.upstream = n.server, n.upstream.where.carrier
	if n.call == nil {
		return what
	}
	what.version = n.version
	if what.method = n.call.Method(); what.method == "" {
		return what
	}
	if what.method == methodCallTool && n.call.Messages[0].Name != "" {
		what.tool, what.proven = n.call.Messages[0].Name, n.verdict.OK && n.call.Messages[0].ID != nil
	}
	if !mcp.KnownMethod(what.method) {
		what.method = telemetry.Other
	}
	return what
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
		made.served, made.called = m.served.Of(made.labels.asServer()), m.called.Of(made.labels.asClient())
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

// labels replaces a tool that is no label.
func (m *metrics) labels(what measured) measured {
	label := m.names.Claimed
	if what.proven {
		label = m.names.Proven
	}
	if what.tool != "" {
		_, what.tool = label(telemetry.ServerName{Name: what.server}, what.tool)
	}
	return what
}

// asServer are the attributes of an operation as whoever calls us sees it, and asClient as we see it who call the upstream.
func (what *measured) asServer() attribute.Set { return what.with(telemetry.AttrTransport, what.hop) }
func (what *measured) asClient() attribute.Set {
	return what.with(telemetry.AttrNetTransport, what.upstream)
}

func (what *measured) with(carrier attribute.Key, carries string) attribute.Set {
	attrs := make([]attribute.KeyValue, 0, 8)
	for _, a := range []attribute.KeyValue{
		telemetry.AttrMCPMethod.String(what.method), telemetry.AttrErrorType.String(what.failure), telemetry.AttrMCPVersion.String(what.version),
		telemetry.AttrServer.String(what.server), telemetry.AttrTool.String(what.tool), carrier.String(carries),
	} {
		if a.Value.AsString() != "" {
			attrs = append(attrs, a)
		}
	}
	if what.method == methodCallTool {
		attrs = append(attrs, telemetry.AttrOperation.String("execute_tool"))
	}
	return attribute.NewSet(attrs...)
}

// session follows the MCP session with an upstream that a request belongs to: one begins with the answer to initialize, and ends when it
// is deleted or the server does not know it any more; one of HTTP+SSE is its stream.
func (m *metrics) session(n *note, what *measured) {
	about := measured{version: what.version, server: what.server, upstream: what.upstream}
	id := n.call.SessionID
	switch {
	case n.call.Endpoint == mcp.EndpointSSE:
		if n.status == http.StatusOK {
			m.sessions.Record(context.Background(), n.ended.Sub(n.start).Seconds(), metric.WithAttributeSet(about.asClient()))
		}
	case n.call.Endpoint != mcp.EndpointMCP:
	case id == "" && n.begun != "" && n.call.Method() == "initialize" && n.verdict.OK:
		m.alive.Begin(sessionKey(n.server, n.begun), about)
	case id == "":
	case n.status == http.StatusNotFound, n.verb == http.MethodDelete && n.status < http.StatusMultipleChoices:
		m.alive.End(sessionKey(n.server, id))
	default:
		m.alive.Alive(sessionKey(n.server, id))
	}
}

// sessionKey names an MCP session with a server.
func sessionKey(server, id string) string { return server + "\x00" + id }
