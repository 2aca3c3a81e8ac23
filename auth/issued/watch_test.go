package issued_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
)

// heard are the events of a verifier.
type heard struct {
	mu     sync.Mutex // guards events
	events []issued.Event
}

func (h *heard) hear(e issued.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// take gives what was heard since it was last called, a line each.
func (h *heard) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var text strings.Builder
	for _, e := range h.events {
		fmt.Fprintln(&text, e.Text, e.Err)
	}
	h.events = nil
	return text.String()
}

func (h *heard) expect(t *testing.T, want string) {
	t.Helper()
	got := h.take()
	if (want == "") != (got == "") || !strings.Contains(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// watch gives a verifier of the site that looks at its directory until the test ends. The test runs in a bubble.
func (s site) watch(t *testing.T) (*issued.Verifier, *heard) {
	t.Helper()
	h := &heard{}
	v := s.verifier(t, h.hear)
	done := make(chan struct{})
	go func() { defer close(done); v.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	synctest.Wait()
	return v, h
}

func TestRevokedTokenIsRefusedWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c, token := s.create(t, order("ci"))
		_, other := s.create(t, order("ci"))
		v, h := s.watch(t)
		expect(t, v, token, nil) // in the cache from here on
		for range 5 {
			time.Sleep(2 * time.Second)
			expect(t, v, token, nil)
		}
		_, err := s.Revoke([]string{c.ID})
		must(t, err)
		time.Sleep(2*time.Second + time.Millisecond)
		expect(t, v, token, auth.ErrInvalid)
		expect(t, v, other, nil)
		h.expect(t, "list of revoked tokens has changed")
		expect(t, s.verifier(t, nil), token, auth.ErrInvalid)
	})
}

func TestKeysAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		v, h := s.watch(t)
		first, token := s.create(t, order("ci")) // makes the directory and the first key
		expect(t, v, token, auth.ErrInvalid)
		time.Sleep(2*time.Second + time.Millisecond)
		expect(t, v, token, nil)
		h.expect(t, "keys of the gateway's own tokens have changed")

		second, err := s.Rotate()
		must(t, err)
		c, young := s.create(t, order("ci"))
		if c.Key != second || first.Key == second {
			t.Errorf("%s signs, and %s is new, after %s", c.Key, second, first.Key)
		}
		time.Sleep(2 * time.Second)
		expect(t, v, token, nil)
		expect(t, v, young, nil)
		if set := string(v.JWKS()); strings.Index(set, second) > strings.Index(set, first.Key) || !strings.Contains(set, first.Key) {
			t.Errorf("the set is %s", set)
		}
		ended, err := s.Retire(first.Key)
		if err != nil || ended != 1 {
			t.Errorf("retired with %d tokens: %v", ended, err)
		}
		time.Sleep(2 * time.Second)
		expect(t, v, token, auth.ErrInvalid) // from the cache, too
		expect(t, v, young, nil)
		if strings.Contains(string(v.JWKS()), first.Key) {
			t.Error("the retired key is published")
		}
		if got := h.take(); strings.Contains(got, "cannot") {
			t.Error(got)
		}
	})
}

// TestListThatCannotBeUsed leaves the last good one in use for a minute, then ends all tokens until it is mended.
func TestListThatCannotBeUsed(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s site, older string){
		"gone":          func(t *testing.T, s site, _ string) { must(t, os.Remove(s.list())) },
		"torn":          func(t *testing.T, s site, _ string) { replace(t, s.list(), read(t, s.list())[:100]) },
		"empty":         func(t *testing.T, s site, _ string) { replace(t, s.list(), "") },
		"older":         func(t *testing.T, s site, older string) { replace(t, s.list(), older) },
		"a stranger's":  func(t *testing.T, s site, _ string) { replace(t, s.list(), forgedList(t, s, nil)) },
		"open to all":   func(t *testing.T, s site, _ string) { must(t, os.Chmod(s.list(), 0o666)) },
		"all is gone":   func(t *testing.T, s site, _ string) { must(t, os.Rename(s.dir, s.dir+".gone")) },
		"dir is open":   func(t *testing.T, s site, _ string) { must(t, os.Chmod(s.dir, 0o777)) },
		"too many keys": func(t *testing.T, s site, _ string) { tooManyKeys(t, s) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				_, token := s.create(t, order("ci"))
				c, bad := s.create(t, order("ci"))
				older := read(t, s.list())
				_, err := s.Revoke([]string{c.ID})
				must(t, err)
				good := read(t, s.list())
				v, h := s.watch(t)
				expect(t, v, token, nil)
				spoil(t, s, older)
				time.Sleep(2*time.Second + time.Millisecond)
				h.expect(t, "what was last known stays in use for a minute")
				for range 28 {
					expect(t, v, token, nil)
					expect(t, v, bad, auth.ErrInvalid)
					time.Sleep(2 * time.Second)
				}
				h.expect(t, "")
				time.Sleep(4 * time.Second)
				expect(t, v, token, auth.ErrUnavailable)
				expect(t, v, bad, auth.ErrUnavailable)
				h.expect(t, "are refused until")

				_ = os.Rename(s.dir+".gone", s.dir)
				must(t, os.Chmod(s.dir, 0o700))
				for _, path := range extraKeys(s) {
					must(t, os.Remove(path))
				}
				replace(t, s.list(), good)
				time.Sleep(2 * time.Second)
				expect(t, v, token, nil)
				expect(t, v, bad, auth.ErrInvalid)
				h.expect(t, "can be verified again")
			})
		})
	}
}

func extraKeys(s site) (paths []string) {
	for i := range 40 {
		path := fmt.Sprintf("%s/key-20200101T0000%02dZ-AAAAAAAAAAAAAAAA.pem", s.dir, i)
		if _, err := os.Lstat(path); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

func tooManyKeys(t *testing.T, s site) {
	t.Helper()
	for i := range 40 {
		write(t, fmt.Sprintf("%s/key-20200101T0000%02dZ-AAAAAAAAAAAAAAAA.pem", s.dir, i), "x")
	}
}

// forgedList is an empty list with a high number, signed by this key or a stranger's, in the name of the site's newest.
func forgedList(t *testing.T, s site, key ed25519.PrivateKey) string {
	t.Helper()
	r, err := s.List()
	must(t, err)
	if key == nil {
		_, key, err = ed25519.GenerateKey(nil)
		must(t, err)
	}
	return signList(key, `{"alg":"EdDSA","typ":"sallyport-revocations+jwt","kid":"`+r.Keys[0].ID+`"}`, `{"seq":9999999999,"iat":1,"revoked":[]}`)
}

func signList(key ed25519.PrivateKey, header, payload string) string {
	token := forge(key, header, payload)
	return strings.TrimPrefix(token[:len(token)-7], "spt_")
}

func TestForgedListsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { testForgedLists(t) })
}

func testForgedLists(t *testing.T) {
	s := newSite(t)
	c, token := s.create(t, order("ci"))
	key, err := auth.LoadKey(s.keyFile(t, c.Key))
	must(t, err)
	header := `{"alg":"EdDSA","typ":"sallyport-revocations+jwt","kid":"` + c.Key + `"}`
	payload := `{"seq":9999999999,"iat":1,"revoked":[{"id":"` + c.ID + `","exp":9999999999}]}`
	good := read(t, s.list())
	v, h := s.watch(t)
	for name, list := range map[string]string{
		"a token":                token,
		"a token's JWS":          strings.TrimPrefix(token[:len(token)-7], "spt_"),
		"alg none":               base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(header, "EdDSA", "none", 1))) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".",
		"no signature":           strings.Join(strings.SplitAfter(signList(key, header, payload), ".")[:2], ""),
		"typ of a token":         signList(key, strings.Replace(header, "revocations", "token", 1), payload),
		"a line at the end":      signList(key, header, payload) + "\n",
		"no seq":                 signList(key, header, `{"iat":1,"revoked":[]}`),
		"seq below zero":         signList(key, header, `{"seq":-1,"iat":1,"revoked":[]}`),
		"seq twice":              signList(key, header, `{"seq":1,"seq":9999999999,"iat":1,"revoked":[]}`),
		"a member more":          signList(key, header, `{"seq":9999999999,"iat":1,"revoked":[],"x":1}`),
		"an id twice":            signList(key, header, strings.Replace(payload, "[", `[{"id":"`+c.ID+`","exp":9999999999},`, 1)),
		"an id that is none":     signList(key, header, strings.Replace(payload, c.ID, "x", 1)),
		"an expiry beyond all":   signList(key, header, strings.Replace(payload, `"exp":9`, `"exp":99999`, 1)),
		"another key's name":     signList(key, strings.Replace(header, c.Key, "AAAAAAAAAAAAAAAA", 1), payload),
		"a key's name as a path": signList(key, strings.Replace(header, c.Key, "../../etc/passwd", 1), payload),
	} {
		replace(t, s.list(), list)
		time.Sleep(2*time.Second + time.Millisecond)
		if got := h.take(); !strings.Contains(got, "revoked.jws") {
			t.Errorf("%s: heard %q", name, got)
		}
		expect(t, v, token, nil)
		if _, _, err := s.Create(order("ci")); err == nil || !strings.Contains(err.Error(), "restore it") {
			t.Errorf("%s: a token is made beside it: %v", name, err)
		}
		replace(t, s.list(), good)
		time.Sleep(2 * time.Second)
		h.take()
	}
	replace(t, s.list(), signList(key, header, payload)) // all of the above are wrong in one way
	expect(t, s.verifier(t, nil), token, auth.ErrInvalid)
}

// TestBrokenKey that was known stays in use, and its tokens can still be revoked.
func TestBrokenKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c, token := s.create(t, order("ci"))
		_, err := s.Rotate()
		must(t, err)
		v, h := s.watch(t)
		path := s.keyFile(t, c.Key)
		whole := read(t, path)
		replace(t, path, "x")
		for range 40 {
			time.Sleep(2 * time.Second)
			expect(t, v, token, nil)
		}
		if got := h.take(); strings.Count(got, "cannot be read") != 1 || strings.Contains(got, "refused") {
			t.Errorf("heard %q", got)
		}
		if _, _, err := s.Create(order("ci")); err == nil {
			t.Error("a token is made beside a broken key")
		}
		replace(t, path, whole)
		_, err = s.Revoke([]string{c.ID})
		must(t, err)
		time.Sleep(2*time.Second + time.Millisecond)
		expect(t, v, token, auth.ErrInvalid)
		must(t, os.Remove(path)) // an operator who retires it by hand
		time.Sleep(2 * time.Second)
		expect(t, v, token, auth.ErrInvalid)
		if strings.Contains(string(v.JWKS()), c.Key) {
			t.Error("a deleted key is published")
		}
		s.verifier(t, nil) // and a restart goes well
	})
}

// TestWithoutRun a verifier does not trust for long what it knew.
func TestWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		_, token := s.create(t, order("ci"))
		v := s.verifier(t, nil)
		time.Sleep(time.Minute)
		expect(t, v, token, nil)
		time.Sleep(time.Second)
		expect(t, v, token, auth.ErrUnavailable)
	})
}

// TestDirectoryBegunAnew is taken over by a gateway that runs: its list has a higher number.
func TestDirectoryBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		v, h := s.watch(t)
		_, token := s.create(t, order("ci"))
		time.Sleep(2*time.Second + time.Millisecond)
		expect(t, v, token, nil)
		must(t, os.Rename(s.dir, s.dir+".lost"))
		time.Sleep(4 * time.Second)
		h.expect(t, "gone")
		_, next := s.create(t, order("ci"))
		time.Sleep(2 * time.Second)
		expect(t, v, next, nil)
		expect(t, v, token, auth.ErrInvalid)
	})
}
