// Package scrub masks the secrets of one server in what that server answers: as they are, and as JSON escapes, percent
// escapes, base64 and hexadecimal write them. It does not know how secrets are used or what a stream means. What a
// hostile server encrypts, reverses or spreads over several messages is not found.
package scrub
