package oidc

import (
	"slices"

	"sallyport.dev/auth/provider"
)

// Advertised is what clients of a tunnel may know of its issuers.
type Advertised struct {
	// Issuers are those that may speak for it, as configured.
	Issuers []string
	// Scopes are all that one of them requires of its tokens for a server there, and BaseScopes those that it requires for
	// every server.
	Scopes, BaseScopes []string
	// ProofRequired says that all of them must bind tokens to a key for DPoP.
	ProofRequired bool
}

// Advertise gives what the metadata of a tunnel's servers says (RFC 9728 section 2). It is made of the configuration alone:
// whether the tunnel exists is not looked at, and it is the same for all servers, so that it tells nobody which exist.
func (v *Verifier) Advertise(tunnel string) Advertised {
	var a Advertised
	for _, i := range v.issuers {
		if !covers(i.grant.Tunnels, tunnel) {
			continue
		}
		a.ProofRequired = i.proof == ProofDPoP && (a.ProofRequired || len(a.Issuers) == 0)
		a.Issuers = append(a.Issuers, i.name)
		a.Scopes = appendNew(a.Scopes, i.require.all(tunnel))
		a.BaseScopes = appendNew(a.BaseScopes, i.require.scopes(tunnel, ""))
	}
	return a
}

// appendNew appends what is not there yet.
func appendNew(list, more []string) []string {
	for _, one := range more {
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list
}

// Knows says whether a token claims to be a JWT of one of the issuers. Nothing of it is verified.
func (v *Verifier) Knows(token string) bool {
	if len(token) > maxToken || !looksSigned(token) {
		return false
	}
	if known, ok := v.verdicts.Get(hashToken(token)); ok {
		return known.until.IsZero()
	}
	_, c, err := read(token)
	return err == nil && v.byName[c.issuer] != nil
}

// TakesOpaque says whether tokens that are no JWT of an issuer are asked about.
func (v *Verifier) TakesOpaque() bool { return v.asking != nil }

// Issuers says how the issuers are, in the order of the configuration.
func (v *Verifier) Issuers() []provider.Status {
	all := make([]provider.Status, len(v.issuers))
	for n, i := range v.issuers {
		all[n] = i.provider.Status()
	}
	return all
}
