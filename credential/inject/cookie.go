package inject

import (
	"fmt"
	"net/http"
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
	if !isToken(c.Name) || len(c.Name) > maxHeader {
		return fmt.Errorf("%w: cookie: name is not a cookie's; write one such as session", credential.ErrConfig)
	}
	return nil
}

// Place implements credential.Injector.
func (c Cookie) Place() string { return "cookie " + folded(c.Name) }

// Order implements credential.Injector.
func (Cookie) Order() int { return credential.OrderHeader }

// Strip takes the cookie out of all fields, in any case and with _ for -. The others stay, in one field.
func (c Cookie) Strip(r *http.Request) error {
	var kept []string
	for name, lines := range r.Header {
		if !sameFolded(name, "Cookie") {
			continue
		}
		delete(r.Header, name)
		for _, line := range lines {
			for pair := range strings.SplitSeq(line, ";") {
				pair = strings.Trim(pair, " \t")
				name, _, _ := strings.Cut(pair, "=")
				if pair != "" && !sameFolded(strings.Trim(name, " \t"), c.Name) {
					kept = append(kept, pair)
				}
			}
		}
	}
	if len(kept) > 0 {
		setHeader(r, "Cookie", strings.Join(kept, "; "))
	}
	return nil
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
