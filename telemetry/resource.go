package telemetry

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// parseResource reads OTEL_RESOURCE_ATTRIBUTES: key=value pairs separated by commas, in the encoding of URLs.
func parseResource(text string) (map[string]string, error) {
	given := make(map[string]string)
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || strings.TrimSpace(name) == "" || len(pair) > maxResource || !utf8.ValidString(plain) {
			return nil, variable("OTEL_RESOURCE_ATTRIBUTES", "key=value pairs separated by commas are wanted")
		}
		given[strings.TrimSpace(name)] = plain
	}
	return given, nil
}
