package attack

import (
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/auth/authtest"
	"sallyport.dev/connector"
	"sallyport.dev/connector/pins"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// What may show up nowhere but where it belongs.
const (
	credentialCanary = "canary-credential-Zq7Lw2nXv9Rb4Kt"
	tenantCanary     = "canary-tenant-Hd3Ys8Pc1Mf6Gj"
	argumentCanary   = "canary-argument-Uo5Ea0Ii2Sx"
	offenceCanary    = "canary-offence-Ny4Wk8Tj1Lp" // in what a hostile upstream may not say
	secondToken      = "canary-second-agent-token-0123456789abcdefghij"
	foreignToken     = "canary-foreign-tunnel-token-0123456789abcdefg"
)

// publicName is the gateway's host, a name so that handshakes carry it.
const publicName = "gate.test"

// Paths of servers: of the one that is attacked, and of others that must get
// nothing of it.
const (
	wikiPath    = "/t/" + stack.Tunnel + "/wiki/mcp"
	vaultPath   = "/t/" + stack.Tunnel + "/vault/mcp"
	quietPath   = "/t/" + stack.Tunnel + "/quiet/mcp"
	meetPath    = "/t/" + stack.Tunnel + "/meet/mcp"
	foreignPath = "/t/globex/wiki/mcp"
	hostilePath = "/t/" + stack.Tunnel + "/hostile/mcp"
	hastyPath   = "/t/" + stack.Tunnel + "/hasty/mcp"
	guardedPath = "/t/" + stack.Tunnel + "/guarded/mcp"
	oldPath     = "/t/" + stack.Tunnel + "/old/"
)

// rig is one running system, over one transport, with the upstreams behind it.
type rig struct {
	*stack.Stack
	transport tunnel.Transport
	host      string // as agents spell it

	wiki    *upstream // what most attacks aim at
	hostile *upstream // answers as the attack says
	hasty   *upstream // the same, with a second for a call
	old     *upstream // of HTTP+SSE
	trusted *upstream // behind TLS
	moved   *upstream // under a name
	vault   *upstream // another server of the same tunnel
	foreign *upstream // the same server name in another tunnel
	quiet   *upstream // for attacks that run beside others
	guarded *upstream // behind a policy
	shifty  *upstream // whose lists change
	meet    *upstream // answers when as many requests as meeting says are there
	meeting *meeting
	logged  int    // bytes of the log that have been searched
	deep    int    // how often it was searched deeply
	dump    []byte // for stacks

	idp               *providers           // of tokens
	clients           *clientCertificates  // of agents
	issued            *issuedTokens        // of the gateway's own
	captor            *captor              // another gateway, and its connector
	verifying         *captor              // the same, with a connector that verifies callers itself
	secrets           *vaulttest.Vault     // of that connector
	older, foreignOld *upstream            // as old, another server and another tunnel
	impostors         map[string]*upstream // servers that are not who they should be
	elsewhere, trap   *upstream            // where a name has moved to, and what nobody should ask
	names             *names
	ids               map[string]string // of MCP sessions, by whose they are
}

func newRig(t *testing.T, transport tunnel.Transport, names *names, scripts map[string]*script) *rig {
	t.Helper()
	meeting := newMeeting(2)
	const loopback = "127.0.0.1:0"
	certs := newCertificates(t)
	legacy := func() *upstream { return startUpstream(t, loopback, nil, (*upstream).legacy) }
	secure := func(certificate string) *upstream {
		return startUpstream(t, loopback, certs.config(certificate), (*upstream).echo)
	}
	r := &rig{
		transport: transport, meeting: meeting, names: names, dump: make([]byte, 8<<20),
		hostile: newHostile(t, scripts), hasty: newHostile(t, scripts),
		old: legacy(), older: legacy(), foreignOld: legacy(), trap: newUpstream(t, nil),
		trusted: secure("honest"), impostors: map[string]*upstream{"expired": secure("expired"), "renamed": secure("renamed"), "selfsigned": secure("selfsigned")},
		wiki: newUpstream(t, nil), vault: newUpstream(t, nil), foreign: newUpstream(t, nil), quiet: newUpstream(t, nil), guarded: newUpstream(t, nil), shifty: startUpstream(t, loopback, nil, shifty()),
		meet: newUpstream(t, meeting.attend),
	}
	r.moved = newUpstream(t, nil)
	_, port, _ := net.SplitHostPort(r.moved.url[len("http://"):])
	r.elsewhere = startUpstream(t, net.JoinHostPort(forbidden, port), nil, (*upstream).echo)
	secrets := t.TempDir()
	r.idp, r.clients = newProviders(t, secrets), newClientCertificates(t)
	server := func(u *upstream) connector.Server {
		return connector.Server{URL: u.url + "/private", AllowPlaintext: true, CAFile: certs.file, Credentials: []connector.Credential{
			{Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: stack.SecretFile(t, secrets, "key", credentialCanary)},
			{Header: &inject.Header{Name: "X-Tenant", Template: "{secret}"}, Secret: stack.SecretFile(t, secrets, "tenant", tenantCanary)},
		}}
	}
	both := func(u *upstream, timeout time.Duration) connector.Server {
		s := server(u)
		s.SSEURL, s.CallTimeout = s.URL, timeout
		return s
	}
	stream := func(u *upstream) connector.Server {
		s := server(u)
		s.URL, s.SSEURL = "", s.URL
		return s
	}
	servers := map[string]connector.Server{
		"wiki": server(r.wiki), "vault": server(r.vault), "quiet": server(r.quiet), "meet": server(r.meet), "guarded": server(r.guarded),
		"hostile": both(r.hostile, 0), "hasty": both(r.hasty, time.Second), "old": stream(r.old), "older": stream(r.older),
		"trusted": server(r.trusted), "moved": server(r.moved),
	}
	for name, u := range r.impostors {
		servers[name] = server(u)
	}
	for i := range rugs() {
		for _, p := range []proto{h1, h2} {
			pinned := server(r.shifty)
			pinned.URL, pinned.Pins = r.shifty.url+"/private/"+pinnedName(i, p), pins.Quarantine
			servers[pinnedName(i, p)] = pinned
		}
	}
	open := slices.DeleteFunc(slices.Collect(maps.Keys(servers)), func(name string) bool { return name == "guarded" })
	named := servers["moved"]
	named.URL = "http://" + net.JoinHostPort(movedName, port) + "/private"
	servers["moved"] = named
	token := stack.SecretFile(t, secrets, "foreign.token", foreignToken)
	second := false
	r.Stack = stack.New(t, stack.Options{
		Transport: transport,
		Servers:   servers,
		Gateway: func(cfg *gateway.Config) {
			host, port, err := net.SplitHostPort(cfg.PublicURL[len("https://"):])
			if err != nil {
				t.Fatal(err)
			}
			cfg.Domain = host // what the connectors dial and verify
			r.host = net.JoinHostPort(publicName, port)
			cfg.PublicURL = "https://" + r.host
			cfg.Tunnels = append(cfg.Tunnels, gateway.Tunnel{Name: "globex", TunnelToken: token})
			cfg.Agents.Tokens = append(cfg.Agents.Tokens, gateway.Token{
				Name: "second", Token: stack.SecretFile(t, secrets, "second.token", secondToken), Tunnels: []string{"*"}, Servers: []string{"*"},
			})
			r.idp.configure(cfg)
			r.clients.configure(cfg)
			r.issued = newIssuedTokens(t, cfg)
		},
		Connector: func(cfg *connector.Config) {
			cfg.Upstream.AllowedIPs = []string{"127.0.0.1/32"}
			if !second {
				cfg.Policy, cfg.StateDir = guarded(t, open), t.TempDir()
			} else {
				cfg.TunnelToken = token
				cfg.Servers = map[string]connector.Server{"wiki": server(r.foreign), "old": stream(r.foreignOld)}
			}
		},
	})
	second = true
	r.StartConnector(t)
	captured, v, sources := failing(t, t.TempDir(), r.wiki.url)
	captured["wiki"], captured["vault"], r.secrets = server(r.wiki), server(r.vault), v
	r.captor = newCaptor(t, transport, captured, r.Log, connector.Config{
		Policy:      policy.Open(),
		TunnelToken: stack.SecretFile(t, secrets, "captor.token", foreignToken), Logger: slog.New(slog.NewJSONHandler(r.Log, nil)),
		Upstream: connector.Upstream{AllowedIPs: []string{"127.0.0.1/32"}}, Sources: sources, Issuers: map[string]string{"gate": authtest.Issuer},
	})
	r.verifying = newVerifying(t, r, transport, token, map[string]connector.Server{"wiki": server(r.wiki), "vault": server(r.vault), "guarded": server(r.guarded)})
	r.beginSessions(t)
	return r
}

// others is how many of the upstreams no attack may reach.
const others = 11

// upstreams are all of them, those first that no attack may reach.
func (r *rig) upstreams() []*upstream {
	return []*upstream{
		r.vault, r.foreign, r.quiet, r.hasty, r.older, r.foreignOld, r.trap, r.elsewhere, r.impostors["expired"], r.impostors["renamed"], r.impostors["selfsigned"],
		r.wiki, r.guarded, r.shifty, r.meet, r.hostile, r.old, r.trusted, r.moved,
	}
}

// meeting lets requests go on in groups, all of which are there at once.
type meeting struct {
	size  int64
	here  atomic.Int64
	doors []chan struct{}
}

const maxMeetings = 64

func newMeeting(size int64) *meeting {
	m := &meeting{size: size, doors: make([]chan struct{}, maxMeetings)}
	for i := range m.doors {
		m.doors[i] = make(chan struct{})
	}
	return m
}

func (m *meeting) attend() {
	n := m.here.Add(1) - 1
	door := m.doors[(n/m.size)%maxMeetings]
	if n%m.size == m.size-1 {
		close(door)
	}
	<-door
}
