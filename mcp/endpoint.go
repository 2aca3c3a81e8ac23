package mcp

import (
	"net/http"
	"strings"
)

// Endpoint is one of the URLs of a server, by the last segment of its path.
type Endpoint string

// The endpoints of the protocol's transports. The zero Endpoint is none of them.
const (
	// EndpointMCP is streamable HTTP's, of all revisions since 2025-03-26.
	EndpointMCP Endpoint = "mcp"
	// EndpointSSE is where a client of HTTP+SSE (2024-11-05) opens the stream of all that the server says.
	EndpointSSE Endpoint = "sse"
	// EndpointMessages is where that client posts, with the session in the query: the stream's first event names it.
	EndpointMessages Endpoint = "messages"
)

// ParseEndpoint reads the last segment of a path.
func ParseEndpoint(segment string) (Endpoint, bool) {
	switch e := Endpoint(segment); e {
	case EndpointMCP, EndpointSSE, EndpointMessages:
		return e, true
	}
	return "", false
}

// allow is the method to name in a 405.
func (e Endpoint) allow() string {
	if e == EndpointSSE {
		return http.MethodGet
	}
	return http.MethodPost
}

const (
	// sessionQuery begins the query of EndpointMessages.
	sessionQuery = "sessionId="
	// maxSessionQuery bounds the session there, in bytes: it has the upstream's path and query sealed in it.
	maxSessionQuery = 2048
)

// MessagesQuery is the query of EndpointMessages for a session.
func MessagesQuery(session string) string { return sessionQuery + session }

// ParseMessagesQuery reads the session from the query of EndpointMessages, which has one parameter of characters that no
// client encodes (RFC 3986 §2.3), and is spelled in one way.
func ParseMessagesQuery(query string) (session string, ok bool) {
	session, ok = strings.CutPrefix(query, sessionQuery)
	if !ok || session == "" || len(session) > maxSessionQuery {
		return "", false
	}
	for i := range len(session) {
		switch c := session[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return "", false
		}
	}
	return session, true
}
