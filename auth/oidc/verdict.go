package oidc

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
)

// verdict is what is known about a genuine token. It does not change, and is shared by the calls with that token.
type verdict struct {
	issuer *issuer
	claims *claims
	// principal's expiry is exp with the leeway.
	principal auth.Principal
	// begins is nbf or iat, whichever is later, without the leeway.
	begins time.Time
	// key has verified the token; the verdict is good for as long as the issuer has it.
	key jwk.Key
	// until is when the issuer must be asked again about an opaque token. Zero for a JWT.
	until time.Time
}

// holds says whether the verdict is still good.
func (v *verdict) holds(now time.Time) bool {
	if !v.until.IsZero() {
		return now.Before(v.until)
	}
	return v.issuer.provider.Current(v.key)
}

// judge is what is judged for each call anew.
func (v *verdict) judge(p auth.Presented, o *Options, now time.Time) (auth.Principal, error) {
	if !now.Before(v.principal.Expiry) {
		return auth.Principal{}, fmt.Errorf("%w: its exp is past", auth.ErrExpired)
	}
	if now.Before(v.begins) {
		return auth.Principal{}, fmt.Errorf("%w: its nbf or iat is in the future; compare the clocks", auth.ErrInvalid)
	}
	if err := v.issuer.checkAudience(v.claims.audience, p.Resource); err != nil {
		return auth.Principal{}, err
	}
	if !o.Forwarded {
		if err := v.checkBinding(p, o.Proofs); err != nil {
			return auth.Principal{}, err
		}
	}
	if !v.principal.May(p.Tunnel, p.Server) {
		if o.Forwarded {
			return auth.Principal{}, fmt.Errorf("%w: its issuer does not speak for this server", auth.ErrInvalid)
		}
		return v.principal, nil // who judges the grant says that there is no such server, whatever is required there
	}
	if len(v.issuer.require) > 0 {
		if err := v.issuer.require.check(p.Tunnel, p.Server, v.claims, len(v.issuer.audiences) > 0); err != nil {
			return auth.Principal{}, err
		}
	}
	return v.principal, nil
}

// checkBinding judges the keys that the token is bound to.
func (v *verdict) checkBinding(p auth.Presented, proofs Proofs) error {
	b := &v.claims.binding
	switch {
	case b.other:
		return fmt.Errorf("%w: the token is bound in a way that is not known here", auth.ErrProof)
	case p.DPoP && b.key == "":
		return fmt.Errorf("%w: the token came by the scheme DPoP, and is bound to no key for it", auth.ErrProof)
	case !p.DPoP && b.key != "":
		return fmt.Errorf("%w: the token is bound to a key for DPoP, and came by the scheme Bearer", auth.ErrProof)
	case v.issuer.proof == ProofDPoP && b.key == "":
		return fmt.Errorf("%w: the issuer's tokens must be bound to a key for DPoP", auth.ErrProof)
	case v.issuer.proof == ProofCertificate && b.certificate == "":
		return fmt.Errorf("%w: the issuer's tokens must be bound to a client certificate", auth.ErrProof)
	case b.certificate != "" && b.certificate != certificateThumbprint(p):
		return fmt.Errorf("%w: the token is bound to another client certificate than the connection has", auth.ErrProof)
	case b.key == "":
		return nil
	case proofs == nil:
		return fmt.Errorf("%w: proofs by DPoP are not accepted here", auth.ErrProof)
	}
	err := proofs.Check(p, b.key)
	if errors.Is(err, auth.ErrMalformed) { // the proof is, and not the token: invalid_dpop_proof (RFC 9449 section 7.1)
		return fmt.Errorf("%w: %v", auth.ErrProof, err) //nolint:errorlint // its kind is what changes
	}
	return err
}

// certificateThumbprint is that of the client's certificate (RFC 8705 section 3.1), or nothing if there is none.
func certificateThumbprint(p auth.Presented) string {
	if len(p.Certificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(p.Certificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
