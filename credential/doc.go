// Package credential puts secrets into requests to one upstream. Who may use a credential (who.go), where it may go
// (destination.go) and how it is put in (injector.go, and credential/inject) are apart, and binding.go carries the three
// with the secret's source; transport.go does them in order, and pool.go keeps the connections of principals apart. It
// does not know what a call is, nor whether it is allowed: by the time it runs, that has been decided.
package credential
