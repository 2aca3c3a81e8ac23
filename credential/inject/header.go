package inject

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// placeholder stands in a template where the secret goes.
const placeholder = "{secret}"

// maxHeader bounds a header's name, and its template, in bytes.
const maxHeader = 256

// Header says how a secret is put into a request: as one header field.
type Header struct {
	// Name is the field's name, such as Authorization. Required.
	Name string `yaml:"name"`
	// Template is the field's value with {secret} where the secret goes, such as "Bearer {secret}". Required.
	Template string `yaml:"value"`
}

// reserved are fields that frame or route the request, say what is asked for, switch on retries, or belong to a hop:
// a credential in one of them would change what the request is.
var reserved = []string{
	"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "forwarded", "host",
	"idempotency-key", "keep-alive", "last-event-id", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade", "via", "x-http-method", "x-http-method-override", "x-idempotency-key", "x-method-override",
	"x-original-url", "x-rewrite-url",
}

// reservedPrefixes are families of such fields: MCP's own, our hop's own, and pseudo headers of proxies.
var reservedPrefixes = []string{"mcp-", "sallyport-", "x-forwarded-"}

// Validate checks the name and the template, and says what to write instead.
func (h Header) Validate() error {
	if !isToken(h.Name) || len(h.Name) > maxHeader {
		return fmt.Errorf("%w: header name is not a valid field name; write one such as Authorization", credential.ErrConfig)
	}
	if isReserved(h.Name) {
		return fmt.Errorf("%w: header %s is reserved; a credential goes into a field of its own, such as Authorization", credential.ErrConfig, h.Name)
	}
	if len(h.Template) > maxHeader {
		return fmt.Errorf("%w: header %s: value is longer than %d bytes; only {secret} and a scheme belong there", credential.ErrConfig, h.Name, maxHeader)
	}
	if strings.Count(h.Template, placeholder) != 1 {
		return fmt.Errorf(`%w: header %s: value must contain {secret} exactly once, as in "Bearer {secret}"`, credential.ErrConfig, h.Name)
	}
	if !isFieldValue(h.Template) {
		return fmt.Errorf("%w: header %s: value may hold printable ASCII only, with no space at either end", credential.ErrConfig, h.Name)
	}
	return nil
}

// Place implements credential.Injector.
func (h Header) Place() string { return "header " + folded(h.Name) }

// Order implements credential.Injector. The field Cookie has an earlier turn: a Cookie adds to what stands there.
func (h Header) Order() int {
	if sameFolded(h.Name, "Cookie") {
		return credential.OrderURL
	}
	return credential.OrderHeader
}

// Strip deletes the field from the request, in every spelling that some server takes for it: any case, and _ for -.
func (h Header) Strip(r *http.Request) error {
	deleteVariants(r.Header, h.Name)
	deleteVariants(r.Trailer, h.Name)
	return nil
}

// Inject strips the field and then sets it to the template with the value in it. A value with control characters, bytes
// outside ASCII or a space at either end is refused with credential.ErrUnusable: it would not arrive as it is, or would
// begin another field.
func (h Header) Inject(r *http.Request, values []secret.Value) error {
	if err := h.Strip(r); err != nil {
		return err
	}
	before, after, _ := strings.Cut(h.Template, placeholder)
	text, err := single(h.Place(), values)
	if err != nil {
		return err
	}
	if !isFieldValue(text) {
		return fmt.Errorf("%w: %s: it holds control characters, bytes outside ASCII or a space at an end; check where it comes from", credential.ErrUnusable, h.Place())
	}
	setHeader(r, h.Name, before+text+after)
	return nil
}

// single returns the text of a credential that is one value.
func single(place string, values []secret.Value) (string, error) {
	if len(values) != 1 || values[0].IsZero() {
		return "", fmt.Errorf("%w: %s: it is empty", credential.ErrUnusable, place)
	}
	return values[0].Reveal(), nil
}

// setHeader sets a field whose variants have been deleted.
func setHeader(r *http.Request, name, value string) {
	if r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	r.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
}

// folded is a field's name in the one spelling in which names are compared.
func folded(name string) string {
	out := []byte(name)
	for i, c := range out {
		out[i] = foldByte(c)
	}
	return string(out)
}

func deleteVariants(header http.Header, name string) {
	for key := range header {
		if sameFolded(key, name) {
			delete(header, key)
		}
	}
}

// sameFolded reports whether two names are the same field to the laxest of servers: in any case, and with _ for -.
func sameFolded(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

func foldByte(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	default:
		return c
	}
}

func isReserved(name string) bool {
	for _, field := range reserved {
		if sameFolded(name, field) {
			return true
		}
	}
	for _, prefix := range reservedPrefixes {
		if len(name) >= len(prefix) && sameFolded(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// isToken reports whether name is a token of RFC 9110, section 5.6.2.
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return name != ""
}

// isFieldValue reports whether text is a field value of visible ASCII and inner spaces (RFC 9110, section 5.5).
func isFieldValue(text string) bool {
	if text == "" || text[0] == ' ' || text[len(text)-1] == ' ' {
		return false
	}
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			return false
		}
	}
	return true
}
