package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	attachTimeout  = 10 * time.Second
	attachGoodbye  = time.Second // a refused connector may read why before it is hung up on
	maxServers     = 256
	attachHeadMax  = 16 << 10
	attachHeadTime = 10 * time.Second
)

// ServeSession serves one session from its hello to its end: nothing is routed
// to it until its connector has attached, which must happen within 10 s. The
// end of ctx ends the session.
func (g *Gateway) ServeSession(ctx context.Context, s *tunnel.Session) {
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
	log = log.With(telemetry.KeyTunnel, at.attached.tunnel)
	log.Info("connector attached", "servers", len(at.attached.servers))
	select {
	case <-s.Done():
	case <-ctx.Done():
		s.CloseWith(goodbye)
	}
	g.sessions.remove(at.attached)
	log.Info("session ended", telemetry.KeyError, s.Err())
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

// attachment answers the requests that a connector sends on one session. For
// now there is one: attach, once.
type attachment struct {
	gateway  *Gateway
	session  *tunnel.Session
	asked    atomic.Bool
	done     chan error // gets the outcome of the one attach
	attached *attached  // set before a nil on done
}

var errAttach = errors.New("gateway: attach")

func (at *attachment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, auth.MaxAttachBytes))
	if err != nil || r.Method != http.MethodPost || r.URL.Path != auth.AttachPath {
		http.Error(w, "POST "+auth.AttachPath+" is all that this stream serves", http.StatusNotFound)
		return
	}
	if at.asked.Swap(true) {
		http.Error(w, "attach once a session", http.StatusConflict)
		return
	}
	a, status, err := at.attach(r, body)
	if err != nil {
		http.Error(w, err.Error(), status)
	} else {
		at.attached = a
		err = at.welcome(w, a)
	}
	at.done <- err
}

// attach verifies who the connector is and makes its session available.
func (at *attachment) attach(r *http.Request, body []byte) (*attached, int, error) {
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
	a := &attached{Session: at.session, tunnel: identity.Name, instance: asked.Instance, servers: make(map[string]bool)}
	for _, name := range asked.Servers {
		if !validName(name) {
			return nil, http.StatusBadRequest, errors.Join(errAttach, errors.New("a server's name is not 1 to 40 of a-z, 0-9 and -"))
		}
		a.servers[name] = true
	}
	if err := at.gateway.sessions.add(a, identity.MaxConnectors); err != nil {
		return nil, http.StatusConflict, err
	}
	return a, http.StatusOK, nil
}

// welcome tells the connector where it is.
func (at *attachment) welcome(w http.ResponseWriter, a *attached) error {
	answer := auth.AttachAnswer{
		Tunnel:       a.tunnel,
		Issuer:       at.gateway.cfg.PublicURL,
		AssertionKey: at.gateway.signer.PublicKey(),
		URLs:         make(map[string]string, len(a.servers)),
	}
	for name := range a.servers {
		answer.URLs[name] = at.gateway.cfg.PublicURL + route{a.tunnel, name}.path()
	}
	body, err := auth.MarshalAttach(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}
