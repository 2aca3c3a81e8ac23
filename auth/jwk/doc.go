// Package jwk reads public keys as JSON Web Keys (RFC 7517, 7518, 8037), strictly, and writes them. It knows no private and
// no symmetric key, and does not know where a key comes from, whom it belongs to, or what it signs.
package jwk
