package auth_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
)

// FuzzCheck signs whatever header and claims it is given with the right key, so that the fuzzer gets past the signature,
// and checks a raw token beside it. What the checker accepts, the plain library and a plain decoder must accept too.
func FuzzCheck(f *testing.F) {
	a := assertion()
	f.Add("", authtest.Header(), authtest.Claims(a, time.Now()))
	f.Add(authtest.Forge(authtest.Header(), authtest.Claims(a, time.Now()), authtest.Key()), "", "")
	f.Add("..", `{"alg":"none"}`, `{"exp":1e400,"aud":["inst1"]}`)
	for _, forgery := range authtest.Forgeries(a) {
		f.Add(forgery.Token, authtest.Header(), `null`)
	}
	f.Fuzz(func(t *testing.T, raw, header, claims string) {
		c := authtest.Checker(t, a.Tunnel, a.Connector)
		for _, token := range []string{raw, authtest.Forge(header, claims, authtest.Key())} {
			p, err := c.Check(context.Background(), token, a.Server)
			if err != nil {
				if p.Subject != "" || p.May(a.Tunnel, a.Server) {
					t.Fatalf("refused with a principal: %v", p)
				}
				continue
			}
			if why := oracle(token, a); why != "" {
				t.Fatalf("accepted %q, but %s", token, why)
			}
			if p.Issuer == "" || p.Subject == "" || !p.May(a.Tunnel, a.Server) {
				t.Fatalf("accepted %v with %v", p, p.Grant)
			}
		}
	})
}

// oracle says why a token should not have been accepted, with none of the package's own decoding.
func oracle(token string, a auth.Assertion) string {
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(token, claims,
		func(*jwt.Token) (any, error) { return authtest.PublicKey(), nil },
		jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(authtest.Issuer), jwt.WithAudience(a.Connector),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(10*time.Second), jwt.WithStrictDecoding())
	if err != nil {
		return "the library refuses it: " + err.Error()
	}
	if len(parsed.Header) != 3 || parsed.Header["kid"] != auth.KeyID(authtest.PublicKey()) || parsed.Header["typ"] != "sallyport-assertion+jwt" {
		return "its header is another"
	}
	if claims["tunnel"] != a.Tunnel || claims["server"] != a.Server {
		return "it is for another tunnel or server"
	}
	if encoded, err := json.Marshal(claims["aud"]); err != nil || string(encoded) != `"`+a.Connector+`"` {
		return "its audience is not the one connector"
	}
	exp, _ := claims["exp"].(float64)
	iat, ok := claims["iat"].(float64)
	if !ok || exp-iat > 30 {
		return "it lives too long"
	}
	return ""
}
