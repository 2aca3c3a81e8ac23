package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/dpop"
	"sallyport.dev/auth/issued"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/secret"
)

// distinct is how many tokens of a kind are made, so that a verifier meets each for the first time.
const distinct = 128

// callerAlgorithms are those of identity providers' tokens.
var callerAlgorithms = [...]string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// callerFigures are what it costs to find out who calls, one value a round.
type callerFigures struct {
	static, known, own, ownKnown, proof []time.Duration
	first                               [len(callerAlgorithms)][]time.Duration
	bytes                               int // of a token, RS256
}

// callers is what is measured: tokens of each kind, and who verifies them.
type callers struct {
	target auth.Target
	issuer string
	tokens [len(callerAlgorithms)][]string
	own    []string
	bound  string   // a token
	proofs []string // for it
	print  string   // of the key that they are signed with
}

// measureCallers times the verifiers by themselves.
func (p plan) measureCallers(ctx context.Context) (f callerFigures, err error) {
	dir, err := os.MkdirTemp("", "sallyport-figures-")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const public = "https://tunnel.example.com"
	c := callers{target: auth.Target{Tunnel: "acme", Server: "wiki", Resource: public + "/t/acme/wiki/mcp", Method: http.MethodPost, URL: public + "/t/acme/wiki/mcp"}}
	stop, err := c.prepare(ctx, public, dir)
	if err != nil {
		return f, err
	}
	defer stop()
	f.bytes = len(c.tokens[0][0])
	static, err := auth.NewStatic(public, []auth.StaticToken{{Name: "ci", Token: secret.New(strings.Repeat("0123456789", 4)), Grant: auth.Grant{Tunnels: []string{"*"}, Servers: []string{"*"}}}})
	if err != nil {
		return f, err
	}
	for range p.rounds {
		if err := c.round(ctx, &f, static, public, dir); err != nil {
			return f, err
		}
	}
	return f, nil
}

// prepare makes keys and tokens, and a provider that publishes the keys.
func (c *callers) prepare(ctx context.Context, public, dir string) (stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.issuer = "http://" + listener.Addr().String()
	var keys []jwk.Key
	for i, alg := range callerAlgorithms {
		key, err := newSigningKey(alg)
		if err != nil {
			return nil, err
		}
		keys = append(keys, jwk.Key{ID: alg, Public: key.Public(), Algorithms: []string{alg}})
		for n := range distinct {
			token, err := signAs(alg, key, map[string]any{"typ": "at+jwt", "kid": alg}, c.claims(n))
			if err != nil {
				return nil, err
			}
			c.tokens[i] = append(c.tokens[i], token)
		}
	}
	set, err := jwk.MarshalSet(keys)
	if err != nil {
		return nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) })}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with stop
	}()
	stop = func() {
		_ = server.Close()
		<-done
	}
	return stop, errors.Join(c.makeOwn(public, dir), c.makeProofs())
}

// claims are those of an access token (RFC 9068) with some of a company's own.
func (c *callers) claims(n int) jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{
		"iss": c.issuer, "sub": "olga", "aud": c.target.Resource, "client_id": "agent", "jti": fmt.Sprint(n), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"scope": "mcp wiki.read", "groups": []string{"engineering", "wiki-users"}, "email": "olga@example.com", "name": "Olga Example",
	}
}

func (c *callers) makeOwn(public, dir string) error {
	store, err := issued.NewStore(dir, public)
	if err != nil {
		return err
	}
	for range distinct {
		_, token, err := store.Create(issued.Order{Name: "ci", Grant: auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"wiki"}}, TTL: time.Hour, Claims: map[string]any{"team": "ops"}})
		if err != nil {
			return err
		}
		c.own = append(c.own, token.Reveal())
	}
	return nil
}

func (c *callers) makeProofs() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c.print = jwk.Key{Public: key.Public()}.Thumbprint()
	c.bound = c.tokens[2][0]
	hash := sha256.Sum256([]byte(c.bound))
	set, err := jwk.MarshalSet([]jwk.Key{{Public: key.Public()}})
	if err != nil {
		return err
	}
	_, text, _ := strings.Cut(string(set), `"x":"`)
	x, text, _ := strings.Cut(text, `"`)
	_, text, _ = strings.Cut(text, `"y":"`)
	y, _, _ := strings.Cut(text, `"`)
	header := map[string]any{"typ": "dpop+jwt", "jwk": map[string]string{"kty": "EC", "crv": "P-256", "x": x, "y": y}}
	for n := range distinct {
		proof, err := signAs("ES256", key, header, jwt.MapClaims{
			"jti": fmt.Sprint(n), "htm": c.target.Method, "htu": c.target.URL, "iat": time.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(hash[:]),
		})
		if err != nil {
			return err
		}
		c.proofs = append(c.proofs, proof)
	}
	return nil
}

// round measures everything once, with verifiers that know nothing yet.
func (c *callers) round(ctx context.Context, f *callerFigures, static *auth.Static, public, dir string) error {
	present := func(token string) auth.Presented { return auth.Presented{Token: token, Target: c.target} }
	again := func(v auth.Verifier, token string, into *[]time.Duration) error {
		took, err := spin(func() error {
			_, err := v.Verify(ctx, present(token))
			return err
		})
		*into = append(*into, took)
		return err
	}
	if err := again(static, strings.Repeat("0123456789", 4), &f.static); err != nil {
		return err
	}
	provider, err := oidc.New([]oidc.Config{{Issuer: c.issuer, Tunnels: []string{"acme"}, JWKSURL: c.issuer + "/keys", AllowedIPs: []string{"127.0.0.0/8"},
		Require: map[string]oidc.Requirement{"*": {Scopes: []string{"mcp"}}}}}, oidc.Options{})
	if err != nil {
		return err
	}
	defer provider.Close()
	if _, err := provider.Verify(ctx, present(c.tokens[0][0])); err != nil { // fetches the keys
		return err
	}
	for i := range callerAlgorithms {
		took, err := each(c.tokens[i][1:], func(token string) error {
			_, err := provider.Verify(ctx, present(token))
			return err
		})
		if err != nil {
			return err
		}
		f.first[i] = append(f.first[i], took)
	}
	if err := again(provider, c.tokens[0][0], &f.known); err != nil {
		return err
	}
	own, err := issued.New(issued.Config{Dir: dir, Issuer: public})
	if err != nil {
		return err
	}
	took, err := each(c.own, func(token string) error {
		_, err := own.Verify(ctx, present(token))
		return err
	})
	if err != nil {
		return err
	}
	f.own = append(f.own, took)
	if err := again(own, c.own[0], &f.ownKnown); err != nil {
		return err
	}
	proofs, err := dpop.New(dpop.Config{Key: []byte(rand.Text() + rand.Text())[:32]})
	if err != nil {
		return err
	}
	took, err = each(c.proofs, func(proof string) error {
		p := present(c.bound)
		p.DPoP, p.Proof = true, proof
		return proofs.Check(p, c.print)
	})
	f.proof = append(f.proof, took)
	return err
}

// each times one call of do for each of the texts, on average.
func each(texts []string, do func(string) error) (time.Duration, error) {
	began := time.Now()
	for _, text := range texts {
		if err := do(text); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / time.Duration(len(texts)), nil
}

func newSigningKey(alg string) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}

func signAs(alg string, key crypto.Signer, header map[string]any, claims jwt.MapClaims) (string, error) {
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims)
	for name, value := range header {
		token.Header[name] = value
	}
	return token.SignedString(key)
}

// table is what they cost, in Markdown.
func (f callerFigures) table() string {
	row := func(what string, took []time.Duration) string {
		return fmt.Sprintf("| %s | %.1f µs |\n", what, float64(middle(took).Nanoseconds())/1000)
	}
	table := "| what is verified | cost |\n|---|--:|\n" +
		row("a static token", f.static) +
		row("a token of an identity provider that was seen before", f.known)
	for i, alg := range callerAlgorithms {
		table += row("one that was not, "+alg, f.first[i])
	}
	return table + row("a token of the gateway's own that was seen before", f.ownKnown) +
		row("one that was not", f.own) +
		row("a proof of possession, ES256", f.proof)
}
