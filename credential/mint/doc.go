// Package mint signs short-lived JWTs that name the principal for whom a request is made, and publishes the keys to check
// them with. It does not know who accepts them, or how they are put into a request.
package mint
