package mcp

// Version is a protocol revision by its date, such as "2025-11-25". Revisions compare as strings.
type Version string

// The protocol revisions that have been published.
const (
	V20241105 Version = "2024-11-05"
	V20250326 Version = "2025-03-26"
	V20250618 Version = "2025-06-18"
	V20251125 Version = "2025-11-25"
	V20260728 Version = "2026-07-28"
)

// Known reports whether v is a published revision that this package was written against.
func (v Version) Known() bool {
	switch v {
	case V20241105, V20250326, V20250618, V20251125, V20260728:
		return true
	}
	return false
}

// Sessionful reports whether v has MCP sessions, GET streams and client-sent responses. The revision 2026-07-28
// removed them; an unpublished later date counts as like that one. The zero Version and what is no date have none.
func (v Version) Sessionful() bool { return v.dated() && v < V20260728 }

// modern reports whether v demands the mirrored Mcp-* headers (SEP-2243) and forbids sessions. What is no date demands
// them too: no revision is called so, which is for the server to say (UnsupportedProtocolVersion), and until it does the
// stricter rules hold.
func (v Version) modern() bool { return v != "" && (!v.dated() || v >= V20260728) }

// dated reports whether v has the shape of a date, which is what makes comparing revisions meaningful.
func (v Version) dated() bool {
	if len(v) != len("2006-01-02") {
		return false
	}
	for i := range len(v) {
		switch {
		case i == 4 || i == 7:
			if v[i] != '-' {
				return false
			}
		case v[i] < '0' || v[i] > '9':
			return false
		}
	}
	return true
}
