package oidc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/auth/jwk"
)

// maxToken is the length in bytes above which a token is not looked at.
const maxToken = 8 << 10

// What is wrong with a token, without a character of it.
var (
	errSegments = errors.New("not three segments of base64url")
	errObject   = errors.New("a part is not a JSON object with every member once")
	errHeader   = errors.New("its header has a member that is refused, in another case, or of the wrong kind")
	errKeyID    = errors.New("its kid is longer than 128 bytes or has unusual characters")
)

// compact is a JWS in compact form (RFC 7515 section 3.1), decoded and not verified.
type compact struct {
	token           string
	header, payload []byte
}

// split takes a token apart. Each segment is base64url without padding, line ends or other characters, and its last
// character has no bits that decoders ignore: otherwise one token could be written in several ways.
func split(token string) (compact, error) {
	first := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	if first < 0 || first == last {
		return compact{}, errSegments
	}
	header, err := decodeSegment(token[:first])
	if err != nil {
		return compact{}, err
	}
	payload, err := decodeSegment(token[first+1 : last]) // a third dot in it is no base64url
	if err != nil {
		return compact{}, err
	}
	if _, err := decodeSegment(token[last+1:]); err != nil {
		return compact{}, err
	}
	return compact{token: token, header: header, payload: payload}, nil
}

func decodeSegment(segment string) ([]byte, error) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	// The decoder passes over line ends, which the length shows.
	if err != nil || len(decoded) == 0 || base64.RawURLEncoding.EncodedLen(len(decoded)) != len(segment) {
		return nil, errSegments
	}
	return decoded, nil
}

// header is what of a JOSE header counts.
type header struct {
	// typ is in lower case and without "application/" (RFC 7515 section 4.1.9).
	typ, alg, kid string
}

// refusedHeaders name a key or an encoding of the sender's choice, or say that the rest must not be ignored (RFC 7515
// sections 4.1.2 to 4.1.11, RFC 7516 section 4.1, RFC 7797 section 3).
func refusedHeaders() []string {
	return []string{"crit", "jku", "jwk", "x5u", "x5c", "zip", "b64", "enc"}
}

func parseHeader(raw []byte) (header, error) {
	var h header
	err := eachMember(raw, func(name string, value jsontext.Value) error {
		var into *string
		switch name {
		case "alg":
			into = &h.alg
		case "typ":
			into = &h.typ
		case "kid":
			into = &h.kid
		default:
			if isOneOf(name, refusedHeaders()) || isOneOf(name, []string{"alg", "typ", "kid"}) {
				return errHeader
			}
			return nil // such as x5t: it changes nothing here
		}
		if value.Kind() != '"' || json.Unmarshal(value, into) != nil || *into == "" {
			return errHeader
		}
		if name == "kid" && !jwk.ValidID(h.kid) {
			return errKeyID
		}
		return nil
	})
	h.typ = mediaType(h.typ)
	return h, err
}

// mediaType gives a typ as it is compared: media types count in any case (RFC 2045 section 5.1).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// isOneOf says whether a name is one of those listed, in whatever case: a decoder that folds case, as encoding/json does,
// would take it for that.
func isOneOf(name string, listed []string) bool {
	for _, other := range listed {
		if strings.EqualFold(name, other) {
			return true
		}
	}
	return false
}

// eachMember calls visit with each member of one JSON object, whose names are all different at any depth.
func eachMember(raw []byte, visit func(name string, value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	begin, err := d.ReadToken()
	if err != nil || begin.Kind() != '{' {
		return errObject
	}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return errObject
		}
		name := token.String() // before the next read
		value, err := d.ReadValue()
		if err != nil {
			return errObject
		}
		if err := visit(name, value); err != nil {
			return err
		}
	}
	if end, err := d.ReadToken(); err != nil || end.Kind() != '}' {
		return errObject
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errObject
	}
	return nil
}
