package oidc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
)

// TestClocks: the issuer's clock is ahead of ours, or behind, by less than the leeway or by ten minutes.
func TestClocks(t *testing.T) {
	for _, test := range []struct {
		name   string
		ahead  time.Duration
		leeway time.Duration
		want   error
	}{
		{"the same", 0, 0, nil},
		{"30 s ahead", 30 * time.Second, 0, nil},
		{"31 s ahead", 31 * time.Second, 0, auth.ErrInvalid},
		{"60 s ahead, leeway 60 s", 60 * time.Second, 60 * time.Second, nil},
		{"61 s ahead, leeway 60 s", 61 * time.Second, 60 * time.Second, auth.ErrInvalid},
		{"10 min ahead", 10 * time.Minute, 60 * time.Second, auth.ErrInvalid},
		{"5 min 29 s behind", -5*time.Minute - 29*time.Second, 0, nil},
		{"5 min 30 s behind", -5*time.Minute - 30*time.Second, 0, auth.ErrExpired},
		{"5 min 59 s behind, leeway 60 s", -5*time.Minute - 59*time.Second, 60 * time.Second, nil},
		{"10 min behind", -10 * time.Minute, 60 * time.Second, auth.ErrExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(c *oidc.Config) { c.Leeway = test.leeway }, oidc.Options{})
				theirs := time.Now().Add(test.ahead)
				token := f.idp.Issue(map[string]any{
					"iat": theirs.Unix(), "nbf": theirs.Unix(), "exp": theirs.Add(5 * time.Minute).Unix(),
				})
				f.expect(t, call(token), test.want)
				f.Close()
			})
		})
	}
}

// TestRememberedTokenExpires by its own exp and the leeway, though nothing is verified any more.
func TestRememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil, oidc.Options{})
		token := f.idp.Issue(nil) // for five minutes
		got := f.expect(t, call(token), nil)
		if want := time.Now().Truncate(time.Second).Add(5*time.Minute + 30*time.Second); !got.Expiry.Equal(want) {
			t.Errorf("it expires %v, want %v", got.Expiry, want)
		}
		for range 5 {
			time.Sleep(time.Minute)
			f.expect(t, call(token), nil)
		}
		if n := f.asked.Load(); n != 1 {
			t.Errorf("keys were asked for %d times by one token", n)
		}
		time.Sleep(31 * time.Second)
		f.expect(t, call(token), auth.ErrExpired)
		f.Close()
	})
}

// TestRemovedKey (23): a key that is gone from the set verifies nothing any more, remembered or not.
func TestRemovedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil, oidc.Options{})
		long := map[string]any{"exp": time.Now().Add(10 * time.Hour).Unix()}
		remembered, unseen := f.idp.Issue(long), f.idp.Issue(long)
		f.expect(t, call(remembered), nil)
		f.idp.Rotate(true)
		time.Sleep(61 * time.Second)
		f.expect(t, call(remembered), nil) // and has the set fetched
		synctest.Wait()
		f.expect(t, call(remembered), nil) // both keys are there
		f.expect(t, call(f.idp.Issue(nil)), nil)
		f.idp.Rotate(false)
		time.Sleep(61 * time.Second)
		f.expect(t, call(remembered), nil) // the last call before the fetch
		synctest.Wait()
		f.expect(t, call(remembered), auth.ErrInvalid)
		f.expect(t, call(unseen), auth.ErrInvalid)
		f.expect(t, call(f.idp.Issue(nil)), nil)
		f.Close()
	})
}

// TestIssuerDownForAnHour (22): what is known counts for an hour, then nothing does, and at once when it is back.
func TestIssuerDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil, oidc.Options{})
		remembered := f.idp.Issue(map[string]any{"exp": time.Now().Add(10 * time.Hour).Unix()})
		f.expect(t, call(remembered), nil)
		for _, fault := range []providertest.Fault{providertest.Failing, providertest.Huge, providertest.Redirect, providertest.Empty, providertest.PrivateKeys} {
			f.idp.Misbehave(providertest.JWKS, fault)
			time.Sleep(11 * time.Minute)
			f.expect(t, call(remembered), nil)
			f.expect(t, call(f.idp.Issue(nil)), nil)
			synctest.Wait()
		}
		time.Sleep(6 * time.Minute)
		f.expect(t, call(remembered), auth.ErrUnavailable)
		f.expect(t, call(f.idp.Issue(nil)), auth.ErrUnavailable)
		if s := f.Issuers(); len(s) != 1 || s[0].Keys != 0 || s[0].Fetch.Failure == "" {
			t.Errorf("the status is %+v", s)
		}
		f.idp.Misbehave(providertest.JWKS, providertest.None)
		time.Sleep(31 * time.Second)
		f.expect(t, call(remembered), nil)
		f.Close()
	})
}

// TestUnknownKeysAreThrottled (21): ten thousand kids a second make one fetch in 30 s, and genuine tokens pass meanwhile.
func TestUnknownKeysAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil, oidc.Options{})
		genuine := f.idp.Issue(nil)
		f.expect(t, call(genuine), nil)
		for second := range 60 {
			for i := range 20 {
				token := f.idp.Issue(nil, providertest.By("EdDSA"), providertest.Head("kid", "k"+time.Duration(second*1000+i).String()))
				f.expect(t, call(token), auth.ErrInvalid)
			}
			f.expect(t, call(genuine), nil)
			time.Sleep(time.Second)
		}
		if n := f.idp.Count(providertest.JWKS); n > 3 {
			t.Errorf("%d fetches in a minute", n)
		}
		f.Close()
	})
}
