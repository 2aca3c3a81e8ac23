package dpop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/dpop"
)

func TestAlgorithms(t *testing.T) {
	c := newChecker(t)
	if want := []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"}; !slices.Equal(c.Algorithms(), want) {
		t.Errorf("got %q", c.Algorithms())
	}
	c.Algorithms()[0] = "none" // changes nobody else's
	for _, alg := range c.Algorithms() {
		p := newProver(t, alg)
		if err := c.Check(request(p.forge(p.header(), claims())), p.thumbprint); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]dpop.Config{
		"no key":         {Nonce: true},
		"short key":      {Key: key()[:31]},
		"long key":       {Key: append(key(), 'x')},
		"zero key":       {Key: make([]byte, 32)},
		"one byte":       {Key: bytes.Repeat([]byte{7}, 32)},
		"negative limit": {Key: key(), Limit: -1},
		"huge limit":     {Key: key(), Limit: 1<<24 + 1},
	} {
		if _, err := dpop.New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestExampleOfRFC9449 is the request of section 7.1, figure 12, at its time.
func TestExampleOfRFC9449(t *testing.T) {
	const proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo" +
		"RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJl" +
		"MWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6" +
		"MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPT" +
		"oA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	presented := auth.Presented{
		Token: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", DPoP: true, Proof: proof,
		Target: auth.Target{Method: "GET", URL: "https://resource.example.org/protectedresource"},
	}
	const thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" // section 6.1
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t)
		time.Sleep(time.Until(time.Unix(1562262618, 0)))
		if err := c.Check(presented, thumbprint); err != nil {
			t.Error(err)
		}
		time.Sleep(61 * time.Second)
		if err := newChecker(t).Check(presented, thumbprint); !errors.Is(err, auth.ErrProof) {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// TestAttacks is about proofs that must not count. Each begins as a good one.
func TestAttacks(t *testing.T) {
	ec, ed, rs := newProver(t, "ES256"), newProver(t, "EdDSA"), newProver(t, "RS256")
	other := newProver(t, "ES256")
	now := time.Now()
	header := func(old, new string) string { return ec.forge(replace(t, ec.header(), old, new), claims()) }
	claim := func(old, new string) string { return ec.forge(ec.header(), replace(t, claims(), old, new)) }
	iat := fmt.Sprintf(`"iat":%d`, now.Unix())
	timed := func(new string) string {
		return ec.forge(ec.header(), replace(t, claimsAt(now), iat, new))
	}
	good := func() string { return ec.forge(ec.header(), claims()) }
	ath := `"ath":"` + sum(token) + `"`
	jti := func(id string) string {
		return ec.forge(ec.header(), fmt.Sprintf(`{"jti":%s,"htm":"POST","htu":%q,"iat":%d,%s}`, id, target, now.Unix(), ath))
	}
	for _, c := range []struct {
		name, proof string
		want        error // nil: it is good
	}{
		{"good", good(), nil},
		{"claims of others", ec.forge(ec.header(), with(claims(), `"iss":"x","sub":"y","aud":["z"],"deep":{"a":[{"b":1}]}`)), nil},
		{"key with other members", header(`"kty"`, `"kid":"k1","use":"sig","alg":"ES256","kty"`), nil},
		{"time with decimals", timed(iat + ".123456789"), nil},
		{"a nonce of another server", ec.forge(ec.header(), with(claims(), `"nonce":"abc"`)), nil},
		{"valid for a while", ec.forge(ec.header(), with(claims(), fmt.Sprintf(`"nbf":%d,"exp":%d`, now.Unix()-5, now.Unix()+5))), nil},
		{"ID of 256 bytes", jti(`"` + strings.Repeat("j", 256) + `"`), nil},

		// The form.
		{"none", "", auth.ErrProof},
		{"empty segments", "..", auth.ErrMalformed},
		{"two segments", good()[:strings.LastIndexByte(good(), '.')], auth.ErrMalformed},
		{"four segments", good() + ".", auth.ErrMalformed},
		{"two proofs", good() + "," + good(), auth.ErrMalformed},
		{"padded", good() + "==", auth.ErrMalformed},
		{"line break", good()[:20] + "\n" + good()[20:], auth.ErrMalformed},
		{"space", " " + good(), auth.ErrMalformed},
		{"too long", ec.forge(ec.header(), with(claims(), `"x":"`+strings.Repeat("x", 4<<10)+`"`)), auth.ErrMalformed},
		{"JSON serialization", `{"payload":"x","protected":"y","signature":"z"}`, auth.ErrMalformed},

		// The header.
		{"no type", header(`"typ":"dpop+jwt",`, ``), auth.ErrProof},
		{"type of a token", header(`dpop+jwt`, `at+jwt`), auth.ErrProof},
		{"type in another case", header(`dpop+jwt`, `DPoP+JWT`), auth.ErrProof},
		{"whole media type", header(`dpop+jwt`, `application/dpop+jwt`), auth.ErrProof},
		{"no algorithm", header(`"alg":"ES256",`, ``), auth.ErrProof},
		{"algorithm none", b64([]byte(replace(t, ec.header(), `"ES256"`, `"none"`))) + "." + b64([]byte(claims())) + ".", auth.ErrProof},
		{"algorithm none, signed", header(`"ES256"`, `"none"`), auth.ErrProof},
		{"algorithm in another case", header(`"ES256"`, `"es256"`), auth.ErrProof},
		{"algorithm of another curve", header(`"ES256"`, `"ES384"`), auth.ErrProof},
		{"algorithm of another type of key", header(`"ES256"`, `"EdDSA"`), auth.ErrProof},
		{"algorithm not accepted", header(`"ES256"`, `"ES512"`), auth.ErrProof},
		{"HS256 with the public key", hs256(ec, ec.jwk), auth.ErrProof},
		{"no key", b64([]byte(`{"typ":"dpop+jwt","alg":"ES256"}`)) + good()[strings.IndexByte(good(), '.'):], auth.ErrProof},
		{"key null", header(ec.jwk, `null`), auth.ErrProof},
		{"key as text", header(ec.jwk, `"`+b64([]byte(ec.jwk))+`"`), auth.ErrProof},
		{"private key", header(`"kty"`, `"d":"AAAA","kty"`), auth.ErrProof},
		{"symmetric key", header(ec.jwk, `{"kty":"oct","k":"AAAA"}`), auth.ErrProof},
		{"key for encryption", header(`"kty"`, `"use":"enc","kty"`), auth.ErrProof},
		{"key of another algorithm", header(`"kty"`, `"alg":"ES384","kty"`), auth.ErrProof},
		{"key with a member twice", header(`"kty"`, `"kty":"EC","kty"`), auth.ErrMalformed},
		{"kid", header(`"typ"`, `"kid":"x","typ"`), auth.ErrMalformed},
		{"jku", header(`"typ"`, `"jku":"https://canary.test/","typ"`), auth.ErrMalformed},
		{"x5u", header(`"typ"`, `"x5u":"https://canary.test/","typ"`), auth.ErrMalformed},
		{"x5c", header(`"typ"`, `"x5c":["AAAA"],"typ"`), auth.ErrMalformed},
		{"crit", header(`"typ"`, `"crit":["exp"],"typ"`), auth.ErrMalformed},
		{"b64", header(`"typ"`, `"b64":false,"typ"`), auth.ErrMalformed},
		{"unknown member", header(`"typ"`, `"x":1,"typ"`), auth.ErrMalformed},
		{"member in another case", header(`"typ"`, `"Typ":"dpop+jwt","typ"`), auth.ErrMalformed},
		{"algorithm twice", header(`"alg"`, `"alg":"none","alg"`), auth.ErrMalformed},
		{"key twice", header(`"jwk"`, `"jwk":`+other.jwk+`,"jwk"`), auth.ErrMalformed},
		{"header null", ec.forge(`null`, claims()), auth.ErrProof},
		{"header list", ec.forge(`[`+ec.header()+`]`, claims()), auth.ErrMalformed},
		{"header and more", ec.forge(ec.header()+`{}`, claims()), auth.ErrMalformed},
		{"invalid UTF-8 in the header", ec.forge(replace(t, ec.header(), `"dpop`, "\"\xffdpop"), claims()), auth.ErrMalformed},

		// The key and the signature.
		{"another key", other.forge(other.header(), claims()), auth.ErrProof},
		{"key of another type", ed.forge(ed.header(), claims()), auth.ErrProof},
		{"RSA key", rs.forge(rs.header(), claims()), auth.ErrProof},
		{"signed by another key", other.forge(ec.header(), claims()), auth.ErrProof},
		{"no signature", good()[:strings.LastIndexByte(good(), '.')+1], auth.ErrProof},
		{"signature of another proof", swapSignature(good(), good()), auth.ErrProof},
		{"claims swapped", swapClaims(good(), good()), auth.ErrProof},
		{"short signature", dropSignature(good(), 1), auth.ErrProof},
		{"signature in DER", der(good()), auth.ErrProof},
		{"signature of zeros", zeros(good()), auth.ErrProof},
		{"last character altered", malleate(ec), auth.ErrMalformed},

		// The claims.
		{"another method", claim(`"POST"`, `"GET"`), auth.ErrProof},
		{"method in another case", claim(`"POST"`, `"post"`), auth.ErrProof},
		{"method with a space", claim(`"POST"`, `"POST "`), auth.ErrProof},
		{"no method", claim(`"htm":"POST",`, ``), auth.ErrProof},
		{"no URL", claim(`"htu":"`+target+`",`, ``), auth.ErrProof},
		{"another URL", claim(`/wiki"`, `/mail"`), auth.ErrProof},
		{"no ID", claim(`"jti"`, `"xti"`), auth.ErrProof},
		{"empty ID", jti(`""`), auth.ErrProof},
		{"ID of 257 bytes", jti(`"` + strings.Repeat("j", 257) + `"`), auth.ErrProof},
		{"ID with a space", jti(`"a b"`), auth.ErrProof},
		{"ID with NUL", jti(`"a\u0000b"`), auth.ErrProof},
		{"ID beyond ASCII", jti(`"aé"`), auth.ErrProof},
		{"ID as number", jti(`7`), auth.ErrMalformed},
		{"ID null", jti(`null`), auth.ErrProof},
		{"hash of another token", claim(sum(token), sum(token+"x")), auth.ErrProof},
		{"hash in another encoding", claim(sum(token), base64.StdEncoding.EncodeToString([]byte(sum(token)))), auth.ErrProof},
		{"padded hash", claim(sum(token), sum(token)+"="), auth.ErrProof},
		{"token instead of its hash", claim(sum(token), token), auth.ErrProof},
		{"no hash", claim(`,`+ath, ``), auth.ErrProof},
		{"empty hash", claim(sum(token), ``), auth.ErrProof},
		{"hash null", claim(`"`+sum(token)+`"`, `null`), auth.ErrProof},
		{"no time", timed(`"x":1`), auth.ErrProof},
		{"time null", timed(`"iat":null`), auth.ErrMalformed},
		{"time as text", timed(fmt.Sprintf(`"iat":"%d"`, now.Unix())), auth.ErrMalformed},
		{"time with an exponent", timed(fmt.Sprintf(`"iat":%de0`, now.Unix())), auth.ErrMalformed},
		{"time with ten decimals", timed(iat + ".0123456789"), auth.ErrMalformed},
		{"negative time", timed(`"iat":-1`), auth.ErrMalformed},
		{"time of 2^40", timed(`"iat":1099511627776`), auth.ErrMalformed},
		{"time of 2^63", timed(`"iat":9223372036854775808`), auth.ErrMalformed},
		{"time of 1e400", timed(`"iat":1e400`), auth.ErrMalformed},
		{"time zero", timed(`"iat":0`), auth.ErrProof},
		{"two minutes old", timed(fmt.Sprintf(`"iat":%d`, now.Unix()-120)), auth.ErrProof},
		{"two minutes ahead", timed(fmt.Sprintf(`"iat":%d`, now.Unix()+120)), auth.ErrProof},
		{"expired", ec.forge(ec.header(), with(claims(), fmt.Sprintf(`"exp":%d`, now.Unix()-61))), auth.ErrProof},
		{"not yet valid", ec.forge(ec.header(), with(claims(), fmt.Sprintf(`"nbf":%d`, now.Unix()+70))), auth.ErrProof},
		{"expiry as text", ec.forge(ec.header(), with(claims(), `"exp":"never"`)), auth.ErrMalformed},
		{"nonce as list", ec.forge(ec.header(), with(claims(), `"nonce":["x"]`)), auth.ErrMalformed},
		{"claims null", ec.forge(ec.header(), `null`), auth.ErrProof},
		{"claims list", ec.forge(ec.header(), `[`+claims()+`]`), auth.ErrMalformed},
		{"claims and more", ec.forge(ec.header(), claims()+`{}`), auth.ErrMalformed},
		{"no claims", ec.forge(ec.header(), ``), auth.ErrMalformed},
		{"ID twice", claim(`"jti"`, `"jti":"x","jti"`), auth.ErrMalformed},
		{"method twice", claim(`"htm"`, `"htm":"GET","htm"`), auth.ErrMalformed},
		{"method twice, the last wrong", claim(`"htm":"POST"`, `"htm":"POST","htm":"GET"`), auth.ErrMalformed},
		{"method twice behind an escape", claim(`"htm"`, `"h\u0074m":"GET","htm"`), auth.ErrMalformed},
		{"method in another case of the name", claim(`"htm"`, `"HTM":"GET","htm"`), auth.ErrMalformed},
		{"method in another case alone", claim(`"htm"`, `"Htm"`), auth.ErrMalformed},
		{"URL in another case of the name", claim(`"htu"`, `"Htu":"https://x.test/","htu"`), auth.ErrMalformed},
		{"expiry in another case of the name", claim(`"htm"`, `"EXP":1,"htm"`), auth.ErrMalformed},
		{"another claim twice", ec.forge(ec.header(), with(claims(), `"x":1,"x":2`)), auth.ErrMalformed},
		{"a claim twice, deep", ec.forge(ec.header(), with(claims(), `"x":{"a":1,"a":2}`)), auth.ErrMalformed},
		{"invalid UTF-8", ec.forge(ec.header(), with(claims(), "\"x\":\"\xff\"")), auth.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, checker := range []*dpop.Checker{newChecker(t), newChecker(t)} {
				err := checker.Check(request(c.proof), ec.thumbprint)
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "gw.test")) {
					t.Errorf("the error shows the proof: %v", err)
				}
			}
		})
	}
}

// TestBoundTokens is about what a request presents beside a good proof.
func TestBoundTokens(t *testing.T) {
	p := newProver(t, "ES256")
	for name, c := range map[string]struct {
		edit       func(*auth.Presented)
		thumbprint string
	}{
		"scheme Bearer":         {func(r *auth.Presented) { r.DPoP = false }, p.thumbprint},
		"no token":              {func(r *auth.Presented) { r.Token = "" }, p.thumbprint},
		"another token":         {func(r *auth.Presented) { r.Token += "x" }, p.thumbprint},
		"another method":        {func(r *auth.Presented) { r.Method = "GET" }, p.thumbprint},
		"no method":             {func(r *auth.Presented) { r.Method = "" }, p.thumbprint},
		"another URL":           {func(r *auth.Presented) { r.URL += "x" }, p.thumbprint},
		"no URL":                {func(r *auth.Presented) { r.URL = "" }, p.thumbprint},
		"token of another key":  {func(*auth.Presented) {}, sum("another key")},
		"token of no key":       {func(*auth.Presented) {}, ""},
		"start of a thumbprint": {func(*auth.Presented) {}, p.thumbprint[:42]},
		"longer thumbprint":     {func(*auth.Presented) {}, p.thumbprint + "="},
	} {
		r := request(p.forge(p.header(), claims()))
		c.edit(&r)
		if err := newChecker(t).Check(r, c.thumbprint); !errors.Is(err, auth.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeyConfusion signs with each key by each algorithm's name.
func TestKeyConfusion(t *testing.T) {
	for _, signer := range []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"} {
		p := newProver(t, signer)
		for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "RS256", "RS512", "HS256", "none", ""} {
			header := fmt.Sprintf(`{"typ":"dpop+jwt","alg":%q,"jwk":%s}`, alg, p.jwk)
			err := newChecker(t).Check(request(p.forge(header, claims())), p.thumbprint)
			if (err == nil) != (alg == signer) || err != nil && !errors.Is(err, auth.ErrProof) {
				t.Errorf("%s called %q: %v", signer, alg, err)
			}
		}
	}
}

func TestWeakKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p := rsaProver("RS256", small)
	if err := newChecker(t).Check(request(p.forge(p.header(), claims())), p.thumbprint); !errors.Is(err, auth.ErrProof) {
		t.Errorf("RSA of 1024 bits: %v", err)
	}
}

func TestLongKey(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	p := rsaProver("PS256", key)
	if err := newChecker(t).Check(request(p.forge(p.header(), claims())), p.thumbprint); err != nil {
		t.Error(err)
	}
}

// TestOtherFormOfSignature shows that the second signature which ECDSA has for everything buys no second use.
func TestOtherFormOfSignature(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ecProver("ES256", private)
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(t)
	proof := p.forge(p.header(), claims())
	if err := c.Check(request(proof), p.thumbprint); err != nil {
		t.Fatal(err)
	}
	head, signature := split(proof)
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	if err := c.Check(request(head+"."+b64(signature)), p.thumbprint); !errors.Is(err, auth.ErrProof) {
		t.Errorf("got %v", err)
	}
}

// replace alters a text, and fails if that alters nothing.
func replace(t *testing.T, s, old, new string) string {
	t.Helper()
	altered := strings.Replace(s, old, new, 1)
	if altered == s {
		t.Fatalf("replacing %q by %q alters nothing", old, new)
	}
	return altered
}

func split(proof string) (head string, signature []byte) {
	dot := strings.LastIndexByte(proof, '.')
	signature, err := base64.RawURLEncoding.DecodeString(proof[dot+1:])
	if err != nil {
		panic(err)
	}
	return proof[:dot], signature
}

func swapSignature(a, b string) string {
	head, _ := split(a)
	_, signature := split(b)
	return head + "." + b64(signature)
}

func swapClaims(a, b string) string {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	return x[0] + "." + y[1] + "." + x[2]
}

func dropSignature(proof string, n int) string {
	head, signature := split(proof)
	return head + "." + b64(signature[:len(signature)-n])
}

// der gives the signature the encoding that it has everywhere but in JOSE.
func der(proof string) string {
	head, signature := split(proof)
	number := func(b []byte) []byte {
		b = new(big.Int).SetBytes(b).Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	both := append(number(signature[:32]), number(signature[32:])...)
	return head + "." + b64(append([]byte{0x30, byte(len(both))}, both...))
}

// zeros is the signature that careless code accepts of anybody (CVE-2022-21449).
func zeros(proof string) string {
	head, signature := split(proof)
	return head + "." + b64(make([]byte, len(signature)))
}

// malleate changes the last character only in bits that a lax base64 decoder ignores: 64 bytes leave four such bits.
func malleate(p prover) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	proof := p.forge(p.header(), claims())
	last := strings.IndexByte(alphabet, proof[len(proof)-1])
	return proof[:len(proof)-1] + alphabet[last|1:last|1+1]
}

// hs256 takes a public key for a shared secret.
func hs256(p prover, secret string) string {
	signing := b64([]byte(strings.Replace(p.header(), p.alg, "HS256", 1))) + "." + b64([]byte(claims()))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signing))
	return signing + "." + b64(mac.Sum(nil))
}

func BenchmarkCheck(b *testing.B) {
	for _, alg := range []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			p := newProver(b, alg)
			c := newChecker(b, func(cfg *dpop.Config) { cfg.Nonce, cfg.Limit = true, 1<<24 })
			proofs := make([]string, b.N)
			for i := range proofs {
				proofs[i] = p.forge(p.header(), with(claims(), `"nonce":"`+c.Nonce()+`"`))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, proof := range proofs {
				if err := c.Check(request(proof), p.thumbprint); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
