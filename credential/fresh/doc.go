// Package fresh keeps values that expire, such as secrets, leases and access tokens: each is fetched once however many ask
// for it, again before it expires, and never given out after that. It does not know what a value is.
package fresh
