package inject

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

const authorization = "Authorization"

// Basic puts a password in as HTTP's Basic authentication does (RFC 7617).
type Basic struct {
	// User is the user's name, without a colon. Required.
	User string `yaml:"user"`
}

// Validate implements credential.Injector.
func (b Basic) Validate() error {
	if b.User == "" || len(b.User) > maxHeader || !utf8.ValidString(b.User) || strings.ContainsFunc(b.User, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: basic: user is required, without a colon or control characters", credential.ErrConfig)
	}
	return nil
}

// Place implements credential.Injector.
func (Basic) Place() string { return Header{Name: authorization}.Place() }

// Order implements credential.Injector.
func (Basic) Order() int { return credential.OrderHeader }

// Strip implements credential.Injector.
func (Basic) Strip(r *http.Request) error { return Header{Name: authorization}.Strip(r) }

// Inject implements credential.Injector. The value is the password.
func (b Basic) Inject(r *http.Request, values []secret.Value) error {
	if err := b.Strip(r); err != nil {
		return err
	}
	password, err := single(b.Place(), values)
	if err != nil {
		return err
	}
	if !utf8.ValidString(password) || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: basic: the password holds control characters or is not UTF-8; check where it comes from", credential.ErrUnusable)
	}
	setHeader(r, authorization, "Basic "+base64.StdEncoding.EncodeToString([]byte(b.User+":"+password)))
	return nil
}
