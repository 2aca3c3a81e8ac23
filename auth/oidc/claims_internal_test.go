package oidc

import (
	"encoding/json"
	"errors"
	"testing"
)

// TestClaimsAreThoseThatWereParsed: what the JWT library decodes is what was judged, or nothing.
func TestClaimsAreThoseThatWereParsed(t *testing.T) {
	c, err := parseClaims([]byte(" {\"sub\": \"a\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte("\t{\"sub\": \"a\"} "), c); err != nil || c.subject != "a" {
		t.Errorf("the same claims: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"sub": "b"}`), c); !errors.Is(err, errNotParsed) || c.subject != "a" {
		t.Errorf("other claims: %v", err)
	}
}
