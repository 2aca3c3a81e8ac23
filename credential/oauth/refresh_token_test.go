package oauth_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
)

// dir returns a store in a directory of the test.
func dir(t testing.TB) *oauth.Dir {
	t.Helper()
	store, err := oauth.NewDir(t.TempDir() + "/oauth")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// sent returns the refresh tokens of all requests, in order.
func sent(s *oauthtest.Server) (tokens []string) {
	for _, r := range s.Requests() {
		tokens = append(tokens, r.Form.Get("refresh_token"))
	}
	return tokens
}

// renewed makes the source ask again, and returns the new access token.
func renewed(t testing.TB, source *oauth.Source) string {
	t.Helper()
	got, err := source.Fetch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	source.Renew(alice, got)
	return fetch(t, source, alice)
}

// Each refresh token is used once, in this process and in those that come after it.
func TestRotatedRefreshTokensSurviveARestart(t *testing.T) {
	s := set(t, "refresh_token")
	s.options.Store = dir(t)
	for range 3 { // processes
		source := s.open(t)
		fetch(t, source, alice)
		renewed(t, source)
		source.Close()
	}
	used := make(map[string]bool)
	for _, token := range sent(s.server) {
		if used[token] {
			t.Error("a refresh token was used twice")
		}
		used[token] = true
		if !s.knows(token) {
			t.Error("a refresh token is not known to the scrubber")
		}
	}
	if len(used) != 6 || !used[firstRefresh] {
		t.Errorf("%d refresh tokens were used", len(used))
	}
}

// Where refresh tokens are not replaced, nothing is stored.
func TestStaticRefreshToken(t *testing.T) {
	s := set(t, "refresh_token", func(o *oauthtest.Options) { o.Static = true })
	source := s.source(t)
	fetch(t, source, alice)
	renewed(t, source)
	if len(s.store.data) != 0 {
		t.Error("something was stored")
	}
}

// The new refresh token is stored before anyone has the access token.
func TestStoredBeforeGivenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		var stored time.Time
		s.store.saved = func() { time.Sleep(3 * time.Second); stored = time.Now() }
		source := s.open(t)
		defer source.Close()
		fetch(t, source, alice)
		if stored.IsZero() || time.Now().Before(stored) {
			t.Error("the access token was given out first")
		}
	})
}

// A store that does not take the new token: no access token, no request with the old one, and when the store works again,
// the new token is not lost.
func TestAStoreThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		s.store.fail(errors.New("no space left on device"))
		source := s.open(t)
		defer source.Close()
		for range 3 {
			if err := failure(t, source, alice, s.server.Secrets()...); !errors.Is(err, oauth.ErrStore) || !strings.Contains(err.Error(), "no space left on device") {
				t.Errorf("got %v", err)
			}
			time.Sleep(2 * time.Second)
		}
		if n := len(s.server.Requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		s.store.fail(nil)
		fetch(t, source, alice)
		if tokens := sent(s.server); len(tokens) != 2 || tokens[0] == tokens[1] {
			t.Errorf("%d requests", len(tokens))
		}
	})
}

// What the store did not take is not lost with the source that got it: that of a new configuration, or of another server,
// goes on with it.
func TestAnUnstoredTokenOutlivesItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		path := filepath.Join(t.TempDir(), "oauth")
		store, err := oauth.NewDir(path)
		if err != nil {
			t.Fatal(err)
		}
		s.options.Store = store
		s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if err := os.WriteFile(path, nil, 0o600); err != nil { // in the way of the directory
				t.Error(err)
			}
			return s.server.RoundTrip(r)
		})
		source := s.open(t)
		fails(t, source, alice)
		s.options.Transport = s.server
		other := s.open(t)
		defer other.Close()
		if err := failure(t, other, alice, s.server.Secrets()...); !errors.Is(err, oauth.ErrStore) {
			t.Errorf("got %v", err)
		}
		source.Close()
		if n := len(s.server.Requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		fetch(t, other, alice)
		if tokens := sent(s.server); len(tokens) != 2 || tokens[0] == tokens[1] {
			t.Errorf("%d requests", len(tokens))
		}
	})
}

// A crash after the answer and before it is stored loses the authorization where the server takes reuse for theft: that is
// said, and what to do. It is not tried again and again.
func TestCrashBetweenAnswerAndStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		s.store.fail(errors.New("the process is gone"))
		source := s.open(t)
		fails(t, source, alice)
		source.Close()

		s.store.restart()
		s.store.fail(nil)
		source = s.open(t) // it knows nothing
		defer source.Close()
		for range 10 {
			err := failure(t, source, alice, s.server.Secrets()...)
			if !errors.Is(err, oauth.ErrReauthorize) || !errors.Is(err, oauth.ErrRefused) || !strings.Contains(err.Error(), "put the new refresh token into file:/etc/sallyport/refresh") {
				t.Errorf("got %v", err)
			}
			time.Sleep(time.Second)
		}
		if n := len(s.server.Requests()); n != 2 {
			t.Errorf("%d requests", n)
		}
		s.server.Authorize("c4n4ry-refresh-new")
		s.options.RefreshToken.(*kept).set("c4n4ry-refresh-new")
		fetch(t, source, alice)
	})
}

// The answer is lost on the way: the same.
func TestALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		s.server.Misbehave(oauthtest.Lost)
		source := s.open(t)
		defer source.Close()
		fails(t, source, alice)
		s.server.Misbehave(oauthtest.None)
		time.Sleep(2 * time.Second)
		if err := failure(t, source, alice); !errors.Is(err, oauth.ErrReauthorize) || !strings.Contains(err.Error(), "the configured refresh token is not accepted") {
			t.Errorf("got %v", err)
		}
	})
}

// A source that is closed while the token endpoint answers still stores what comes.
func TestCloseWaitsForARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			response, err := s.server.RoundTrip(r)
			select {
			case <-time.After(5 * time.Second):
				return response, err
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		source := s.open(t)
		go func() { _, _ = source.Fetch(t.Context(), alice) }()
		time.Sleep(time.Second)
		source.Close()
		s.options.Transport = s.server
		source = s.open(t)
		defer source.Close()
		fetch(t, source, alice) // with the token that replaced the first
	})
}

// A refresh token that came with an access token that cannot be used is the one that counts all the same.
func TestARotationWithAnUnusableAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "refresh_token")
		s.server.Misbehave(oauthtest.WrongType)
		source := s.open(t)
		defer source.Close()
		fails(t, source, alice)
		s.server.Misbehave(oauthtest.None)
		time.Sleep(2 * time.Second)
		fetch(t, source, alice)
	})
}

// What the operator configures anew counts from then on, and what was stored for the old one does not.
func TestANewConfiguredTokenSupersedesTheStoredOne(t *testing.T) {
	s := set(t, "refresh_token")
	s.options.Store = dir(t)
	source := s.source(t)
	fetch(t, source, alice)
	s.server.Authorize("c4n4ry-refresh-new")
	s.options.RefreshToken.(*kept).set("c4n4ry-refresh-new")
	fetch(t, source, alice)
	renewed(t, source)
	tokens := sent(s.server)
	if len(tokens) != 3 || tokens[1] != "c4n4ry-refresh-new" || !strings.HasPrefix(tokens[2], "rt-") {
		t.Errorf("sent %d tokens", len(tokens))
	}
	other := s.source(t) // and for another source
	fetch(t, other, alice)
}

// Sources that use the same refresh token, as those of two servers or those of a configuration that was replaced, take
// turns: none uses a token that another has used.
func TestSourcesThatShareARefreshToken(t *testing.T) {
	s := set(t, "refresh_token")
	s.options.Store = dir(t)
	var crew sync.WaitGroup
	for range 20 {
		source := s.source(t)
		crew.Go(func() {
			renewed(t, source)
		})
	}
	crew.Wait()
	if n := len(s.server.Requests()); n != 40 {
		t.Errorf("%d requests", n)
	}
}

// A token that was stolen and used elsewhere: the family is revoked, and the message says so.
func TestAStolenRefreshToken(t *testing.T) {
	s := set(t, "refresh_token")
	source := s.source(t)
	fetch(t, source, alice)
	thief := set(t, "refresh_token")
	thief.options.Transport = s.server
	fails(t, thief.source(t), alice) // the first one, which was replaced
	got, err := source.Fetch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	source.Renew(alice, got)
	if err := failure(t, source, alice, s.server.Secrets()...); !errors.Is(err, oauth.ErrReauthorize) || !strings.Contains(err.Error(), "was withdrawn, has expired or was used elsewhere") {
		t.Errorf("got %v", err)
	}
}

// A stored token that cannot be read is an error, for the configured one would look stolen.
func TestAStoredTokenThatIsDamaged(t *testing.T) {
	for _, content := range []string{"", "{}", "null", `{"token":""}`, `{"token":"a"} {}`, `{"token":"a"}}`, `{"token":"a","more":1}`, `{"token":"a\n"}`, `["a"]`, "c4n4ry"} {
		s := set(t, "refresh_token")
		source := s.open(t)
		fetch(t, source, alice)
		source.Close()
		for key := range s.store.data {
			if strings.Contains(key, firstRefresh) {
				t.Error("the key shows the refresh token")
			}
			s.store.data[key] = []byte(content)
		}
		source = s.open(t)
		if err := failure(t, source, alice); !errors.Is(err, oauth.ErrStore) || !strings.Contains(err.Error(), "authorise again") {
			t.Errorf("%q gives %v", content, err)
		}
		if n := len(s.server.Requests()); n != 1 {
			t.Errorf("%q: %d requests", content, n)
		}
		source.Close()
	}
}

func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"token":"a"}`))
	f.Add([]byte(`{"token":"a","token":"b"}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := set(t, "refresh_token", func(o *oauthtest.Options) { o.Static = true })
		s.options.Store = fuzzed{newMemory(), data}
		source := s.open(t)
		defer source.Close()
		_, _ = source.Fetch(t.Context(), alice)
		for _, token := range sent(s.server) {
			if token == firstRefresh && data != nil {
				t.Errorf("%q was passed over", data)
			}
			if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q was sent", token)
			}
		}
	})
}

// fuzzed is a store in which something stands.
type fuzzed struct {
	*memory
	data []byte
}

func (f fuzzed) Load(string) ([]byte, error) {
	if f.data == nil {
		return nil, nil
	}
	return f.data, nil
}
