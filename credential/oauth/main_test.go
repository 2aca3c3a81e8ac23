package oauth_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sallyport.dev/credential"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The secrets of these tests: nobody but the token endpoint may see them.
const (
	clientSecret = "c4n4ry:client secret/+&=%"
	firstRefresh = "c4n4ry-refresh-0"
	subjectToken = "c4n4ry-subject-of-alice"
)

const endpoint = "https://idp.internal/oauth2/token?tenant=c4n4ry-query"

var (
	alice = credential.Principal{Issuer: "https://idp.example", Subject: "alice"}
	bob   = credential.Principal{Issuer: "https://idp.example", Subject: "bob"}
	other = credential.Principal{Issuer: "https://other.example", Subject: "alice"}
)

// leaks fails the test when text holds one of the secrets, plain or encoded.
func leaks(t *testing.T, how, text string, secrets ...string) {
	t.Helper()
	for _, value := range append(secrets, clientSecret, firstRefresh, subjectToken, "c4n4ry", "at-", "alice") {
		for name, form := range map[string]string{
			"plain":  value,
			"URL":    url.QueryEscape(value),
			"hex":    hex.EncodeToString([]byte(value)),
			"base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "="),
		} {
			if len(value) < 6 && name != "plain" {
				continue
			}
			if strings.Contains(text, form) {
				t.Errorf("%s shows %q as %s: %.300s", how, value, name, text)
			}
		}
	}
}

// kept is a source whose values can be replaced, for everybody or for each principal.
type kept struct {
	mu     sync.Mutex
	values map[credential.Principal]string // nobody's is everybody's
	err    error
}

func fixed(value string) *kept {
	return &kept{values: map[credential.Principal]string{{}: value}}
}

func (k *kept) set(value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.values[credential.Principal{}] = value
}

func (k *kept) Fetch(_ context.Context, who credential.Principal) (credential.Fetched, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, ok := k.values[who]
	if !ok {
		text = k.values[credential.Principal{}]
	}
	if k.err != nil || text == "" {
		return credential.Fetched{}, errors.Join(credential.ErrUnavailable, k.err)
	}
	value := secret.New(text)
	return credential.Fetched{Values: []secret.Value{value}, Version: credential.VersionOf(value)}, nil
}

// memory is a store that forgets when it is told to.
type memory struct {
	mu       sync.Mutex
	data     map[string][]byte
	unstored map[string][]byte
	fails    error
	locks    map[string]chan struct{}
	saved    func()
}

func newMemory() *memory {
	return &memory{data: make(map[string][]byte), unstored: make(map[string][]byte), locks: make(map[string]chan struct{})}
}

func (m *memory) Lock(ctx context.Context, key string) (func(), error) {
	m.mu.Lock()
	if m.locks[key] == nil {
		m.locks[key] = make(chan struct{}, 1)
	}
	lock := m.locks[key]
	m.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Load(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data, ok := m.unstored[key]; ok {
		if m.fails != nil {
			return nil, m.fails
		}
		m.data[key] = data
		delete(m.unstored, key)
	}
	return m.data[key], nil
}

func (m *memory) Save(key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		m.unstored[key] = data
		return m.fails
	}
	m.data[key] = data
	delete(m.unstored, key)
	if m.saved != nil {
		m.saved()
	}
	return nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = err
}

// restart loses what was not stored.
func (m *memory) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.unstored)
}

// minter signs with a key of its own.
type minter struct{ key ed25519.PrivateKey }

func newMinter() minter {
	return minter{ed25519.NewKeyFromSeed([]byte("the seed of the tests' minter...")[:ed25519.SeedSize])}
}

func (m minter) Token(_ context.Context, who credential.Principal) (secret.Value, time.Time, error) {
	subject, expires := who.Issuer+"|"+who.Subject, time.Now().Add(time.Minute)
	if who.IsZero() {
		subject = "the client"
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "sallyport", "sub": subject, "aud": "https://idp.internal", "iat": time.Now().Unix(), "exp": expires.Unix(),
	}).SignedString(m.key)
	return secret.New(text), expires, err
}

// setting is a source under test with what stands around it.
type setting struct {
	cfg     oauth.Config
	options oauth.Options
	server  *oauthtest.Server
	store   *memory
	secret  *kept

	mu   sync.Mutex
	seen map[string]bool
	log  []string
}

func ref(t testing.TB, text string) secret.Ref {
	t.Helper()
	r, err := secret.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// set returns a setting for a grant, whose server is asked without a network.
func set(t testing.TB, grant string, change ...func(*oauthtest.Options)) *setting {
	t.Helper()
	o := oauthtest.Options{
		ClientID: "sally port", ClientSecret: clientSecret, RefreshToken: firstRefresh,
		AssertionKey: newMinter().key.Public(), Audience: "https://idp.internal",
		SubjectTokens: map[string]string{subjectToken: "alice", "c4n4ry-subject-of-bob": "bob"},
	}
	for _, c := range change {
		c(&o)
	}
	s := &setting{server: oauthtest.New(o), store: newMemory(), secret: fixed(clientSecret), seen: make(map[string]bool)}
	s.cfg = oauth.Config{Grant: grant, TokenURL: endpoint, ClientID: "sally port", ClientSecret: ref(t, "env:CLIENT_SECRET")}
	s.options = oauth.Options{Transport: s.server, ClientSecret: s.secret, Seen: s.see, Log: s.note}
	switch grant {
	case "refresh_token":
		s.cfg.RefreshToken = ref(t, "file:/etc/sallyport/refresh")
		s.options.RefreshToken, s.options.Store = fixed(firstRefresh), s.store
	case "jwt_bearer":
		s.cfg.Key = ref(t, "file:/etc/sallyport/key.pem")
		s.options.Key, s.options.Minter = fixed("PEM"), newMinter()
	case "token_exchange":
		s.cfg.SubjectToken = ref(t, "env:SUBJECT")
		s.options.SubjectToken = &kept{values: map[credential.Principal]string{alice: subjectToken, bob: "c4n4ry-subject-of-bob"}}
	}
	return s
}

func (s *setting) see(v secret.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[v.Reveal()] = true
}

// knows reports whether the scrubber would know a secret.
func (s *setting) knows(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[text]
}

func (s *setting) note(event string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%s: %v", event, err))
}

// logged returns what was logged.
func (s *setting) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

// open makes the source, which the caller closes.
func (s *setting) open(t testing.TB) *oauth.Source {
	t.Helper()
	source, err := oauth.New(s.cfg, s.options)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// source makes the source for the length of the test.
func (s *setting) source(t testing.TB) *oauth.Source {
	t.Helper()
	source := s.open(t)
	t.Cleanup(source.Close)
	return source
}

// fetch returns the access token for a principal.
func fetch(t testing.TB, source *oauth.Source, who credential.Principal) string {
	t.Helper()
	got, err := source.Fetch(t.Context(), who)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	if len(got.Values) != 1 {
		t.Fatalf("%d values", len(got.Values))
	}
	return got.Values[0].Reveal()
}

// fails makes sure that no token is given out.
func fails(t *testing.T, source *oauth.Source, who credential.Principal, secrets ...string) {
	t.Helper()
	if failure(t, source, who, secrets...) == nil {
		t.Error("no error")
	}
}

// failure returns the error of a fetch, having looked for secrets in it.
func failure(t *testing.T, source *oauth.Source, who credential.Principal, secrets ...string) error {
	t.Helper()
	got, err := source.Fetch(t.Context(), who)
	if err == nil || len(got.Values) != 0 {
		t.Fatal("a token was given out")
	}
	if !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("%v does not match ErrUnavailable", err)
	}
	leaks(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err.Error()), secrets...)
	return err
}

// roundTripper is a function that sends a request.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
func (f roundTripper) CloseIdleConnections()                             {}
