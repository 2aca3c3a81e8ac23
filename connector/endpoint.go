package connector

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"

	"sallyport.dev/auth"
	"sallyport.dev/credential"
	"sallyport.dev/mcp"
)

// maxPlace bounds the path and query that an endpoint event may name, in bytes.
const maxPlace = 1024

// places seals where an upstream of HTTP+SSE wants its messages into the session that its agent gets to see, and reads it
// back from what the agent sends. Nobody else can make one, so that neither an agent nor the gateway chooses a path of
// the upstream. The key lives as long as the process, like the streams that name places.
type places struct{ seal cipher.AEAD }

func newPlaces() (*places, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	return &places{seal}, err
}

// hide seals a path and query that the upstream of a stream has named, for its holder.
func (p *places) hide(holder []byte, place string) string {
	return base64.RawURLEncoding.EncodeToString(p.seal.Seal(nil, nil, []byte(place), holder))
}

// find reads back what was sealed for the same holder.
func (p *places) find(holder []byte, session string) (place string, ok bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(session)
	if err != nil {
		return "", false
	}
	raw, err := p.seal.Open(nil, nil, sealed, holder)
	return string(raw), err == nil
}

// owner names a principal at one server, in one way for each: no part of it is empty or holds a NUL.
func owner(server string, who auth.Principal) []byte {
	return []byte(server + "\x00" + who.Issuer + "\x00" + who.Subject)
}

// holder names whom a place belongs to: the principal at the server, whom its stream came from, so that after a change of
// the configuration no upstream is sent what another has named, and the version of the principal's own credentials, with
// which the session goes on or not at all.
func holder(server string, stream *url.URL, who auth.Principal, credentials credential.Version) []byte {
	return fmt.Appendf(owner(server, who), "\x00%s://%s\x00%d", stream.Scheme, stream.Host, credentials)
}

// placeOf resolves an endpoint event's data as clients do, against the stream's URL, and returns its path and query. It
// must lead to where the stream came from, as a credential's destination is compared: the same scheme, host and port.
func placeOf(stream *url.URL, data []byte) (string, error) {
	if len(data) == 0 || len(data) > maxPlace {
		return "", fmt.Errorf("%w: the endpoint event is not one line of at most %d bytes", errAnswer, maxPlace)
	}
	for _, c := range data {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return "", fmt.Errorf("%w: the endpoint event is no URL", errAnswer)
		}
	}
	ref, err := stream.Parse(string(data))
	if err != nil { // its text quotes the data
		return "", fmt.Errorf("%w: the endpoint event is no URL", errAnswer)
	}
	if (credential.Destination{URL: stream, AllowPlaintext: true}).Check(&http.Request{URL: ref}) != nil {
		return "", fmt.Errorf("%w: the endpoint event names another origin", errAnswer)
	}
	place := url.URL{Path: ref.Path, RawPath: ref.RawPath, RawQuery: ref.RawQuery}
	if text := place.RequestURI(); len(text) <= maxPlace && text[0] == '/' && !(len(text) > 1 && text[1] == '/') {
		return text, nil
	}
	return "", fmt.Errorf("%w: the endpoint event is no URL", errAnswer)
}

// placeEndpoint makes the data of an endpoint event for the agent: the path of its messages here, with the upstream's
// sealed in it, and where the upstream wants them. It depends on the path alone, so that it is right under every name of the gateway.
func (c *Connector) placeEndpoint(n *note, credentials credential.Version, path string) func([]byte) ([]byte, *url.URL, error) {
	holder := holder(n.server, n.upstream.sse, n.principal, credentials)
	return func(data []byte) ([]byte, *url.URL, error) {
		place, err := placeOf(n.upstream.sse, data)
		if err != nil {
			return nil, nil, err
		}
		messages, err := n.upstream.sse.Parse(place)
		return []byte(path + "?" + mcp.MessagesQuery(c.places.hide(holder, place))), messages, err
	}
}

// target is the URL to call for a request with credentials of a version, or nil if the MCP session in it is not one of ours.
func (c *Connector) target(n *note, credentials credential.Version) *url.URL {
	switch n.call.Endpoint {
	case mcp.EndpointSSE:
		target := *n.upstream.sse
		return &target
	case mcp.EndpointMessages:
		place, ok := c.places.find(holder(n.server, n.upstream.sse, n.principal, credentials), n.call.SessionID)
		if !ok {
			return nil
		}
		target, err := n.upstream.sse.Parse(place)
		if err != nil {
			return nil
		}
		return target
	default:
		target := *n.upstream.url
		return &target
	}
}
