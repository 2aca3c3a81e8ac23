package oauth_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
)

func TestManyWaitForOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "client_credentials")
		s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return s.server.RoundTrip(r)
		})
		source := s.open(t)
		defer source.Close()
		var crew sync.WaitGroup
		for range 100 {
			crew.Go(func() { fetch(t, source, alice) })
		}
		crew.Wait()
		if n := len(s.server.Requests()); n != 1 {
			t.Errorf("%d requests for 100 calls", n)
		}
	})
}

// A token is got again at four fifths of its life while the old one is given out, and none is given out with less than 10 s
// left, whatever the token endpoint does.
func TestExpiry(t *testing.T) {
	for _, test := range []struct {
		lifetime       time.Duration
		silent         bool
		refresh, until time.Duration
	}{
		{time.Hour, false, 48 * time.Minute, time.Hour - 10*time.Second},
		{time.Minute, false, 48 * time.Second, 50 * time.Second},
		{20 * time.Second, false, 8 * time.Second, 10 * time.Second},
		{time.Hour, true, 4 * time.Minute, 5 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := set(t, "client_credentials", func(o *oauthtest.Options) { o.Lifetime, o.Silent = test.lifetime, test.silent })
			source := s.open(t)
			defer source.Close()
			began := time.Now()
			first := fetch(t, source, alice)
			sleepUntil(began.Add(test.refresh - time.Millisecond))
			kept := fetch(t, source, alice)
			synctest.Wait()
			if kept != first || len(s.server.Requests()) != 1 {
				t.Errorf("%s: renewed too early", test.lifetime)
			}
			s.server.Misbehave(oauthtest.Down)
			sleepUntil(began.Add(test.refresh + time.Millisecond))
			for time.Now().Before(began.Add(test.until - time.Millisecond)) {
				if fetch(t, source, alice) != first {
					t.Errorf("%s: another token from a server that is down", test.lifetime)
				}
				time.Sleep(test.until / 100)
				synctest.Wait()
			}
			if len(s.server.Requests()) < 2 {
				t.Errorf("%s: not renewed ahead", test.lifetime)
			}
			if !strings.Contains(s.logged(), "status 503") {
				t.Errorf("%s: nobody was told: %q", test.lifetime, s.logged())
			}
			sleepUntil(began.Add(test.until))
			fails(t, source, alice)
			s.server.Misbehave(oauthtest.None)
			time.Sleep(2 * time.Second)
			if second := fetch(t, source, alice); second == first {
				t.Errorf("%s: the token that has expired was given out", test.lifetime)
			}
		})
	}
}

func sleepUntil(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

// A refresh ahead is one request, however many ask meanwhile, and nobody waits for it.
func TestRefreshAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "client_credentials")
		s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return s.server.RoundTrip(r)
		})
		source := s.open(t)
		defer source.Close()
		first := fetch(t, source, alice)
		time.Sleep(50 * time.Minute)
		began := time.Now()
		for range 100 {
			if fetch(t, source, alice) != first {
				t.Error("another token before there can be one")
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited for %s", waited)
		}
		time.Sleep(3 * time.Second)
		if fetch(t, source, alice) == first {
			t.Error("the old token after the refresh")
		}
		if n := len(s.server.Requests()); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// A token that came so late that it is about to expire is not given out, not even to who has waited for it.
func TestASlowAnswerCountsAgainstTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "client_credentials", func(o *oauthtest.Options) { o.Lifetime = 15 * time.Second })
		s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			response, err := s.server.RoundTrip(r)
			time.Sleep(6 * time.Second)
			return response, err
		})
		source := s.open(t)
		defer source.Close()
		if err := failure(t, source, alice); !errors.Is(err, oauth.ErrAnswer) {
			t.Errorf("got %v", err)
		}
	})
}

// Many who were refused the same token get one new one.
func TestRenewDoesNotStampede(t *testing.T) {
	s := set(t, "client_credentials")
	source := s.source(t)
	first, err := source.Fetch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	var crew sync.WaitGroup
	for range 100 {
		crew.Go(func() {
			source.Renew(alice, first)
			if fetch(t, source, alice) == first.Values[0].Reveal() {
				t.Error("the refused token was given out again")
			}
		})
	}
	crew.Wait()
	if n := len(s.server.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
	source.Renew(alice, credential.Fetched{}) // nothing that a source gives
	source.Renew(credential.Principal{}, first)
}

// A refusal that comes late, for a token that has been replaced since, changes nothing; nor does one of another principal.
func TestALateRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "token_exchange")
		source := s.open(t)
		defer source.Close()
		first, err := source.Fetch(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		fetch(t, source, bob)
		source.Renew(alice, first)
		second := fetch(t, source, alice)
		time.Sleep(time.Minute)
		source.Renew(alice, first)
		first.Version++
		source.Renew(alice, first)
		source.Renew(bob, first)
		if fetch(t, source, alice) != second {
			t.Error("a token that nobody refused was replaced")
		}
		fetch(t, source, bob)
		if n := len(s.server.Requests()); n != 3 {
			t.Errorf("%d requests", n)
		}
	})
}

// An upstream that refuses whatever it gets does not make each of its calls a token request.
func TestRenewIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "token_exchange")
		source := s.open(t)
		defer source.Close()
		for range 600 {
			got, err := source.Fetch(t.Context(), alice)
			if err != nil {
				t.Fatal(err)
			}
			source.Renew(alice, got)
			source.Renew(bob, got) // not his
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if n := len(s.server.Requests()); n < 10 || n > 14 {
			t.Errorf("%d token requests in a minute of refusals", n)
		}
	})
}

// A refusal stands for a while, so that the client is not locked out, and no longer than the secret that was refused.
func TestARefusalStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "client_credentials")
		s.server.Misbehave("error invalid_client")
		source := s.open(t)
		defer source.Close()
		for range 140 {
			fails(t, source, alice)
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(s.server.Requests()); n != 1 {
			t.Errorf("%d requests in 14 s", n)
		}
		s.server.Misbehave(oauthtest.None)
		time.Sleep(2 * time.Second)
		fetch(t, source, alice)
		s.secret.set("wrong")
		fails(t, source, alice)
		s.secret.set(clientSecret)
		fetch(t, source, alice) // at once
	})
}
