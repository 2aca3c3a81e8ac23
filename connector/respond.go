package connector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/mcp"
)

// keepAliveAfter is how long an event stream may be silent before a comment
// shows that it lives: below the idle timeouts of balancers and clients.
const keepAliveAfter = 15 * time.Second

// respond streams an upstream's answer to the gateway, each piece flushed as
// it comes. It follows an event stream in a, which is nil for any other body.
func (c *Connector) respond(ctx context.Context, w http.ResponseWriter, resp *http.Response, a *answer) {
	n := noteFrom(ctx)
	n.status, n.outcome, n.delivered = resp.StatusCode, outcomeUpstream, mcp.DeliveredYes
	if !n.streaming {
		mcp.PassHead(w.Header(), resp)
	}
	if a != nil {
		w.Header().Del("Content-Length") // what we put in may lengthen it
		n.call.Forget()
	}
	if !n.streaming {
		w.WriteHeader(resp.StatusCode)
	}
	var err error
	if a != nil {
		err = c.copyEvents(w, resp.Body, a)
	} else {
		err = c.copyBody(w, resp.Body, resp.ContentLength < 0)
	}
	if err == nil {
		return
	}
	n.cause, n.outcome, n.delivered = err, outcomeBroken, mcp.DeliveredUnknown
	refused := errors.Is(err, errAnswer) || errors.Is(err, mcp.ErrEventStream)
	if refused {
		n.outcome, n.delivered = "upstream_invalid", mcp.DeliveredYes
	}
	if n.left = errors.Is(context.Cause(ctx), context.Canceled); n.left && errors.Is(err, context.Canceled) && a.complete() {
		n.outcome, n.delivered = outcomeUpstream, mcp.DeliveredYes // its caller has left with its answer, before that had ended
	}
	if a == nil || ctx.Err() != nil {
		panic(http.ErrAbortHandler) // never a clean end
	}
	switch {
	case !refused && a.pending.Done() && a.Between(): // all that was asked has been answered
		n.outcome, n.delivered = outcomeUpstream, mcp.DeliveredYes
		return
	case !a.repairable():
		panic(http.ErrAbortHandler)
	}
	e := mcp.UpstreamBroken(err)
	if refused {
		e = mcp.UpstreamInvalid(err)
	}
	_ = errors.As(err, &e) // a command's errors say more
	n.outcome, n.refused = e.Reason, e
	for _, id := range a.pending.Left() {
		_, _ = w.Write(mcp.ErrorEvent(e, n.requestID, id))
	}
}

// copyBody copies until EOF, flushing each piece of a body of unknown length.
func (c *Connector) copyBody(w http.ResponseWriter, body io.Reader, flush bool) error {
	buf := c.buffers.Large()
	defer c.buffers.Put(buf)
	control := http.NewResponseController(w)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			if _, err := w.Write((*buf)[:n]); err != nil {
				return err
			}
			if flush {
				if err := control.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return quoteless(err)
		}
	}
}

// copyEvents copies an event stream until EOF, and writes a comment whenever
// it has been silent between two events for 15 s.
func (c *Connector) copyEvents(w http.ResponseWriter, body io.Reader, a *answer) error {
	out := &eventWriter{w: w, control: http.NewResponseController(w), answer: a}
	if err := out.control.Flush(); err != nil { // the head, at once: clients wait for it
		return err
	}
	out.start()
	defer out.stop()
	buf := c.buffers.Small()
	defer func() { c.buffers.Put(buf) }()
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			if err := out.write((*buf)[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return out.end()
		}
		if err != nil {
			return quoteless(err)
		}
		buf = c.buffers.Fit(buf, n)
	}
}

// eventWriter writes the pieces of an event stream, and comments between them.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController

	mu      sync.Mutex // guards what follows, and every write
	answer  *answer
	timer   *time.Timer
	last    time.Time // when the last bytes had been written
	stopped bool
}

// start begins the first silence.
func (e *eventWriter) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last, e.timer = time.Now(), time.AfterFunc(keepAliveAfter, e.keepAlive)
}

// write takes the next bytes of the upstream's stream, and passes on what may
// pass.
func (e *eventWriter) write(p []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pass(e.answer.Write(p))
}

// end takes the end of the upstream's stream.
func (e *eventWriter) end() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pass(e.answer.End())
}

// pass writes what may pass, and returns why nothing more may.
func (e *eventWriter) pass(p []byte, refused error) error {
	if len(p) == 0 {
		return refused
	}
	if _, err := e.w.Write(p); err != nil {
		return err
	}
	if err := e.control.Flush(); err != nil {
		return err
	}
	e.wrote()
	return refused
}

// wrote begins the next silence.
func (e *eventWriter) wrote() {
	e.last = time.Now()
	e.timer.Reset(keepAliveAfter)
}

// keepAlive runs after a silence. In the middle of an event it writes nothing.
func (e *eventWriter) keepAlive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	if left := keepAliveAfter - time.Since(e.last); left > 0 { // it had to wait for a write
		e.timer.Reset(left)
		return
	}
	if e.answer.Between() {
		if _, err := io.WriteString(e.w, mcp.KeepAliveComment); err != nil {
			return // the copying side will see it too
		}
		if e.control.Flush() != nil {
			return
		}
	}
	e.wrote()
}

// stop ends the comments; when it returns, none is being written.
func (e *eventWriter) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timer.Stop()
	e.stopped = true
}
