package oidc_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
)

// TestAttacks is group G1 of the catalogue of attacks as far as it concerns a JWT, with its numbers, and more of the kind.
// The issuer accepts every algorithm, so that nothing is refused for its name alone.
func TestAttacks(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Clients = []string{"agent-client"} }, oidc.Options{})
	idp := f.idp
	now := time.Now().Unix()
	claims := func(change map[string]any) string {
		if change == nil {
			change = map[string]any{}
		}
		if _, there := change["sub"]; !there {
			change["sub"] = secretive
		}
		return idp.Claims(change)
	}
	plain := claims(nil)
	head := func(header string) string { return idp.Sign(header, plain, "ES256") }
	body := func(payload string) string { return idp.Sign(good, payload, "ES256") }
	claim := func(name string, value any) string { return body(claims(map[string]any{name: value})) }
	numbered := func(name, number string) string {
		return body(replace(t, claims(map[string]any{name: 123456}), `"`+name+`":123456`, `"`+name+`":`+number))
	}
	genuine := head(good)
	f.expect(t, call(genuine), nil)
	fetches := idp.Count(providertest.JWKS)
	canary := idp.URL(providertest.Canary)
	segments := strings.Split(genuine, ".")

	for _, test := range []struct {
		name, token string
		want        error
	}{
		{"1: no token", "", auth.ErrNoToken},
		{"2: alg none", idp.Sign(`{"alg":"none","typ":"at+jwt"}`, plain, ""), auth.ErrInvalid},
		{"2: alg none with the genuine signature", encode(`{"alg":"none","typ":"at+jwt","kid":"es256-0"}`) + "." + segments[1] + "." + segments[2], auth.ErrInvalid},
		{"2: alg None", head(replace(t, good, "ES256", "None")), auth.ErrInvalid},
		{"2: alg empty", head(replace(t, good, "ES256", "")), auth.ErrInvalid},
		{"2: alg null", head(replace(t, good, `"ES256"`, "null")), auth.ErrInvalid},
		{"2: alg list", head(replace(t, good, `"ES256"`, `["ES256"]`)), auth.ErrInvalid},
		{"2: no alg", head(`{"typ":"at+jwt","kid":"es256-0"}`), auth.ErrInvalid},
		{"2: alg in another case", head(replace(t, good, "ES256", "es256")), auth.ErrInvalid},
		{"2: alg with a space", head(replace(t, good, "ES256", "ES256 ")), auth.ErrInvalid},
		{"3: HS256 by the public key", idp.Sign(`{"alg":"HS256","typ":"at+jwt","kid":"rs256-0"}`, plain, "RS256 as HS256"), auth.ErrInvalid},
		{"3: HS256 without kid", idp.Sign(`{"alg":"HS256","typ":"at+jwt"}`, plain, "RS256 as HS256"), auth.ErrInvalid},
		{"4: a stranger's key of the same kid", idp.Sign(good, plain, "stranger ES256"), auth.ErrInvalid},
		{"4: a stranger's key of the same kid, RSA", idp.Sign(`{"alg":"RS256","typ":"at+jwt","kid":"rs256-0"}`, plain, "stranger RS256"), auth.ErrInvalid},
		{"4: a stranger's key without kid", idp.Sign(`{"alg":"ES256","typ":"at+jwt"}`, plain, "stranger ES256"), auth.ErrInvalid},
		{"5: kid a path", head(replace(t, good, "es256-0", "../../../etc/passwd")), auth.ErrInvalid},
		{"5: kid SQL", head(replace(t, good, "es256-0", "' OR 1=1 --"+secretive)), auth.ErrInvalid},
		{"5: kid 4 KiB", head(replace(t, good, "es256-0", strings.Repeat("k", 4<<10))), auth.ErrInvalid},
		{"5: kid 10 KiB", head(replace(t, good, "es256-0", strings.Repeat("k", 10<<10))), auth.ErrMalformed},
		{"5: kid 129 bytes", head(replace(t, good, "es256-0", strings.Repeat("k", 129))), auth.ErrInvalid},
		{"5: kid with NUL", head(replace(t, good, "es256-0", `es256-0\u0000`)), auth.ErrInvalid},
		{"5: kid with a line end", head(replace(t, good, "es256-0", `es256-0\n`)), auth.ErrInvalid},
		{"5: kid empty", head(replace(t, good, "es256-0", "")), auth.ErrInvalid},
		{"5: kid a number", head(replace(t, good, `"es256-0"`, "0")), auth.ErrInvalid},
		{"5: kid null", head(replace(t, good, `"es256-0"`, "null")), auth.ErrInvalid},
		{"5: kid a URL", head(replace(t, good, "es256-0", canary)), auth.ErrInvalid},
		{"5: kid of another key", head(replace(t, good, "es256-0", "es384-0")), auth.ErrInvalid},
		{"5: kid in another case", head(replace(t, good, "es256-0", "ES256-0")), auth.ErrInvalid},
		{"6: jku", head(with(good, `"jku":"`+canary+`"`)), auth.ErrInvalid},
		{"6: x5u", head(with(good, `"x5u":"`+canary+`"`)), auth.ErrInvalid},
		{"6: x5c", head(with(good, `"x5c":[]`)), auth.ErrInvalid},
		{"6: jwk of the sender", idp.Sign(with(good, `"jwk":{"kty":"EC"}`), plain, "stranger ES256"), auth.ErrInvalid},
		{"6: jwk null", head(with(good, `"jwk":null`)), auth.ErrInvalid},
		{"6: JWK in another case", head(with(good, `"JWK":{}`)), auth.ErrInvalid},
		{"7: crit unknown", head(with(good, `"crit":["x"],"x":1`)), auth.ErrInvalid},
		{"7: crit empty", head(with(good, `"crit":[]`)), auth.ErrInvalid},
		{"7: b64", head(with(good, `"b64":false`)), auth.ErrInvalid},
		{"7: b64 true", head(with(good, `"b64":true,"crit":["b64"]`)), auth.ErrInvalid},
		{"7: zip", head(with(good, `"zip":"DEF"`)), auth.ErrInvalid},
		{"7: enc", head(with(good, `"enc":"A128GCM"`)), auth.ErrInvalid},

		{"8: exp past", claim("exp", now-61), auth.ErrExpired},
		{"8: exp past beyond the leeway", claim("exp", now-31), auth.ErrExpired},
		{"8: exp 0", claim("exp", 0), auth.ErrExpired},
		{"9: nbf in the future", claim("nbf", now+61), auth.ErrInvalid},
		{"9: iat in the future", claim("iat", now+61), auth.ErrInvalid},
		{"10: no exp", claim("exp", nil), auth.ErrInvalid},
		{"10: exp null", numbered("exp", "null"), auth.ErrInvalid},
		{"11: exp 2^63", numbered("exp", "9223372036854775808"), auth.ErrInvalid},
		{"11: exp 2^40", numbered("exp", "1099511627776"), auth.ErrInvalid},
		{"11: exp 1e400", numbered("exp", "1e400"), auth.ErrInvalid},
		{"11: exp 1e10", numbered("exp", "1e10"), auth.ErrInvalid},
		{"11: exp 9.5e9", numbered("exp", "9.5e9"), auth.ErrInvalid},
		{"11: exp with many decimals", numbered("exp", fmt.Sprint(now+60)+".0123456789"), auth.ErrInvalid},
		{"11: exp text", numbered("exp", fmt.Sprintf(`"%d"`, now+60)), auth.ErrInvalid},
		{"11: exp list", numbered("exp", fmt.Sprintf(`[%d]`, now+60)), auth.ErrInvalid},
		{"11: exp true", numbered("exp", "true"), auth.ErrInvalid},
		{"11: exp negative", numbered("exp", "-1"), auth.ErrInvalid},
		{"11: exp NaN", numbered("exp", "NaN"), auth.ErrInvalid},
		{"11: nbf text", numbered("nbf", `"0"`), auth.ErrInvalid},
		{"11: iat 1e400", numbered("iat", "1e400"), auth.ErrInvalid},

		{"12: aud another server", claim("aud", "https://tunnel.example.com/t/acme/crm/mcp"), auth.ErrInvalid},
		{"13: aud another deployment", claim("aud", "https://tunnel.example.org/t/acme/wiki/mcp"), auth.ErrInvalid},
		{"12: aud a prefix", claim("aud", "https://tunnel.example.com/"), auth.ErrInvalid},
		{"12: aud longer", claim("aud", resource+"/"), auth.ErrInvalid},
		{"12: aud in another case", claim("aud", strings.ToUpper(resource)), auth.ErrInvalid},
		{"14: aud ours and another's", claim("aud", []string{resource, "https://other.example"}), auth.ErrInvalid},
		{"14: aud another's and ours", claim("aud", []string{"https://other.example", resource}), auth.ErrInvalid},
		{"14: no aud", claim("aud", nil), auth.ErrInvalid},
		{"14: aud null", body(replace(t, plain, `"`+resource+`"`, "null")), auth.ErrInvalid},
		{"14: aud empty", claim("aud", ""), auth.ErrInvalid},
		{"14: aud no entry", claim("aud", []string{}), auth.ErrInvalid},
		{"14: aud a number", claim("aud", []any{resource, 1}), auth.ErrInvalid},
		{"14: aud an object", claim("aud", map[string]any{resource: resource}), auth.ErrInvalid},
		{"14: aud nested", claim("aud", []any{[]any{resource}}), auth.ErrInvalid},
		{"14: aud of 17", claim("aud", slices.Repeat([]string{resource}, 17)), auth.ErrInvalid},

		{"15: iss with a slash", claim("iss", idp.Issuer()+"/"), auth.ErrInvalid},
		{"15: iss in another case", claim("iss", strings.ToUpper(idp.Issuer())), auth.ErrInvalid},
		{"15: iss another's", claim("iss", "https://"+secretive), auth.ErrInvalid},
		{"15: no iss", claim("iss", nil), auth.ErrInvalid},
		{"15: iss a list", claim("iss", []string{idp.Issuer()}), auth.ErrInvalid},

		{"16: azp not listed", claim("azp", secretive), auth.ErrInvalid},
		{"16: azp in another case", claim("azp", "Agent-Client"), auth.ErrInvalid},
		{"16: client_id not listed", claim("client_id", secretive), auth.ErrInvalid},
		{"16: azp listed, client_id not", body(claims(map[string]any{"azp": "agent-client", "client_id": secretive})), auth.ErrInvalid},
		{"16: neither", claim("client_id", nil), auth.ErrInvalid},
		{"16: azp empty", claim("azp", ""), auth.ErrInvalid},
		{"16: azp a list", claim("azp", []string{"agent-client"}), auth.ErrInvalid},
		{"16: azp null", body(with(plain, `"azp":null`)), auth.ErrInvalid},

		{"17: typ JWT", head(replace(t, good, "at+jwt", "JWT")), auth.ErrInvalid},
		{"17: no typ", head(`{"alg":"ES256","kid":"es256-0"}`), auth.ErrInvalid},
		{"17: typ empty", head(replace(t, good, "at+jwt", "")), auth.ErrInvalid},
		{"17: typ null", head(replace(t, good, `"at+jwt"`, "null")), auth.ErrInvalid},
		{"17: typ of a proof", head(replace(t, good, "at+jwt", "dpop+jwt")), auth.ErrInvalid},
		{"17: typ of our assertions", head(replace(t, good, "at+jwt", "sallyport-assertion+jwt")), auth.ErrInvalid},
		{"17: typ of a logout token", head(replace(t, good, "at+jwt", "logout+jwt")), auth.ErrInvalid},
		{"17: typ text/at+jwt", head(replace(t, good, "at+jwt", "text/at+jwt")), auth.ErrInvalid},

		{"18: sub twice", body(with(plain, `"sub":"admin"`)), auth.ErrInvalid},
		{"18: sub twice by an escape", body(with(plain, `"s\u0075b":"admin"`)), auth.ErrInvalid},
		{"18: SUB", body(with(plain, `"SUB":"admin"`)), auth.ErrInvalid},
		{"18: Exp", body(with(plain, `"Exp":99999999999`)), auth.ErrInvalid},
		{"18: sub with the long s", body(with(plain, `"\u017fub":"admin"`)), auth.ErrInvalid},
		{"18: Scope", body(with(plain, `"Scope":"admin"`)), auth.ErrInvalid},
		{"18: CNF", body(with(plain, `"CNF":{}`)), auth.ErrInvalid},
		{"18: a member twice inside", body(with(plain, `"x":{"y":[{"z":1,"z":1}]}`)), auth.ErrInvalid},
		{"18: cnf with a member twice", body(with(plain, `"cnf":{"jkt":"`+thumbprint+`","jkt":"`+thumbprint+`"}`)), auth.ErrInvalid},
		{"18: alg twice", head(with(good, `"alg":"ES256"`)), auth.ErrInvalid},
		{"18: kid twice", head(with(good, `"kid":"es256-0"`)), auth.ErrInvalid},
		{"18: ALG", head(with(good, `"ALG":"none"`)), auth.ErrInvalid},
		{"18: Kid", head(with(good, `"Kid":"es384-0"`)), auth.ErrInvalid},
		{"18: kid with the Kelvin sign", head(with(good, `"\u212aid":"es384-0"`)), auth.ErrInvalid},
		{"18: a member of the header twice inside", head(with(good, `"x":{"y":1,"y":1}`)), auth.ErrInvalid},

		{"sub empty", claim("sub", ""), auth.ErrInvalid},
		{"no sub", body(replace(t, plain, `"sub":"`+secretive+`"`, `"was":1`)), auth.ErrInvalid},
		{"sub a number", body(replace(t, plain, `"sub":"`+secretive+`"`, `"sub":1`)), auth.ErrInvalid},
		{"sub 256 bytes", claim("sub", strings.Repeat("s", 256)), auth.ErrInvalid},
		{"sub with a line end", claim("sub", "a\nb"), auth.ErrInvalid},
		{"sub with a direction mark", claim("sub", "a\u202eb"), auth.ErrInvalid},
		{"sub with a zero width space", claim("sub", "admin\u200b"), auth.ErrInvalid},
		{"sub with NUL", claim("sub", "a\x00"), auth.ErrInvalid},
		{"a lone surrogate", body(replace(t, plain, secretive, `\ud800`)), auth.ErrInvalid},
		{"broken UTF-8", body(replace(t, plain, secretive, "\xff")), auth.ErrInvalid},
		{"jti a number", claim("jti", 1), auth.ErrInvalid},
		{"scope a list", claim("scope", []string{"a"}), auth.ErrInvalid},
		{"scp a number", claim("scp", 1), auth.ErrInvalid},
		{"scp with a number", claim("scp", []any{"a", 1}), auth.ErrInvalid},
		{"cnf a text", claim("cnf", "x"), auth.ErrInvalid},
		{"cnf null", body(with(plain, `"cnf":null`)), auth.ErrInvalid},
		{"a number beyond all", body(with(plain, `"x":1e400`)), auth.ErrInvalid},
		{"claims above 4 KiB when they are written again", body(with(plain, `"x":[0`+strings.Repeat(",1e20", 250)+`]`)), auth.ErrInvalid},
		{"claims above 4 KiB", claim("x", strings.Repeat("x", 4<<10)), auth.ErrInvalid},

		{"19: last character", segments[0] + "." + segments[1] + "." + otherSpelling(segments[2]), auth.ErrInvalid},
		{"19: last character of the claims", segments[0] + "." + otherSpelling(segments[1]) + "." + segments[2], auth.ErrInvalid},
		{"19: padding", genuine + "==", auth.ErrInvalid},
		{"19: a line end", genuine + "\n", auth.ErrInvalid},
		{"19: a line end within", segments[0] + "." + segments[1] + "." + segments[2][:8] + "\r\n" + segments[2][8:], auth.ErrInvalid},
		{"19: a space in front", " " + genuine, auth.ErrInvalid},
		{"19: base64 not of URLs", segments[0] + "." + segments[1] + "." + strings.Repeat("+/", 43), auth.ErrInvalid},
		{"19: signature cut", genuine[:len(genuine)-4], auth.ErrInvalid},
		{"19: signature longer", genuine + "AAAA", auth.ErrInvalid},
		{"19: signature empty", segments[0] + "." + segments[1] + ".", auth.ErrInvalid},
		{"19: signature of zeros", segments[0] + "." + segments[1] + "." + strings.Repeat("A", 86), auth.ErrInvalid},
		{"19: signature of another token", segments[0] + "." + segments[1] + "." + strings.Split(claim("x", 1), ".")[2], auth.ErrInvalid},
		{"19: two segments", segments[0] + "." + segments[1], auth.ErrInvalid},
		{"19: four segments", genuine + ".", auth.ErrInvalid},
		{"19: five segments", genuine + "..", auth.ErrInvalid},
		{"19: dots", "..", auth.ErrInvalid},
		{"19: JSON serialization", `{"payload":"` + segments[1] + `"}`, auth.ErrInvalid},
		{"19: header no object", idp.Sign(`[]`, plain, "ES256"), auth.ErrInvalid},
		{"19: two headers", head(good + good), auth.ErrInvalid},
		{"19: claims no object", body(`"x"`), auth.ErrInvalid},
		{"19: claims null", body(`null`), auth.ErrInvalid},
		{"19: two claims", body(plain + plain), auth.ErrInvalid},
		{"19: something behind the claims", body(plain + ","), auth.ErrInvalid},
		{"20: above 8 KiB", strings.Repeat("x", 8<<10+1), auth.ErrMalformed},
		{"20: 8 MiB", strings.Repeat("x", 8<<20), auth.ErrMalformed},
		{"20: 8 KiB of dots", strings.Repeat(".", 8<<10), auth.ErrInvalid},
		{"20: deep claims", body(with(plain, `"x":`+strings.Repeat("[", 2200)+strings.Repeat("]", 2200))), auth.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) { f.expect(t, call(test.token), test.want) })
	}
	if n := idp.Count(providertest.JWKS); n != fetches {
		t.Errorf("%d fetches of keys were made for forgeries", n-fetches)
	}
	if n := idp.Count(providertest.Canary); n != 0 {
		t.Errorf("the address in a header was asked %d times", n)
	}
	f.expect(t, call(genuine), nil)
}

// TestKeyConfusion uses each key with each other algorithm, under each kid and without one, by a provider that gives the
// keys that it is asked for, and by one that gives all that it has.
func TestKeyConfusion(t *testing.T) {
	careful := newFixture(t, nil, oidc.Options{})
	careless := newFixtureBy(t, func(p oidc.Provider) oidc.Provider { return carelessProvider{p} }, nil, oidc.Options{})
	claimed := append(slices.Clone(published), "HS256", "HS384", "HS512", "RS384", "RS512", "PS384", "PS512", "ES512", "ES256K", "Ed25519", "none", "dir")
	for _, key := range published {
		for _, alg := range claimed {
			for _, kid := range append([]string{""}, published...) {
				header := `{"alg":"` + alg + `","typ":"at+jwt"}`
				if kid != "" {
					header = with(header, `"kid":"`+kidOf(kid)+`"`)
				}
				want := auth.ErrInvalid
				if key == alg && (kid == "" || kid == key) {
					want = nil
				}
				t.Run(fmt.Sprintf("key of %s as %s by %q", key, alg, kid), func(t *testing.T) {
					for _, f := range []fixture{careful, careless} {
						f.expect(t, call(f.idp.Sign(header, f.idp.Claims(nil), key+" as "+alg)), want)
						if key != alg { // signed as the key would, and the header lies
							f.expect(t, call(f.idp.Sign(header, f.idp.Claims(nil), key)), want)
						}
					}
				})
			}
		}
	}
}

// carelessProvider gives all keys, whatever it is asked for.
type carelessProvider struct{ oidc.Provider }

func (c carelessProvider) Keys(ctx context.Context, _, _ string) ([]jwk.Key, error) {
	var all []jwk.Key
	for _, alg := range published {
		keys, err := c.Provider.Keys(ctx, kidOf(alg), alg)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// published are the algorithms of which the provider of the tests has one key each.
var published = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

func kidOf(alg string) string { return strings.ToLower(alg) + "-0" }

// TestAlgorithmsAreNarrowed: the list of the configuration counts, whatever the keys allow.
func TestAlgorithmsAreNarrowed(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Algorithms = []string{"ES384"} }, oidc.Options{})
	f.expect(t, call(f.idp.Issue(nil, providertest.By("ES384"))), nil)
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		f.expect(t, call(f.idp.Issue(nil, providertest.By(alg))), auth.ErrInvalid)
	}
}

// TestAccepted are the spellings that genuine tokens have.
func TestAccepted(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Clients = []string{"agent-client", "other"} }, oidc.Options{})
	now := time.Now().Unix()
	for name, token := range map[string]string{
		"at+jwt":                         f.idp.Issue(nil),
		"AT+JWT":                         f.idp.Issue(nil, providertest.Head("typ", "AT+JWT")),
		"application/at+jwt":             f.idp.Issue(nil, providertest.Head("typ", "application/at+jwt")),
		"no kid":                         f.idp.Issue(nil, providertest.Head("kid", nil)),
		"a header that changes nothing":  f.idp.Issue(nil, providertest.Head("x5t", "AA"), providertest.Head("nonce", 1)),
		"exp within the leeway":          f.idp.Issue(map[string]any{"exp": now - 20}),
		"exp with decimals":              f.idp.Issue(map[string]any{"exp": float64(now) + 60.5}),
		"nbf within the leeway":          f.idp.Issue(map[string]any{"nbf": now + 20}),
		"nbf 0":                          f.idp.Issue(map[string]any{"nbf": 0}),
		"no iat":                         f.idp.Issue(map[string]any{"iat": nil}),
		"aud a list of one":              f.idp.Issue(map[string]any{"aud": []string{resource}}),
		"azp alone":                      f.idp.Issue(map[string]any{"azp": "other", "client_id": nil}),
		"azp and client_id":              f.idp.Issue(map[string]any{"azp": "other"}),
		"sub in another script":          f.idp.Issue(map[string]any{"sub": "用户 1"}),
		"sub 255 bytes":                  f.idp.Issue(map[string]any{"sub": strings.Repeat("s", 255)}),
		"claims of the issuer's own":     f.idp.Issue(map[string]any{"realm_access": map[string]any{"roles": []string{"a"}}, "https://x/y": 1, "subject": 1}),
		"space around and in the claims": f.idp.Sign(good, " \n"+strings.ReplaceAll(f.idp.Claims(nil), ",", " ,\t")+"\r\n", "ES256"),
	} {
		t.Run(name, func(t *testing.T) { f.expect(t, call(token), nil) })
	}
}

// TestTypes: JWT must be asked for, and stands for no typ as well.
func TestTypes(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Types = []string{"JWT"} }, oidc.Options{})
	f.expect(t, call(f.idp.Issue(nil, providertest.Head("typ", "JWT"))), nil)
	f.expect(t, call(f.idp.Issue(nil, providertest.Head("typ", "jwt"))), nil)
	f.expect(t, call(f.idp.Issue(nil, providertest.Head("typ", nil))), nil)
	f.expect(t, call(f.idp.Issue(nil, providertest.Head("typ", ""))), auth.ErrInvalid)
	f.expect(t, call(f.idp.Issue(nil)), auth.ErrInvalid)
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// otherSpelling changes the bits of the last character that most decoders pass over.
func otherSpelling(segment string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, segment[len(segment)-1])
	return segment[:len(segment)-1] + alphabet[last^1:last^1+1]
}
