package stdio

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/mcp"
)

// errJunk is a command whose output is not MCP at all.
var errJunk = errors.New("stdio: the command wrote a thousand lines in a row that are no message")

// take takes one line of the command.
func (c *Conn) take(text []byte) error {
	c.mu.Lock()
	c.heard = time.Now()
	c.mu.Unlock()
	msgs, err := mcp.Elements(flatten(text))
	if err != nil {
		return c.dropJunk()
	}
	for _, msg := range msgs {
		refs, err := mcp.ReadRefs(msg)
		if err != nil {
			if err := c.dropJunk(); err != nil {
				return err
			}
			continue
		}
		c.junk = 0
		switch refs.Kind {
		case mcp.Response:
			c.answered(msg, refs)
		case mcp.Request:
			c.requested(msg, refs)
		case mcp.Notification:
			c.notified(msg, refs)
		}
	}
	return nil
}

// dropJunk passes over what is no message: a banner, or a log where none belongs.
func (c *Conn) dropJunk() error {
	if c.junk++; c.junk >= maxJunk {
		return errJunk
	}
	c.cfg.Dropped("it wrote a line that is no message to its standard output")
	return nil
}

// number reads one of our ids as the command gives it back.
func number(raw []byte) (int64, bool) {
	text := string(bytes.Trim(raw, `"`)) // some make strings of them
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	return int64(f), err == nil && f == float64(int64(f))
}

// answered gives a response to the stream that waits for it.
func (c *Conn) answered(msg []byte, refs mcp.Refs) {
	id, ok := number(refs.ID.Of(msg))
	c.mu.Lock()
	r := c.pending[id]
	if r == nil || !ok {
		c.mu.Unlock()
		c.cfg.Dropped("it answered a request that is not waiting: late, twice, or one that was never made")
		return
	}
	delete(c.pending, id)
	r.timer.Stop()
	c.greeted = c.greeted || r.method == "initialize" && !refs.Failed
	s := r.stream
	if s != nil && s.last() {
		c.posts = without(c.posts, s)
	}
	c.mu.Unlock()
	if s == nil {
		c.cfg.Dropped("its answer came when the agent had gone")
		return
	}
	edits := []mcp.Edit{{Span: refs.ID, With: r.id}}
	if !refs.Subscription.IsZero() {
		if n, ok := number(refs.Subscription.Of(msg)); ok && n == id {
			edits = append(edits, mcp.Edit{Span: refs.Subscription, With: r.id})
		}
	}
	if !s.push(message{data: mcp.Splice(msg, edits...), final: true, code: refs.Code}) {
		c.cfg.Dropped("its answer came when the agent had gone")
	}
}

// requested passes on what the command asks the agent.
func (c *Conn) requested(msg []byte, refs mcp.Refs) {
	id := string(refs.ID.Of(msg))
	c.mu.Lock()
	switch {
	case c.cfg.Kind == Stateless:
		c.refuseRequest(id, "this revision has no requests to clients")
		c.mu.Unlock()
		c.cfg.Dropped("it sent a request, which this revision does not have")
		return
	case len(c.asked) >= maxAsked:
		c.refuseRequest(id, "too many requests to the client have no answer")
		c.mu.Unlock()
		c.cfg.Dropped("it has sent too many requests to the agent")
		return
	}
	c.asked[id] = true
	c.mu.Unlock()
	c.give(message{data: bytes.Clone(msg), asks: id}, false)
}

// refuseRequest answers the command in the agent's place. c.mu is held.
func (c *Conn) refuseRequest(id, why string) {
	delete(c.asked, id)
	c.tell(`{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-32601,"message":"` + why + `"}}`)
}

// notified passes on a notification.
func (c *Conn) notified(msg []byte, refs mcp.Refs) {
	span := refs.Subscription
	if refs.Method == "notifications/progress" {
		span = refs.Token
	}
	switch {
	case refs.Method == "notifications/cancelled" && c.cancelled(msg, refs):
		return
	case span.IsZero():
		news := strings.HasSuffix(refs.Method, "/list_changed") || refs.Method == "notifications/resources/updated"
		if news && c.cfg.Kind == Stateless {
			c.announce(msg)
			return
		}
		c.give(message{data: bytes.Clone(msg)}, news)
		return
	}
	id, ok := number(span.Of(msg))
	c.mu.Lock()
	r := c.pending[id]
	var s *stream
	if r != nil {
		s = r.stream
	}
	c.mu.Unlock()
	with := []byte(nil)
	if s != nil {
		if with = r.id; refs.Method == "notifications/progress" {
			with = r.token
		}
	}
	if !ok || with == nil || !s.push(message{data: mcp.Splice(msg, mcp.Edit{Span: span, With: with})}) {
		c.cfg.Dropped("it spoke of a request that is not waiting")
	}
}

// announce passes on news that name no subscription, as a server should not send them and some do, if there is only one
// that they can be for.
func (c *Conn) announce(msg []byte) {
	var only *stream
	c.mu.Lock()
	subscriptions := 0
	for _, r := range c.pending {
		if r.method == methodListen {
			subscriptions++
			only = r.stream
		}
	}
	c.mu.Unlock()
	if subscriptions != 1 || only == nil || !only.push(message{data: bytes.Clone(msg)}) {
		c.cfg.Dropped("it told of a change, and not which subscription")
	}
}

// cancelled takes what the command cancels, and reports whether that is all: without sessions it ends a subscription, which
// over HTTP is the end of its stream (MCP 2026-07-28, subscriptions/listen); with them it is a request of its own, which
// needs no answer any more and of which the agent learns.
func (c *Conn) cancelled(msg []byte, refs mcp.Refs) bool {
	raw := refs.RequestID.Of(msg)
	c.mu.Lock()
	if c.cfg.Kind != Stateless {
		delete(c.asked, string(raw))
		c.mu.Unlock()
		return false
	}
	id, ok := number(raw)
	r := c.pending[id]
	if !ok || r == nil || r.method != methodListen {
		c.mu.Unlock()
		c.cfg.Dropped("it cancelled what is no subscription")
		return true
	}
	r.timer.Stop()
	delete(c.pending, id)
	c.mu.Unlock()
	r.stream.settle()
	return true
}

// give passes on what names no request: to the stream of the newest request that waits, because that is most likely what
// it belongs to, or to a GET stream; news that belong to no request the other way round. Without any it waits.
func (c *Conn) give(m message, news bool) {
	for {
		c.mu.Lock()
		s := c.listener(news, len(m.data))
		if s == nil {
			lost := c.keep(m)
			c.mu.Unlock()
			if lost {
				c.cfg.Dropped("nobody listens, and too much waits for somebody who does")
			}
			return
		}
		c.mu.Unlock()
		if s.push(m) {
			return
		}
		c.mu.Lock() // it has ended meanwhile
		c.posts, c.gets = without(c.posts, s), without(c.gets, s)
		c.mu.Unlock()
	}
}

// listener finds the stream for what names no request, of n bytes, or nil. One that is clogged is passed over: the command
// may read no more until it has written. c.mu is held.
func (c *Conn) listener(news bool, n int) *stream {
	first, second := c.posts, c.gets
	if news {
		first, second = second, first
	}
	for _, all := range [][]*stream{first, second} {
		for _, s := range slices.Backward(all) {
			if !s.clogged(n) {
				return s
			}
		}
	}
	return nil
}

// keep lets a message wait for the next stream, in the place of the oldest if there are too many. c.mu is held.
func (c *Conn) keep(m message) (lost bool) {
	if c.cfg.Kind == Stateless { // the next one is another agent's
		return true
	}
	c.backlog, c.backSize = append(c.backlog, m), c.backSize+len(m.data)
	for len(c.backlog) > maxBacklog || c.backSize > backlogSize {
		oldest := c.backlog[0]
		if oldest.asks != "" && c.asked[oldest.asks] {
			c.refuseRequest(oldest.asks, "no client listens")
		}
		c.backSize -= len(oldest.data)
		c.backlog[0] = message{}
		c.backlog, lost = c.backlog[1:], true
	}
	return lost
}
