package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	maxUnattached  = 1024                  // sessions that have said hello and not attached
	attachTimeout  = 10 * time.Second      // for a connector to attach after its hello
	attachGoodbye  = time.Second           // a refused connector may read why before it is hung up on
	drainedLook    = 20 * time.Millisecond // how often a draining session is looked at for its last call
	maxServers     = 256                   // names of servers in one attach
	attachHeadMax  = 16 << 10
	attachHeadTime = 10 * time.Second
)

// ServeSession serves one session from its hello to its end: nothing is routed
// to it until its connector has attached, which must happen within 10 s. The
// end of ctx ends the session.
func (g *Gateway) ServeSession(ctx context.Context, s *tunnel.Session) {
	if !g.unattached.TryAcquire(1) {
		s.CloseWith(tunnel.Reason{Code: tunnel.CodeOverload, Text: "too many sessions have not attached"})
		return
	}
	release := sync.OnceFunc(func() { g.unattached.Release(1) })
	defer release()
	at := &attachment{gateway: g, session: s, done: make(chan error, 1)}
	server := &http.Server{
		Handler:           at,
		ReadHeaderTimeout: attachHeadTime,
		MaxHeaderBytes:    attachHeadMax,
		ErrorLog:          g.httpLog,
		BaseContext:       baseContext(ctx),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(s.Streams()) // ends with the session
	}()
	defer func() {
		_ = server.Close()
		<-served
		if a := at.finish(); a != nil {
			g.sessions.remove(a)
		}
	}()

	log := g.log.With(telemetry.KeySession, s.ID(), telemetry.KeyInstance, s.Peer().Instance,
		telemetry.KeyTransport, string(s.Peer().Transport), telemetry.KeyRemote, s.Peer().Addr.String())
	timer := time.NewTimer(attachTimeout)
	defer timer.Stop()
	select {
	case <-s.Done():
		log.Info("session ended before attach", telemetry.KeyError, s.Err())
		return
	case <-ctx.Done():
		s.CloseWith(goodbye)
		return
	case <-timer.C:
		log.Warn("session closed: no attach within 10 s of hello")
		s.CloseWith(tunnel.Reason{Code: tunnel.CodeProtocol, Text: "no attach within 10 s"})
		return
	case err := <-at.done:
		if err != nil {
			log.Warn("attach refused", telemetry.KeyError, err)
			waitOr(s.Done(), attachGoodbye)
			s.CloseWith(tunnel.Reason{Code: tunnel.CodePolicy, Text: "attach was refused"})
			return
		}
	}
	a := at.finish()
	if a == nil { // described: the asker hangs up, within the time that an attach would have had
		log.Info("connector described")
		select {
		case <-s.Done():
		case <-ctx.Done():
		case <-timer.C:
		}
		s.CloseWith(tunnel.Reason{Code: tunnel.CodeOK, Text: "described"})
		return
	}
	release()
	defer g.sessions.remove(a)
	ended := g.metrics.attached(a)
	defer func() { ended(endOf(s)) }()
	log = log.With(telemetry.KeyTunnel, a.tunnel)
	log.Info("connector attached", "servers", len(a.servers))
	if g.draining() { // it came too late to be told with the others
		_ = s.Drain() // a session that is gone needs no telling
	}
	s.CloseWith(a.wait(ctx))
	log.Info("session ended", telemetry.KeyError, s.Err())
}

// endOf is the word for why a session has ended.
func endOf(s *tunnel.Session) string {
	var end *tunnel.CloseError
	if errors.As(s.Err(), &end) && end.Code.Known() {
		return end.Code.String()
	}
	return telemetry.Other
}

// wait returns when the session has ended or should: the gateway stops, or the
// connector drains and has its last answer taken from it. Only this side knows
// when that is, and a close by the other would cut the answer short.
func (a *attached) wait(ctx context.Context) tunnel.Reason {
	select {
	case <-a.Done():
		return tunnel.Reason{}
	case <-ctx.Done():
		return goodbye
	case <-a.Draining():
	}
	look := time.NewTicker(drainedLook)
	defer look.Stop()
	for {
		select {
		case <-a.Done():
			return tunnel.Reason{}
		case <-ctx.Done():
			return goodbye
		case <-look.C:
			if a.inFlight.Load() == 0 {
				return tunnel.Reason{Code: tunnel.CodeOK, Text: "drained: no call is left"}
			}
		}
	}
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

// attachment answers what a connector asks on a session: once, to attach, or
// only to be told what an attach would tell it; and, once attached, for the
// assertion keys.
type attachment struct {
	gateway *Gateway
	session *tunnel.Session
	done    chan error // gets the outcome of the one request

	mu       sync.Mutex // guards what follows
	asked    bool       // the request is under way, or was
	over     bool       // the session is over, or has been handed to its owner
	attached *attached  // what is in the map of sessions and nobody owns yet
	joined   bool       // something is in the map, or was
}

var (
	errAttach      = errors.New("gateway: attach")
	errAttachOnce  = errors.New("gateway: attach: a session attaches once")
	errAttachLate  = errors.New("gateway: attach: the session has ended")
	errAttachDrain = errors.New("gateway: attach: this gateway is shutting down")
)

// finish takes over what has been attached, which may be nothing; after it
// nothing is attached any more.
func (at *attachment) finish() *attached {
	at.mu.Lock()
	defer at.mu.Unlock()
	a := at.attached
	at.over, at.attached = true, nil
	return a
}

// begin admits the first request alone.
func (at *attachment) begin() bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	first := !at.asked
	at.asked = true
	return first
}

// join makes the session available, unless it has ended meanwhile.
func (at *attachment) join(a *attached, maxConnectors int) error {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.over {
		return errAttachLate
	}
	if err := at.gateway.sessions.add(a, maxConnectors); err != nil {
		return err
	}
	at.attached, at.joined = a, true
	return nil
}

func (at *attachment) hasJoined() bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.joined
}

func (at *attachment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == auth.KeysPath && r.Method == http.MethodPost && at.hasJoined() {
		_ = writeAttach(w, auth.KeysAnswer{AssertionKeys: at.gateway.signer.PublicKeys()}) // who asked has left
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, auth.MaxAttachBytes))
	if err != nil || r.Method != http.MethodPost || r.URL.Path != auth.AttachPath && r.URL.Path != auth.DescribePath {
		http.Error(w, "POST "+auth.AttachPath+" or "+auth.DescribePath+" is all that this stream serves", http.StatusNotFound)
		return
	}
	if !at.begin() {
		http.Error(w, errAttachOnce.Error(), http.StatusConflict)
		return
	}
	a, status, err := at.attach(r, body)
	if err != nil {
		http.Error(w, err.Error(), status)
	} else {
		err = at.welcome(w, a)
	}
	at.done <- err
}

// attach verifies who the connector is and makes its session available, unless
// it only wants to be described.
func (at *attachment) attach(r *http.Request, body []byte) (*attached, int, error) {
	if at.gateway.draining() {
		return nil, http.StatusServiceUnavailable, errAttachDrain
	}
	token, err := auth.Bearer(r)
	if err != nil {
		return nil, http.StatusUnauthorized, err
	}
	identity, err := at.gateway.tunnels.identify(token)
	if err != nil {
		return nil, http.StatusUnauthorized, err
	}
	var asked auth.AttachRequest
	if err := auth.UnmarshalAttach(body, &asked); err != nil {
		return nil, http.StatusBadRequest, err
	}
	if asked.Instance != at.session.Peer().Instance {
		return nil, http.StatusBadRequest, errors.Join(errAttach, errors.New("the instance differs from hello's"))
	}
	if len(asked.Servers) == 0 || len(asked.Servers) > maxServers {
		return nil, http.StatusBadRequest, errors.Join(errAttach, errors.New("1 to 256 servers are allowed"))
	}
	a := &attached{Session: at.session, tunnel: identity.Name, instance: asked.Instance, servers: make(map[string]bool), bound: make(map[string]bool)}
	for _, name := range asked.Servers {
		if !validName(name) {
			return nil, http.StatusBadRequest, errors.Join(errAttach, errors.New("a server's name is not 1 to 40 of a-z, 0-9 and -"))
		}
		a.servers[name] = true
	}
	if len(asked.Verifies) > maxServers {
		return nil, http.StatusBadRequest, errors.Join(errAttach, errors.New("no more than 256 issuers are allowed"))
	}
	a.verifies = at.gateway.forwarded(identity.Name, asked.Verifies)
	for _, name := range asked.Bound {
		if !a.servers[name] {
			return nil, http.StatusBadRequest, errors.Join(errAttach, errors.New("a bound server is none of its servers"))
		}
		a.bound[name] = true
	}
	if r.URL.Path == auth.DescribePath {
		return a, http.StatusOK, nil
	}
	if err := at.join(a, identity.MaxConnectors); err != nil {
		return nil, http.StatusConflict, err
	}
	return a, http.StatusOK, nil
}

// welcome tells the connector where it is.
func (at *attachment) welcome(w http.ResponseWriter, a *attached) error {
	answer := auth.AttachAnswer{
		Tunnel:        a.tunnel,
		Issuer:        at.gateway.cfg.PublicURL,
		AssertionKeys: at.gateway.signer.PublicKeys(),
		URLs:          make(map[string]string, len(a.servers)),
	}
	for name := range a.servers {
		answer.URLs[name] = at.gateway.cfg.PublicURL + route{tunnel: a.tunnel, server: name}.canonical()
	}
	return writeAttach(w, answer)
}

func writeAttach(w http.ResponseWriter, answer any) error {
	body, err := auth.MarshalAttach(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}
