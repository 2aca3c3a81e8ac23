package auth

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
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
	// Proofs are the algorithms of proofs of possession that are accepted (RFC 9449). Optional.
	Proofs []string `json:"dpop_signing_alg_values_supported,omitempty"`
	// ProofRequired says that every token must be bound to the key of such a proof (RFC 9728 section 2).
	ProofRequired bool `json:"dpop_bound_access_tokens_required,omitzero"`
	// CertificateBound says that tokens may be bound to a client certificate (RFC 8705 section 3.3).
	CertificateBound bool `json:"tls_client_certificate_bound_access_tokens,omitzero"`
}

// metadataDocument adds what is the same for all our resources: tokens travel in the header only.
type metadataDocument struct {
	Metadata
	Methods []string `json:"bearer_methods_supported"`
}

// ServeHTTP answers GET and HEAD with the document, for any origin and cacheable for a minute.
func (m Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(metadataDocument{Metadata: m, Methods: []string{"header"}})
	if err != nil || m.Resource == "" {
		body = nil
	}
	ServePublic(w, r, body)
}

// ServePublic answers GET and HEAD with a document that is public and no secret of anybody's, in JSON, for any origin and
// cacheable for a minute. An empty one is answered with 500.
func ServePublic(w http.ResponseWriter, r *http.Request, body []byte) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	if len(body) == 0 {
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

// Challenge says how a refused client can do better.
type Challenge struct {
	// MetadataURL is the absolute URL of the metadata document (RFC 9728 section 5.1). One that is not absolute is left out.
	MetadataURL string
	// Scopes are those to ask for where the error names none. Optional. One outside the grammar of RFC 6749 section 3.3 is
	// left out.
	Scopes []string
	// Proofs are the algorithms of proofs of possession that are accepted (RFC 9449 section 7.1), and none if there are none.
	Proofs []string
}

// Fields gives the values of WWW-Authenticate. With no token there is no error attribute, as RFC 6750 section 3.1 wants; a
// malformed request is "invalid_request", a token that needs more scopes "insufficient_scope", any other refused token
// "invalid_token". What was wrong with a proof is said by the scheme DPoP.
func (c Challenge) Fields(err error) []string {
	scopes, code, proofCode := c.Scopes, "invalid_token", ""
	var insufficient *InsufficientError
	var nonce *NonceError
	switch {
	case err == nil || errors.Is(err, ErrNoToken):
		code = ""
	case errors.Is(err, ErrMalformed):
		code = "invalid_request"
	case errors.As(err, &insufficient):
		code, scopes = "insufficient_scope", insufficient.Scopes
	case errors.As(err, &nonce):
		proofCode = "use_dpop_nonce"
	case errors.Is(err, ErrProof):
		proofCode = "invalid_dpop_proof"
	}
	var common []string
	if absoluteURL(c.MetadataURL) {
		common = append(common, `resource_metadata="`+c.MetadataURL+`"`)
	}
	var named []string
	for _, scope := range scopes {
		if scope != "" && quotable(scope) && !strings.Contains(scope, " ") {
			named = append(named, scope)
		}
	}
	if len(named) > 0 {
		common = append(common, `scope="`+strings.Join(named, " ")+`"`)
	}
	fields := []string{challenge("Bearer", common, code)}
	if len(c.Proofs) > 0 {
		fields = append(fields, challenge("DPoP", append(common, `algs="`+strings.Join(c.Proofs, " ")+`"`), cmp.Or(proofCode, code)))
	}
	return fields
}

func challenge(scheme string, attributes []string, code string) string {
	if code != "" {
		attributes = append(slices.Clip(attributes), `error="`+code+`"`)
	}
	if len(attributes) == 0 {
		return scheme
	}
	return scheme + " " + strings.Join(attributes, ", ")
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
