// Package issued makes and verifies the gateway's own tokens, for agents without an identity provider. A directory, which
// several gateways may share, holds all there is: the keys that sign, a register of what was issued, and a signed list of
// what was revoked. [Store] changes it from the command line, [Verifier] reads it in a running gateway.
//
// It does not know HTTP, configuration files or which tunnels exist, and it makes no decision on what a token may reach.
//
// A token is in no file, log line or error of this package: only [Store.Create] gives it, once.
package issued
