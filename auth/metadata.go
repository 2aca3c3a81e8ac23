package auth

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// metadataMaxAge is for how many seconds a client may keep a metadata document: long enough for a burst of clients,
// short enough that a changed authorization server is seen soon.
const metadataMaxAge = 60

// Metadata is the protected resource metadata of one server's URL (RFC 9728 section 2): it tells a client which
// authorization servers issue tokens for that resource. It is an [http.Handler], and public: it names nothing secret.
type Metadata struct {
	// Resource is the canonical absolute URL of the server, which is also the audience of its tokens.
	Resource string `json:"resource"`
	// AuthorizationServers are the issuers whose tokens are accepted. Optional: static tokens have none.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	// Scopes are the scopes that a client may ask for. Optional.
	Scopes []string `json:"scopes_supported,omitempty"`
}

// metadataDocument adds what is the same for all our resources: tokens travel in the header only.
type metadataDocument struct {
	Metadata
	Methods []string `json:"bearer_methods_supported"`
}

// ServeHTTP answers GET and HEAD with the document, for any origin and cacheable for a minute.
func (m Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	body, err := json.Marshal(metadataDocument{Metadata: m, Methods: []string{"header"}})
	if err != nil || m.Resource == "" {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(metadataMaxAge))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body) // an error means that the client left
	}
}

// Challenge gives the WWW-Authenticate value that sends a client to the metadata document (RFC 9728 section 5.1). With no
// token there is no error attribute, as RFC 6750 section 3.1 wants; a malformed request is "invalid_request", any other
// refused token "invalid_token". The scope is optional. An URL that is not absolute, or a scope outside the grammar of
// RFC 6749 section 3.3, is left out.
func Challenge(metadataURL, scope string, err error) string {
	var attributes []string
	if absoluteURL(metadataURL) {
		attributes = append(attributes, `resource_metadata="`+metadataURL+`"`)
	}
	if scope != "" && quotable(scope) {
		attributes = append(attributes, `scope="`+scope+`"`)
	}
	switch {
	case err == nil || errors.Is(err, ErrNoToken):
	case errors.Is(err, ErrMalformed):
		attributes = append(attributes, `error="invalid_request"`)
	default:
		attributes = append(attributes, `error="invalid_token"`)
	}
	if len(attributes) == 0 {
		return "Bearer"
	}
	return "Bearer " + strings.Join(attributes, ", ")
}

func absoluteURL(s string) bool {
	if !quotable(s) || strings.Contains(s, " ") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// quotable says whether a value can stand between quotes as it is: printable ASCII without the quote and the backslash.
func quotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
