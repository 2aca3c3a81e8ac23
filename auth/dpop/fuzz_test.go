package dpop_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/dpop"
)

// FuzzCheck signs whatever header and claims it is given with the right key, so that the fuzzer gets past the signature,
// and checks a raw proof beside it. What the checker accepts, the plain library and plain decoders must accept too, and
// never a second time.
func FuzzCheck(f *testing.F) {
	p := newProver(f, "EdDSA")
	f.Add("", p.header(), claims())
	f.Add(p.forge(p.header(), claims()), "", "")
	f.Add("..", `{"alg":"none","typ":"dpop+jwt","jwk":{"kty":"oct","k":"AAAA"}}`, `{"iat":1e400,"htm":["POST"]}`)
	f.Add("", strings.Replace(p.header(), `"kty"`, `"kty":"OKP","kty"`, 1), with(claims(), `"JTI":"x"`))
	f.Add("", p.header(), strings.Replace(claims(), target, "HTTPS://GW.test:443/t/acme/wiki?x#y", 1))
	f.Add("", p.header(), strings.Replace(claims(), target, "https://user@gw.test/t/acme/%77iki", 1))
	f.Add("", p.header(), with(claims(), `"exp":99999999999.5,"nbf":0,"nonce":"x","x":{"y":[null]}`))
	f.Fuzz(func(t *testing.T, raw, header, claims string) {
		c, nonces := newChecker(t), newChecker(t, nonced)
		for _, proof := range []string{raw, p.forge(header, claims)} {
			r := request(proof)
			if err := nonces.Check(r, p.thumbprint); err == nil {
				t.Fatalf("accepted %q without a nonce", proof)
			}
			if c.Check(r, p.thumbprint) != nil {
				continue
			}
			if why := reference(p, proof); why != "" {
				t.Fatalf("accepted %q, but %s", proof, why)
			}
			if err := c.Check(r, p.thumbprint); !errors.Is(err, auth.ErrProof) {
				t.Fatalf("accepted %q, and then %v", proof, err)
			}
		}
	})
}

// reference says why a proof should not have been accepted, with none of the package's own decoding.
func reference(p prover, proof string) string {
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return "it has no three segments"
	}
	all := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(proof, all, func(token *jwt.Token) (any, error) {
		public, err := jwt.NewParser().DecodeSegment(member(p.jwk, "x"))
		return ed25519.PublicKey(public), err
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuedAt(), jwt.WithLeeway(2*time.Minute), jwt.WithStrictDecoding())
	if err != nil {
		return "the library refuses it: " + err.Error()
	}
	if len(parsed.Header) != 3 || parsed.Header["typ"] != "dpop+jwt" || parsed.Header["alg"] != "EdDSA" {
		return "its header is another"
	}
	sent, ok := parsed.Header["jwk"].(map[string]any)
	if !ok || sent["kty"] != "OKP" || sent["crv"] != "Ed25519" || sent["x"] != member(p.jwk, "x") || sent["d"] != nil {
		return "its key is another"
	}
	for name := range all {
		for _, known := range []string{"jti", "htm", "htu", "iat", "ath", "exp", "nbf", "nonce"} {
			if name != known && strings.EqualFold(name, known) {
				return "it has a claim in another case"
			}
		}
	}
	id, ok := all["jti"].(string)
	if !ok || id == "" || len(id) > 256 {
		return "its ID is none"
	}
	if all["htm"] != "POST" || all["ath"] != sum(token) {
		return "it is for another method or token"
	}
	issued, ok := all["iat"].(float64)
	if age := float64(time.Now().UnixNano())/1e9 - issued; !ok || age > 70 || age < -70 {
		return "it was not made now"
	}
	htu, ok := all["htu"].(string)
	if !ok || !names(htu) {
		return "it is for another URL"
	}
	return ""
}

// names reports whether net/url reads a text as the tests' URL. A fragment, which it would decode, is left out.
func names(htu string) bool {
	htu, _, _ = strings.Cut(htu, "#")
	u, err := url.Parse(htu)
	if err != nil || u.User != nil || u.Opaque != "" {
		return false
	}
	port := u.Port()
	return u.Scheme == "https" && strings.EqualFold(u.Hostname(), "gw.test") && (port == "" || port == "443") &&
		u.Path == "/t/acme/wiki" && u.EscapedPath() == u.Path
}

// FuzzTarget compares URLs: what is taken for one another must be the same in the eyes of net/url.
func FuzzTarget(f *testing.F) {
	p := newProver(f, "EdDSA")
	for _, htu := range []string{target, "HTTPS://GW.TEST:443/t/acme/wiki?x#y", "https://u@gw.test/t/acme/wiki", "https://gw.test\\/t/acme/wiki",
		"https://gw.test/t/./acme/wiki", "http://gw.test:443/t/acme/wiki", "https://[gw.test]/t/acme/wiki", "https://gw.test:0443/t/acme/wiki"} {
		f.Add(htu)
	}
	f.Fuzz(func(t *testing.T, htu string) {
		encoded, err := json.Marshal(htu)
		if err != nil {
			t.Fatal(err)
		}
		claims := fmt.Sprintf(`{"jti":"j","htm":"POST","htu":%s,"iat":%d,"ath":%q}`, encoded, time.Now().Unix(), sum(token))
		c, err := dpop.New(dpop.Config{Key: key()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(request(p.forge(p.header(), claims)), p.thumbprint); err == nil && !names(htu) {
			t.Fatalf("%q is taken for %q", htu, target)
		}
	})
}

// member gives a text of a JSON object.
func member(object, name string) string {
	var all map[string]string
	if err := json.Unmarshal([]byte(object), &all); err != nil {
		panic(err)
	}
	return all[name]
}
