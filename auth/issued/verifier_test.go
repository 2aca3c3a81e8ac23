package issued_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
	"sallyport.dev/auth/jwk"
)

func TestTokenProvesItsHolder(t *testing.T) {
	s := newSite(t)
	c, token := s.create(t, order("ci"))
	v := s.verifier(t, nil)
	for range 2 { // the second time from the cache
		p, err := v.Verify(t.Context(), auth.Presented{Token: token})
		must(t, err)
		want := auth.Principal{
			Issuer: issuer, Subject: "ci", Claims: map[string]any{"team": "support"}, Expiry: c.Expires,
			Grant: auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"wiki", "*"}},
		}
		if !reflect.DeepEqual(p, want) {
			t.Errorf("the principal is %+v, want %+v", p, want)
		}
	}
	if _, err := v.Verify(t.Context(), auth.Presented{Token: token, DPoP: true}); err == nil || !strings.Contains(err.Error(), auth.ErrProof.Error()) {
		t.Errorf("by the scheme DPoP: %v", err)
	}
	if !v.Any() {
		t.Error("there is no key")
	}
	keys, err := jwk.ParseSet(v.JWKS())
	if err != nil || len(keys) != 1 || keys[0].ID != c.Key || auth.KeyID(keys[0].Public.(ed25519.PublicKey)) != c.Key {
		t.Errorf("the set is %s: %v", v.JWKS(), err)
	}
	read, err := issued.Read(token)
	if err != nil || !reflect.DeepEqual(read, c) {
		t.Errorf("it reads as %+v, want %+v: %v", read, c, err)
	}
}

func TestPatternFindsTokensAlone(t *testing.T) {
	s := newSite(t)
	pattern := regexp.MustCompile(issued.Pattern)
	for range 20 {
		_, token := s.create(t, order("ci"))
		if !strings.HasPrefix(token, issued.Prefix) {
			t.Fatal("it lacks the prefix")
		}
		if found := pattern.FindString(`{"auth": "Bearer ` + token + `"}`); found != token {
			t.Errorf("found %d bytes of %d", len(found), len(token))
		}
	}
	for _, other := range []string{"spt_", "spt_eyJhbGciOiJub25lIn0.eyJ.x_000000", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2ln"} {
		if pattern.MatchString(other) {
			t.Errorf("%q looks like a token", other)
		}
	}
}

// forge makes a token with this header and payload, signed by the site's own key or, without one, by a stranger's.
func forge(key ed25519.PrivateKey, header, payload string) string {
	signing := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	return seal(signing + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signing))))
}

// seal adds prefix and checksum, by other means than the package's.
func seal(jws string) string {
	text := "spt_" + jws + "_"
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum, end := crc32.ChecksumIEEE([]byte(text)), ""
	for range 6 {
		end = string(digits[sum%62]) + end
		sum /= 62
	}
	return text + end
}

func TestForgedTokensAreRefused(t *testing.T) {
	s := newSite(t)
	c, token := s.create(t, order("ci"))
	key, err := auth.LoadKey(s.keyFile(t, c.Key))
	must(t, err)
	_, stranger, err := ed25519.GenerateKey(nil)
	must(t, err)
	v := s.verifier(t, nil)

	header := fmt.Sprintf(`{"alg":"EdDSA","typ":"sallyport-token+jwt","kid":%q}`, c.Key)
	now := time.Now().Unix()
	good := map[string]any{
		"iss": issuer, "aud": issuer, "sub": "ci", "jti": c.ID, "iat": now, "nbf": now, "exp": now + 3600,
		"tunnels": []string{"acme"}, "servers": []string{"wiki"},
	}
	payload := func(change map[string]any) string {
		claims := maps.Clone(good)
		for name, value := range change {
			if value == nil {
				delete(claims, name)
			} else {
				claims[name] = value
			}
		}
		text, err := json.Marshal(claims)
		must(t, err)
		return string(text)
	}
	with := func(name string, value any) string { return forge(key, header, payload(map[string]any{name: value})) }
	expect(t, v, forge(key, header, payload(nil)), nil) // what is forged below is wrong in one way

	jws := strings.TrimPrefix(token[:len(token)-7], "spt_")
	flipped := func(i int) string {
		b := []byte(token)
		if b[i]++; b[i] == '{' || b[i] == '[' || b[i] == ':' {
			b[i] = 'A'
		}
		return string(b)
	}
	cases := map[string]struct {
		token string
		want  error
	}{
		"none":                    {"", auth.ErrNoToken},
		"too long":                {token + strings.Repeat("A", 8<<10), auth.ErrMalformed},
		"the prefix alone":        {"spt_", auth.ErrInvalid},
		"no prefix":               {jws, auth.ErrInvalid},
		"cut":                     {token[:len(token)-1], auth.ErrInvalid},
		"another checksum":        {flipped(len(token) - 1), auth.ErrInvalid},
		"changed, old checksum":   {flipped(200), auth.ErrInvalid},
		"other case of prefix":    {"SPT_" + token[4:], auth.ErrInvalid},
		"a stranger's key":        {forge(stranger, header, payload(nil)), auth.ErrInvalid},
		"unknown key":             {forge(stranger, strings.Replace(header, c.Key, auth.KeyID(stranger.Public().(ed25519.PublicKey)), 1), payload(nil)), auth.ErrInvalid},
		"no signature":            {seal(jws[:strings.LastIndex(jws, ".")+1]), auth.ErrInvalid},
		"a line break":            {seal(jws[:100] + "\n" + jws[100:]), auth.ErrInvalid},
		"padded":                  {seal(jws + "="), auth.ErrInvalid},
		"last character's spare":  {seal(spare(jws)), auth.ErrInvalid},
		"four segments":           {seal(jws + ".x"), auth.ErrInvalid},
		"alg none":                {forge(key, strings.Replace(header, "EdDSA", "none", 1), payload(nil)), auth.ErrInvalid},
		"alg HS256":               {forge(key, strings.Replace(header, "EdDSA", "HS256", 1), payload(nil)), auth.ErrInvalid},
		"typ JWT":                 {forge(key, strings.Replace(header, "sallyport-token+jwt", "JWT", 1), payload(nil)), auth.ErrInvalid},
		"typ of a list":           {forge(key, strings.Replace(header, "sallyport-token+jwt", "sallyport-revocations+jwt", 1), payload(nil)), auth.ErrInvalid},
		"typ of an assertion":     {forge(key, strings.Replace(header, "sallyport-token+jwt", "sallyport-assertion+jwt", 1), payload(nil)), auth.ErrInvalid},
		"a crit":                  {forge(key, strings.Replace(header, "}", `,"crit":["x"]}`, 1), payload(nil)), auth.ErrInvalid},
		"a jwk":                   {forge(key, strings.Replace(header, "}", `,"jwk":{}}`, 1), payload(nil)), auth.ErrInvalid},
		"a header with a space":   {forge(key, strings.Replace(header, ",", ", ", 1), payload(nil)), auth.ErrInvalid},
		"kid twice":               {forge(key, strings.Replace(header, "}", `,"kid":"x"}`, 1), payload(nil)), auth.ErrInvalid},
		"another iss":             {with("iss", "https://evil.example.test"), auth.ErrInvalid},
		"iss with a slash":        {with("iss", issuer+"/"), auth.ErrInvalid},
		"another aud":             {with("aud", "https://evil.example.test"), auth.ErrInvalid},
		"aud an array":            {with("aud", []string{issuer}), auth.ErrInvalid},
		"no sub":                  {with("sub", nil), auth.ErrInvalid},
		"sub with |":              {with("sub", "a|b"), auth.ErrInvalid},
		"sub too long":            {with("sub", strings.Repeat("a", 65)), auth.ErrInvalid},
		"no jti":                  {with("jti", nil), auth.ErrInvalid},
		"a short jti":             {with("jti", "ABC"), auth.ErrInvalid},
		"no exp":                  {with("exp", nil), auth.ErrInvalid},
		"no nbf":                  {with("nbf", nil), auth.ErrInvalid},
		"no iat":                  {with("iat", nil), auth.ErrInvalid},
		"exp as text":             {with("exp", "9999999999"), auth.ErrInvalid},
		"exp with a fraction":     {with("exp", float64(now)+3600.5), auth.ErrInvalid},
		"exp beyond all":          {with("exp", int64(1)<<41), auth.ErrInvalid},
		"a life of 367 days":      {with("exp", now+367*86400), auth.ErrInvalid},
		"a life of 30 s":          {with("exp", now+30), auth.ErrInvalid},
		"expired":                 {forge(key, header, payload(map[string]any{"iat": now - 7200, "nbf": now - 7200, "exp": now - 3600})), auth.ErrExpired},
		"in the future":           {forge(key, header, payload(map[string]any{"iat": now + 600, "nbf": now + 600, "exp": now + 3600})), auth.ErrInvalid},
		"nbf apart from iat":      {with("nbf", now-1), auth.ErrInvalid},
		"no tunnels":              {with("tunnels", nil), auth.ErrInvalid},
		"tunnels empty":           {with("tunnels", []string{}), auth.ErrInvalid},
		"a tunnel that is none":   {with("tunnels", []string{"../x"}), auth.ErrInvalid},
		"tunnels as text":         {with("tunnels", "*"), auth.ErrInvalid},
		"no servers":              {with("servers", nil), auth.ErrInvalid},
		"claims not an object":    {with("claims", []int{1}), auth.ErrInvalid},
		"claims too long":         {with("claims", map[string]any{"a": strings.Repeat("a", 4<<10)}), auth.ErrInvalid},
		"a claim more":            {with("scope", "all"), auth.ErrInvalid},
		"sub in another case":     {forge(key, header, strings.Replace(payload(map[string]any{"sub": nil}), "{", `{"Sub":"ci",`, 1)), auth.ErrInvalid},
		"sub twice":               {forge(key, header, strings.Replace(payload(nil), "{", `{"sub":"ci",`, 1)), auth.ErrInvalid},
		"twice within claims":     {forge(key, header, strings.Replace(payload(nil), "{", `{"claims":{"a":1,"a":2},`, 1)), auth.ErrInvalid},
		"text behind the payload": {forge(key, header, payload(nil)+"{}"), auth.ErrInvalid},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			expect(t, v, test.token, test.want)
			expect(t, v, test.token, test.want) // the cache does not learn of it
		})
	}
	other, err := issued.New(issued.Config{Dir: s.dir, Issuer: "https://other.example.test"})
	must(t, err)
	expect(t, other, token, auth.ErrInvalid)
}

// spare sets bits of the last character that stand for nothing.
func spare(jws string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, jws[len(jws)-1])
	return jws[:len(jws)-1] + string(alphabet[last|1])
}

func TestExpiryCountsInTheCacheToo(t *testing.T) {
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		o := order("ci")
		o.TTL = time.Minute
		_, token := s.create(t, o)
		v := s.verifier(t, nil)
		expect(t, v, token, nil)
		time.Sleep(time.Minute - time.Second)
		expect(t, v, token, nil)
		v = s.verifier(t, nil)
		expect(t, v, token, nil)
		time.Sleep(time.Second)
		expect(t, v, token, auth.ErrExpired)
		expect(t, s.verifier(t, nil), token, auth.ErrExpired)
	})
}

// TestMakersClockMayBeAhead by 5 s, and no more.
func TestMakersClockMayBeAhead(t *testing.T) {
	s := newSite(t)
	var token string
	synctest.Test(t, func(t *testing.T) { // begins in 2000
		time.Sleep(10 * time.Minute)
		_, token = s.create(t, order("ci"))
	})
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, nil)
		expect(t, v, token, auth.ErrInvalid) // ten minutes behind
		time.Sleep(10*time.Minute - 6*time.Second)
		v = s.verifier(t, nil)
		expect(t, v, token, auth.ErrInvalid)
		time.Sleep(time.Second)
		expect(t, v, token, nil)
	})
}

func TestNewRefusesWhatIsNotAsTheStoreLeavesIt(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, s site, c issued.Contents)
		want  string
	}{
		"no list":              {func(t *testing.T, s site, _ issued.Contents) { must(t, os.Remove(s.list())) }, "restore it"},
		"a list cut short":     {func(t *testing.T, s site, _ issued.Contents) { write(t, s.list(), read(t, s.list())[:50]) }, "restore it"},
		"an empty list":        {func(t *testing.T, s site, _ issued.Contents) { write(t, s.list(), "") }, "restore it"},
		"a list to all":        {func(t *testing.T, s site, _ issued.Contents) { must(t, os.Chmod(s.list(), 0o666)) }, "chmod 600"},
		"a link for the list":  {func(t *testing.T, s site, _ issued.Contents) { link(t, s.list()) }, "revoked.jws"},
		"a huge list":          {func(t *testing.T, s site, _ issued.Contents) { write(t, s.list(), strings.Repeat("a", 5<<20)) }, "more than"},
		"a key to all":         {func(t *testing.T, s site, c issued.Contents) { must(t, os.Chmod(s.keyFile(t, c.Key), 0o644)) }, "chmod 600"},
		"a key that is none":   {func(t *testing.T, s site, c issued.Contents) { write(t, s.keyFile(t, c.Key), "x") }, "no Ed25519 key"},
		"a key's wrong name":   {func(t *testing.T, s site, c issued.Contents) { misname(t, s.keyFile(t, c.Key), c.Key) }, "another key"},
		"the directory to all": {func(t *testing.T, s site, _ issued.Contents) { must(t, os.Chmod(s.dir, 0o777)) }, "chmod go-rwx"},
		"a file for the directory": {func(t *testing.T, s site, _ issued.Contents) {
			must(t, os.Rename(s.dir, s.dir+".old"))
			write(t, s.dir, "")
		}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c, _ := s.create(t, order("ci"))
			test.spoil(t, s, c)
			_, err := issued.New(issued.Config{Dir: s.dir, Issuer: issuer})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
	for _, cfg := range []issued.Config{{Dir: "tokens", Issuer: issuer}, {Dir: t.TempDir()}, {Issuer: issuer}} {
		if _, err := issued.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func link(t *testing.T, path string) {
	t.Helper()
	must(t, os.Rename(path, path+".real"))
	must(t, os.Symlink(path+".real", path))
}

func misname(t *testing.T, path, id string) {
	t.Helper()
	must(t, os.Rename(path, strings.Replace(path, id, "AAAAAAAAAAAAAAAA", 1)))
}

func TestWithoutADirectoryNoTokenIsGood(t *testing.T) {
	elsewhere := newSite(t)
	_, token := elsewhere.create(t, order("ci"))
	v, err := issued.New(issued.Config{Dir: filepath.Join(t.TempDir(), "none"), Issuer: issuer})
	must(t, err)
	expect(t, v, token, auth.ErrInvalid)
	if v.Any() || string(v.JWKS()) != `{"keys":[]}` {
		t.Errorf("there is a key: %s", v.JWKS())
	}
}
