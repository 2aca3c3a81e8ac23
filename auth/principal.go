package auth

import (
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Principal is the verified identity of a caller. Values are shared between concurrent calls: treat Claims and the
// slices of Grant as read-only.
type Principal struct {
	// Issuer says who vouches for the subject: an identity provider's URL, or the gateway's public URL for a static
	// token.
	Issuer string
	// Subject is the caller's name at the issuer; it means nothing without the issuer.
	Subject string
	// Claims are the verified claims of the caller's token, as JSON values. Nil if it has none.
	Claims map[string]any
	// Expiry is when the identity stops being valid. Zero means that it does not expire by itself.
	Expiry time.Time
	// Grant is what the principal may reach through the gateway.
	Grant Grant
}

// Grant lists what a principal may reach, by name; the name "*" stands for all. A call needs both a tunnel and a server
// of the grant, and the zero Grant grants nothing.
type Grant struct {
	Tunnels []string
	Servers []string
}

// anyName is the entry of a [Grant] that stands for every name.
const anyName = "*"

// May reports whether the principal may use this server of this tunnel. An empty name is never granted.
func (p Principal) May(tunnel, server string) bool {
	return covers(p.Grant.Tunnels, tunnel) && covers(p.Grant.Servers, server)
}

func covers(granted []string, name string) bool {
	return name != "" && (slices.Contains(granted, name) || slices.Contains(granted, anyName))
}

// String gives "issuer|subject" for logs. It never shows a claim, and control characters come out as "?".
func (p Principal) String() string {
	issuer, subject := p.Printable()
	return issuer + "|" + subject
}

// Printable gives the parts of String.
func (p Principal) Printable() (issuer, subject string) {
	return printable(p.Issuer), printable(p.Subject)
}

// LogValue keeps the claims out of structured logs as well.
func (p Principal) LogValue() slog.Value { return slog.StringValue(p.String()) }

// printable replaces what could move a terminal's cursor or start a new log line.
func printable(s string) string {
	if isPrintableASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// isPrintableASCII reports whether there is nothing to look at twice in a text, as in most.
func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Presented is what a request brings to prove who calls, and where it goes. Nothing of it has been verified.
type Presented struct {
	// Token is the access token, without the scheme. Empty if the request has no Authorization field.
	Token string
	// DPoP says that the token came by the scheme DPoP, not Bearer (RFC 9449 section 7.1).
	DPoP bool
	// Proof is the DPoP field (RFC 9449 section 4.1). Optional.
	Proof string
	// Certificates are the TLS client's: the leaf, whose key it has proved to own, and what it sent with it. No CA has
	// been asked for. Optional.
	Certificates []*x509.Certificate
	Target
}

// Target is where a request goes: names that are syntactically valid and may not exist, and the URLs made of them.
type Target struct {
	Tunnel, Server string
	// Resource is the server's canonical URL, which is the audience of its tokens (RFC 8707).
	Resource string
	// Method and URL are the request's, as a proof of possession must name them; the URL has no query.
	Method, URL string
}

// Verifier finds out who calls.
type Verifier interface {
	// Verify may be called concurrently. A refusal wraps one of this package's sentinels; any other error means that no
	// verdict could be reached, and the call must be refused all the same. The principal may have no grant for the
	// target: what it may reach is not looked at, so that this tells nobody what exists.
	Verify(ctx context.Context, p Presented) (Principal, error)
}

type principalKey struct{}

// WithPrincipal returns a context that carries p to the handlers behind whoever verified it.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom gives the principal that was verified for this context. Without one it reports false, and the principal
// it returns may do nothing.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
