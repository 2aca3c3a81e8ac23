// Package attack sends what no honest agent sends to a whole Sallyport, over every transport of the tunnel and both versions
// of HTTP, and asserts the exact answer, whether the upstream was touched, and that no secret shows up anywhere. It knows
// nothing of how a request is refused: only bytes that go in and come out.
//
// An attack is a value: what is sent, and what must come of it. TestAttacks runs them all and compares what happened with
// docs/security/attacks.md, which make attack writes.
package attack
