package database

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Caller is who a call is made for, and the login that it is made with.
type Caller struct {
	Issuer, Subject string
	Claims          map[string]any
	Login           Login
}

type callerKey struct{}

// WithCaller returns a context for a call.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Where a value about the caller comes from.
const (
	fromSubject  = "principal.subject"
	fromIssuer   = "principal.issuer"
	claimsPrefix = "claims."
)

// isOrigin reports whether a text names a value about the caller.
func isOrigin(from string) bool {
	return from == fromSubject || from == fromIssuer || strings.HasPrefix(from, claimsPrefix) && len(from) > len(claimsPrefix)
}

// value returns what an origin names. It is never empty.
func (c *Caller) value(from string) (string, error) {
	var text string
	switch name, isClaim := strings.CutPrefix(from, claimsPrefix); {
	case from == fromSubject:
		text = c.Subject
	case from == fromIssuer:
		text = c.Issuer
	case isClaim:
		switch claim := c.Claims[name].(type) {
		case string:
			text = claim
		case bool:
			text = fmt.Sprint(claim)
		case json.Number:
			text = claim.String()
		case float64:
			number, _ := json.Marshal(claim) // a claim is finite
			text = string(number)
		}
	}
	if text == "" || strings.ContainsRune(text, 0) {
		return "", &Error{Text: fmt.Sprintf("your identity has no %s, which this server needs: its operator has to look at role_from and session", cmp.Or(from, "value"))}
	}
	return text, nil
}

// standing is the role and the variables that the caller's statements have.
func (c *Config) standing(caller Caller) (role string, session []Variable, err error) {
	if c.RoleFrom != "" {
		if role, err = caller.value(c.RoleFrom); err != nil {
			return "", nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Session)) {
		value, err := caller.value(c.Session[name])
		if err != nil {
			return "", nil, err
		}
		session = append(session, Variable{name, value})
	}
	return role, session, nil
}
