// Package vault reads secrets from HashiCorp Vault or OpenBao over their HTTP API: logins, key-value engines, leases. It does
// not know what a secret is for, nor for whom it is read.
//
// It is not built on Vault's own client library, which takes addresses, tokens and proxies from the environment, follows
// redirects, reads answers without a bound, and brings twenty modules; seven requests are needed of it.
package vault
