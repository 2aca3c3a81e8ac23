package mint_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sallyport.dev/credential"
	"sallyport.dev/credential/mint"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keySource gives a key, which may be replaced.
type keySource struct {
	pem string
	err error
}

func (s *keySource) Fetch(context.Context, credential.Principal) (credential.Fetched, error) {
	value := secret.New(s.pem)
	return credential.Fetched{Values: []secret.Value{value}, Version: credential.VersionOf(value)}, s.err
}

func pkcs8(t testing.TB, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func ed25519Key(t testing.TB) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func minter(t testing.TB, cfg mint.Config, key credential.Source) *mint.Minter {
	t.Helper()
	cfg.Issuer, cfg.Audience = "https://connector.test", "https://ledger.test"
	m, err := mint.New(cfg, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

var alice = credential.Principal{Issuer: "https://idp.test", Subject: "alice"}

// public reads the one key of a JWK Set, as a server does that gets it.
func public(t testing.TB, m *mint.Minter) (key any, kid string) {
	t.Helper()
	jwk, err := m.JWK(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := mint.JWKS(jwk)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	k := set.Keys[0]
	number := func(name string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(k[name])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if k["d"] != "" || k["use"] != "sig" {
		t.Errorf("the JWK is %v", k)
	}
	switch k["kty"] {
	case "OKP":
		return ed25519.PublicKey(number("x")), k["kid"]
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}[k["crv"]]
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, number("x"), number("y")))
		if err != nil {
			t.Fatal(err)
		}
		return key, k["kid"]
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(number("n")), E: int(new(big.Int).SetBytes(number("e")).Int64())}, k["kid"]
}

func TestATokenNamesThePrincipal(t *testing.T) {
	ec256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec256)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"EdDSA": ed25519Key(t), "ES256": pkcs8(t, ec256), "ES384": pkcs8(t, ec384), "RS256": pkcs8(t, rsaKey),
		"ES256 with a curve": "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})),
		"ES256 in SEC 1":     string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})),
		"RS256 in PKCS #1":   string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})),
	} {
		m := minter(t, mint.Config{Claims: map[string]string{"team": "ops"}}, &keySource{pem: text})
		got, err := m.Fetch(t.Context(), alice)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		key, kid := public(t, m)
		algorithm, _, _ := strings.Cut(name, " ")
		parsed, err := jwt.Parse(got.Values[0].Reveal(), func(token *jwt.Token) (any, error) {
			if token.Header["kid"] != kid || token.Header["typ"] != "JWT" {
				t.Errorf("%s: the header is %v", name, token.Header)
			}
			return key, nil
		}, jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer("https://connector.test"), jwt.WithAudience("https://ledger.test"),
			jwt.WithSubject("alice"), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		claims, _ := parsed.Claims.(jwt.MapClaims)
		if claims["principal_issuer"] != alice.Issuer || claims["team"] != "ops" || claims["jti"] == "" || len(claims) != 9 {
			t.Errorf("%s: %v", name, claims)
		}
		expires, _ := claims.GetExpirationTime()
		if left := time.Until(expires.Time); left > time.Minute || left < 50*time.Second {
			t.Errorf("%s: it is valid for %s", name, left)
		}
	}
}

// The thumbprint of the key in RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	seed, _ := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	m := minter(t, mint.Config{}, &keySource{pem: pkcs8(t, ed25519.NewKeyFromSeed(seed))})
	jwk, err := m.JWK(t.Context())
	if err != nil || jwk.KeyID != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("%+v, %v", jwk, err)
	}
}

func TestTokensAreKeptByPrincipalAndKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := &keySource{pem: ed25519Key(t)}
		m := minter(t, mint.Config{}, key)
		fetch := func(who credential.Principal) string {
			t.Helper()
			got, err := m.Fetch(t.Context(), who)
			if err != nil {
				t.Fatal(err)
			}
			return got.Values[0].Reveal()
		}
		first := fetch(alice)
		bob, other := alice, alice
		bob.Subject, other.Issuer = "bob", "https://other.test"
		if fetch(alice) != first || fetch(bob) == first || fetch(other) == first {
			t.Error("a token is not kept, or is another's")
		}
		time.Sleep(21 * time.Second)
		fetch(alice) // begins to make the next
		synctest.Wait()
		second := fetch(alice)
		if second == first {
			t.Error("a token is not renewed before its half time")
		}
		time.Sleep(31 * time.Second)
		if fetch(alice) == second {
			t.Error("a token is given out after its half time")
		}
		before := fetch(alice)
		key.pem = ed25519Key(t)
		if fetch(alice) == before {
			t.Error("a token outlives its key")
		}
		m.Close()
	})
}

func TestNoTokenIsMade(t *testing.T) {
	good := &keySource{pem: ed25519Key(t)}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key *keySource
		who credential.Principal
	}{
		"nobody":           {good, credential.Principal{}},
		"no subject":       {good, credential.Principal{Issuer: "i"}},
		"no issuer":        {good, credential.Principal{Subject: "s"}},
		"a long subject":   {good, credential.Principal{Issuer: "i", Subject: strings.Repeat("s", 1025)}},
		"a line end":       {good, credential.Principal{Issuer: "i", Subject: "a\nb"}},
		"bad UTF-8":        {good, credential.Principal{Issuer: "i", Subject: "\xff"}},
		"another curve":    {&keySource{pem: pkcs8(t, p224)}, alice},
		"no PEM":           {&keySource{pem: "canary-Zq7Lw2nXv9Rb"}, alice},
		"a public key":     {&keySource{pem: "-----BEGIN PUBLIC KEY-----\nY2FuYXJ5\n-----END PUBLIC KEY-----\n"}, alice},
		"a broken key":     {&keySource{pem: "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"}, alice},
		"a key that fails": {&keySource{err: errors.Join(credential.ErrUnavailable)}, alice},
	} {
		got, err := minter(t, mint.Config{}, test.key).Fetch(t.Context(), test.who)
		if !errors.Is(err, credential.ErrUnavailable) && !errors.Is(err, credential.ErrUnusable) || got.Values != nil {
			t.Errorf("%s gives %v", name, err)
		} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "Y2FuYXJ5") {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}

func TestClientTokensNameTheClient(t *testing.T) {
	m := minter(t, mint.Config{Client: true}, &keySource{pem: ed25519Key(t)})
	value, expires, err := m.Token(t.Context(), credential.Principal{})
	if err != nil || time.Until(expires) < 30*time.Second {
		t.Fatalf("%v, %v", expires, err)
	}
	key, _ := public(t, m)
	if _, err := jwt.Parse(value.Reveal(), func(*jwt.Token) (any, error) { return key, nil }, jwt.WithSubject("https://connector.test")); err != nil {
		t.Error(err)
	}
	same, _, err := m.Token(t.Context(), alice)
	if err != nil || !same.Equal(value) {
		t.Errorf("the client's token depends on who calls: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := mint.Config{Issuer: "i", Audience: "a"}
	for name, change := range map[string]func(*mint.Config){
		"no issuer":      func(c *mint.Config) { c.Issuer = "" },
		"no audience":    func(c *mint.Config) { c.Audience = "" },
		"a short life":   func(c *mint.Config) { c.TTL = time.Second },
		"a long life":    func(c *mint.Config) { c.TTL = time.Hour },
		"a key id":       func(c *mint.Config) { c.KeyID = "a\nb" },
		"a claim of its": func(c *mint.Config) { c.Claims = map[string]string{"sub": "root"} },
		"the issuer's":   func(c *mint.Config) { c.Claims = map[string]string{"principal_issuer": "x"} },
		"an empty claim": func(c *mint.Config) { c.Claims = map[string]string{"a": ""} },
		"nobody":         func(c *mint.Config) { c.Subject = "service" },
		"the issuer":     func(c *mint.Config) { c.Subject = "{principal.issuer}" },
		"twice":          func(c *mint.Config) { c.Subject = "{principal.subject}{principal.subject}" },
		"other braces":   func(c *mint.Config) { c.Subject = "{principal.subject}{principal.email}" },
		"nested braces":  func(c *mint.Config) { c.Subject = "{principal.{principal.subject}issuer}" },
		"a line end":     func(c *mint.Config) { c.Subject = "{principal.subject}\n" },
		"a type":         func(c *mint.Config) { c.Type = `JWT","alg":"none` },
		"a long type":    func(c *mint.Config) { c.Type = strings.Repeat("x", 65) },
	} {
		cfg := good
		change(&cfg)
		if err := cfg.Validate(); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if err := good.Validate(); err != nil || good.TTL != time.Minute || good.Type != "JWT" || good.Subject != "{principal.subject}" {
		t.Errorf("%v, %+v", err, good)
	}
}

// claimsOf are what a server reads in a token of a minter.
func claimsOf(t *testing.T, m *mint.Minter, who credential.Principal) (claims jwt.MapClaims, header map[string]any) {
	t.Helper()
	got, err := m.Fetch(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := public(t, m)
	parsed, err := jwt.Parse(got.Values[0].Reveal(), func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{"EdDSA"}))
	if err != nil {
		t.Fatal(err)
	}
	claims, _ = parsed.Claims.(jwt.MapClaims)
	if expires, _ := claims.GetExpirationTime(); !expires.Equal(got.Expires) {
		t.Errorf("it expires at %s, and says %s", got.Expires, expires)
	}
	return claims, parsed.Header
}

func TestSubjectAndType(t *testing.T) {
	m := minter(t, mint.Config{Subject: "{principal.issuer}|{principal.subject}", Type: "at+jwt"}, &keySource{pem: ed25519Key(t)})
	claims, header := claimsOf(t, m, alice)
	if claims["sub"] != "https://idp.test|alice" || claims["principal_issuer"] != alice.Issuer || header["typ"] != "at+jwt" {
		t.Errorf("%v, %v", claims, header)
	}
	hostile := credential.Principal{Issuer: alice.Issuer, Subject: `{principal.issuer}","sub":"root`}
	claims, _ = claimsOf(t, m, hostile)
	if claims["sub"] != "https://idp.test|"+hostile.Subject {
		t.Errorf("a name in braces becomes %v", claims["sub"])
	}
	iat, _ := claims.GetIssuedAt()
	if nbf, _ := claims.GetNotBefore(); iat.Sub(nbf.Time) != 5*time.Second {
		t.Errorf("it counts from %s, and was made at %s", nbf, iat)
	}
}

// However often the key is replaced, the next token is signed with the current one, whose name it has.
func TestKeysAreReplacedOften(t *testing.T) {
	key := new(keySource)
	m := minter(t, mint.Config{}, key)
	first := ed25519Key(t)
	for _, text := range []string{first, ed25519Key(t), ed25519Key(t), ed25519Key(t), first} {
		key.pem = text
		_, kid := public(t, m)
		if _, header := claimsOf(t, m, alice); header["kid"] != kid {
			t.Errorf("the token names the key %v, not %s", header["kid"], kid)
		}
	}
}

// More principals than are kept get their tokens too.
func TestMorePrincipalsThanAreKept(t *testing.T) {
	m := minter(t, mint.Config{}, &keySource{pem: ed25519Key(t)})
	for i := range 1100 {
		who := credential.Principal{Issuer: alice.Issuer, Subject: strconv.Itoa(i)}
		if i < 1020 {
			if _, err := m.Fetch(t.Context(), who); err != nil {
				t.Fatal(err)
			}
		} else if claims, _ := claimsOf(t, m, who); claims["sub"] != who.Subject {
			t.Errorf("the token of %d is for %v", i, claims["sub"])
		}
	}
}

// flipping gives another key every time.
type flipping struct {
	keys []string
	next atomic.Int64
}

func (s *flipping) Fetch(ctx context.Context, who credential.Principal) (credential.Fetched, error) {
	return (&keySource{pem: s.keys[int(s.next.Add(1))%len(s.keys)]}).Fetch(ctx, who)
}

// A token is never kept for a key that has not signed it: its version is that of its key, or there is none.
func TestAKeyThatChangesWhileATokenIsMade(t *testing.T) {
	s := &flipping{keys: []string{ed25519Key(t), ed25519Key(t), ed25519Key(t)}}
	kids := make(map[credential.Version]string)
	for _, text := range s.keys {
		_, kid := public(t, minter(t, mint.Config{}, &keySource{pem: text}))
		kids[credential.VersionOf(secret.New(text))] = kid
	}
	m := minter(t, mint.Config{}, s)
	var crew sync.WaitGroup
	for range 8 {
		crew.Go(func() {
			for range 20 {
				got, err := m.Fetch(t.Context(), alice)
				if err != nil {
					if !errors.Is(err, credential.ErrUnavailable) {
						t.Error(err)
					}
					continue
				}
				token, _, err := jwt.NewParser().ParseUnverified(got.Values[0].Reveal(), jwt.MapClaims{})
				if err != nil || token.Header["kid"] != kids[got.Version] {
					t.Errorf("%v is said to be signed with %v", token.Header["kid"], kids[got.Version])
				}
			}
		})
	}
	crew.Wait()
}

// odd is a source that breaks its promise.
type odd []secret.Value

func (s odd) Fetch(context.Context, credential.Principal) (credential.Fetched, error) {
	return credential.Fetched{Values: s}, nil
}

func TestClosedAndOddSources(t *testing.T) {
	for _, list := range []odd{nil, {secret.Value{}}, {secret.New("a"), secret.New("b")}} {
		if _, err := minter(t, mint.Config{}, list).Fetch(t.Context(), alice); !errors.Is(err, credential.ErrUnusable) {
			t.Errorf("%d values give %v", len(list), err)
		}
	}
	m := minter(t, mint.Config{}, &keySource{pem: ed25519Key(t)})
	m.Close()
	if _, err := m.Fetch(t.Context(), alice); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("a closed one gives %v", err)
	}
}

func BenchmarkMint(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{"EdDSA": ed25519Key(b), "RS256": pkcs8(b, rsaKey)} {
		b.Run(name, func(b *testing.B) {
			m := minter(b, mint.Config{}, &keySource{pem: text})
			for i := range 1024 { // all that is kept: the next is made each time
				if _, err := m.Fetch(b.Context(), credential.Principal{Issuer: "i", Subject: strconv.Itoa(i)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Fetch(b.Context(), alice); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFetch(b *testing.B) {
	m := minter(b, mint.Config{}, &keySource{pem: ed25519Key(b)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Fetch(b.Context(), alice); err != nil {
			b.Fatal(err)
		}
	}
}
