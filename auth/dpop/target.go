package dpop

import "strings"

// place is a URL without query and fragment, as far as two spellings of it are compared.
type place struct{ scheme, host, port, path string }

// sameTarget reports whether a proof's htu is the URL of the request. Query and fragment do not count (RFC 9449 section
// 4.3), and of the ways to spell one URL (RFC 3986 sections 6.2.2 and 6.2.3) those that honest libraries differ in: the case
// of scheme and host, the default port, and an empty path. All else is compared byte for byte, so that nothing which
// somebody would have to decode or resolve first is ever the same: no escape, no dot segment, no user.
func sameTarget(htu, url string) bool {
	theirs, ok := parsePlace(htu)
	if !ok {
		return false
	}
	ours, ok := parsePlace(url)
	return ok && theirs == ours
}

func parsePlace(s string) (place, bool) {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return place{}, false
		}
	}
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		s = s[:end]
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return place{}, false
	}
	at := place{scheme: strings.ToLower(scheme), path: "/"}
	authority := rest
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		authority, at.path = rest[:slash], rest[slash:]
	}
	if strings.ContainsAny(authority, `@%\`) {
		return place{}, false
	}
	host, port := authority, ""
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		host, port = authority[:colon], authority[colon+1:]
		if port == "" {
			return place{}, false
		}
	}
	at.host = strings.ToLower(host)
	switch {
	case at.host == "":
		return place{}, false
	case at.scheme == "https" && port == "443", at.scheme == "http" && port == "80":
	case at.scheme == "https", at.scheme == "http":
		at.port = port
	default:
		return place{}, false
	}
	return at, true
}
