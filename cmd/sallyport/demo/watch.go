package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sallyport.dev/telemetry"
)

const (
	roleGateway   = "gateway"
	roleConnector = "connector"

	attachTimeout = 15 * time.Second
	// maxHalves bounds the calls of which only one side has reported yet.
	maxHalves = 1024
)

var errNotAttached = errors.New("demo: the connector did not attach to the gateway")

// CallSeen is one call as gateway and connector have logged it.
type CallSeen struct {
	Principal string // empty if it was refused before that was known
	Server    string
	Method    string
	Tool      string
	Transport string // of the tunnel; empty if the call did not get that far
	Status    int
	Outcome   string
	Rule      string  // of the connector's policy
	Gateway   float64 // milliseconds
	Connector float64 // milliseconds; 0 if the call did not get that far
}

// answered reports that the server answered. An agent that hangs up with the last event, before the stream's end, as
// mcp-go's client does, has left or leaves a broken stream behind.
func (c CallSeen) answered() bool {
	return c.Connector > 0 && c.Status < 400 && (c.Outcome == "upstream" || c.Outcome == "agent_left" || c.Outcome == "broken")
}

// watch reads the logs of both roles as they are written: it joins the two lines of a call by its request id, and notices
// when the connector is attached.
type watch struct {
	next   slog.Handler
	onCall func(CallSeen)
	up     chan string // the transport, for each "attached"

	mu       sync.Mutex // guards what follows
	halves   map[string]CallSeen
	lastWarn string
}

func newWatch(next slog.Handler, onCall func(CallSeen)) *watch {
	if next == nil {
		next = slog.DiscardHandler
	}
	return &watch{next: next, onCall: onCall, up: make(chan string, 16), halves: make(map[string]CallSeen)}
}

// role returns the handler of one role's logger.
func (w *watch) role(name string) slog.Handler {
	return &roleHandler{watch: w, role: name, next: w.next.WithAttrs([]slog.Attr{slog.String("role", name)})}
}

// forget drops what an earlier connector has said.
func (w *watch) forget() {
	for {
		select {
		case <-w.up:
		default:
			return
		}
	}
}

// attached waits until the connector has said that it is attached, and over what.
func (w *watch) attached(ctx context.Context) (transport string, err error) {
	timer := time.NewTimer(attachTimeout)
	defer timer.Stop()
	select {
	case transport = <-w.up:
		return transport, nil
	case <-ctx.Done():
		return "", ctx.Err()
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return "", fmt.Errorf("%w within %s: %s; look at the log with --log-level debug", errNotAttached, attachTimeout, w.lastWarn)
}

// roleHandler is a slog.Handler.
type roleHandler struct {
	watch *watch
	role  string
	next  slog.Handler
}

// Enabled implements slog.Handler: the calls, at info, are always needed.
func (h *roleHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h *roleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &roleHandler{h.watch, h.role, h.next.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *roleHandler) WithGroup(name string) slog.Handler {
	return &roleHandler{h.watch, h.role, h.next.WithGroup(name)}
}

// Handle implements slog.Handler.
func (h *roleHandler) Handle(ctx context.Context, r slog.Record) error {
	h.watch.see(h.role, r)
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (w *watch) see(role string, r slog.Record) {
	switch {
	case r.Message == "call":
		w.seeCall(role, r)
	case r.Message == "attached" && role == roleConnector:
		var c CallSeen
		c.read(r)
		select {
		case w.up <- c.Transport:
		default: // enough for everyone who waits
		}
	case r.Level >= slog.LevelWarn:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lastWarn = r.Message
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == telemetry.KeyError {
				w.lastWarn += ": " + a.Value.String()
			}
			return true
		})
	}
}

// seeCall takes one role's line. The connector's has the rule and its duration, the gateway's all else.
func (w *watch) seeCall(role string, r slog.Record) {
	var c CallSeen
	id, duration := c.read(r)
	if role == roleGateway {
		c.Gateway = duration
	} else {
		c.Connector = duration
	}
	w.mu.Lock()
	other, have := w.halves[id]
	switch {
	case have:
		delete(w.halves, id)
	case role == roleGateway && (c.Transport == "" || c.Outcome == "not_delivered" || c.Outcome == "outcome_unknown"):
		have = true // the connector says nothing of it
	case len(w.halves) < maxHalves:
		w.halves[id] = c
	}
	w.mu.Unlock()
	if !have {
		return
	}
	if role == roleGateway {
		c = c.join(other)
	} else {
		c = other.join(c)
	}
	w.onCall(c)
}

// join adds to the gateway's half what the connector knows better.
func (c CallSeen) join(connector CallSeen) CallSeen {
	c.Rule, c.Connector = connector.Rule, connector.Connector
	if strings.HasPrefix(c.Outcome, "connector_") && connector.Outcome != "" {
		c.Outcome = connector.Outcome
	}
	return c
}

func (c *CallSeen) read(r slog.Record) (id string, duration float64) {
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case telemetry.KeyRequestID:
			id = a.Value.String()
		case telemetry.KeyDurationMS:
			duration = a.Value.Float64()
		case telemetry.KeyPrincipal:
			c.Principal = a.Value.String()
		case telemetry.KeyServer:
			c.Server = a.Value.String()
		case telemetry.KeyMethod:
			c.Method = a.Value.String()
		case telemetry.KeyHTTPMethod:
			if c.Method == "" && a.Value.String() != "POST" {
				c.Method = a.Value.String()
			}
		case telemetry.KeyTool:
			c.Tool = a.Value.String()
		case telemetry.KeyTransport:
			c.Transport = a.Value.String()
		case telemetry.KeyStatus:
			c.Status = int(a.Value.Int64())
		case telemetry.KeyOutcome:
			c.Outcome = a.Value.String()
		case telemetry.KeyRule:
			c.Rule = a.Value.String()
		}
		return true
	})
	return id, duration
}
