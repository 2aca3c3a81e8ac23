package credential

import (
	"fmt"
	"slices"
)

// Who says for whose requests a credential may be used. The zero Who is for everybody whom policy lets call.
type Who struct {
	// Issuers are those of the principals, each exactly as it stands in their identity. Empty: all.
	Issuers []string `yaml:"issuers"`
	// Subjects are the principals' names at their issuer, which has to be the only one of Issuers. Empty: all.
	Subjects []string `yaml:"subjects"`
}

const maxWho = 1024 // names in each list

// Validate checks the lists, and says what to write instead.
func (w Who) Validate() error {
	switch {
	case len(w.Issuers) > maxWho || len(w.Subjects) > maxWho:
		return fmt.Errorf("%w: for: more than %d names; write rules of policy instead", ErrConfig, maxWho)
	case slices.Contains(w.Issuers, "") || slices.Contains(w.Subjects, ""):
		return fmt.Errorf("%w: for: a name is empty", ErrConfig)
	case len(w.Subjects) > 0 && len(w.Issuers) != 1:
		return fmt.Errorf("%w: for: subjects mean something at one issuer only; write issuers: with one entry", ErrConfig)
	}
	return nil
}

// Covers reports whether the credential is for p.
func (w Who) Covers(p Principal) bool {
	return (len(w.Issuers) == 0 || slices.Contains(w.Issuers, p.Issuer)) &&
		(len(w.Subjects) == 0 || slices.Contains(w.Subjects, p.Subject))
}

// OneIssuer reports whether all principals that it covers have the same issuer.
func (w Who) OneIssuer() bool { return len(w.Issuers) == 1 }
