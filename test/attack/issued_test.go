package attack

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
)

// endedWithin is how long a token that has been revoked, or whose key was retired, may still be taken.
const endedWithin = 10 * time.Second

// issuedTokens are tokens of the gateway's own, made before it starts.
type issuedTokens struct {
	store  *issued.Store
	dir    string
	issuer string
	byName map[string]string // by who holds it
	ids    map[string]string // of them
	keys   map[string]string // the ids of keys that have signed what is to be refused with them
	key    ed25519.PrivateKey
}

func newIssuedTokens(t *testing.T, cfg *gateway.Config) *issuedTokens {
	t.Helper()
	i := &issuedTokens{dir: cfg.IssuedDir(), issuer: cfg.PublicURL, byName: make(map[string]string), ids: make(map[string]string), keys: make(map[string]string)}
	var err error
	if i.store, err = issued.NewStore(i.dir, i.issuer); err != nil {
		t.Fatal(err)
	}
	make := func(name, tunnel, server string) issued.Contents {
		made, token, err := i.store.Create(issued.Order{
			Name: name, Grant: auth.Grant{Tunnels: []string{tunnel}, Servers: []string{server}}, TTL: time.Hour, Claims: map[string]any{"note": claimCanary},
		})
		if err != nil {
			t.Fatal(err)
		}
		i.byName[name], i.ids[name] = token.Reveal(), made.ID
		return made
	}
	for _, p := range []proto{h1, h2} { // each has a key of its own, which another one has replaced
		name := "retired-" + string(p)
		i.keys[name] = make(name, stack.Tunnel, "wiki").Key
		if _, err := i.store.Rotate(); err != nil {
			t.Fatal(err)
		}
		make("revoked-"+string(p), stack.Tunnel, "wiki")
	}
	make("wiki", stack.Tunnel, "wiki")
	make("vault", stack.Tunnel, "vault")
	make("all", "*", "*")
	make("globex", "globex", "*")
	files, err := filepath.Glob(filepath.Join(i.dir, "key-*.pem"))
	if err == nil {
		i.key, err = auth.LoadKey(slices.Max(files)) // the newest, by name
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// header and claims are those of a genuine token for wiki.
func (i *issuedTokens) header() string {
	return `{"alg":"EdDSA","typ":"sallyport-token+jwt","kid":"` + auth.KeyID(i.key.Public().(ed25519.PublicKey)) + `"}`
}

func (i *issuedTokens) claims(members map[string]any) string {
	now := time.Now().Unix()
	all := map[string]any{
		"iss": i.issuer, "aud": i.issuer, "sub": "forged", "jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 3600,
		"tunnels": []string{stack.Tunnel}, "servers": []string{"wiki"},
	}
	maps.Copy(all, members)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// jws signs anything.
func jws(header, claims string, key ed25519.PrivateKey) string {
	signing := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return signing + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signing)))
}

// wrapped puts the prefix and the right checksum around anything.
func wrapped(compact string) string { return summed("spt_" + compact + "_") }

func summed(text string) string {
	const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum, digits := crc32.ChecksumIEEE([]byte(text)), [6]byte{}
	for i := range digits {
		digits[len(digits)-1-i] = base62[sum%62]
		sum /= 62
	}
	return text + string(digits[:])
}

// unwrapped is the opposite.
func unwrapped(token string) string { return token[len("spt_") : len(token)-len("_123456")] }

// issuedAttacks are those on tokens of the gateway's own. Forgeries are signed by its own key unless they say otherwise.
func issuedAttacks() (list []attack) {
	refused := want{status: 401, code: -32000, reason: "unauthenticated", check: checkChallenge}
	passed := want{status: 200, hits: 1}
	missing := want{status: 404, reason: "not_found"}
	to := func(target, what string, w want, token minted) {
		list = append(list, attack{id: "27", what: what, do: unregistered(target, "Bearer", token), want: w})
	}
	add := func(what string, w want, token minted) { to(wikiPath, what, w, token) }
	named := func(name string) minted { return func(r *rig) string { return r.issued.byName[name] } }
	altered := func(f func(string) string) minted { return func(r *rig) string { return f(r.issued.byName["wiki"]) } }
	// inside alters the JWS of a genuine token, and makes its checksum right.
	inside := func(f func(string) string) minted {
		return func(r *rig) string { return wrapped(f(unwrapped(r.issued.byName["wiki"]))) }
	}
	claims := func(what string, w want, members map[string]any) {
		add(what, w, func(r *rig) string { return wrapped(jws(r.issued.header(), r.issued.claims(members), r.issued.key)) })
	}
	text := func(what, old, new string) {
		add(what, refused, func(r *rig) string {
			return wrapped(jws(r.issued.header(), strings.Replace(r.issued.claims(nil), old, new, 1), r.issued.key))
		})
	}
	header := func(what, old, new string) {
		add(what, refused, func(r *rig) string {
			return wrapped(jws(strings.Replace(r.issued.header(), old, new, 1), r.issued.claims(nil), r.issued.key))
		})
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}

	add("a genuine token", passed, named("wiki"))
	add("a genuine token for all", passed, named("all"))
	claims("one that is made by hand with the gateway's key, as those below are", passed, nil)
	to(vaultPath, "towards another server of the tunnel", missing, named("wiki"))
	to(foreignPath, "towards another tunnel", missing, named("wiki"))
	to("/t/nobody/wiki/mcp", "towards a tunnel that does not exist", missing, named("all"))
	add("one for another server of the tunnel", missing, named("vault"))
	add("one for another tunnel", missing, named("globex"))

	for what, at := range inOrder(map[string]func(string) int{
		"the first character":         func(string) int { return len("spt_") },
		"a character of its claims":   func(s string) int { return strings.IndexByte(s, '.') + 20 },
		"the last of its signature":   func(s string) int { return len(s) - 8 },
		"the last of its checksum":    func(s string) int { return len(s) - 1 },
		"the one before its checksum": func(s string) int { return len(s) - 7 },
	}) {
		add("changed: "+what, refused, altered(func(s string) string {
			other := "A"
			if s[at(s)] == 'A' {
				other = "B"
			}
			return s[:at(s)] + other + s[at(s)+1:]
		}))
	}
	add("changed in its claims, and its checksum made right", refused, inside(func(s string) string {
		i := strings.IndexByte(s, '.') + 20
		return s[:i] + string(s[i]^1) + s[i+1:]
	}))
	add("the grant widened to all, under the old signature", refused, inside(func(s string) string {
		parts := strings.Split(s, ".")
		raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), `["wiki"]`, `["*"]`, 1)))
		return strings.Join(parts, ".")
	}))
	add("the signature in another spelling", refused, inside(malleate))
	add("without a signature", refused, inside(func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] }))
	add("with two parts", refused, inside(func(s string) string { return s[:strings.LastIndexByte(s, '.')] }))
	add("with padding", want{status: 400, code: -32000, reason: "unauthenticated"}, inside(func(s string) string { return s + "==" }))
	add("the prefix in capitals", refused, altered(func(s string) string { return summed("SPT_" + unwrapped(s) + "_") }))
	add("the prefix twice", refused, altered(func(s string) string { return summed("spt_spt_" + unwrapped(s) + "_") }))
	add("the prefix alone", refused, func(*rig) string { return "spt_" })
	add("without its checksum", refused, altered(func(s string) string { return s[:len(s)-7] }))
	add("without prefix and checksum", refused, altered(unwrapped))
	add("something behind the checksum", refused, altered(func(s string) string { return s + "A" }))
	list = append(list, attack{id: "27", what: "by the scheme DPoP", do: unregistered(wikiPath, "DPoP", named("wiki")), want: refused})

	add("signed by a stranger's key, with the kid of the gateway's", refused, func(r *rig) string { return wrapped(jws(r.issued.header(), r.issued.claims(nil), stranger)) })
	add("signed by a stranger's key, with its own kid", refused, func(r *rig) string {
		own := `{"alg":"EdDSA","typ":"sallyport-token+jwt","kid":"` + auth.KeyID(stranger.Public().(ed25519.PublicKey)) + `"}`
		return wrapped(jws(own, r.issued.claims(nil), stranger))
	})
	header("kid unknown", `"kid":"`, `"kid":"AAAA`)
	header("kid that climbs", `"kid":"`, `"kid":"../../`)
	header("no kid", `,"kid":`, `,"x":`)
	header("alg none", "EdDSA", "none")
	header("alg HS256", "EdDSA", "HS256")
	header("alg Ed25519", "EdDSA", "Ed25519")
	add("HS256 with the public key as the secret", refused, func(r *rig) string {
		signing := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(r.issued.header(), "EdDSA", "HS256", 1))) + "." + base64.RawURLEncoding.EncodeToString([]byte(r.issued.claims(nil)))
		mac := hmac.New(sha256.New, r.issued.key.Public().(ed25519.PublicKey))
		mac.Write([]byte(signing))
		return wrapped(signing + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	})
	for _, typ := range []string{"sallyport-assertion+jwt", "sallyport-revocations+jwt", "at+jwt", "JWT", "Sallyport-Token+JWT"} {
		header("typ "+typ, "sallyport-token+jwt", typ)
	}
	header("crit", `{"alg"`, `{"crit":["exp"],"alg"`)
	header("a key of its own in jwk", `{"alg"`, `{"jwk":{},"alg"`)
	header("alg twice", `{"alg"`, `{"alg":"none","alg"`)
	header("a space in the header", `{"alg"`, `{ "alg"`)

	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	claims("expired", refused, map[string]any{"iat": in(-2 * time.Hour), "nbf": in(-2 * time.Hour), "exp": in(-time.Hour)})
	claims("made in an hour", refused, map[string]any{"iat": in(time.Hour), "nbf": in(time.Hour), "exp": in(2 * time.Hour)})
	claims("good for two years", refused, map[string]any{"exp": in(2 * 366 * 24 * time.Hour)})
	claims("exp that no clock reaches", refused, map[string]any{"exp": int64(1) << 62})
	claims("exp as a text", refused, map[string]any{"exp": "9999999999"})
	for _, name := range []string{"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "tunnels", "servers"} {
		claims("no "+name, refused, map[string]any{name: nil})
	}
	claims("iss of another gateway", refused, map[string]any{"iss": "https://other.example"})
	claims("aud of another gateway", refused, map[string]any{"aud": "https://other.example"})
	claims("iss and aud of another gateway", refused, map[string]any{"iss": "https://other.example", "aud": "https://other.example"})
	claims("aud in a list", refused, map[string]any{"aud": []string{"https://" + publicName}})
	claims("no tunnels in the list", refused, map[string]any{"tunnels": []string{}})
	claims("a tunnel that is a pattern", refused, map[string]any{"tunnels": []string{"acm*"}})
	claims("a tunnel in capitals", refused, map[string]any{"tunnels": []string{"ACME"}})
	claims("servers as a text", refused, map[string]any{"servers": "*"})
	claims("a claim that nobody knows", refused, map[string]any{"scope": "all"})
	claims("a name with a line break", refused, map[string]any{"sub": "a\nb"})
	text("sub twice", `"sub":`, `"sub":"admin","sub":`)
	text("servers twice", `"servers":`, `"servers":["*"],"servers":`)
	text("SUB in the place of sub", `"sub":`, `"SUB":`)
	text("sub, and SUB", `"sub":`, `"SUB":"admin","sub":`)
	text("something behind the claims", `{`, `{}{`)

	add("the list of revoked tokens", refused, func(r *rig) string { return r.issued.revocations() })
	add("the list of revoked tokens, as a token", refused, func(r *rig) string { return wrapped(r.issued.revocations()) })
	add("an assertion of the gateway", refused, func(r *rig) string { return r.assertion() })
	add("an assertion of the gateway, as a token", refused, func(r *rig) string { return wrapped(r.assertion()) })
	add("a token with the key of assertions", refused, func(r *rig) string {
		key := r.assertionKey()
		own := `{"alg":"EdDSA","typ":"sallyport-token+jwt","kid":"` + auth.KeyID(key.Public().(ed25519.PublicKey)) + `"}`
		return wrapped(jws(own, r.issued.claims(nil), key))
	})
	add("a provider's token, as one of the gateway's", refused, func(r *rig) string { return wrapped(genuine(nil)(r)) })
	add("a provider's token with the claims of one of the gateway's", refused, func(r *rig) string {
		return wrapped(r.idp.acme.Sign(r.issued.header(), r.issued.claims(nil), "EdDSA"))
	})
	add("a token in the place of the checksum", refused, altered(func(s string) string { return s[:len(s)-6] + s }))
	return list
}

// unregistered sends a token, and then looks for its signature in the directory of tokens.
func unregistered(target, scheme string, token minted) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		value := token(r)
		a, err := presenting(target, scheme, func(*rig) string { return value })(t, r, p)
		log := r.Log.String()
		log = log[max(0, len(log)-64<<10):]
		if parts := strings.Split(value, "."); len(parts) == 3 && len(parts[2]) > 40 {
			register, readErr := os.ReadFile(filepath.Join(r.issued.dir, "issued.jsonl"))
			if readErr != nil {
				t.Error(readErr)
			}
			mustLack(t, "the register", register, parts[1], parts[2])
			mustLack(t, "the log", []byte(log), parts[1], parts[2])
			mustLack(t, "the answer", a.all, parts[1], parts[2])
		}
		return a, err
	}
}

// revocations is the file that says what is revoked.
func (i *issuedTokens) revocations() string {
	text, err := os.ReadFile(filepath.Join(i.dir, "revoked.jws"))
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (r *rig) assertionKey() ed25519.PrivateKey {
	key, err := auth.LoadKey(filepath.Join(r.StateDir(), "assertion.key"))
	if err != nil {
		panic(err)
	}
	return key
}

// assertion is a genuine one of the gateway.
func (r *rig) assertion() string {
	signer, err := auth.NewSigner("https://"+r.host, r.assertionKey())
	if err != nil {
		panic(err)
	}
	text, err := signer.Sign(auth.Assertion{
		Tunnel: stack.Tunnel, Server: "wiki", Connector: r.Connector.Instance(), Principal: auth.Principal{Issuer: "https://" + r.host, Subject: "tester"},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// endedAttacks use tokens that end while the gateway runs.
func endedAttacks() []attack {
	refused := want{status: 401, code: -32000, reason: "unauthenticated", hits: 1, check: checkChallenge}
	return []attack{
		{id: "27", what: "a token that is revoked: refused within 10 s", want: refused, do: ending("revoked", func(i *issuedTokens, name string) error {
			_, err := i.store.Revoke([]string{i.ids[name]})
			return err
		})},
		{id: "27", what: "a token of a key that another one has replaced: good until the key is retired, and refused within 10 s", want: refused, do: ending("retired", func(i *issuedTokens, name string) error {
			_, err := i.store.Retire(i.keys[name])
			return err
		})},
	}
}

// ending ends a token that is good, and calls with it until it is refused.
func ending(what string, end func(*issuedTokens, string) error) func(*testing.T, *rig, proto) (answer, error) {
	return func(_ *testing.T, r *rig, p proto) (answer, error) {
		name := what + "-" + string(p)
		token := r.issued.byName[name]
		a, err := r.bearer(p, token)
		if err != nil || a.status != 200 {
			return a, fmt.Errorf("the token before its end: status %d, %w", a.status, err)
		}
		if err := end(r.issued, name); err != nil {
			return a, err
		}
		for begun := time.Now(); err == nil && a.status != 401; time.Sleep(200 * time.Millisecond) {
			if time.Since(begun) > endedWithin {
				return a, fmt.Errorf("after %s it still has status %d", endedWithin, a.status)
			}
			a, err = r.bearer(p, token)
		}
		return a, err
	}
}
