package inject

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// Cookie puts a value into a cookie.
type Cookie struct {
	// Name is the cookie's. Required.
	Name string `yaml:"name"`
}

// Validate implements credential.Injector.
func (c Cookie) Validate() error {
	if !isToken(c.Name) || len(c.Name) > maxHeader || foldName(c.Name) == "" {
		return fmt.Errorf("%w: cookie: name is not a cookie's; write one such as session", credential.ErrConfig)
	}
	return nil
}

// Place implements credential.Injector.
func (c Cookie) Place() string { return "cookie " + foldName(c.Name) }

// Order implements credential.Injector.
func (Cookie) Order() int { return credential.OrderHeader }

// Strip takes the cookie out of all fields, in every spelling that some server takes for it: in any case, with other joints
// or none between its words, with escapes, behind a comma, or as the value of one without a name. The others stay, in one
// field.
func (c Cookie) Strip(r *http.Request) error {
	var fields []string
	for name := range r.Header {
		if sameFolded(name, "Cookie") {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields) // one order, however often it is sent
	folded := foldName(c.Name)
	var kept []string
	for _, field := range fields {
		for _, line := range r.Header[field] {
			for pair := range strings.SplitSeq(line, ";") {
				pair = strings.Trim(pair, " \t")
				if pair != "" && !setsCookie(pair, folded) {
					kept = append(kept, pair)
				}
			}
		}
		delete(r.Header, field)
	}
	if len(kept) > 0 {
		setHeader(r, "Cookie", strings.Join(kept, "; "))
	}
	return nil
}

// setsCookie reports whether some server finds the cookie in what stands between two semicolons.
func setsCookie(pair, folded string) bool {
	for part := range strings.SplitSeq(pair, ",") { // as RFC 2109 had it
		name, _, _ := strings.Cut(strings.TrimLeft(part, "= \t"), "=")
		decoded, err := url.PathUnescape(name)
		if isVariant(name, folded) || err == nil && isVariant(decoded, folded) {
			return true
		}
	}
	return false
}

// Inject implements credential.Injector. The value may hold what RFC 6265, section 4.1.1, lets a cookie hold.
func (c Cookie) Inject(r *http.Request, values []secret.Value) error {
	if err := c.Strip(r); err != nil {
		return err
	}
	text, err := single(c.Place(), values)
	if err != nil {
		return err
	}
	for i := range len(text) {
		if b := text[i]; b <= ' ' || b >= 0x7f || strings.IndexByte("\",;\\", b) >= 0 {
			return fmt.Errorf("%w: %s: it holds a character that no cookie may hold; check where it comes from", credential.ErrUnusable, c.Place())
		}
	}
	line := c.Name + "=" + text
	if others := r.Header.Get("Cookie"); others != "" {
		line = others + "; " + line
	}
	setHeader(r, "Cookie", line)
	return nil
}
