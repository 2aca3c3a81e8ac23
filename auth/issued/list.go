package issued

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth/internal/date"
)

// The list of what was revoked is a JWS in compact form, signed by one of the directory's keys, with exactly this header,
//
//	{"alg":"EdDSA","typ":"sallyport-revocations+jwt","kid":…}
//
// and exactly these claims:
//
//	seq      grows from each list to the next; no list is taken after one with a higher number
//	iat      when it was made, whole seconds since 1970
//	revoked  the ids of the tokens, each with the second of its expiry, after which it leaves the list
const (
	listType = "sallyport-revocations+jwt"
	// maxListBytes bounds the file: some 40,000 tokens that are revoked and not yet expired.
	maxListBytes = 4 << 20
	// listSpare is for how long an expired token stays in the list, for gateways whose clocks are behind.
	listSpare = time.Hour
)

// list is what is revoked.
type list struct {
	seq     int64
	revoked map[string]int64 // when the token of an id expires, in seconds
}

type listClaims struct {
	Sequence int64     `json:"seq"`
	IssuedAt int64     `json:"iat"`
	Revoked  []revoked `json:"revoked"`
}

type revoked struct {
	ID      string `json:"id"`
	Expires int64  `json:"exp"`
}

var (
	errListForm   = errors.New("it is not a list of revoked tokens")
	errListSigner = errors.New("no key of the directory has signed it")
)

// readList checks a list against the keys.
func readList(content []byte, keys map[string]ed25519.PublicKey) (list, error) {
	compact := string(content)
	id, ok := signer(compact, listType)
	if !ok {
		return list{}, errListForm
	}
	key, ok := keys[id]
	if !ok {
		return list{}, errListSigner
	}
	dot := strings.LastIndexByte(compact, '.')
	signature, err := base64.RawURLEncoding.Strict().DecodeString(compact[dot+1:])
	if err != nil || jwt.SigningMethodEdDSA.Verify(compact[:dot], signature, key) != nil {
		return list{}, errListSigner
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(compact[strings.IndexByte(compact, '.')+1 : dot])
	if err != nil {
		return list{}, errListForm
	}
	var c listClaims
	if json.Unmarshal(payload, &c, json.RejectUnknownMembers(true)) != nil || c.Sequence <= 0 || c.IssuedAt <= 0 {
		return list{}, errListForm
	}
	l := list{seq: c.Sequence, revoked: make(map[string]int64, len(c.Revoked))}
	for _, r := range c.Revoked {
		if _, twice := l.revoked[r.ID]; twice || !validID(r.ID) || r.Expires <= 0 || r.Expires > date.Max {
			return list{}, errListForm
		}
		l.revoked[r.ID] = r.Expires
	}
	return l, nil
}

// next signs the list that follows this one, without what has expired.
func (l list) next(now time.Time, key ed25519.PrivateKey) ([]byte, error) {
	// The clock makes the list of a directory that was begun anew follow the ones before it.
	c := listClaims{Sequence: max(l.seq+1, now.Unix()), IssuedAt: now.Unix(), Revoked: []revoked{}}
	for _, id := range slices.Sorted(maps.Keys(l.revoked)) {
		if l.revoked[id] > now.Add(-listSpare).Unix() {
			c.Revoked = append(c.Revoked, revoked{id, l.revoked[id]})
		}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	compact, err := sign(listType, key, payload)
	if err != nil {
		return nil, err
	}
	if len(compact) > maxListBytes {
		return nil, fmt.Errorf("it would have more than %d bytes: rotate the key and retire the old one, which ends all tokens at once", maxListBytes)
	}
	return []byte(compact), nil
}
