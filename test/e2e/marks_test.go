package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// marks are canaries by what they stand for.
type marks map[string]string

// markedBy is what all marks begin with: whoever finds it has found one.
const markedBy = "canary-zq7lw2xp-"

// new makes one of letters, digits and dashes, which mean themselves wherever they stand.
func (m marks) new(what string) string {
	mark := markedBy + strings.ToLower(rand.Text())
	m[fmt.Sprint(what, " #", len(m))] = mark
	return mark
}

// forms are the texts of which one is found wherever a text of 16 bytes or more stands, be it cut to those, encoded, or part of what is encoded.
func forms(text string) []string {
	short := text[:16]
	found := []string{short, strings.ToUpper(short), hex.EncodeToString([]byte(short)), strings.ToUpper(hex.EncodeToString([]byte(short)))}
	for offset := range 3 { // base64 of three bytes depends on where they begin
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + short[:15]))
		found = append(found, encoded[(offset*8+5)/6:][:16])
	}
	var percent strings.Builder
	for _, b := range []byte(short) {
		fmt.Fprintf(&percent, "%%%02X", b)
	}
	return append(found, percent.String())
}

// forms are those of all marks: what most begin with, and each of the others.
func (m marks) forms() []string {
	all := forms(markedBy)
	for _, mark := range m {
		if !strings.HasPrefix(mark, markedBy) {
			all = append(all, forms(mark)...)
		}
	}
	return all
}

// in says which marks, as they are, a text holds.
func (m marks) in(text []byte) []string {
	var found []string
	for what, mark := range m {
		if bytes.Contains(text, []byte(mark[:16+8])) {
			found = append(found, what)
		}
	}
	return found
}

// TestFormsAreFound, so that a search which finds nothing means something.
func TestFormsAreFound(t *testing.T) {
	t.Parallel()
	m := make(marks)
	mark := m.new("x")
	for offset := range 4 {
		text := strings.Repeat("u", offset) + mark + "-rest"
		for name, encoded := range map[string]string{
			"plain": text, "cut": text[:offset+17], "upper": strings.ToUpper(text), "hex": hex.EncodeToString([]byte(text)), "base64": base64.StdEncoding.EncodeToString([]byte(text)),
			"base64url": base64.RawURLEncoding.EncodeToString([]byte(text)), "query": url.QueryEscape("=" + text),
		} {
			if !slices.ContainsFunc(forms(mark), func(form string) bool { return strings.Contains(encoded, form) }) {
				t.Errorf("%s at %d is not found: %s in %v", name, offset, encoded, forms(mark))
			}
		}
	}
}
