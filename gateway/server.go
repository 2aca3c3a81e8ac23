package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

// Handler returns the chain that every request of an agent goes through, in
// this order: note → limits → Origin and Host → route (the name only) →
// authenticate → authorize → inspect → resume → forward. Nothing reads a body before
// the caller is known, and nothing touches a session before the body has been
// inspected.
func (g *Gateway) Handler() http.Handler {
	forward := http.HandlerFunc(g.forward)
	resume := g.resume(forward)
	inspect := mcp.Inspect(mcp.InspectConfig{MaxBody: g.cfg.Agents.MaxBody, Budget: g.bodies, Endpoint: endpointOf, Refuse: g.refuse})(resume)
	authorize := g.authorize(inspect)
	authenticate := auth.Authenticate(auth.AuthenticateConfig{Verifier: g.callers, Target: g.targetOf, Certificates: certificatesOf, Refuse: g.challenge})(authorize)
	routed := g.serveRoute(authenticate)
	origin := g.checkOrigin(routed)
	limited := g.limit(origin)
	return g.record(limited)
}

// limit refuses what no honest client sends, and what the process has no room
// for.
func (g *Gateway) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost, http.MethodGet, http.MethodDelete, http.MethodHead, http.MethodOptions:
		default:
			g.refuse(w, r, mcp.MethodNotAllowed(http.MethodPost))
			return
		}
		if e := mcp.CheckHeaders(r.Header); e != nil {
			g.refuse(w, r, e)
			return
		}
		if g.draining() {
			g.refuse(w, r, mcp.Draining())
			return
		}
		if !g.inFlight.TryAcquire(1) {
			g.refuse(w, r, mcp.Overloaded())
			return
		}
		defer g.inFlight.Release(1)
		next.ServeHTTP(w, r)
	})
}

// checkOrigin holds requests to the public host, and browsers' requests to the
// origins that are configured (MCP transports: a foreign Origin must get 403).
func (g *Gateway) checkOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.ownHost(r) {
			e := mcp.Misdirected()
			e.Err = g.misdirection(r)
			g.refuse(w, r, e)
			return
		}
		origins := r.Header["Origin"]
		if len(origins) == 0 {
			if r.Method == http.MethodOptions {
				g.refuse(w, r, mcp.MethodNotAllowed(http.MethodPost))
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		if len(origins) > 1 || !slices.Contains(g.cfg.Agents.Origins, origins[0]) {
			g.refuse(w, r, mcp.BadOrigin())
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origins[0])
		h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, DPoP-Nonce")
		h.Add("Vary", "Origin")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
			h.Set("Access-Control-Allow-Headers", corsHeaders(r))
			h.Set("Access-Control-Max-Age", "600")
			noteFrom(r.Context()).answered(http.StatusNoContent, "preflight")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// corsHeaders allows the headers that a page asks for, if they are names and
// nothing else; the chain judges the headers themselves.
func corsHeaders(r *http.Request) string {
	asked := r.Header.Get("Access-Control-Request-Headers")
	for i := range len(asked) {
		if c := asked[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-, ", rune(c)) {
			return "authorization, content-type"
		}
	}
	return asked
}

// ownHost reports whether the request is meant for the public host: by its
// Host or authority, and by the server name of its TLS handshake if it had one.
func (g *Gateway) ownHost(r *http.Request) bool {
	if !g.publicHost(r.Host) {
		return false
	}
	if u := r.URL; u.Host != "" && (r.ProtoMajor > 1 || !g.publicHost(u.Host) || u.User != nil || (u.Scheme != "https" && u.Scheme != "http")) {
		return false // absolute form, which HTTP/2 does not have: it could stand beside another :authority
	}
	if host, ok := r.Header["Host"]; ok && !slices.Equal(host, []string{r.Host}) { // HTTP/2 carries it beside :authority
		return false
	}
	sni := connInfoFrom(r.Context()).serverName
	return sni == "" || strings.EqualFold(sni, hostName(g.public.Host))
}

// maxHostLogged is how much of a foreign host name is logged, in bytes; DNS
// allows no more (RFC 1035 section 2.3.4).
const maxHostLogged = 255

// misdirection says, for the log, what was asked for and what is served.
// Quoting leaves no control character as it is.
func (g *Gateway) misdirection(r *http.Request) error {
	short := func(name string) string { return name[:min(len(name), maxHostLogged)] }
	return fmt.Errorf("asked for host %+q, URL host %+q, TLS server name %+q; expected %s of public_url",
		short(r.Host), short(r.URL.Host), short(connInfoFrom(r.Context()).serverName), g.public.Host)
}

// publicHost compares with public_url's host and port, where the scheme's own
// port may be left out.
func (g *Gateway) publicHost(host string) bool {
	return strings.EqualFold(withPort(host, g.public.Scheme), withPort(g.public.Host, g.public.Scheme))
}
