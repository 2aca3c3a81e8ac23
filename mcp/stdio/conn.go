package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"sallyport.dev/mcp"
)

const (
	maxPending  = 1024            // requests of agents without an answer
	maxAsked    = 256             // requests of the command without an answer
	maxBacklog  = 256             // messages of the command that wait for an agent to listen
	backlogSize = 1 << 20         // bytes of messages of the command that wait so
	maxUrgent   = 4096            // lines of ours that wait for the command to read: at most one a request
	maxJunk     = 1000            // lines in a row that are no message, after which the command is ended
	beginAfter  = 2 * time.Second // until a call without a word gets the head of an event stream, so that comments can keep it alive
)

// methodListen opens a subscription, which stays without an answer as long as it lasts (MCP 2026-07-28).
const methodListen = "subscriptions/listen"

// Kind is whom a connection serves.
type Kind uint8

// The kinds of connection.
const (
	// Session is one MCP session over streamable HTTP, of a revision that has them.
	Session Kind = iota + 1
	// Legacy is one MCP session over HTTP+SSE.
	Legacy
	// Stateless is any number of calls, of a revision without sessions.
	Stateless
)

// Config configures a Conn.
type Config struct {
	// In is the command's standard input, and Out its standard output. Required; Run closes both.
	In  io.WriteCloser
	Out io.ReadCloser
	// Kind is whom the command serves. Required.
	Kind Kind
	// CallTimeout is how long the command may take to answer a request. Required.
	CallTimeout time.Duration
	// Dropped is told why something that the command wrote went to nobody, in words that quote nothing. Optional.
	Dropped func(reason string)
}

// Conn is a conversation with one command. Make it with New; Run carries it.
type Conn struct {
	cfg   Config
	lines chan line     // for the command, in the order in which they are taken
	wake  chan struct{} // something urgent is there
	gone  chan struct{} // closed when the conversation is over
	room  *room
	junk  int // lines in a row that were no message; of the reader alone

	mu       sync.Mutex // guards what follows
	heard    time.Time  // when the command has last written a line
	greeted  bool       // it has answered initialize, and not by an error
	err      error      // why it is over
	last     int64      // the last id that was given
	pending  map[int64]*request
	asked    map[string]bool  // raw ids of the command's requests that agents have yet to answer
	streams  map[*stream]bool // that an agent has not left, whatever they wait for
	posts    []*stream        // those of calls that wait for an answer, oldest first; with HTTP+SSE the one stream
	gets     []*stream        // oldest first
	backlog  []message        // for the next stream
	backSize int
	urgent   [][]byte
}

// request is one request of an agent that the command has not answered.
type request struct {
	id, token []byte // raw, as the agent knows them; token may be nil
	method    string
	stream    *stream // nil if the agent has left
	timer     *time.Timer
	since     time.Time // when it was made
}

// line is one line for the command.
type line struct {
	text   []byte
	lastOf *stream // may be nil
	done   chan<- error
}

// New makes a connection.
func New(cfg Config) *Conn {
	if cfg.Dropped == nil {
		cfg.Dropped = func(string) {}
	}
	return &Conn{
		cfg: cfg, lines: make(chan line), wake: make(chan struct{}, 1), gone: make(chan struct{}), room: newRoom(),
		pending: make(map[int64]*request), asked: make(map[string]bool), streams: make(map[*stream]bool),
	}
}

// Run carries the conversation until ctx ends, the command closes its output, or it breaks the protocol in a way that
// cannot be passed over. It returns why, and nil if ctx was the first. What waits for an answer then learns that there is none.
func (c *Conn) Run(ctx context.Context) error {
	var crew sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })
	defer stop()
	crew.Go(func() { c.end(c.writeAll()) })
	err := c.readAll()
	c.end(err)
	crew.Wait()
	first := c.Err()
	if cause := context.Cause(ctx); cause != nil && errors.Is(first, cause) {
		return nil
	}
	return first
}

// Done is closed when the conversation is over.
func (c *Conn) Done() <-chan struct{} { return c.gone }

// Err says why the conversation is over, or nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Greeted reports whether the command has answered initialize by a result.
func (c *Conn) Greeted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.greeted
}

// Busy reports whether a request or a stream of an agent is there.
func (c *Conn) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)+len(c.streams) > 0
}

// errSilent is a command that has written nothing for as long as a call may take.
var errSilent = errors.New("stdio: the command has written nothing since a call that it has not answered in time")

// errEnded is a command that has closed its standard output.
var errEnded = errors.New("stdio: the command has closed its standard output")

func (c *Conn) readAll() error {
	in := newLines(c.cfg.Out)
	for {
		text, err := in.next()
		switch {
		case errors.Is(err, errLine):
			return err
		case err != nil:
			return errEnded
		case len(text) == 0:
			continue
		}
		if err := c.take(text); err != nil {
			return err
		}
	}
}

// writeAll writes what it is given, what is urgent first.
func (c *Conn) writeAll() error {
	for {
		for _, text := range c.takeUrgent() {
			if err := c.writeLine(text); err != nil {
				return err
			}
		}
		select {
		case <-c.wake:
		case l := <-c.lines:
			err := c.writeLine(l.text)
			if l.lastOf != nil {
				l.lastOf.handedOver()
			}
			if err != nil {
				c.end(err) // first, so that whoever hears of it finds the conversation over
			}
			l.done <- err
			if err != nil {
				return err
			}
		case <-c.gone:
			return nil
		}
	}
}

func (c *Conn) writeLine(text []byte) error {
	switch n, err := c.cfg.In.Write(append(text, '\n')); {
	case err != nil && n == 0:
		return fmt.Errorf("%w: it has closed its standard input: %w", errUnsent, errEnded)
	case err != nil:
		return fmt.Errorf("stdio: the command has closed its standard input: %w", errEnded)
	}
	return nil
}

func (c *Conn) takeUrgent() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.urgent
	c.urgent = nil
	return all
}

// tell has a line of ours written soon. c.mu is held.
func (c *Conn) tell(text string) {
	if len(c.urgent) >= maxUrgent {
		return // it does not read, and will miss this
	}
	c.urgent = append(c.urgent, []byte(text))
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// cancel tells the command that nobody waits for an answer. c.mu is held.
func (c *Conn) cancel(id int64, r *request, reason string) {
	if r.method != "initialize" { // which no revision lets be cancelled
		c.tell(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + strconv.FormatInt(id, 10) + `,"reason":"` + reason + `"}}`)
	}
}

// write hands a line to the command, the last one of a stream if that is given. errUnsent means that it has got nothing of
// it.
func (c *Conn) write(ctx context.Context, text []byte, lastOf *stream) error {
	done := make(chan error, 1)
	select {
	case <-c.gone: // first, for both may be true
		return errUnsent
	default:
	}
	select {
	case c.lines <- line{text, lastOf, done}:
	case <-ctx.Done():
		return errUnsent
	case <-c.gone:
		return errUnsent
	}
	select {
	case err := <-done: // soon too when the conversation is over: then the command's input is closed
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errUnsent is a message of which the command has got no byte.
var errUnsent = errors.New("stdio: the command did not take the message")

// end makes the conversation end, and tells all who wait.
func (c *Conn) end(cause error) {
	c.mu.Lock()
	if c.err != nil || cause == nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	close(c.gone)
	pending, streams := c.pending, c.streams
	c.pending, c.streams, c.posts, c.gets, c.backlog = map[int64]*request{}, map[*stream]bool{}, nil, nil, nil
	c.mu.Unlock()
	for _, r := range pending {
		r.timer.Stop()
	}
	for s := range streams {
		if s.endless && c.cfg.Kind != Legacy {
			s.fail(io.EOF)
		} else {
			s.fail(mcp.UpstreamBroken(cause))
		}
	}
	_ = c.cfg.In.Close()
	_ = c.cfg.Out.Close()
}

// expire gives up on a request.
func (c *Conn) expire(id int64) {
	c.mu.Lock()
	r, ok := c.pending[id]
	delete(c.pending, id)
	if ok {
		c.cancel(id, r, "no answer in time")
	}
	hangs := ok && c.cfg.Kind == Stateless && c.heard.Before(r.since)
	c.mu.Unlock()
	if ok && r.stream != nil {
		r.stream.expire(r.id, c.cfg.Kind == Legacy)
	}
	if hangs { // the next call gets another process; a session's agent can begin another itself
		c.end(errSilent)
	}
}

// leave forgets a stream whose agent has gone. In a revision without sessions that cancels its requests; in one with
// them it does not, and their answers go to nobody.
func (c *Conn) leave(s *stream) {
	c.mu.Lock()
	delete(c.streams, s)
	c.posts, c.gets = without(c.posts, s), without(c.gets, s)
	for id, r := range c.pending {
		switch {
		case r.stream != s:
		case c.cfg.Kind == Stateless:
			r.timer.Stop()
			delete(c.pending, id)
			c.cancel(id, r, "the client has gone")
		default:
			r.stream = nil
		}
	}
	c.mu.Unlock()
	s.abandon()
}

// without takes a stream out, in place.
func without(all []*stream, s *stream) []*stream {
	return slices.DeleteFunc(all, func(other *stream) bool { return other == s })
}
