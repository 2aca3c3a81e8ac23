package inject

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// Query puts a value into a parameter of the URL's query.
type Query struct {
	// Name is the parameter's. Required.
	Name string `yaml:"name"`
}

// Validate implements credential.Injector.
func (q Query) Validate() error {
	if !isToken(q.Name) || len(q.Name) > maxHeader || strings.ContainsAny(q.Name, "&%+#'") || foldName(q.Name) == "" {
		return fmt.Errorf("%w: query: name is not a plain parameter's; write one such as api_key", credential.ErrConfig)
	}
	if foldName(q.Name) == "sessionid" { // sessionId, session_id and sessionid, each in some SDK
		return fmt.Errorf("%w: query: %s is how HTTP+SSE names its sessions; a credential goes into a parameter of its own", credential.ErrConfig, q.Name)
	}
	return nil
}

// Place implements credential.Injector.
func (q Query) Place() string { return "query " + foldName(q.Name) }

// Order implements credential.Injector.
func (Query) Order() int { return credential.OrderURL }

// Strip takes the parameter out in every spelling that some server takes for it: in any case, with other joints or none
// between its words, with escapes, and as an element of a list. All others stay as they are. A query that servers read in
// different ways is refused.
func (q Query) Strip(r *http.Request) error {
	kept, err := withoutPair(r.URL.RawQuery, q.Name)
	if err != nil {
		r.URL.RawQuery = ""
		return fmt.Errorf("%w: %s: the request's query cannot be read in one way", credential.ErrUnusable, q.Place())
	}
	r.URL.RawQuery, r.URL.ForceQuery = kept, false
	return nil
}

// Inject implements credential.Injector.
func (q Query) Inject(r *http.Request, values []secret.Value) error {
	if err := q.Strip(r); err != nil {
		return err
	}
	text, err := single(q.Place(), values)
	if err != nil {
		return err
	}
	r.URL.RawQuery = addPair(r.URL.RawQuery, q.Name, text)
	return nil
}

// addPair adds name=value to a query or a form.
func addPair(pairs, name, value string) string {
	pair := url.QueryEscape(name) + "=" + url.QueryEscape(value)
	if pairs == "" {
		return pair
	}
	return pairs + "&" + pair
}

// withoutPair takes all pairs of a name out of a query or a form, and leaves every byte of the others. It reads as strictly
// as the strictest server: an escape that is none is an error, and so is what ends or parts the pairs for some servers and
// not for others: a semicolon, a number sign, a space, a control character.
func withoutPair(pairs, name string) (string, error) {
	if strings.ContainsFunc(pairs, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ';' || r == '#' }) {
		return "", credential.ErrUnusable
	}
	folded := foldName(name)
	var kept []string
	for pair := range strings.SplitSeq(pairs, "&") {
		key, value, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(key)
		if _, bad := url.QueryUnescape(value); err != nil || bad != nil {
			return "", credential.ErrUnusable
		}
		if pair != "" && !isVariant(decoded, folded) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&"), nil
}
