package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"sallyport.dev/address"
	"sallyport.dev/secret"
)

// maxURL bounds a URL, the provider's own and those that its document names, in bytes.
const maxURL = 2048

// Config says which provider it is and how it is reached.
type Config struct {
	// Issuer is the provider's name, exactly as its document and its tokens have it: an https URL, or an http URL on
	// loopback, which Allowed must list then. Required.
	Issuer string
	// JWKSURL is where the key set is. Optional: discovery finds it.
	JWKSURL string
	// Roots are the CA certificates to trust. Optional: the system's.
	Roots *x509.CertPool
	// Allowed are the addresses that may be dialled, as [address.ParsePublic] gives them. Required.
	Allowed address.Allowed
	// Introspection lets opaque tokens be asked about. Optional.
	Introspection *Introspection
	// Events is told of what changes, from several goroutines at once and with no lock held. It must not call Close, which
	// waits for it. Optional.
	Events func(Event)
	// Dial connects in place of the dialler that holds addresses against Allowed. It is for tests, which have a provider in
	// memory; nothing of the configuration leads here. Optional.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Introspection says how opaque tokens are asked about.
type Introspection struct {
	// URL is the introspection endpoint. Optional: the discovery document names it. Required with JWKSURL, for then there is
	// no discovery.
	URL string
	// ClientID and Secret are what we show to the endpoint, by HTTP Basic (RFC 6749, section 2.3.1). Required.
	ClientID string
	Secret   secret.Value
}

// check says what is wrong with a configuration.
func (c *Config) check() error {
	// An Allowed that was not made for the Internet refuses the providers that are there and allows private addresses: it is
	// somebody's zero value.
	if c.Allowed.Check(netip.AddrFrom4([4]byte{1, 1, 1, 1})) != nil {
		return errors.New("allowed_ips: it was not parsed as a list for what is on the Internet")
	}
	issuer, err := url.Parse(c.Issuer)
	if err != nil || c.Issuer == "" {
		return errors.New("issuer: write the provider's URL, such as https://idp.example.com")
	}
	if issuer.Scheme == "http" && !c.allowsLoopback(issuer.Hostname()) {
		return errors.New("issuer: plain http is for a provider on this machine's loopback, whose address allowed_ips lists; use https")
	}
	if err := c.checkURL(c.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if strings.Contains(c.Issuer, "?") {
		return errors.New("issuer: take the query out (RFC 8414, section 2)")
	}
	if c.JWKSURL != "" {
		if err := c.checkURL(c.JWKSURL); err != nil {
			return fmt.Errorf("jwks_url: %w", err)
		}
	}
	return c.checkIntrospection()
}

func (c *Config) checkIntrospection() error {
	i := c.Introspection
	switch {
	case i == nil:
		return nil
	case i.ClientID == "":
		return errors.New("introspection: client_id: write the name of the client that may introspect")
	case i.Secret.IsZero():
		return errors.New("introspection: client_secret: write a reference to the client's secret")
	case i.URL == "" && c.JWKSURL != "":
		return errors.New("introspection: url: write it, for with jwks_url there is no discovery that could find it")
	case i.URL == "":
		return nil
	}
	if err := c.checkURL(i.URL); err != nil {
		return fmt.Errorf("introspection: url: %w", err)
	}
	return nil
}

// checkURL says what is wrong with a URL of the provider. One over plain http is only for a provider that has such a name
// itself, and is on loopback like it. The error does not quote it.
func (c *Config) checkURL(text string) error {
	if len(text) > maxURL {
		return fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	at, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case at.Scheme != "https" && (at.Scheme != "http" || !strings.HasPrefix(c.Issuer, "http:") || !isLoopback(at.Hostname())):
		return errors.New("it is not an https URL")
	case at.Hostname() == "" || at.Opaque != "":
		return errors.New("it has no host")
	case at.User != nil:
		return errors.New("it has a user")
	case strings.Contains(text, "#"):
		return errors.New("it has a fragment")
	}
	return nil
}

// allowsLoopback reports whether a host is on loopback, and may be dialled there.
func (c *Config) allowsLoopback(host string) bool {
	if !isLoopback(host) {
		return false
	}
	if address, err := netip.ParseAddr(host); err == nil {
		return c.Allowed.Check(address) == nil
	}
	return c.Allowed.Check(netip.AddrFrom4([4]byte{127, 0, 0, 1})) == nil || c.Allowed.Check(netip.IPv6Loopback()) == nil
}

// isLoopback reports whether a host names this machine's loopback (RFC 6761, section 6.3).
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// documents are the places where the discovery document may be, in the order in which they are tried: that of OpenID
// Connect Discovery 1.0, section 4, then that of RFC 8414, section 3.1. The issuer has been checked.
func documents(issuer string) []string {
	at, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	origin, path := at.Scheme+"://"+at.Host, strings.TrimSuffix(at.EscapedPath(), "/")
	return []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}
}
