package oidc_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/provider"
)

const fixedIssuer = "https://idp.example.com"

// fixed is a provider with some keys, and one answer about every token.
type fixed struct {
	keys   []jwk.Key
	answer []byte
}

func (f fixed) Keys(_ context.Context, kid, alg string) ([]jwk.Key, error) {
	var found []jwk.Key
	for _, key := range f.keys {
		if (kid == "" || kid == key.ID) && slices.Contains(key.Algorithms, alg) {
			found = append(found, key)
		}
	}
	if found == nil {
		return nil, auth.ErrInvalid
	}
	return found, nil
}

func (f fixed) Current(jwk.Key) bool { return true }

func (f fixed) Introspect(context.Context, string) ([]byte, error) { return f.answer, nil }

func (f fixed) Status() provider.Status { return provider.Status{} }

func (f fixed) Close() {}

// newFixed makes a verifier of one issuer that is there without any network.
func newFixed(tb testing.TB, p fixed) *oidc.Verifier {
	tb.Helper()
	c := oidc.Config{Issuer: fixedIssuer, Tunnels: []string{"acme"}}
	introspecting(tb)(&c)
	v, err := oidc.NewReaching([]oidc.Config{c}, oidc.Options{}, func(oidc.Config) (oidc.Provider, error) { return p, nil })
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// FuzzToken signs whatever header and claims it is given, so that the fuzzer gets past the signature, and tries a raw token
// beside that. What is accepted, the plain library accepts too, and finds the same in it.
func FuzzToken(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := private.Public().(ed25519.PublicKey)
	sign := func(header, claims string) string {
		text := encode(header) + "." + encode(claims)
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(text)))
	}
	const header = `{"alg":"EdDSA","typ":"at+jwt","kid":"a"}`
	const claims = `{"iss":"` + fixedIssuer + `","aud":"` + resource + `","sub":"a","exp":4000000000,"iat":1.5,"scope":"a b"}`
	f.Add("", header, claims)
	f.Add(sign(header, claims), `{"alg":"none"}`, `{"SUB":"b","sub":"a"}`)
	f.Add("opaque", `{"alg":"EdDSA","typ":"at+jwt","crit":[]}`, with(claims, `"cnf":{"jkt":"`+thumbprint+`"},"nbf":0,"x":{"y":[1e3,null]}`))
	f.Add("..", header, `{"iss":["`+fixedIssuer+`"],"aud":["`+resource+`"],"sub":"a","exp":4e9}`)
	f.Fuzz(func(t *testing.T, raw, header, claims string) {
		v := newFixed(t, fixed{keys: []jwk.Key{{ID: "a", Public: public, Algorithms: []string{"EdDSA"}}}, answer: []byte(`{"active":false}`)})
		for _, token := range []string{raw, sign(header, claims)} {
			p := call(token)
			got, err := v.Verify(t.Context(), p)
			again, errAgain := v.Verify(t.Context(), p)
			if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(got, again) {
				t.Fatalf("%q: first %v and %v, then %v and %v", token, got, err, again, errAgain)
			}
			if err != nil {
				if !isRefusal(err) || got.Subject != "" {
					t.Fatalf("%q: %v with %v", token, err, got)
				}
				continue
			}
			if !v.Knows(token) {
				t.Fatalf("accepted %q, and does not know it", token)
			}
			if why := differs(token, public, got); why != "" {
				t.Fatalf("accepted %q, but %s", token, why)
			}
		}
	})
}

// differs says what the plain library finds different, with none of the package's own decoding.
func differs(token string, key ed25519.PublicKey, got auth.Principal) string {
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(fixedIssuer), jwt.WithAudience(resource), jwt.WithSubject(got.Subject),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(30*time.Second), jwt.WithStrictDecoding())
	if err != nil {
		return "the library refuses it: " + err.Error()
	}
	if typ, _ := parsed.Header["typ"].(string); !strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "at+jwt") {
		return "its typ is another"
	}
	for _, name := range []string{"crit", "jku", "jwk", "x5u", "x5c", "zip", "b64", "enc"} {
		if _, there := parsed.Header[name]; there {
			return "its header has " + name
		}
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || !got.Expiry.Equal(exp.Add(30*time.Second)) {
		return "its exp is another"
	}
	if _, bound := claims["cnf"]; bound {
		return "it is bound"
	}
	maps.DeleteFunc(claims, func(name string, _ any) bool { return slices.Contains([]string{"exp", "nbf", "iat"}, name) })
	if !reflect.DeepEqual(map[string]any(claims), got.Claims) {
		return "its claims are others"
	}
	return ""
}

// FuzzAnswer has the issuer answer whatever about an opaque token. What is accepted, a plain decoder finds acceptable too.
func FuzzAnswer(f *testing.F) {
	const answer = `{"active":true,"sub":"a","aud":"` + resource + `","exp":4000000000}`
	f.Add(answer)
	f.Add(with(answer, `"iss":"`+fixedIssuer+`","client_id":"c","scope":"a","nbf":1,"cnf":{"x5t#S256":"`+thumbprint+`"}`))
	f.Add(`{"active":false}`)
	f.Add(`{"active":true,"ACTIVE":false,"aud":["` + resource + `"],"client_id":"c","exp":4e9}`)
	f.Fuzz(func(t *testing.T, answer string) {
		got, err := newFixed(t, fixed{answer: []byte(answer)}).Verify(t.Context(), call("opaque"))
		if err != nil {
			if !isRefusal(err) || got.Subject != "" {
				t.Fatalf("%q: %v with %v", answer, err, got)
			}
			return
		}
		var plain struct {
			Active   bool    `json:"active"`
			Issuer   string  `json:"iss"`
			Subject  string  `json:"sub"`
			Client   string  `json:"client_id"`
			Audience any     `json:"aud"`
			Exp      float64 `json:"exp"`
		}
		if err := json.Unmarshal([]byte(answer), &plain); err != nil {
			t.Fatalf("accepted %q, which is %v", answer, err)
		}
		subject := plain.Subject
		if subject == "" {
			subject = plain.Client
		}
		if !plain.Active || plain.Issuer != "" && plain.Issuer != fixedIssuer || got.Subject != subject || plain.Exp < float64(time.Now().Unix()-30) {
			t.Fatalf("accepted %q as %v", answer, got)
		}
		if list, ok := plain.Audience.([]any); plain.Audience != resource && (!ok || len(list) == 0 || list[0] != resource) {
			t.Fatalf("accepted %q with its audience", answer)
		}
	})
}

// isRefusal says whether an error is one of those that callers know.
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{
		auth.ErrNoToken, auth.ErrMalformed, auth.ErrInvalid, auth.ErrExpired, auth.ErrProof, auth.ErrInsufficient, auth.ErrUnavailable,
	}, func(known error) bool { return errors.Is(err, known) })
}
