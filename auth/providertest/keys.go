package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"
)

// slots is how many RSA keys one process makes for all its providers: two kinds of provider, three generations and one
// of strangers, two algorithms.
const slots = 2 * 4 * 2

// rsaKeys are made when they are first asked for: one takes a tenth of a second.
var rsaKeys = func() (keys [slots]func() *rsa.PrivateKey) {
	for i := range keys {
		keys[i] = sync.OnceValue(newRSA)
	}
	return keys
}()

func newRSA() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Sprintf("providertest: make an RSA key: %v", err))
	}
	return key
}

// generation are the keys between two rotations, made when they are first asked for.
type generation struct {
	number int // -1: a stranger's
	other  bool
	keys   map[string]crypto.Signer // by algorithm
}

func newGeneration(number int, other bool) *generation {
	return &generation{number: number, other: other, keys: make(map[string]crypto.Signer)}
}

func (g *generation) id(algorithm string) string {
	return strings.ToLower(algorithm) + "-" + strconv.Itoa(max(g.number, 0))
}

func (g *generation) key(algorithm string) crypto.Signer {
	key := g.keys[algorithm]
	if key == nil {
		key = g.make(algorithm)
		g.keys[algorithm] = key
	}
	return key
}

func (g *generation) make(algorithm string) crypto.Signer {
	var key crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = newEd25519()
	case "RS256", "PS256":
		key = g.rsa(algorithm)
	default:
		key = newRSA()
	}
	if err != nil {
		panic(fmt.Sprintf("providertest: make a key for %s: %v", algorithm, err))
	}
	return key
}

// newEd25519 gives the private key as a crypto.Signer.
func newEd25519() (ed25519.PublicKey, crypto.Signer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	return public, private, err
}

func (g *generation) rsa(algorithm string) *rsa.PrivateKey {
	if g.number > 2 {
		return newRSA()
	}
	slot := (g.number + 1) * 4
	if g.other {
		slot += 2
	}
	if algorithm == "PS256" {
		slot++
	}
	return rsaKeys[slot]()
}

// KeyID is the id of the key that signs with an algorithm now.
func (s *Server) KeyID(algorithm string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.id(algorithm)
}

// PublicPEM is the public key of an algorithm as a PEM file has it, which a careless verifier takes for a shared secret.
func (s *Server) PublicPEM(algorithm string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return publicPEM(s.current.key(algorithm))
}

func publicPEM(key crypto.Signer) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(fmt.Sprintf("providertest: encode a public key: %v", err))
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// keySet is the set's keys as JWKs. s.mu is held.
func (s *Server) keySet(fault Fault) []map[string]any {
	set := []map[string]any{}
	for _, algorithm := range s.o.Algorithms {
		key := s.current.key(algorithm)
		if fault == NotTheirs {
			key = s.stranger.key(algorithm)
		}
		set = append(set, jwk(s.current.id(algorithm), algorithm, key, fault == PrivateKeys))
		if s.overlap {
			set = append(set, jwk(s.before.id(algorithm), algorithm, s.before.key(algorithm), false))
		}
	}
	if fault == DuplicateKids {
		first := s.o.Algorithms[0]
		set = append(set, jwk(s.current.id(first), first, s.stranger.key(first), false))
	}
	for i := 0; fault == TooManyKeys && len(set) < 33; i++ {
		set = append(set, jwk(fmt.Sprintf("more-%d", i), "EdDSA", newGeneration(0, false).key("EdDSA"), false))
	}
	return set
}

// jwk is a key as RFC 7518 section 6 and RFC 8037 have it.
func jwk(id, algorithm string, key crypto.Signer, private bool) map[string]any {
	members := map[string]any{"kid": id, "alg": algorithm, "use": "sig"}
	d := []byte(nil)
	switch key := key.(type) {
	case *rsa.PrivateKey:
		members["kty"], members["n"], members["e"] = "RSA", encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())
		d = key.D.Bytes()
	case *ecdsa.PrivateKey:
		point, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			panic(fmt.Sprintf("providertest: encode a point: %v", err))
		}
		half := len(point) / 2
		members["kty"], members["crv"] = "EC", key.Curve.Params().Name
		members["x"], members["y"] = encode(point[1:1+half]), encode(point[1+half:])
		d, _ = key.Bytes() // its curve is one of those above
	case ed25519.PrivateKey:
		members["kty"], members["crv"], members["x"] = "OKP", "Ed25519", encode(key.Public().(ed25519.PublicKey))
		d = key.Seed()
	}
	if private {
		members["d"] = encode(d)
	}
	return members
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
