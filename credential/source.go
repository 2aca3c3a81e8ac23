package credential

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"sallyport.dev/secret"
)

// Source gives the current values of one credential. Most are one value; an access key of AWS is several that belong
// together.
type Source interface {
	// Fetch is called for each request, by many goroutines at once. It returns values that are set, or an error that
	// matches [ErrUnavailable], never old values in place of an error, and never those of another principal.
	Fetch(ctx context.Context, who Principal) (Fetched, error)
}

// Renewer is a Source whose values can be refused before they expire, as access tokens are.
type Renewer interface {
	Source
	// Renew makes the next Fetch for who bring other values than those that were refused.
	Renew(who Principal, refused Fetched)
}

// Fetched is what a source gives.
type Fetched struct {
	// Values are the texts, in the order in which the credential names them. The slice is shared: it is not to be changed.
	Values []secret.Value
	// Expires is when the values can be used no more, as far as that is known; zero if it is not.
	Expires time.Time
	// Version says which of the operator's secrets they are or stand on. It changes when one of those does, and not when a
	// token that was fetched with them is renewed.
	Version Version
}

// Version tells secrets apart without showing them. It is for comparisons within a process, and not to be logged.
type Version uint64

// VersionOf returns the version of values that belong together.
func VersionOf(values ...secret.Value) Version {
	hash := sha256.New()
	var length [8]byte
	for _, v := range values {
		binary.BigEndian.PutUint64(length[:], uint64(v.Len()))
		hash.Write(length[:])
		hash.Write([]byte(v.Reveal()))
	}
	return Version(binary.BigEndian.Uint64(hash.Sum(nil)))
}

// Join returns the version of credentials that are used together.
func (v Version) Join(other Version) Version {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: it spreads what is multiplied with it
	return (v^v>>29)*odd + other
}
