package stdio

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/mcp"
)

var errFull = errors.New("stdio: too many requests wait for the command")

// outgoing is what a call comes to on the command's side.
type outgoing struct {
	lines    [][]byte
	requests []*request
	ids      []int64            // of the requests
	settled  map[int64]*request // which it cancels
	answers  []string           // the raw ids of the command's requests that it answers
	talks    bool               // has a request that is not a subscription
}

// Do hands a POST's messages to the command, and returns the response when it is known what it looks like: one message,
// or a stream of events that goes on until all requests have their answer. An error is a *mcp.Error, also when ctx ends: it
// says whether the command may have got something.
func (c *Conn) Do(ctx context.Context, call *mcp.Call) (*http.Response, error) {
	msgs, err := mcp.Elements(call.Body)
	if err != nil {
		return nil, mcp.Internal(err)
	}
	s := c.newStream(false)
	within, _ := ctx.Value(traceKey{}).(*trace)
	out, refused := c.enter(msgs, s, within)
	if refused != nil {
		return nil, refused
	}
	s.watch(ctx)
	for i, text := range out.lines {
		lastOf := s
		if i < len(out.lines)-1 {
			lastOf = nil
		}
		err := c.write(ctx, text, lastOf)
		switch {
		case err == nil:
		case i == 0 && errors.Is(err, errUnsent):
			c.withdraw(out)
			_ = s.Close()
			return nil, mcp.NotDelivered(err)
		default:
			c.settle(out)
			_ = s.Close()
			return nil, unknown(ctx, err)
		}
	}
	c.settle(out)
	if len(out.requests) == 0 || c.cfg.Kind == Legacy {
		_ = s.Close()
		return accepted(), nil
	}
	defer time.AfterFunc(beginAfter, s.begin).Stop()
	m, err := s.head(len(out.requests) == 1 && !call.Batch)
	switch {
	case err != nil:
		_ = s.Close()
		if errors.Is(err, errLeft) {
			err = unknown(ctx, err)
		}
		return nil, err
	case m != nil:
		return s.lone(m, c.cfg.Kind == Stateless), nil
	}
	return s.response(), nil
}

// trace is what a call is part of, as W3C Trace Context has it.
type trace struct{ parent, state string }

type traceKey struct{}

// WithTrace returns a context whose calls tell the command in params._meta of which trace they are part, in place of what the
// agent says of that. state may be empty.
func WithTrace(ctx context.Context, parent, state string) context.Context {
	return context.WithValue(ctx, traceKey{}, &trace{parent, state})
}

// unknown is the error of a call of which the command has got something, and no more than that is known.
func unknown(ctx context.Context, err error) *mcp.Error {
	if ctx.Err() != nil {
		return mcp.UpstreamTimeout(context.Cause(ctx))
	}
	return mcp.UpstreamBroken(err)
}

// Listen returns the stream of what belongs to no call: that of a GET, or, with HTTP+SSE, of all messages, which first
// holds the given event.
func (c *Conn) Listen(ctx context.Context, first []byte) (*http.Response, error) {
	s := c.newStream(true)
	s.sent = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, mcp.UpstreamBroken(c.err)
	}
	c.streams[s] = true
	if len(first) > 0 {
		c.backlog, c.backSize = slices.Insert(c.backlog, 0, message{data: first, event: true}), c.backSize+len(first)
	}
	if c.cfg.Kind == Legacy {
		c.posts = append(c.posts, s)
	} else {
		c.gets = append(c.gets, s)
	}
	c.flush(s)
	s.watch(ctx)
	return s.response(), nil
}

// flush gives a new stream what has waited for one. c.mu is held.
func (c *Conn) flush(s *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.room.give(-c.backSize)
	for _, m := range c.backlog {
		s.add(m)
	}
	c.backlog, c.backSize = nil, 0
}

// enter gives each message its form for the command, and remembers the requests.
func (c *Conn) enter(msgs [][]byte, s *stream, within *trace) (_ *outgoing, refused *mcp.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, mcp.NotDelivered(c.err)
	}
	out := &outgoing{settled: make(map[int64]*request)}
	defer func() {
		if refused != nil {
			c.undo(out)
		}
	}()
	if len(c.pending)+len(msgs) > maxPending {
		e := mcp.Overloaded()
		e.Err = errFull
		return nil, e
	}
	target := s
	if c.cfg.Kind == Legacy {
		if target = nil; len(c.posts) > 0 {
			target = c.posts[0]
		}
	}
	for _, msg := range msgs {
		refs, err := mcp.ReadRefs(msg)
		if err != nil {
			return nil, mcp.InvalidRequest("a message cannot be passed to a local server")
		}
		switch refs.Kind {
		case mcp.Request:
			c.enterRequest(out, msg, refs, target, within)
		case mcp.Notification:
			c.enterNotification(out, msg, refs)
		case mcp.Response:
			id, ok := c.askedAs(refs.ID.Of(msg))
			if !ok {
				return nil, mcp.InvalidRequest("it answers a request that the server has not made")
			}
			delete(c.asked, id)
			out.answers = append(out.answers, id)
			out.lines = append(out.lines, mcp.Splice(flatten(msg)))
		}
	}
	s.waiting = len(out.requests)
	c.streams[s] = true
	for i, r := range out.requests {
		id := out.ids[i]
		c.pending[id] = r
		r.timer = time.AfterFunc(c.patience(r), func() { c.expire(id) })
	}
	if out.talks && c.cfg.Kind != Legacy {
		c.posts = append(c.posts, s)
		c.flush(s)
	}
	return out, nil
}

// patience is how long a request may stay without an answer. A subscription has no end of its own.
func (c *Conn) patience(r *request) time.Duration {
	if r.method == methodListen {
		return 1<<63 - 1
	}
	return c.cfg.CallTimeout
}

// askedAs finds the raw id by which the command has made a request, for the id that an agent answers: clients decode ids
// and write them anew. c.mu is held.
func (c *Conn) askedAs(raw []byte) (id string, ok bool) {
	if c.asked[string(raw)] {
		return string(raw), true
	}
	for id := range c.asked {
		if mcp.SameID([]byte(id), raw) {
			return id, true
		}
	}
	return "", false
}

// enterRequest gives a request our id, and its progress too; and says which trace it is part of, if that is wanted. c.mu is held.
func (c *Conn) enterRequest(out *outgoing, msg []byte, refs mcp.Refs, s *stream, within *trace) {
	c.last++
	ours := []byte(strconv.FormatInt(c.last, 10))
	r := &request{id: append([]byte(nil), refs.ID.Of(msg)...), method: refs.Method, stream: s, since: time.Now()}
	edits := []mcp.Edit{{Span: refs.ID, With: ours}}
	if !refs.MetaToken.IsZero() {
		r.token = append([]byte(nil), refs.MetaToken.Of(msg)...)
		edits = append(edits, mcp.Edit{Span: refs.MetaToken, With: ours})
	}
	if within != nil {
		edits = append(edits, refs.TraceEdits(within.parent, within.state)...)
	}
	out.lines = append(out.lines, mcp.Splice(flatten(msg), edits...))
	out.requests, out.ids = append(out.requests, r), append(out.ids, c.last)
	out.talks = out.talks || refs.Method != methodListen
}

// enterNotification passes a notification on. What cancels a request gets our name for it; that request has no answer
// any more. c.mu is held.
func (c *Conn) enterNotification(out *outgoing, msg []byte, refs mcp.Refs) {
	if refs.Method != "notifications/cancelled" {
		out.lines = append(out.lines, mcp.Splice(flatten(msg)))
		return
	}
	id, r := c.find(refs.RequestID.Of(msg))
	if r == nil || r.method == "initialize" {
		return // it has been answered, or, without sessions, belongs to whoever closes its stream
	}
	r.timer.Stop()
	delete(c.pending, id)
	out.settled[id] = r
	out.lines = append(out.lines, mcp.Splice(flatten(msg), mcp.Edit{Span: refs.RequestID, With: []byte(strconv.FormatInt(id, 10))}))
}

// find finds the newest request with an agent's id. Without sessions an id says nothing: many agents may use it.
func (c *Conn) find(raw []byte) (id int64, found *request) {
	if c.cfg.Kind == Stateless {
		return 0, nil
	}
	for n, r := range c.pending {
		if n > id && mcp.SameID(r.id, raw) {
			id, found = n, r
		}
	}
	return id, found
}

// settle ends the wait for what the agent has cancelled.
func (c *Conn) settle(out *outgoing) {
	for _, r := range out.settled {
		if r.stream != nil {
			r.stream.settle()
		}
	}
}

// withdraw takes back what the command has not got.
func (c *Conn) withdraw(out *outgoing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.undo(out)
}

// undo makes everything as it was before enter, so that the agent may send the same again. c.mu is held.
func (c *Conn) undo(out *outgoing) {
	for _, id := range out.answers {
		c.asked[id] = true
	}
	for id, r := range out.settled {
		if c.err == nil {
			c.pending[id] = r
			r.timer.Reset(c.patience(r))
		}
	}
	for _, id := range out.ids {
		if r := c.pending[id]; r != nil {
			r.timer.Stop()
			delete(c.pending, id)
		}
	}
}
