package gateway

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

const (
	headerMCPSession = "Mcp-Session-Id"
	maxOriginal      = 512 // bytes of an upstream's MCP session id
	maxPlaceSession  = 1536
	minSessionKey    = 32 // bytes of session_key
	macBytes         = 16
)

// errSessionID is an upstream's MCP session id that agents cannot be given.
var errSessionID = errors.New("gateway: the upstream's MCP session id is not 1 to 512 visible ASCII characters")

// mcpSessions makes the ids of MCP sessions that agents see, and reads them back:
//
//	<instance>.<MAC>.<original>
//
// The instance is the connector through which the session was begun, the original is the upstream's own id, and the MAC
// binds both to the tunnel, the server and the principal. So affinity and ownership need no table, survive a restart, and
// hold on every gateway that has the same key.
type mcpSessions struct{ key []byte }

// newMCPSessions derives the key of the MAC from a secret, so that the secret may serve for other keys too.
func newMCPSessions(secret []byte) (*mcpSessions, error) {
	key, err := deriveKey(secret, "sallyport mcp session id")
	return &mcpSessions{key}, err
}

// deriveKey makes a key for one purpose from session_key, which all gateways of a domain share.
func deriveKey(secret []byte, purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("session_key: %w", err)
	}
	return key, nil
}

// wrap makes the id that an agent sees.
func (m *mcpSessions) wrap(r route, who auth.Principal, instance, original string) string {
	mac := m.mac(r, who, instance, original)
	return instance + "." + base64.RawURLEncoding.EncodeToString(mac) + "." + original
}

// open takes apart an id that an agent sends. It is one only for whom it was made.
func (m *mcpSessions) open(r route, who auth.Principal, id string) (instance, original string, ok bool) {
	instance, rest, _ := strings.Cut(id, ".")
	code, original, found := strings.Cut(rest, ".")
	mac, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if !found || err != nil || !hmac.Equal(mac, m.mac(r, who, instance, original)) {
		return "", "", false
	}
	return instance, original, true
}

// mac is over each part with its length before it, so that no two lists of parts are one.
func (m *mcpSessions) mac(r route, who auth.Principal, instance, original string) []byte {
	h := hmac.New(sha256.New, m.key)
	var length [4]byte
	for _, part := range [...]string{string(r.endpoint), r.tunnel, r.server, who.Issuer, who.Subject, instance, original} {
		binary.BigEndian.PutUint32(length[:], uint32(len(part))) // bounded by the head of a request
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:macBytes]
}

// resume reads the MCP session of a call. One that was altered, or begun for somebody else, gets the 404 that makes
// clients begin a new one.
func (g *Gateway) resume(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := noteFrom(r.Context())
		if call := mcp.CallFrom(r.Context()); call.SessionID != "" {
			var ok bool
			if n.instance, n.original, ok = g.mcpSessions.open(n.route, n.principal, call.SessionID); !ok {
				g.refuse(w, r, mcp.SessionNotFound().For(call))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// nameSession puts the id that the agent shall use in place of the upstream's. Revisions without sessions have none, and
// HTTP+SSE has it in the endpoint event.
func (g *Gateway) nameSession(n *note, s *attached, h http.Header) *mcp.Error {
	original, ok := h[headerMCPSession]
	switch {
	case !ok:
		return nil
	case n.route.endpoint != mcp.EndpointMCP || !n.call.Version.Sessionful():
		delete(h, headerMCPSession)
		return nil
	case len(original) != 1 || !visible(original[0], maxOriginal):
		return mcp.UpstreamInvalid(errSessionID)
	}
	id := g.mcpSessions.wrap(n.route, n.principal, s.instance, original[0])
	h[headerMCPSession] = []string{id}
	if n.call.SessionID == "" {
		n.named, n.original = id, original[0]
	}
	return nil
}

// nameMessages rewrites the data of an endpoint event: the session that the connector has put into the query becomes one
// that leads to that connector, and is the agent's alone.
func (g *Gateway) nameMessages(n *note, s *attached, data []byte) ([]byte, error) {
	messages := route{n.route.tunnel, n.route.server, mcp.EndpointMessages}
	query, ok := strings.CutPrefix(string(data), messages.path()+"?")
	if !ok {
		return nil, fmt.Errorf("%w: an endpoint event that is not the connector's own", errBadResponse)
	}
	original, ok := mcp.ParseMessagesQuery(query)
	if !ok || len(original) > maxPlaceSession {
		return nil, fmt.Errorf("%w: an endpoint event that is not the connector's own", errBadResponse)
	}
	return []byte(messages.path() + "?" + mcp.MessagesQuery(g.mcpSessions.wrap(messages, n.principal, s.instance, original))), nil
}

// visible reports whether s has 1 to most characters from 0x21 to 0x7E.
func visible(s string, most int) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= most
}
