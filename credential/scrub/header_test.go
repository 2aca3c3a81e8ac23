package scrub

import (
	"net/http"
	"strings"
	"testing"
)

// Weak secrets stand in a header by chance.
func TestAWeakSecretInAHeaderDoesNotCount(t *testing.T) {
	for weak, field := range map[string]string{"2026": "X-Since", "json": "X-Format", "date": "Last-Update", "session": "X-Session"} {
		h := http.Header{
			"Date": {"Thu, 26 Nov 2026 13:56:14 GMT"}, "Content-Type": {"application/json"}, "Content-Length": {"2026"}, "Mcp-Session-Id": {"a2026-session"},
			"X-Since": {"2026"}, "X-Format": {"json"}, "Last-Update": {"today"}, "X-Session": {"none"},
		}
		if hits := set(weak).Current().Header(h); hits != 0 {
			t.Errorf("%s: %d hits", weak, hits)
		}
		if len(h) != 7 || h[field] != nil || h.Get("Date") != "Thu, 26 Nov 2026 13:56:14 GMT" || h.Get("Mcp-Session-Id") != "a2026-session" {
			t.Errorf("%s: %q", weak, h)
		}
	}
}

// A strong secret is masked in every field, and counts beside a weak one.
func TestAStrongSecretBesideAWeakOneCounts(t *testing.T) {
	h := http.Header{"Mcp-Session-Id": {"tiny " + canary}, "X-Echo": {"tiny", canary}}
	if hits := set(canary, "tiny").Current().Header(h); hits != 2 {
		t.Errorf("%d hits", hits)
	}
	if len(h) != 1 || h.Get("Mcp-Session-Id") != "tiny "+strings.Repeat("*", len(canary)) {
		t.Errorf("%q", h)
	}
}
