package provider

import "sallyport.dev/address"

// ControlLoopback judges an address that a name of loopback has been resolved to.
func ControlLoopback(allowed address.Allowed, at string) error {
	return (&dialer{allowed}).controlLoopback("tcp4", at, nil)
}

// ReadDocument gives the two addresses that a discovery document names, for the fuzzer, which would be slow over HTTP.
func (p *Provider) ReadDocument(body []byte) (jwks, introspection string, err error) {
	d, err := p.read(body)
	return d.JWKSURI, d.Introspection, err
}

// HasProxy reports whether anything but the provider may be dialled.
func (p *Provider) HasProxy() bool { return p.transport.Proxy != nil }
