// Package scrub masks the secrets of one server in what that server answers: as they are, and as JSON escapes, percent
// escapes, base64 and hexadecimal write them. Masking keeps lengths: each byte of an occurrence becomes a star. A stream is
// looked at through views, in which escapes are undone; JSON in JSON strings is undone four levels deep. It does not know how
// secrets are used or what a stream means. What a hostile server compresses, encrypts, reverses or spreads over several
// messages is not found.
package scrub
