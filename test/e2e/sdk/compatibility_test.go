package sdk_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// The peers, by their names in the table.
const (
	goSDK        = "go-sdk"
	mcpGo        = "mcp-go"
	inspect      = "inspector"
	mcpRemote    = "mcp-remote"
	supergateway = "supergateway"
	reference    = "server-everything"
	wrapped      = "supergateway + server-everything"
)

// cell is one conversation.
type cell struct {
	revision string
	over     wire
	client   string
	server   string
	tunnel   tunnel.Transport // "" for none, which is not in the table
	h2       bool
}

// name is the cell's name as a test.
func (c cell) name() string {
	via, http := string(c.tunnel), "h1"
	if via == "" {
		via = "direct"
	}
	if c.h2 {
		http = "h2"
	}
	return fmt.Sprintf("%s to %s/%s/%s/%s/%s", c.client, c.server, c.revision, strings.ReplaceAll(string(c.over), " ", "-"), via, http)
}

// sessions reports whether the revision has MCP sessions over this transport.
func (c cell) sessions() bool { return c.over == streamable && c.revision < stateless }

// isLibrary reports whether the client is in this process.
func (c cell) isLibrary() bool { return c.client == goSDK || c.client == mcpGo }

// hostRevision is the revision that the client of this process speaks. What
// stands between it and the tunnel may speak a later one.
func (c cell) hostRevision() string {
	if c.isLibrary() {
		return c.revision
	}
	return min(c.revision, sessionful)
}

// planLocal lists the cells of servers that the connector starts. What these
// cannot do is found without a connector too, where the client speaks stdio.
// Revisions that differ from a later one by little go over one tunnel each.
func planLocal() []cell {
	var out []cell
	for _, from := range []string{goSDK, mcpGo} {
		for _, to := range []string{goSDKStdio, mcpGoStdio, referenceStdio, filesystemStdio} {
			last := sessionful
			if to == goSDKStdio || to == mcpGoStdio {
				last = stateless
			}
			out = append(out, cell{client: from, server: to, revision: last, over: stdio})
			for _, revision := range []string{v20241105, v20250326, v20250618, sessionful, stateless} {
				if revision > last || to == filesystemStdio && revision > v20241105 && revision < sessionful {
					continue
				}
				c := cell{client: from, server: to, revision: revision, over: streamable, tunnel: tunnel.TCP}
				if revision == v20241105 {
					c.over = httpSSE
				}
				both := revision >= sessionful || revision == v20241105 && to != referenceStdio && to != filesystemStdio
				if both || revision != v20250618 {
					out = append(out, c)
				}
				if c.tunnel, c.h2 = tunnel.QUIC, true; both || revision == v20250618 {
					out = append(out, c)
				}
			}
		}
	}
	for _, to := range []string{goSDKStdio, mcpGoStdio, referenceStdio, filesystemStdio} {
		out = append(out,
			cell{client: inspect, server: to, revision: sessionful, over: streamable, tunnel: tunnel.QUIC},
			cell{client: inspect, server: to, revision: sessionful, over: httpSSE, tunnel: tunnel.TCP})
		if to == goSDKStdio || to == mcpGoStdio {
			out = append(out, cell{client: inspect, server: to, revision: stateless, over: streamable, tunnel: tunnel.QUIC})
		}
	}
	return out
}

// isLocal reports whether the connector starts the server.
func (c cell) isLocal() bool { return strings.HasSuffix(c.server, " over stdio") }

// plan lists all cells.
func plan() []cell {
	var out []cell
	add := func(c cell, tunnels ...tunnel.Transport) {
		for _, via := range tunnels {
			c.tunnel = via
			out = append(out, c)
		}
	}
	libraries, others := []string{goSDK, mcpGo}, []string{reference, wrapped}
	for _, from := range libraries {
		for _, to := range libraries {
			for _, revision := range []string{v20241105, v20250326, v20250618, sessionful, stateless} {
				c := cell{client: from, server: to, revision: revision, over: streamable}
				if revision == v20241105 {
					c.over = httpSSE
				}
				add(c, "", tunnel.TCP)
				if revision >= sessionful {
					add(c, tunnel.Memory, tunnel.QUIC)
				}
				c.h2 = true
				add(c, tunnel.QUIC)
				if revision >= sessionful {
					add(c, tunnel.Memory, tunnel.TCP)
				}
			}
		}
		for _, to := range others {
			for _, revision := range []string{v20241105, v20250326, v20250618, sessionful} {
				c := cell{client: from, server: to, revision: revision, over: streamable}
				if revision == v20241105 {
					c.over = httpSSE
				}
				if to == reference { // a wrapped one has no limits of its own
					add(c, "")
				}
				add(c, tunnel.TCP)
				c.h2 = true
				add(c, tunnel.QUIC)
			}
		}
	}
	for _, from := range []string{inspect, mcpRemote, supergateway} {
		for _, to := range append(libraries, others...) {
			vias := []tunnel.Transport{tunnel.TCP, tunnel.QUIC}
			if to == goSDK { // what these clients cannot do, they cannot do with any server
				vias = append(vias, "")
			}
			for _, over := range []wire{streamable, httpSSE} {
				// The last revision with sessions is what they ask for, over HTTP+SSE too.
				add(cell{client: from, server: to, revision: sessionful, over: over}, vias...)
			}
			if from != supergateway && (to == goSDK || to == mcpGo) {
				add(cell{client: from, server: to, revision: stateless, over: streamable}, vias...)
			}
		}
	}
	return append(out, planLocal()...)
}

// Clients and servers that others wrote do through the tunnel, in every
// revision that both speak, what they do without it.
func TestCompatibility(t *testing.T) {
	t.Parallel()
	dialers := map[string]dialer{goSDK: dialGoSDK, mcpGo: dialMCPGo, inspect: dialInspector, mcpRemote: dialMCPRemote, supergateway: dialSupergateway}
	seen, cells := new(table), plan()
	t.Run("cells", func(t *testing.T) {
		serverOf := servers(t)
		for _, c := range cells {
			t.Run(c.name(), func(t *testing.T) {
				t.Parallel()
				if c.isLocal() {
					seen.add(c, meetLocal(t, c, dialers[c.client]))
					return
				}
				seen.add(c, meet(t, c, dialers[c.client], serverOf(t, c)))
			})
		}
	})
	if !t.Failed() {
		seen.compare(t, cells)
	}
}

// servers starts the servers that serve all tests, and returns what makes
// one for a test.
func servers(t *testing.T) func(*testing.T, cell) *server {
	mcp, sse, gateway := startEverything(t, streamable), startEverything(t, httpSSE), startSupergateway(t, streamable)
	return func(t *testing.T, c cell) *server {
		switch {
		case c.server == goSDK:
			return serveGoSDK(c.revision)
		case c.server == mcpGo:
			return serveMCPGo(c.revision)
		case c.server == reference:
			return everything(mcp.forward(t), sse.forward(t))
		case c.over == streamable:
			return everything(gateway.forward(t), http.NotFoundHandler())
		}
		return everything(http.NotFoundHandler(), startSupergateway(t, httpSSE).forward(t))
	}
}

// meet brings the two of a cell together.
func meet(t *testing.T, c cell, dial dialer, peer *server) outcome {
	seen := newRecorder(peer)
	upstream := httptest.NewServer(seen)
	t.Cleanup(func() {
		peer.close()
		upstream.CloseClientConnections()
		upstream.Close()
	})
	to := target{over: c.over, revision: c.revision, agent: upstream.Client(), url: upstream.URL + "/mcp"}
	if c.over == httpSSE {
		to.url = upstream.URL + "/sse"
	}
	if c.tunnel != "" {
		to = behind(t, c, connector.Server{URL: upstream.URL + "/mcp", SSEURL: upstream.URL + "/sse"})
	}
	return converse(t, c, dial, peer, seen, to)
}

// meetLocal is meet for a server that the connector starts.
func meetLocal(t *testing.T, c cell, dial dialer) outcome {
	at, peer := serveLocal(t, c.server)
	to := target{over: c.over, revision: c.revision, local: at}
	if c.tunnel != "" {
		to = behind(t, c, at.configured())
	}
	return converse(t, c, dial, peer, transcript{at.record}, to)
}

// behind starts a tunnel to the server of a cell.
func behind(t *testing.T, c cell, peer connector.Server) target {
	s := stack.New(t, stack.Options{Transport: c.tunnel, Servers: map[string]connector.Server{"peer": peer}})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of gateway and connector:\n%s", s.Log)
		}
	})
	to := target{over: c.over, revision: c.revision, url: s.URL("peer"), agent: s.Agent(t, c.h2), ca: s.CAFile}
	if c.over == httpSSE {
		to.url = s.SSEURL("peer")
	}
	return to
}
