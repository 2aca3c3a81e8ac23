package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
)

// AuthenticateConfig configures [Authenticate].
type AuthenticateConfig struct {
	// Verifier finds out who calls. Without one every request is refused.
	Verifier Verifier
	// Target says where a request goes. Optional; without it a token that is meant for one server is refused.
	Target func(r *http.Request) Target
	// Certificates gives the TLS client's certificates. Optional.
	Certificates func(r *http.Request) []*x509.Certificate
	// Refuse answers a request that has no accepted token; err wraps one of this package's sentinels, or says why no
	// verdict could be reached. Optional; by default a bare 401 with a bearer challenge.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
}

// Authenticate lets a request through only with a token, or a client certificate, that the verifier accepts; the handlers
// behind it find the principal with [PrincipalFrom]. The request's headers stay as they are: who forwards it strips them.
func Authenticate(cfg AuthenticateConfig) func(http.Handler) http.Handler {
	refuse := cfg.Refuse
	if refuse == nil {
		refuse = refuseBare
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := cfg.authenticate(r)
			if err != nil {
				refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), p)))
		})
	}
}

func (cfg *AuthenticateConfig) authenticate(r *http.Request) (Principal, error) {
	var p Presented
	if cfg.Certificates != nil {
		p.Certificates = cfg.Certificates(r)
	}
	var err error
	if p.Token, p.DPoP, err = authorization(r); err != nil && (len(p.Certificates) == 0 || !errors.Is(err, ErrNoToken)) {
		return Principal{}, err
	}
	if p.Proof, err = proof(r); err != nil {
		return Principal{}, err
	}
	if cfg.Verifier == nil {
		return Principal{}, fmt.Errorf("%w: nothing here verifies tokens", ErrInvalid)
	}
	if cfg.Target != nil {
		p.Target = cfg.Target(r)
	}
	return cfg.Verifier.Verify(r.Context(), p)
}

func refuseBare(w http.ResponseWriter, _ *http.Request, err error) {
	w.Header()["Www-Authenticate"] = Challenge{}.Fields(err)
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}
