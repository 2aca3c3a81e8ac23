package auth

import (
	"fmt"
	"net/http"
)

// AuthenticateConfig configures [Authenticate].
type AuthenticateConfig struct {
	// Verifier turns tokens into principals. Without one every request is refused.
	Verifier Verifier
	// Refuse answers a request that has no accepted token; err wraps one of this package's sentinels, or says why no
	// verdict could be reached. Optional; by default a bare 401 with a bearer challenge.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
}

// Authenticate lets a request through only with a bearer token that the verifier accepts; the handlers behind it find
// the principal with [PrincipalFrom]. The request's headers stay as they are: who forwards it strips them.
func Authenticate(cfg AuthenticateConfig) func(http.Handler) http.Handler {
	refuse := cfg.Refuse
	if refuse == nil {
		refuse = refuseBare
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := authenticate(cfg.Verifier, r)
			if err != nil {
				refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), p)))
		})
	}
}

func authenticate(v Verifier, r *http.Request) (Principal, error) {
	token, err := Bearer(r)
	if err != nil {
		return Principal{}, err
	}
	if v == nil {
		return Principal{}, fmt.Errorf("%w: nothing here verifies tokens", ErrInvalid)
	}
	return v.Verify(r.Context(), token)
}

func refuseBare(w http.ResponseWriter, _ *http.Request, err error) {
	w.Header().Set("WWW-Authenticate", Challenge("", "", err))
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}
