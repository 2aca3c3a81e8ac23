package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

// The forms of path that exist on the agents' listener. There is one
// spelling of each; everything else is 404.
const (
	tunnelPrefix   = "/t/"
	metadataPrefix = "/.well-known/oauth-protected-resource"
	keysPath       = "/.well-known/jwks.json"
	maxNameBytes   = 40
)

// route is an endpoint of a server of a tunnel, by names that are syntactically
// valid. It says nothing of their existence.
type route struct {
	tunnel, server string
	endpoint       mcp.Endpoint
}

// path is the endpoint's path.
func (r route) path() string {
	return tunnelPrefix + r.tunnel + "/" + r.server + "/" + string(r.endpoint)
}

// canonical is the path of the server's canonical URL.
func (r route) canonical() string { return route{r.tunnel, r.server, mcp.EndpointMCP}.path() }

// parseRoute reads the path of a request target as it was sent, undecoded:
// percent signs, empty, dotted and parametrised segments match nothing.
func parseRoute(path string) (route, bool) {
	rest, ok := strings.CutPrefix(path, tunnelPrefix)
	if !ok {
		return route{}, false
	}
	tunnel, rest, _ := strings.Cut(rest, "/")
	server, segment, _ := strings.Cut(rest, "/")
	endpoint, ok := mcp.ParseEndpoint(segment)
	if !ok || !validName(tunnel) || !validName(server) {
		return route{}, false
	}
	return route{tunnel, server, endpoint}, true
}

// validName holds names to 1–40 of a-z, 0-9 and "-", without "--", which
// separates server and tunnel in host names.
func validName(s string) bool {
	if s == "" || len(s) > maxNameBytes || strings.Contains(s, "--") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// target returns the path of a request as the agent spelled it, and whether a
// query follows.
func target(r *http.Request) (path string, query bool) {
	uri := r.RequestURI
	if r.URL.Host != "" && !strings.HasPrefix(uri, "/") { // absolute form, checked by ownHost already
		uri = r.URL.RequestURI()
	}
	path, _, query = strings.Cut(uri, "?")
	return path, query
}

// routeFrom returns the route that the request's note names.
func routeFrom(ctx context.Context) route {
	if n := noteFrom(ctx); n != nil {
		return n.route
	}
	return route{}
}

// endpointOf is the endpoint of a request that serveRoute has let through.
func endpointOf(r *http.Request) mcp.Endpoint { return routeFrom(r.Context()).endpoint }

// serveRoute sends a request to the metadata document, to the chain behind
// next, or to the 404 that everything else gets.
func (g *Gateway) serveRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, query := target(r)
		if rest, ok := strings.CutPrefix(path, metadataPrefix); ok {
			if resource, ok := parseRoute(rest); ok && resource.endpoint == mcp.EndpointMCP && !query {
				noteFrom(r.Context()).answered(metadataStatus(r.Method), "metadata")
				g.metadata(resource).ServeHTTP(w, r)
				return
			}
		}
		if path == keysPath && !query {
			noteFrom(r.Context()).answered(metadataStatus(r.Method), "keys")
			auth.ServePublic(w, r, g.callers.issued.JWKS())
			return
		}
		name, ok := parseRoute(path)
		if !ok {
			g.refuse(w, r, mcp.NotFound())
			return
		}
		if query && name.endpoint != mcp.EndpointMessages { // before anything asks for a token, which must not be sent in one (RFC 9700 section 4.3.2)
			g.refuse(w, r, mcp.InvalidRequest("the URL has a query"))
			return
		}
		noteFrom(r.Context()).route = name
		next.ServeHTTP(w, r)
	})
}

func metadataStatus(method string) int {
	if method == http.MethodGet || method == http.MethodHead {
		return http.StatusOK
	}
	return http.StatusMethodNotAllowed
}

// authorize lets a principal through to the servers of its grant. What is not
// granted answers like what does not exist.
func (g *Gateway) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := routeFrom(r.Context())
		principal, _ := auth.PrincipalFrom(r.Context())
		n := noteFrom(r.Context())
		n.principal, n.known = principal, time.Now()
		g.join(r, n)
		if !principal.May(name.tunnel, name.server) || !g.tunnels.has(name.tunnel) {
			g.refuse(w, r, mcp.NotFound())
			return
		}
		next.ServeHTTP(w, r)
	})
}
