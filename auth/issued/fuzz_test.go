package issued_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/auth/issued"
)

const fixedID = "AAAAAAAAAAAAAAAAAAAAAAAAAA"

// fixed is a verifier that knows one key, the same in every process that fuzzes, with a token that it has signed, the same for
// a day.
func fixed(f *testing.F) (v *issued.Verifier, header, payload string) {
	f.Helper()
	dir, day := f.TempDir(), time.Now().UTC().Truncate(24*time.Hour)
	must(f, os.Chmod(dir, 0o700))
	must(f, issued.SaveKeyForTest(dir, day, authtest.Key()))
	list, err := issued.ListForTest(nil, day, authtest.Key())
	must(f, err)
	write(f, dir+"/revoked.jws", string(list))
	v = site{nil, dir}.verifier(f, nil)
	header = `{"alg":"EdDSA","typ":"sallyport-token+jwt","kid":"` + auth.KeyID(authtest.PublicKey()) + `"}`
	payload = fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"a","jti":%q,"iat":%d,"nbf":%[4]d,"exp":%d,"tunnels":["*"],"servers":["wiki"]}`,
		issuer, issuer, fixedID, day.Unix(), day.AddDate(0, 0, 300).Unix())
	return v, header, payload
}

// FuzzToken holds that no other text than the token that was made is good, whatever its checksum.
func FuzzToken(f *testing.F) {
	v, header, payload := fixed(f)
	token := forge(authtest.Key(), header, payload)
	must(f, verify(f, v, token))
	f.Add(token)
	f.Add(token[:len(token)-7])
	f.Add("spt_a.b.c_000000")
	f.Add(forge(authtest.Key(), `{"alg":"EdDSA"}`, `{}`))
	f.Add(strings.Replace(token, ".", "..", 1))
	f.Fuzz(func(t *testing.T, text string) {
		for _, sealed := range []string{text, seal(text)} { // which gets behind the checksum
			if _, err := v.Verify(t.Context(), auth.Presented{Token: sealed}); (err == nil) != (sealed == token) {
				t.Errorf("the verdict is %v", err)
			}
			read, err := issued.Read(sealed)
			if err == nil && (read.ID == "" || read.Name == "" || len(read.Grant.Tunnels) == 0 || !read.Expires.After(read.Created)) {
				t.Errorf("it reads as %+v", read)
			}
		}
	})
}

// FuzzClaims holds that the claims of a token that was signed are read as strictly by both readers.
func FuzzClaims(f *testing.F) {
	v, header, payload := fixed(f)
	f.Add(payload)
	f.Add(`{"sub":"a","sub":"b"}`)
	f.Add(`{"exp":1e400}`)
	f.Fuzz(func(t *testing.T, payload string) {
		token := forge(authtest.Key(), header, payload)
		p, err := v.Verify(t.Context(), auth.Presented{Token: token})
		read, readErr := issued.Read(token)
		if err == nil && (readErr != nil || read.Name != p.Subject || !read.Expires.Equal(p.Expiry) || !slices.Equal(read.Grant.Tunnels, p.Grant.Tunnels)) {
			t.Errorf("verified as %+v, and reads as %+v: %v", p, read, readErr)
		}
	})
}

// FuzzRegister holds that lines of others spoil no line of ours, and that what is listed can be printed.
func FuzzRegister(f *testing.F) {
	s := newSite(f)
	c, _ := s.create(f, order("ci"))
	line := read(f, s.register())
	f.Add(line)
	f.Add(line[:len(line)/2])
	f.Add("{}\n\n[]")
	f.Add(strings.Replace(line, c.ID, "AAAAAAAAAAAAAAAAAAAAAAAAAA", 1))
	f.Fuzz(func(t *testing.T, text string) {
		tokens, _, err := issued.ReadRegisterForTest(strings.NewReader(text + "\n" + line))
		must(t, err)
		if !slices.ContainsFunc(tokens, func(t issued.Contents) bool { return t.ID == c.ID }) {
			t.Errorf("our line is lost: %+v", tokens)
		}
		for _, token := range tokens {
			names := append(slices.Clone(token.Grant.Tunnels), token.Grant.Servers...)
			if strings.ContainsAny(strings.Join(append(names, token.Name, token.ID, token.Key), ""), "\x00\x1b\n |") {
				t.Errorf("listed %+v", token)
			}
		}
	})
}

// FuzzList holds that no other list than the one that was signed is taken.
func FuzzList(f *testing.F) {
	const id = fixedID
	good, err := issued.ListForTest([]string{id}, time.Unix(1_800_000_000, 0), authtest.Key())
	must(f, err)
	header := `{"alg":"EdDSA","typ":"sallyport-revocations+jwt","kid":"` + auth.KeyID(authtest.PublicKey()) + `"}`
	f.Add(string(good), "")
	f.Add(string(good[:len(good)-1]), `{"seq":1,"iat":1,"revoked":[]}`)
	f.Add("", `{"seq":9,"iat":1,"revoked":[{"id":"`+id+`","exp":5}]}`)
	f.Add("", `{"seq":9,"iat":1,"revoked":[{"id":"`+id+`"},{"id":"`+id+`","exp":5}]}`)
	f.Fuzz(func(t *testing.T, text, payload string) {
		if _, err := issued.ReadListForTest([]byte(text), authtest.PublicKey()); (err == nil) != (text == string(good)) {
			t.Errorf("the list is judged as %v", err)
		}
		ids, err := issued.ReadListForTest([]byte(signList(authtest.Key(), header, payload)), authtest.PublicKey())
		if err == nil && len(ids) != strings.Count(payload, `"exp"`) && !strings.Contains(payload, `\`) {
			t.Errorf("%d ids of %s", len(ids), payload)
		}
	})
}
