package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/cell"
	"sallyport.dev/mcp"
	"sallyport.dev/mcp/stdio"
	"sallyport.dev/telemetry"
)

const (
	stopGrace = 2 * time.Second // for a local server to end by itself, and again after SIGTERM
	idleLook  = time.Second     // how often idle processes are looked for
)

var (
	errNotRunning = errors.New("connector: local servers are not running")
	errResting    = errors.New("connector: the command has ended by itself, and is started again after a pause")
	errProcesses  = errors.New("connector: max_processes are running, and none of them is idle")
)

// child is one running process of a command, and the conversation with it.
type child struct {
	command *command
	owner   string // whom it serves, and nobody else
	session string // the MCP session's id, or ""
	conn    *stdio.Conn
	process *cell.Process
	stop    context.CancelFunc
	done    chan struct{} // closed when nothing of it is left
	started time.Time
	ended   func(reason string) // counts the process out
	reason  atomic.Value        // a string: why it was asked to end
	calls   atomic.Int64
	last    atomic.Int64 // when the last call ended, in nanoseconds since started
}

// idle returns for how long nobody has used the process.
func (c *child) idle() time.Duration {
	if c.calls.Load() > 0 || c.conn.Busy() {
		return 0
	}
	return time.Since(c.started) - time.Duration(c.last.Load())
}

// end stops the process, for a reason of which the first counts.
func (c *child) end(reason string) {
	c.reason.CompareAndSwap(nil, reason)
	c.stop()
}

// Why processes end.
const (
	endIdle     = "idle"     // nobody has used it for long
	endRoom     = "room"     // another one needed its place
	endSession  = "session"  // its MCP session has ended, or never began
	endStopping = "stopping" // so does the connector
	endItself   = "itself"   // it has exited, or broken the protocol
)

// hold counts a call until the returned function is called.
func (c *child) hold() (release func()) {
	c.calls.Add(1)
	return sync.OnceFunc(func() {
		c.last.Store(int64(time.Since(c.started)))
		c.calls.Add(-1)
	})
}

// children are the processes of all commands.
type children struct {
	log  *slog.Logger
	max  int
	dir  string // for what must lie on disk; may be ""
	crew sync.WaitGroup

	started func(server, session string) (ended func(reason string)) // counts processes

	mu       sync.Mutex // guards what follows
	nursery  *cell.Nursery
	unusable error // why there is no nursery
	running  int   // processes, also those that are about to begin or end
	all      map[*child]bool
	sessions map[string]*child // by MCP session
	shared   map[string]*child // by owner
	resting  map[string]*rest  // by owner: whose process has ended by itself
}

// rest is a pause before a process is started again.
type rest struct {
	backoff backoff
	until   time.Time
}

func newChildren(log *slog.Logger, most int, dir string) *children {
	return &children{
		log: log, max: most, dir: dir, unusable: errNotRunning, started: (*metrics)(nil).started,
		all: make(map[*child]bool), sessions: make(map[string]*child), shared: make(map[string]*child), resting: make(map[string]*rest),
	}
}

// run keeps processes possible until ctx ends, from when it closes started on; when it returns, none is left.
func (cs *children) run(ctx context.Context, started chan<- struct{}) {
	nursery, err := cell.NewNursery(cell.Config{Dir: cs.dir, Logger: cs.log})
	cs.mu.Lock()
	cs.nursery, cs.unusable = nursery, err
	cs.mu.Unlock()
	close(started)
	if err != nil {
		cs.log.Error("local servers cannot be started", telemetry.KeyError, err)
		return
	}
	tick := time.NewTicker(idleLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			cs.reap()
		case <-ctx.Done():
		}
	}
	cs.mu.Lock()
	cs.unusable = errNotRunning
	for c := range cs.all {
		c.end(endStopping)
	}
	cs.mu.Unlock()
	cs.crew.Wait()
	nursery.Close()
}

// probe reports which isolation a spec would get, also while no processes are possible.
func (cs *children) probe(ctx context.Context, spec cell.Spec) (string, error) {
	cs.mu.Lock()
	nursery := cs.nursery
	cs.mu.Unlock()
	if nursery == nil {
		var err error
		if nursery, err = cell.NewNursery(cell.Config{Dir: cs.dir, Logger: cs.log}); err != nil {
			return "", err
		}
		defer nursery.Close()
	}
	return nursery.Probe(ctx, spec)
}

// reap stops what nobody has used for long.
func (cs *children) reap() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.all {
		if c.idle() > c.command.cfg.IdleTimeout {
			cs.forget(c)
			c.end(endIdle)
		}
	}
	for owner, r := range cs.resting {
		if time.Since(r.until) > healthyAfter {
			delete(cs.resting, owner)
		}
	}
}

// find returns the process of an MCP session, if it is the owner's, and holds it: what is found is not idle.
func (cs *children) find(owner, session string) (found *child, release func()) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.sessions[session]; c != nil && c.owner == owner {
		return c, c.hold()
	}
	return nil, nil
}

// sharedBy returns the process that serves an owner's calls without a session, if there is one, and holds it.
func (cs *children) sharedBy(owner string) (found *child, release func()) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.shared[owner]; c != nil && c.conn.Err() == nil {
		return c, c.hold()
	}
	return nil, nil
}

// name makes a process findable: by its session, or, without one, by its owner.
func (cs *children) name(c *child) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case c.conn.Err() != nil: // it has ended already, and may have been forgotten
	case c.session != "":
		cs.sessions[c.session] = c
	default:
		cs.shared[c.owner] = c
	}
}

// forget makes a process unfindable. cs.mu is held.
func (cs *children) forget(c *child) {
	if cs.sessions[c.session] == c {
		delete(cs.sessions, c.session)
	}
	if cs.shared[c.owner] == c {
		delete(cs.shared, c.owner)
	}
}

// end stops a process, which is unfindable from now on.
func (cs *children) end(c *child) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forget(c)
	c.end(endSession)
}

// admit takes the place of one process, and one in the crew, or says why there is none. Processes without a session give way when they are
// idle: nothing is lost with them.
func (cs *children) admit(ctx context.Context, owner string) error {
	for {
		cs.mu.Lock()
		r := cs.resting[owner]
		switch {
		case cs.unusable != nil:
			err := cs.unusable
			cs.mu.Unlock()
			return mcp.UpstreamUnreachable(err)
		case r != nil && time.Now().Before(r.until):
			cs.mu.Unlock()
			e := mcp.UpstreamUnreachable(errResting)
			e.RetryAfter = time.Until(r.until)
			return e
		case cs.running < cs.max:
			cs.running++
			cs.crew.Add(1) // while run can still wait for it
			cs.mu.Unlock()
			return nil
		}
		victim := cs.idlest()
		if victim == nil {
			cs.mu.Unlock()
			e := mcp.Overloaded()
			e.Err = errProcesses
			return e
		}
		cs.forget(victim)
		victim.end(endRoom)
		cs.mu.Unlock()
		select {
		case <-victim.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// idlest returns the process without a session that has been idle for longest. cs.mu is held.
func (cs *children) idlest() (found *child) {
	for _, c := range cs.shared {
		if idle := c.idle(); idle > 0 && (found == nil || idle > found.idle()) {
			found = c
		}
	}
	return found
}

// start starts a process of a command for an owner. It is not findable yet. An error is a *mcp.Error, or that of ctx.
func (cs *children) start(ctx context.Context, cmd *command, owner patron, session string, kind stdio.Kind) (*child, error) {
	if err := cs.admit(ctx, owner.key()); err != nil {
		return nil, err
	}
	defer cs.crew.Done()
	c, err := cs.begin(cmd, owner, session, kind)
	if err != nil {
		cs.mu.Lock()
		cs.running--
		cs.mu.Unlock()
	}
	return c, err
}

func (cs *children) begin(cmd *command, owner patron, session string, kind stdio.Kind) (*child, error) {
	spec := cmd.spec
	spec.Env, spec.Hide = owner.vars, cmd.hide()
	log := cs.log.With(telemetry.KeyServer, cmd.name)
	process, err := cs.nursery.Start(spec)
	if err != nil {
		log.Error("a local server cannot be started", telemetry.KeyError, err)
		return nil, mcp.UpstreamUnreachable(err)
	}
	life, stop := context.WithCancel(context.Background()) // longer than the call that begins it
	c := &child{command: cmd, owner: owner.key(), session: session, process: process, stop: stop, done: make(chan struct{}), started: time.Now(), ended: cs.started(cmd.name, session)}
	c.conn = stdio.New(stdio.Config{
		In: process.Stdin, Out: process.Stdout, Kind: kind, CallTimeout: cmd.cfg.CallTimeout,
		Dropped: newThrottle(log.With(telemetry.KeyPID, process.Pid())).dropped,
	})
	cs.mu.Lock()
	cs.all[c] = true
	if cs.unusable != nil { // we are stopping
		c.end(endStopping)
	}
	cs.mu.Unlock()
	cs.crew.Go(func() { cs.attend(life, c, log, secretTexts(owner.secrets)) })
	return c, nil
}

// attend stays with a process until nothing of it is left.
func (cs *children) attend(ctx context.Context, c *child, log *slog.Logger, secrets []string) {
	log = log.With(telemetry.KeyPID, c.process.Pid())
	var voice sync.WaitGroup
	voice.Go(func() { logStderr(c.process.Stderr, newThrottle(log), secrets, c.command.guard.mask) })
	err := c.conn.Run(ctx)
	cs.mu.Lock()
	cs.forget(c)
	cs.mu.Unlock()
	c.process.Stop(stopGrace)
	_ = c.process.Stderr.Close()
	voice.Wait()
	c.stop()
	asked, reason := err == nil, endItself
	if asked {
		reason, _ = c.reason.Load().(string)
	} else {
		log.Warn("a local server has ended by itself", telemetry.KeyError, fmt.Errorf("%w; %w", err, errOr(c.process.Err(), errExited)),
			telemetry.KeyDurationMS, time.Since(c.started).Milliseconds())
	}
	cs.mu.Lock()
	delete(cs.all, c)
	cs.running--
	cs.note(c, asked)
	cs.mu.Unlock()
	c.ended(reason)
	close(c.done)
}

var errExited = errors.New("it exited with code 0")

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// note begins or ends the pause of an owner whose process has ended. cs.mu is held.
func (cs *children) note(c *child, asked bool) {
	lived := time.Since(c.started)
	r := cs.resting[c.owner]
	switch {
	case asked && lived >= healthyAfter:
		delete(cs.resting, c.owner)
	case asked:
	default:
		if r == nil || lived >= healthyAfter {
			r = new(rest)
			cs.resting[c.owner] = r
		}
		r.until = time.Now().Add(r.backoff.next())
	}
}
