package attack

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// What may show up nowhere but where it belongs.
const (
	credentialCanary = "canary-credential-Zq7Lw2nXv9Rb4Kt"
	tenantCanary     = "canary-tenant-Hd3Ys8Pc1Mf6Gj"
	argumentCanary   = "canary-argument-Uo5Ea0Ii2Sx"
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
	heldPath    = "/t/" + stack.Tunnel + "/held/mcp"
	foreignPath = "/t/globex/wiki/mcp"
)

// rig is one running system, over one transport, with the upstreams behind it.
type rig struct {
	*stack.Stack
	transport tunnel.Transport
	host      string // as agents spell it

	wiki    *upstream // what most attacks aim at
	vault   *upstream // another server of the same tunnel
	foreign *upstream // the same server name in another tunnel
	quiet   *upstream // for attacks that run beside others
	meet    *upstream // answers when as many requests as meeting says are there
	held    *upstream // where the sessions are begun that attacks then use
	meeting *meeting
	logged  int // bytes of the log that have been searched
}

func newRig(t *testing.T, transport tunnel.Transport) *rig {
	t.Helper()
	meeting := newMeeting(2)
	r := &rig{
		transport: transport, meeting: meeting,
		wiki: newUpstream(t, nil), vault: newUpstream(t, nil), foreign: newUpstream(t, nil), quiet: newUpstream(t, nil),
		meet: newUpstream(t, meeting.attend), held: newUpstream(t, nil),
	}
	secrets := t.TempDir()
	server := func(u *upstream) connector.Server {
		return connector.Server{URL: u.url + "/private", SSEURL: u.url + "/private", AllowPlaintext: true, CallTimeout: 5 * time.Second, Credentials: []connector.Credential{
			{Header: credential.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: stack.SecretFile(t, secrets, "key", credentialCanary)},
			{Header: credential.Header{Name: "X-Tenant", Template: "{secret}"}, Secret: stack.SecretFile(t, secrets, "tenant", tenantCanary)},
		}}
	}
	token := stack.SecretFile(t, secrets, "foreign.token", foreignToken)
	second := false
	r.Stack = stack.New(t, stack.Options{
		Transport: transport,
		Servers: map[string]connector.Server{
			"wiki": server(r.wiki), "vault": server(r.vault), "quiet": server(r.quiet), "meet": server(r.meet), "held": server(r.held),
		},
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
		},
		Connector: func(cfg *connector.Config) {
			if second {
				cfg.TunnelToken = token
				cfg.Servers = map[string]connector.Server{"wiki": server(r.foreign)}
			}
		},
	})
	second = true
	r.StartConnector(t)
	return r
}

// upstreams are all of them but held, which honest requests precede attacks at.
func (r *rig) upstreams() []*upstream {
	return []*upstream{r.wiki, r.vault, r.foreign, r.quiet, r.meet}
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
