package provider

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/auth/jwk"
)

// document is what is used of a discovery document. What else is there is ignored, as it has to be; a member that is there
// twice, or a text that is not UTF-8, makes the whole worthless.
type document struct {
	Issuer        string `json:"issuer"`
	JWKSURI       string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
}

// load fetches the keys, at a time since the provider was made. The document is read anew each time: a provider that has
// moved its keys elsewhere has maybe withdrawn some of those that are still where they were.
func (p *Provider) load(ctx context.Context, at time.Duration) (*known, error) {
	found := document{JWKSURI: p.cfg.JWKSURL}
	if len(p.documents) > 0 {
		var err error
		if found, err = p.discover(ctx); err != nil {
			return nil, about("the discovery document", err)
		}
	}
	body, err := p.get(ctx, found.JWKSURI)
	if err != nil {
		return nil, about("the key set", err)
	}
	keys, err := jwk.ParseSet(body)
	if err != nil { // also of a set without keys: to withdraw all is to be out of order
		return nil, about("the key set", err)
	}
	return newKnown(keys, found.Introspection, at, p.known.Load()), nil
}

// discover fetches the document from the first place that has one.
func (p *Provider) discover(ctx context.Context) (found document, err error) {
	for _, at := range p.documents {
		var body []byte
		body, err = p.get(ctx, at)
		var status statusError
		switch {
		case err == nil:
			return p.read(body)
		case !errors.As(err, &status) || !status.isAbsence():
			return document{}, err
		}
	}
	return document{}, err
}

// read reads a document and holds it to what it must say (OpenID Connect Discovery 1.0, section 4.3; RFC 8414, section
// 3.3).
func (p *Provider) read(body []byte) (document, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil { // its text quotes what it read
		return document{}, failDocument
	}
	if d.Issuer != p.cfg.Issuer {
		return document{}, failIssuer
	}
	if d.JWKSURI == "" || p.cfg.checkURL(d.JWKSURI) != nil {
		return document{}, failJWKSURI
	}
	if !p.asksDocument() {
		d.Introspection = ""
	}
	if d.Introspection != "" && p.cfg.checkURL(d.Introspection) != nil {
		return document{}, failIntrospectionURI
	}
	return d, nil
}

// get fetches one of the two.
func (p *Provider) get(ctx context.Context, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, failURL
	}
	r.Close = true // the next fetch is a minute away
	return p.ask(r)
}
