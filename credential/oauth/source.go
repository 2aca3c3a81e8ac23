package oauth

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

const (
	maxTokens  = 1024             // principals whose tokens are kept
	maxChanges = 3                // how often a Fetch begins again because a secret was replaced meanwhile
	refusedFor = 15 * time.Second // how long a refusal stands, so that an authorization server does not lock the client out
	renewEvery = 5 * time.Second  // how old a token that replaced a refused one must be before it can be refused itself
)

// Minter signs a JWT for a principal and says when it expires; the zero time is never. For nobody it signs one for the
// client itself, if it is made for that.
type Minter interface {
	Token(ctx context.Context, who credential.Principal) (secret.Value, time.Time, error)
}

// Options are what a source works with.
type Options struct {
	// Transport sends the token requests, and is closed with the source. It dials: it sees to it that the address is allowed
	// and that the certificate is valid for the host, by the CAs of ca_file if there are any; it must not be a proxy.
	// Required.
	Transport credential.Conns
	// ClientSecret, RefreshToken, SubjectToken and Key are the sources of the references of the configuration, each required
	// where that has one. Of Key only the version counts: Minter signs with it.
	ClientSecret, RefreshToken, SubjectToken, Key credential.Source
	// Personal says that what one of these sources gives depends on the principal. Each principal then has a token of his
	// own, as always with token_exchange and with jwt_bearer for principals.
	Personal bool
	// Minter signs assertions and subject tokens. Required where the configuration has a key.
	Minter Minter
	// Store keeps the refresh tokens that replace the first. Required for refresh_token.
	Store Store
	// Seen is called with each secret before it is sent and with each that has come, before anyone else has it. Optional.
	Seen func(secret.Value)
	// Log is told of what goes wrong while nobody waits for it. Optional.
	Log func(event string, err error)
}

// Source is a credential.Source of one value, an access token. Make it with [New]. It is safe for concurrent use.
type Source struct {
	cfg      Config
	host     string // of the token endpoint, for errors
	personal bool

	parts     []part
	transport credential.Conns
	minter    Minter
	store     Store
	seen      func(secret.Value)
	log       func(string, error)

	tokens *fresh.Cache[tokenKey, *token]

	mu       sync.Mutex // guards what follows
	current  map[tokenKey]*token
	refusals map[tokenKey]standing
}

var _ credential.Renewer = (*Source)(nil)

// tokenKey says whose token it is, and on which secrets it stands.
type tokenKey struct {
	who     credential.Principal // nobody, where all have the same token
	version credential.Version
}

// token is an access token that is given out.
type token struct {
	got      credential.Fetched
	since    time.Time
	replaces bool        // one that the upstream refused
	refused  atomic.Bool // by the upstream
}

// standing is a refusal of the token endpoint.
type standing struct {
	err   error
	until time.Time
}

// New returns a source. It asks nobody for anything. Its error matches credential.ErrConfig.
func New(cfg Config, o Options) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := o.check(&cfg); err != nil {
		return nil, err
	}
	to, err := url.Parse(cfg.TokenURL)
	if err != nil {
		return nil, wrong("token_url: not a URL")
	}
	s := &Source{
		cfg: cfg, host: to.Host, personal: cfg.isPersonal() || o.Personal,
		parts: o.parts(), transport: o.Transport, minter: o.Minter, store: o.Store, seen: o.Seen, log: o.Log,
		current: make(map[tokenKey]*token), refusals: make(map[tokenKey]standing),
	}
	if s.seen == nil {
		s.seen = func(secret.Value) {}
	}
	if s.log == nil {
		s.log = func(string, error) {}
	}
	s.tokens = fresh.New(maxTokens, s.fetch, s.dropped)
	return s, nil
}

// check says what is missing for a configuration.
func (o *Options) check(cfg *Config) error {
	switch {
	case o.Transport == nil:
		return wrong("token_url: there is no transport for the token endpoint")
	case (o.ClientSecret == nil) != cfg.ClientSecret.IsZero():
		return wrong("client_secret: its source and its reference do not go together")
	case (o.RefreshToken == nil) != cfg.RefreshToken.IsZero():
		return wrong("refresh_token: its source and its reference do not go together")
	case (o.SubjectToken == nil) != cfg.SubjectToken.IsZero():
		return wrong("subject_token: its source and its reference do not go together")
	case (o.Key == nil) != cfg.Key.IsZero() || (o.Minter == nil) != cfg.Key.IsZero():
		return wrong("key: its source, its minter and its reference do not go together")
	case cfg.Grant == grantRefresh && o.Store == nil:
		return wrong("refresh_token: a token that replaces it has to be kept over restarts; write state_dir")
	}
	return nil
}

// Fetch implements credential.Source. The version is that of the secrets which the token is got with.
func (s *Source) Fetch(ctx context.Context, who credential.Principal) (credential.Fetched, error) {
	who, err := s.holder(who)
	if err != nil {
		return credential.Fetched{}, s.unavailable(err)
	}
	err = errChanged
	for try := 0; try < maxChanges && errors.Is(err, errChanged); try++ {
		var version credential.Version
		if version, err = s.version(ctx, who); err != nil {
			break
		}
		var t *token
		if t, err = s.tokens.Get(ctx, tokenKey{who, version}); err == nil {
			return t.got, nil
		}
	}
	return credential.Fetched{}, s.unavailable(err)
}

// holder says under whose name a principal's token is kept. A subject without its issuer, or the reverse, is somebody
// else's too.
func (s *Source) holder(who credential.Principal) (credential.Principal, error) {
	if !s.personal {
		return credential.Principal{}, nil
	}
	if who.Issuer == "" || who.Subject == "" {
		return credential.Principal{}, errors.New("the token is for a principal, and the request is made for nobody; let agents authenticate")
	}
	return who, nil
}

// Renew implements credential.Renewer. What was refused is forgotten only if it is still what would be given out, so that
// many who were refused the same token fetch one. An upstream that refuses everything does not get a new token for each
// request: one that has replaced a refused token is kept for 5 s at least.
func (s *Source) Renew(who credential.Principal, refused credential.Fetched) {
	who, err := s.holder(who)
	if err != nil || len(refused.Values) != 1 {
		return
	}
	key := tokenKey{who, refused.Version}
	s.mu.Lock()
	t := s.current[key]
	s.mu.Unlock()
	if t == nil || !t.got.Values[0].Equal(refused.Values[0]) || t.replaces && time.Since(t.since) < renewEvery {
		return
	}
	t.refused.Store(true)
	s.tokens.Forget(key, t)
}

// Close ends what is under way, and waits for it: for a refresh token until the answer is stored, 10 s at most. No token is
// given out any more. Tokens are not revoked.
func (s *Source) Close() {
	s.tokens.Close()
	s.transport.CloseIdleConnections()
}

// fetch brings a token for the cache.
func (s *Source) fetch(ctx context.Context, key tokenKey, old *token) (*token, fresh.Lifetime, error) {
	began := time.Now()
	got, err := s.obtain(ctx, key)
	var kept fresh.Lifetime
	if err == nil {
		kept, err = got.lifetime(time.Since(began))
	}
	if err != nil {
		if !errors.Is(err, errChanged) && !errors.Is(err, context.Canceled) {
			s.log("token request failed", err)
		}
		return nil, fresh.Lifetime{}, err
	}
	t := &token{
		got:      credential.Fetched{Values: []secret.Value{got.access}, Version: key.version},
		since:    time.Now(),
		replaces: old != nil && old.refused.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current[key] = t
	return t, kept, nil
}

// dropped is told of tokens that are given out no more.
func (s *Source) dropped(key tokenKey, t *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[key] == t {
		delete(s.current, key)
	}
}

// obtain asks for a token, unless a refusal stands.
func (s *Source) obtain(ctx context.Context, key tokenKey) (answer, error) {
	if err := s.standing(key); err != nil {
		return answer{}, err
	}
	r, err := s.roots(ctx, key.who)
	if err != nil {
		return answer{}, err
	}
	if r.version != key.version {
		return answer{}, errChanged
	}
	got, err := s.grant(ctx, r, key.who)
	if errors.Is(err, ErrRefused) {
		s.stand(key, err)
	}
	return got, err
}

func (s *Source) grant(ctx context.Context, r roots, who credential.Principal) (answer, error) {
	switch s.cfg.Grant {
	case grantRefresh:
		return s.refresh(ctx, r)
	case grantJWT:
		if s.cfg.Subject == subjectClient {
			who = credential.Principal{}
		}
		return s.jwtBearer(ctx, r, who)
	case grantExchange:
		return s.tokenExchange(ctx, r, who)
	}
	return s.clientCredentials(ctx, r)
}

// standing returns the refusal that stands.
func (s *Source) standing(key tokenKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.refusals[key]; ok && time.Now().Before(last.until) {
		return last.err
	}
	return nil
}

// stand lets a refusal stand.
func (s *Source) stand(key tokenKey, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, last := range s.refusals {
		if !now.Before(last.until) {
			delete(s.refusals, key)
		}
	}
	if len(s.refusals) < maxTokens {
		s.refusals[key] = standing{err, now.Add(refusedFor)}
	}
}
