package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for SHA-384 and SHA-512 of package crypto
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Option alters how a token is issued.
type Option func(*issue)

type issue struct {
	key    string
	header map[string]any
}

// By has the token signed with another key than ES256's, as [Server.Sign] names it. The header says so, unless [Head] alters
// that.
func By(key string) Option { return func(i *issue) { i.key = key } }

// Head puts a member into the token's header; nil takes it out.
func Head(name string, value any) Option { return func(i *issue) { i.header[name] = value } }

// Issue gives a genuine access token (RFC 9068), signed with the key of ES256, or the first algorithm of a provider without
// it. Claims are added to iss, sub, client_id, aud, iat, exp (five minutes from now) and jti, or replace them; nil takes one
// out.
func (s *Server) Issue(claims map[string]any, options ...Option) string {
	i := issue{key: s.preferred(), header: make(map[string]any)}
	for _, o := range options {
		o(&i)
	}
	k := s.find(i.key)
	header := map[string]any{"typ": "at+jwt", "alg": k.algorithm, "kid": k.id}
	maps.Copy(header, i.header)
	return k.sign(object(header), s.Claims(claims))
}

// Sign gives a token of any header and claims. The key is
//
//	"ES256"              the key of an algorithm
//	"old ES256"          the one before the last rotation
//	"stranger ES256"     somebody else's, with the same key id
//	"RS256 as PS256"     one used with another algorithm
//	"RS256 as HS256"     its public half in PEM used as the secret of a MAC
//	""                   none: the signature is empty
func (s *Server) Sign(header, claims, key string) string {
	return s.find(key).sign(header, claims)
}

// Claims is what [Server.Issue] would sign, as JSON to be altered and signed with [Server.Sign].
func (s *Server) Claims(claims map[string]any) string {
	now := time.Now()
	all := map[string]any{
		"iss": s.Issuer(), "sub": "agent", "client_id": "agent-client", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	if s.o.Audience != "" {
		all["aud"] = s.o.Audience
	}
	maps.Copy(all, claims)
	return object(all)
}

func (s *Server) preferred() string {
	for _, algorithm := range s.o.Algorithms {
		if algorithm == "ES256" {
			return algorithm
		}
	}
	return s.o.Algorithms[0]
}

// object encodes members that are not nil.
func object(members map[string]any) string {
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(members)
	if err != nil {
		panic(fmt.Sprintf("providertest: encode a token: %v", err))
	}
	return string(text)
}

// signing is a key and how it is used.
type signing struct {
	key       crypto.Signer // nil: none
	id        string
	algorithm string
}

// find reads the name of a key.
func (s *Server) find(name string) signing {
	if name == "" {
		return signing{algorithm: "none"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, algorithm, _ := strings.Cut(name, " as ")
	from := s.current
	if rest, ok := strings.CutPrefix(name, "old "); ok {
		name, from = rest, s.before
	} else if rest, ok := strings.CutPrefix(name, "stranger "); ok {
		name, from = rest, s.stranger
	}
	if from == nil {
		panic("providertest: there is no old key before the first rotation")
	}
	if algorithm == "" {
		algorithm = name
	}
	k := signing{from.key(name), from.id(name), algorithm}
	if from == s.stranger {
		k.id = s.current.id(name)
	}
	return k
}

func (k signing) sign(header, claims string) string {
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	if k.key == nil {
		return text + "."
	}
	return text + "." + encode(k.signature([]byte(text)))
}

// signature is made with the standard library alone, so that what verifies it is tried against something else.
func (k signing) signature(text []byte) []byte {
	if strings.HasPrefix(k.algorithm, "HS") {
		mac := hmac.New(sha256.New, []byte(publicPEM(k.key)))
		mac.Write(text)
		return mac.Sum(nil)
	}
	hash := crypto.SHA256
	switch k.algorithm[2:] {
	case "384":
		hash = crypto.SHA384
	case "512":
		hash = crypto.SHA512
	}
	digest := hash.New()
	digest.Write(text)
	sum := digest.Sum(nil)
	var made []byte
	var err error
	switch key := k.key.(type) {
	case *rsa.PrivateKey:
		var options crypto.SignerOpts = hash
		if strings.HasPrefix(k.algorithm, "PS") {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		made, err = key.Sign(rand.Reader, sum, options)
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, key, sum)
		size := (key.Curve.Params().BitSize + 7) / 8
		made, err = make([]byte, 2*size), failed
		if err == nil {
			r.FillBytes(made[:size])
			s.FillBytes(made[size:])
		}
	case ed25519.PrivateKey:
		made = ed25519.Sign(key, text)
	}
	if err != nil {
		panic(fmt.Sprintf("providertest: sign: %v", err))
	}
	return made
}
