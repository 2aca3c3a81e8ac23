// Package credential puts a secret into a request to an upstream: where the value comes from (source.go), how it is
// put in (header.go), where it may go (destination.go) and which addresses an upstream may have (address.go) are
// apart, and transport.go does them in order. It does not know who calls, nor whether a call is allowed: by the time
// it runs, that has been decided.
package credential
