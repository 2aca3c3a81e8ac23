package connector

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	dialTimeout  = 30 * time.Second // for a session to the gateway, hello included
	probeEvery   = 5 * time.Minute  // a TCP session looks for QUIC about this often
	promoteAfter = 30 * time.Second // of health over QUIC before the TCP session is left
	hangUpTime   = 2 * time.Second  // for the gateway to take the last answers and hang up
	lastWords    = time.Second      // for calls whose session has ended
	renameRetry  = 5 * time.Second  // after an attempt to attach with other names of servers
)

// live is one attached session and the server of its streams.
type live struct {
	*tunnel.Session
	server *http.Server
	served chan struct{} // closed when the server has returned
	since  time.Time
	leave  context.CancelFunc // ends the event streams that would hold up leaving

	renamed <-chan struct{} // closed when the servers have other names than it was attached with
}

// keep keeps one session at a time to the gateway until ctx ends. It returns
// an error only if the gateway has said not to come back.
func (c *Connector) keep(ctx context.Context, slot int) error {
	log := c.log.With("slot", slot)
	var delay backoff
	var leaving sync.WaitGroup // sessions that have ended or been replaced, and finish their calls
	defer leaving.Wait()
	for ctx.Err() == nil {
		l, err := c.connect(ctx, c.dial)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			if giveUp(err) {
				return err
			}
			c.metrics.notAttached(err)
			wait := delay.afterFailure(err)
			log.Warn("not attached", telemetry.KeyGateway, c.cfg.Gateway, telemetry.KeyError, err, telemetry.KeyHint, hint(err), telemetry.KeyRetryInMS, wait.Milliseconds())
			sleep(ctx, wait)
			continue
		}
		l = c.hold(ctx, l, &leaving)
		leaving.Go(func() { c.leave(l) })
		if ctx.Err() != nil {
			break
		}
		action := tunnel.AttachElsewhere // the gateway drains
		if err := l.Err(); err != nil {
			log.Warn("session ended", append(c.logFields(l.Session), telemetry.KeyError, err)...)
			if giveUp(err) {
				return err
			}
			action = actionOf(err)
		} else {
			log.Info("the gateway drains: attaching elsewhere", c.logFields(l.Session)...)
		}
		sleep(ctx, delay.after(action, time.Since(l.since)))
	}
	return nil
}

// actionOf looks up what a closed session asks of us.
func actionOf(err error) tunnel.Action {
	var ended *tunnel.CloseError
	if errors.As(err, &ended) && ended.Remote {
		return ended.Code.Action()
	}
	return tunnel.Redial
}

func giveUp(err error) bool { return actionOf(err) == tunnel.Stop }

// connect dials, attaches and begins to serve.
func (c *Connector) connect(ctx context.Context, dial DialFunc) (*live, error) {
	attempt, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := dial(attempt, tunnel.Config{Instance: c.instance})
	if err != nil {
		return nil, err
	}
	renamed := c.whenRenamed() // before attach reads the names
	checker, answer, err := c.attach(ctx, s)
	if err != nil {
		s.CloseWith(tunnel.Reason{Code: tunnel.CodeOK, Text: "not attached"})
		return nil, err
	}
	calls, leave := context.WithCancel(context.WithoutCancel(ctx))
	l := &live{Session: s, served: make(chan struct{}), since: time.Now(), leave: leave, renamed: renamed}
	l.server = c.httpServer(c.handler(checker, hopOf(s, answer.Tunnel), func(f func()) func() bool { return context.AfterFunc(calls, f) }))
	c.sessions.add(l)
	c.metrics.attached(s)
	go func() {
		defer close(l.served)
		defer c.sessions.remove(l)
		_ = l.server.Serve(s.Streams()) // ends with the session or in leave
	}()
	c.log.Info("attached", append(c.logFields(s), telemetry.KeyTunnel, answer.Tunnel, telemetry.KeyInstance, c.instance)...)
	if c.upgrade != nil && s.Peer().Transport == tunnel.TCP {
		c.log.Warn("QUIC got no answer: this session runs over TCP, where one lost packet holds up all calls", telemetry.KeyGateway, c.cfg.Gateway,
			telemetry.KeyHint, "let UDP to the gateway's port pass; it is tried again every 5 minutes")
	}
	c.announce(answer)
	return l, nil
}

// announce tells the operator the URLs, which agents are to be given.
func (c *Connector) announce(answer auth.AttachAnswer) {
	for _, name := range c.current().names {
		if at := c.resource(name); at != "" && answer.URLs[name] != at {
			c.log.Warn("the gateway has this server at another URL than auth.url says: tokens for it will be refused", telemetry.KeyServer, name, "url", answer.URLs[name], "wanted", at)
		}
		c.log.Debug("server", telemetry.KeyServer, name, "url", answer.URLs[name])
	}
}

// hold waits until the slot needs another session: this one has ended, one of
// the two sides drains. A session that had to fall back to TCP is meanwhile
// replaced by one over QUIC, once that works again.
func (c *Connector) hold(ctx context.Context, l *live, leaving *sync.WaitGroup) *live {
	for {
		var probe <-chan time.Time
		stop := func() bool { return false }
		if c.upgrade != nil && l.Peer().Transport == tunnel.TCP {
			timer := time.NewTimer(around(probeEvery))
			probe, stop = timer.C, timer.Stop
		}
		select {
		case <-probe:
			if better := c.promote(ctx, l, leaving); better != nil {
				old := l
				leaving.Go(func() { c.leave(old) })
				l = better
			}
			continue
		case <-l.renamed:
			stop()
			if better := c.rename(ctx, l); better != nil {
				old := l
				leaving.Go(func() { c.leave(old) })
				l = better
			}
			continue
		case <-ctx.Done():
		case <-l.Done():
		case <-l.Draining():
		}
		stop()
		return l
	}
}

// whenRenamed is closed when the servers have other names than now.
func (c *Connector) whenRenamed() <-chan struct{} {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.renamed
}

// rename attaches once more, with the names that the servers have now, while the old session still serves.
func (c *Connector) rename(ctx context.Context, old *live) *live {
	l, err := c.connect(ctx, c.dial)
	if err != nil {
		c.metrics.notAttached(err)
		c.log.Warn("not attached with the new names of servers: the old session goes on", append(c.logFields(old.Session), telemetry.KeyError, err, telemetry.KeyRetryInMS, renameRetry.Milliseconds())...)
		again := make(chan struct{})
		old.renamed = again
		time.AfterFunc(renameRetry, func() { close(again) })
		return nil
	}
	return l
}

// promote tries QUIC again, and returns its session after 30 s of health, or
// earlier if the old one ends.
func (c *Connector) promote(ctx context.Context, old *live, leaving *sync.WaitGroup) *live {
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the dial
		select {
		case <-old.Done():
			cancel()
		case <-old.Draining():
			cancel()
		case <-attempt.Done():
		}
	}()
	l, err := c.connect(attempt, c.upgrade)
	if err != nil {
		c.log.Debug("QUIC still does not get through", telemetry.KeyError, err)
		return nil
	}
	timer := time.NewTimer(promoteAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-old.Done():
	case <-old.Draining():
	case <-l.Done():
	case <-l.Draining():
	case <-ctx.Done():
	}
	if ctx.Err() == nil && l.Err() == nil && !l.Suspect() && !closed(l.Draining()) {
		c.log.Info("QUIC gets through again", c.logFields(l.Session)...)
		return l
	}
	leaving.Go(func() { c.leave(l) })
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// leave finishes with a session: the gateway is told to open no more streams,
// event streams without a request end, calls in flight get 30 s, then the
// session is closed. That the gateway closes first is normal: it does so when
// it has read the last answer, of which a close from here could cost the end.
func (c *Connector) leave(l *live) {
	if l.Err() == nil {
		_ = l.Drain() // a session that is gone needs no telling
	}
	l.leave()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	go func() { // ends with ctx: the calls of a session that is gone have nobody to answer
		select {
		case <-l.Done():
			waitOr(ctx.Done(), lastWords)
			cancel()
		case <-ctx.Done():
		}
	}()
	settle(ctx, l)
	if err := l.server.Shutdown(ctx); err == nil || errors.Is(err, net.ErrClosed) {
		waitOr(l.Done(), hangUpTime)
	}
	_ = l.server.Close()
	l.CloseWith(tunnel.Reason{Code: tunnel.CodeOK, Text: "the connector is done with this session"})
	c.metrics.left(l.Session)
	<-l.served
}

// waitOr waits for done, but no longer than d.
func waitOr(done <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// settle waits two round trips after drain was sent: streams that the gateway
// opened before it heard of it still come, and Shutdown would hang up on them.
func settle(ctx context.Context, l *live) {
	wait := min(max(2*l.RTT(), 20*time.Millisecond), time.Second)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.Done():
	case <-ctx.Done():
	}
}
