// Package demo runs a whole Sallyport on loopback: a gateway, a connector behind it, and private MCP servers that only the
// connector reaches: a database that it speaks MCP for, three over HTTP, of which one wants a key and one an access token, and this program as a local command. Its process calls cell.Main first, and serves
// `demo serve-stdio`. It does not know flags or the terminal: its caller says where to write.
package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/secret"
)

const (
	tunnelName    = "demo"
	principalName = "demo"
	ordersName    = "orders"
	diagName      = "diag"
	notesName     = "notes"
	ticketsName   = "tickets"
)

// Config says how the demo differs from the plain one.
type Config struct {
	// Listen is the gateway's loopback address, for TCP and UDP. Optional; default 127.0.0.1:7443, or any free port if
	// that one is taken.
	Listen string
	// Extra adds servers of the user's to the connector. Optional.
	Extra *Extra
	// Log gets what gateway and connector log. Optional; default none.
	Log slog.Handler
	// Calls gets every call that has ended. Optional; it must not block.
	Calls func(CallSeen)
	// Collector is the base URL of an OpenTelemetry collector that both roles tell of all calls. Optional.
	Collector string
	// CollectorLog gets what goes wrong with that. Optional; default none.
	CollectorLog slog.Handler
	// Program is the sallyport binary that is run as a local server. Optional; default this one.
	Program string
	// Version is the software version.
	Version string
}

// Demo is one demo. Make it with [New]; Close removes its files.
type Demo struct {
	cfg      Config
	dir      string
	watch    *watch
	gateway  *gateway.Gateway
	public   string
	token    secret.Value // the agent's
	key      secret.Value // of the notes server: the connector alone has it
	client   secret.Value // by which the connector gets access tokens for the tickets server
	tokens   *issuer      // of those
	tunnel   secret.Ref
	keyFile  secret.Ref
	clientAt secret.Ref // where the connector has client from
	diag     *upstream
	notes    *upstream
	tickets  *upstream
	local    *connector.Server // nil if this system cannot keep it apart
	without  error             // and why
	sockets  []interface{ Close() error }
	ownCalls chan CallSeen
	told     told
	over     string // what carries the tunnel, once the connector is attached
}

// New makes keys, tokens and certificates in a private directory, opens the gateway's port and those of the servers over
// HTTP, and tries whether the local one can be kept apart. The caller closes the demo, whether it has run or not.
func New(cfg Config) (d *Demo, err error) {
	made := &Demo{cfg: cfg, ownCalls: make(chan CallSeen, 64)}
	defer func() {
		if err != nil {
			made.Close()
		}
	}()
	d = made
	d.watch = newWatch(cfg.Log, d.sawCall)
	if d.told, err = tell(cfg); err != nil {
		return nil, err
	}
	if d.dir, err = os.MkdirTemp("", "sallyport-demo-"); err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	d.token, d.key = secret.New("agent-"+rand.Text()+rand.Text()), secret.New("notes-"+rand.Text()+rand.Text())
	d.client = secret.New("client-" + rand.Text() + rand.Text())
	d.tokens = newIssuer(d.client)
	if d.diag, err = d.newUpstream(diagServer(cfg.Version)); err != nil {
		return nil, err
	}
	if d.notes, err = d.newUpstream(notesServer(cfg.Version, d.key)); err != nil {
		return nil, err
	}
	if d.tickets, err = d.newUpstream(ticketsServer(cfg.Version, d.tokens)); err != nil {
		return nil, err
	}
	d.tickets.mux.HandleFunc("/token", d.tokens.token)
	if d.keyFile, err = d.secretFile("connector", "notes.key", d.key); err != nil {
		return nil, err
	}
	if d.clientAt, err = d.secretFile("connector", "tickets.client", d.client); err != nil {
		return nil, err
	}
	if err = d.newGateway(); err == nil {
		err = d.newLocal()
	}
	return d, err
}

// Close removes the demo's directory and closes its ports.
func (d *Demo) Close() {
	for _, s := range d.sockets {
		_ = s.Close() // closed already, after a run
	}
	d.told.shutdown()
	if d.dir != "" {
		_ = os.RemoveAll(d.dir) // nothing in it outlives the process's use
	}
}

func (d *Demo) newGateway() error {
	tcp, udp, err := openPort(d.cfg.Listen)
	if err != nil {
		return err
	}
	d.sockets = append(d.sockets, tcp, udp)
	host, _, _ := net.SplitHostPort(cmp.Or(d.cfg.Listen, defaultListen)) // openPort has checked it
	_, port, _ := net.SplitHostPort(tcp.Addr().String())                 // an address of the kernel's has a port
	d.public = "https://" + net.JoinHostPort(host, port)
	token, err := d.secretFile("gateway", "agent.token", d.token)
	if err != nil {
		return err
	}
	if d.tunnel, err = d.secretFile("gateway", "tunnel.token", secret.New("tunnel-"+rand.Text()+rand.Text())); err != nil {
		return err
	}
	cfg := gateway.Config{
		PublicURL: d.public,
		StateDir:  filepath.Join(d.dir, "gateway"),
		TLS:       gateway.TLS{SelfSigned: true},
		Tunnels:   []gateway.Tunnel{{Name: tunnelName, TunnelToken: d.tunnel}},
		Agents: gateway.Agents{Tokens: []gateway.Token{
			{Name: principalName, Token: token, Tunnels: []string{tunnelName}, Servers: []string{"*"}, TrustTrace: true},
		}},
		Logger:  slog.New(d.watch.role(roleGateway)),
		Version: d.cfg.Version,
	}
	if t := d.told.gateway; t != nil {
		cfg.Tracer, cfg.Meter, cfg.Telemetry.Metrics.Names = t.Tracer, t.Meter, true
		cfg.Logger = slog.New(t.Handler(d.watch.role(roleGateway)))
	}
	if d.gateway, err = gateway.New(cfg); err != nil {
		return err
	}
	d.gateway.Sockets(tcp, udp)
	return nil
}

// secretFile writes a value into the directory of the role that may know it.
func (d *Demo) secretFile(role, name string, value secret.Value) (secret.Ref, error) {
	dir := filepath.Join(d.dir, role)
	path := filepath.Join(dir, name)
	err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(path, []byte(value.Reveal()), 0o600))
	if err != nil {
		return secret.Ref{}, fmt.Errorf("write a secret of the demo: %w", err)
	}
	return secret.ParseRef("file:" + path)
}

// Run serves until work returns, whose context ends with ctx or if the gateway fails.
func (d *Demo) Run(ctx context.Context, work func(context.Context) error) error {
	defer d.diag.serve()()
	defer d.notes.serve()()
	defer d.tickets.serve()()
	return during(ctx, d.gateway.Run, work)
}

// Connect runs a connector over the transport, auto, quic or tcp, and does work while it is attached.
func (d *Demo) Connect(ctx context.Context, transport string, work func(context.Context) error) error {
	cfg, err := d.connectorConfig(transport)
	if err != nil {
		return err
	}
	c, err := connector.New(cfg)
	if err != nil {
		return err
	}
	d.watch.forget()
	return during(ctx, c.Run, func(ctx context.Context) error {
		var err error
		if d.over, err = d.watch.attached(ctx); err != nil {
			return err
		}
		return work(ctx)
	})
}

// during runs role while work runs. Work's context ends with ctx, and when role has ended; role ends after work.
func during(ctx context.Context, role, work func(context.Context) error) error {
	roleCtx, stopRole := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRole()
	workCtx, stopWork := context.WithCancel(ctx)
	defer stopWork()
	ended := make(chan error, 1)
	go func() {
		defer stopWork()
		ended <- role(roleCtx)
	}()
	err := work(workCtx)
	stopRole()
	return errors.Join(err, <-ended)
}

// URL is the URL of a server, as agents call it.
func (d *Demo) URL(server string) string {
	return d.public + "/t/" + tunnelName + "/" + server + "/mcp"
}

func (d *Demo) sawCall(c CallSeen) {
	select {
	case d.ownCalls <- c:
	default: // nobody compares calls now
	}
	if d.cfg.Calls != nil {
		d.cfg.Calls(c)
	}
}
