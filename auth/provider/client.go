package provider

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/address"
)

const (
	maxBody = 64 << 10         // bytes
	maxHead = 16 << 10         // bytes
	maxIdle = 4                // connections; only those of introspection are kept
	idleFor = 30 * time.Second // how long they are
)

// newTransport makes what asks the provider. There is no proxy, and nothing follows a redirect: who names an address in an
// answer does not decide whom we ask.
func newTransport(cfg *Config) *http.Transport {
	dial := cfg.Dial
	if dial == nil {
		dial = (&dialer{cfg.Allowed}).dial
	}
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    taskTimeout,
		DisableCompression:     true, // a small answer would become a large one
		MaxResponseHeaderBytes: maxHead,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleFor,
	}
}

// dialer holds each address against what is allowed when it is about to be dialled.
type dialer struct {
	allowed address.Allowed
}

func (d *dialer) dial(ctx context.Context, network, at string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: taskTimeout, Control: d.allowed.Control}
	if host, _, err := net.SplitHostPort(at); err == nil && isLoopback(host) {
		dialer.Control = d.controlLoopback
	}
	return dialer.DialContext(ctx, network, at)
}

// controlLoopback is for hosts that are called so: what is sent to them may be sent in the clear.
func (d *dialer) controlLoopback(network, at string, c syscall.RawConn) error {
	target, err := netip.ParseAddrPort(at)
	if err != nil || !target.Addr().Unmap().IsLoopback() {
		return &address.Error{Addr: target.Addr(), Reason: address.ReasonNotListed}
	}
	return d.allowed.Control(network, at, c)
}

// ask sends a request and returns the whole body of an answer with status 200. The type of its content is not looked at:
// what cannot be read as what it should be is refused anyway, and providers differ in what they call it.
func (p *Provider) ask(r *http.Request) ([]byte, error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "sallyport")
	response, err := p.transport.RoundTrip(r)
	if err != nil {
		return nil, diagnose(r.Context(), err)
	}
	defer response.Body.Close() // it has been read, or is not wanted
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, statusError(response.StatusCode)
	case isEncoded(response.Header):
		return nil, failEncoded
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, diagnose(r.Context(), err)
	case len(body) > maxBody:
		return nil, failLong
	}
	return body, nil
}

func isEncoded(h http.Header) bool {
	for _, value := range h.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(value), "identity") {
			return true
		}
	}
	return false
}
