package oidc

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/auth"
)

// place is what a requirement is for. An empty name stands for all.
type place struct{ tunnel, server string }

// parsePlace reads a key of require.
func parsePlace(name string) (place, bool) {
	tunnel, server, both := strings.Cut(name, "/")
	if !both {
		tunnel, server = "", name
	} else if tunnel == anyName || !isPlace(tunnel) {
		return place{}, false
	}
	if !isPlace(server) {
		return place{}, false
	}
	if server == anyName {
		server = ""
	}
	return place{tunnel, server}, true
}

// requirements are those of one issuer.
type requirements map[place]Requirement

// places are those whose requirements concern a call, from the widest to the narrowest.
func places(tunnel, server string) [4]place {
	return [...]place{{}, {tunnel, ""}, {"", server}, {tunnel, server}}
}

// scopes are all that a token for a server needs, each once.
func (r requirements) scopes(tunnel, server string) []string {
	var all []string
	for _, at := range places(tunnel, server) {
		for _, scope := range r[at].Scopes {
			if !slices.Contains(all, scope) {
				all = append(all, scope)
			}
		}
	}
	return all
}

// all are the scopes of all servers of a tunnel, each once, in a fixed order.
func (r requirements) all(tunnel string) []string {
	var all []string
	for at, required := range r {
		if at.tunnel == "" || at.tunnel == tunnel {
			all = appendNew(all, required.Scopes)
		}
	}
	slices.Sort(all)
	return all
}

// check judges a token by what a server requires. Where something must be, it is an error if nothing is.
func (r requirements) check(tunnel, server string, c *claims, something bool) error {
	found := false
	for _, at := range places(tunnel, server) {
		required, there := r[at]
		found = found || there
		for _, scope := range required.Scopes {
			if !slices.Contains(c.scopes, scope) {
				return &auth.InsufficientError{Scopes: r.scopes(tunnel, server)}
			}
		}
	}
	if something && !found {
		return fmt.Errorf("%w: its audience is shared, and nothing says who may use this server", auth.ErrInsufficient)
	}
	for _, at := range places(tunnel, server) {
		for name, want := range r[at].Claims {
			if !hasValue(c.all[name], want) {
				return fmt.Errorf("%w: it lacks a claim that this server requires", auth.ErrInsufficient)
			}
		}
	}
	return nil
}

// hasValue says whether a claim is a value, or a list that has it.
func hasValue(claim any, want string) bool {
	if list, ok := claim.([]any); ok {
		return slices.ContainsFunc(list, func(entry any) bool { return isValue(entry, want) })
	}
	return isValue(claim, want)
}

func isValue(claim any, want string) bool {
	switch claim := claim.(type) {
	case string:
		return claim == want
	case bool:
		return claim && want == "true" || !claim && want == "false"
	}
	return false
}

// covers says whether a list of names has a name, or "*".
func covers(listed []string, name string) bool {
	return slices.Contains(listed, name) || slices.Contains(listed, anyName)
}
