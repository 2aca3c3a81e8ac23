package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

const (
	// noncePeriod is for how long one nonce is given out. It is accepted for as long again.
	noncePeriod = 5 * time.Minute
	// nonceBytes is the length of a nonce before it is encoded: more than anybody guesses.
	nonceBytes = 24
	// nonceDomain keeps nonces apart from whatever else a key may be used for.
	nonceDomain = "sallyport: nonce of a DPoP proof, version 1\x00"
)

// nonces are made of the time and a key, so that nobody needs to remember them. They may be for any caller: a nonce says
// when a proof was made, and not whose it is.
type nonces struct{ key []byte }

// current gives the nonce of now.
func (n *nonces) current() string { return n.of(period(time.Now())) }

// good reports whether a nonce is the one of now or the one before.
func (n *nonces) good(nonce string) bool {
	now := period(time.Now())
	isCurrent, isPrevious := equal(nonce, n.of(now)), equal(nonce, n.of(now-1))
	return isCurrent || isPrevious
}

func (n *nonces) of(period uint64) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write(binary.BigEndian.AppendUint64([]byte(nonceDomain), period))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:nonceBytes])
}

// period numbers the periods since 1970, by the wall clock, which all gateways share.
func period(at time.Time) uint64 { return uint64(at.Unix()) / uint64(noncePeriod/time.Second) }
