package oauth

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// The grants.
const (
	grantClient   = "client_credentials"
	grantRefresh  = "refresh_token"
	grantJWT      = "jwt_bearer"
	grantExchange = "token_exchange"
)

// Ways in which the client shows who it is.
const (
	authBasic = "basic"
	authPost  = "post"
	authNone  = "none"
)

// For whom an assertion is.
const (
	subjectPrincipal = "principal"
	subjectClient    = "client"
)

const (
	maxScopes = 64
	maxParams = 32
	maxText   = 2048 // bytes of one value
)

// Config says how access tokens are got from a token endpoint. Nothing is discovered: what is not written here is not
// asked for.
type Config struct {
	// Grant is how the authorization is proved: client_credentials, refresh_token, jwt_bearer (RFC 7523) or token_exchange
	// (RFC 8693). Default client_credentials.
	Grant string `yaml:"grant"`
	// TokenURL is the token endpoint, over https. Required.
	TokenURL string `yaml:"token_url"`
	// ClientID is the client's name at the authorization server. Required unless auth is none.
	ClientID string `yaml:"client_id"`
	// ClientSecret refers to the client's secret. Required unless auth is none.
	ClientSecret secret.Ref `yaml:"client_secret"`
	// Auth is how the client shows its secret: basic, in the Authorization header; post, in the body; or none, for which it
	// has no secret, and which client_credentials does not allow. Default basic.
	Auth string `yaml:"auth"`
	// RefreshToken refers to the first refresh token. Those that replace it are kept in state_dir, until another is put
	// here. It must be this connector's alone. Required for refresh_token.
	RefreshToken secret.Ref `yaml:"refresh_token"`
	// Key refers to a private key in PEM, with which JWTs are signed: assertions of jwt_bearer, for which it is required, or
	// subject tokens of token_exchange.
	Key secret.Ref `yaml:"key"`
	// Subject is for whom the assertion of jwt_bearer is: principal, each caller with a token of his own, or client, one
	// token for all. Default principal.
	Subject string `yaml:"subject"`
	// SubjectToken refers to the caller's own token for token_exchange, in place of one that is signed with key.
	SubjectToken secret.Ref `yaml:"subject_token"`
	// SubjectTokenType is what kind of token token_exchange shows. Default urn:ietf:params:oauth:token-type:jwt with key,
	// and urn:ietf:params:oauth:token-type:access_token with subject_token.
	SubjectTokenType string `yaml:"subject_token_type"`
	// RequestedTokenType is what kind of token token_exchange asks for. Optional.
	RequestedTokenType string `yaml:"requested_token_type"`
	// Scopes are what the token shall allow. Optional.
	Scopes []string `yaml:"scopes"`
	// Audience is the name of the service that the token is for. Optional.
	Audience string `yaml:"audience"`
	// Resource is the URL of the service that the token is for (RFC 8707). Optional.
	Resource string `yaml:"resource"`
	// Params are further parameters of the token request; none of those that have a key here, and no secrets. Optional.
	Params map[string]string `yaml:"params"`
	// CAFile is a file with the CA certificates to trust for the token endpoint, in PEM, instead of the system's. Optional.
	CAFile string `yaml:"ca_file"`
	// AllowPlaintext lets a token endpoint on this machine's loopback be asked over plain http. Default false.
	AllowPlaintext bool `yaml:"allow_plaintext"`
}

// Validate applies the defaults and reports everything that is wrong at once. Its error matches credential.ErrConfig.
func (c *Config) Validate() error {
	c.setDefaults()
	errs := []error{c.checkURL(), c.checkAuth(), c.checkTexts(), c.checkParams()}
	switch c.Grant {
	case grantClient:
		errs = append(errs, c.checkClientCredentials())
	case grantRefresh:
		errs = append(errs, c.checkRefreshToken())
	case grantJWT:
		errs = append(errs, c.checkJWTBearer())
	case grantExchange:
		errs = append(errs, c.checkTokenExchange())
	default:
		errs = append(errs, wrong("grant: client_credentials, refresh_token, jwt_bearer or token_exchange is allowed"))
	}
	return errors.Join(errs...)
}

func (c *Config) setDefaults() {
	if c.Grant == "" {
		c.Grant = grantClient
	}
	if c.Auth == "" {
		c.Auth = authBasic
	}
	if c.Grant == grantJWT && c.Subject == "" {
		c.Subject = subjectPrincipal
	}
	if c.Grant == grantExchange && c.SubjectTokenType == "" {
		c.SubjectTokenType = typeAccessToken
		if c.SubjectToken.IsZero() {
			c.SubjectTokenType = typeJWT
		}
	}
}

func (c *Config) checkURL() error {
	to, err := url.Parse(c.TokenURL)
	if err != nil || c.TokenURL == "" {
		return wrong("token_url: write the token endpoint's URL, such as https://idp.example.com/oauth2/token")
	}
	if err := (credential.Destination{URL: to, AllowPlaintext: c.AllowPlaintext}).Validate(); err != nil {
		return fmt.Errorf("token_url: %w", err)
	}
	if to.Scheme == "http" && !isLoopback(to.Hostname()) {
		return wrong("token_url: plain http is for a token endpoint on this machine's loopback only; use https")
	}
	if to.Fragment != "" || strings.Contains(c.TokenURL, "#") {
		return wrong("token_url: take the fragment out (RFC 6749, section 3.2)")
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func (c *Config) checkAuth() error {
	var errs []error
	switch c.Auth {
	case authBasic, authPost:
		if c.ClientID == "" {
			errs = append(errs, wrong("client_id: required with auth: %s", c.Auth))
		}
		if c.ClientSecret.IsZero() {
			errs = append(errs, wrong("client_secret: a reference is required with auth: %s; a client without a secret has auth: none", c.Auth))
		}
	case authNone:
		if !c.ClientSecret.IsZero() {
			errs = append(errs, wrong("client_secret: it is not sent with auth: none; write auth: basic or auth: post"))
		}
	default:
		errs = append(errs, wrong("auth: basic, post or none is allowed"))
	}
	return errors.Join(errs...)
}

func (c *Config) checkTexts() error {
	var errs []error
	if len(c.Scopes) > maxScopes || !every(c.Scopes, isScope) {
		errs = append(errs, wrong("scopes: write a list of at most %d, each of printable ASCII without spaces, quotes and backslashes", maxScopes))
	}
	for _, text := range []struct{ key, value string }{
		{"client_id", c.ClientID}, {"audience", c.Audience}, {"resource", c.Resource},
		{"subject_token_type", c.SubjectTokenType}, {"requested_token_type", c.RequestedTokenType},
	} {
		if !isText(text.value) {
			errs = append(errs, wrong("%s: write at most %d bytes of printable ASCII", text.key, maxText))
		}
	}
	if c.Resource != "" {
		if to, err := url.Parse(c.Resource); err != nil || !to.IsAbs() || strings.Contains(c.Resource, "#") {
			errs = append(errs, wrong("resource: write an absolute URL without a fragment (RFC 8707, section 2)"))
		}
	}
	return errors.Join(errs...)
}

// ownParams are those that have a key of the configuration, and those that would carry a secret in clear.
var ownParams = []string{
	"grant_type", "client_id", "client_secret", "scope", "audience", "resource", "refresh_token", "assertion",
	"subject_token", "subject_token_type", "requested_token_type", "actor_token", "actor_token_type",
	"client_assertion", "client_assertion_type", "username", "password", "code", "code_verifier", "device_code",
}

func (c *Config) checkParams() error {
	var errs []error
	if len(c.Params) > maxParams {
		errs = append(errs, wrong("params: at most %d are allowed", maxParams))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		switch {
		case name == "" || len(name) > 64 || !every([]string{name}, isScope):
			errs = append(errs, wrong("params: a name is 1 to 64 bytes of printable ASCII without spaces"))
		case slices.ContainsFunc(ownParams, func(own string) bool { return strings.EqualFold(own, name) }):
			errs = append(errs, wrong("params.%s: it has a key of its own, or is a secret; take it out", name))
		case !isText(c.Params[name]):
			errs = append(errs, wrong("params.%s: write at most %d bytes of printable ASCII", name, maxText))
		}
	}
	return errors.Join(errs...)
}

// only says which keys are written that the grant does not know.
func (c *Config) only(keys ...string) error {
	var errs []error
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"refresh_token", !c.RefreshToken.IsZero()},
		{"key", !c.Key.IsZero()},
		{"subject", c.Subject != ""},
		{"subject_token", !c.SubjectToken.IsZero()},
		{"subject_token_type", c.SubjectTokenType != ""},
		{"requested_token_type", c.RequestedTokenType != ""},
	} {
		if key.set && !slices.Contains(keys, key.name) {
			errs = append(errs, wrong("%s: the grant %s has no use for it; take it out, or write another grant", key.name, c.Grant))
		}
	}
	return errors.Join(errs...)
}

// isPersonal reports whether the grant gives each principal a token of his own.
func (c *Config) isPersonal() bool {
	return c.Grant == grantExchange || c.Grant == grantJWT && c.Subject == subjectPrincipal
}

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", credential.ErrConfig, fmt.Sprintf(format, args...))
}

// isScope is scope-token of RFC 6749, section 3.3.
func isScope(text string) bool {
	return text != "" && len(text) <= maxText && every([]byte(text), func(c byte) bool { return c > 0x20 && c < 0x7f && c != '"' && c != '\\' })
}

func isText(text string) bool {
	return len(text) <= maxText && every([]byte(text), func(c byte) bool { return c >= 0x20 && c < 0x7f })
}

func every[T any](list []T, is func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !is(v) })
}

// Refs are the references of the configuration, those that there are.
func (c *Config) Refs() []secret.Ref {
	return slices.DeleteFunc([]secret.Ref{c.ClientSecret, c.RefreshToken, c.SubjectToken, c.Key}, secret.Ref.IsZero)
}

// NamesPrincipal reports whether each caller has a token of his own, whatever the references are.
func (c *Config) NamesPrincipal() bool { return c.isPersonal() }

// ForClient reports whether the assertion is for the client itself.
func (c *Config) ForClient() bool { return c.Subject == subjectClient }
