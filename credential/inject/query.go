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
	if !isToken(q.Name) || len(q.Name) > maxHeader || strings.ContainsAny(q.Name, "&%+#'") {
		return fmt.Errorf("%w: query: name is not a plain parameter's; write one such as api_key", credential.ErrConfig)
	}
	if strings.EqualFold(foldName(q.Name), "sessionid") {
		return fmt.Errorf("%w: query: %s is how HTTP+SSE names its sessions; a credential goes into a parameter of its own", credential.ErrConfig, q.Name)
	}
	return nil
}

// Place implements credential.Injector.
func (q Query) Place() string { return "query " + foldName(q.Name) }

// Order implements credential.Injector.
func (Query) Order() int { return credential.OrderURL }

// Strip takes the parameter out in every spelling that some server takes for it: in any case, with _ for -, with escapes,
// and as an element of a list. All others stay as they are. A query that servers read in different ways is refused.
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
// as the strictest server: an escape that is none, and a semicolon, which some take for &, are errors.
func withoutPair(pairs, name string) (string, error) {
	if strings.Contains(pairs, ";") {
		return "", credential.ErrUnusable
	}
	var kept []string
	for pair := range strings.SplitSeq(pairs, "&") {
		key, value, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(key)
		if _, bad := url.QueryUnescape(value); err != nil || bad != nil {
			return "", credential.ErrUnusable
		}
		decoded, _, _ = strings.Cut(decoded, "[") // name[] and name[0]
		decoded, _, _ = strings.Cut(decoded, "\x00")
		if pair != "" && foldName(strings.TrimSpace(decoded)) != foldName(name) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&"), nil
}

// foldName is a name in the one spelling in which names are compared: in lower case, with dashes, and without the dots and
// spaces that some servers read as underscores.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '_', '.', ' ':
			return '-'
		}
		return r
	}, strings.ToLower(name))
}
