package diag

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// arrival is how a request reached the server.
type arrival struct {
	header http.Header
	proto  string
	local  string
}

type arrivalKey struct{}

func localAddr(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addr.String()
	}
	return ""
}

// Report is what the tool whoami answers. It holds names and digests, never the value of a header.
type Report struct {
	// Headers are the names of the request's header fields, sorted.
	Headers []string `json:"headers"`
	// Credentials are the fields among them that look like a credential, each as "present (sha256:" and 8 hex digits.
	Credentials map[string]string `json:"credentials"`
	// Transport is the HTTP version of the last hop.
	Transport string `json:"transport"`
	// Listener is the server's own address on that hop.
	Listener string `json:"listener"`
	// ProtocolVersion is the revision of MCP that the request speaks, if it says so.
	ProtocolVersion string `json:"protocol_version"`
}

// Whoami returns the tool whoami, which tells its caller what reached the server. Serve it with [Handler].
func Whoami() server.ServerTool {
	return server.ServerTool{
		Tool: mcp.NewTool("whoami",
			mcp.WithDescription("Tells what reached this server: names of headers, no values.\nWhat looks like a credential is shown as present, with a short digest."),
			mcp.WithReadOnlyHintAnnotation(true),
		),
		Handler: func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			a, _ := ctx.Value(arrivalKey{}).(arrival)
			report := a.report()
			if report.ProtocolVersion == "" {
				report.ProtocolVersion = server.RequestProtocolVersion(ctx)
			}
			return mcp.NewToolResultStructured(report, report.text()), nil
		},
	}
}

func (a arrival) report() Report {
	report := Report{
		Headers:         slices.Sorted(maps.Keys(a.header)),
		Credentials:     make(map[string]string),
		Transport:       a.proto,
		Listener:        a.local,
		ProtocolVersion: a.header.Get("Mcp-Protocol-Version"),
	}
	for _, name := range report.Headers {
		if values := a.header[name]; looksSecret(name) && len(values) > 0 {
			report.Credentials[name] = "present (sha256:" + Fingerprint(values[0]) + ")"
		}
	}
	return report
}

func (r Report) text() string {
	var text strings.Builder
	fmt.Fprintf(&text, "headers: %s\n", strings.Join(r.Headers, ", "))
	if len(r.Credentials) == 0 {
		text.WriteString("credentials: none\n")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Credentials)) {
		fmt.Fprintf(&text, "credential: %s: %s\n", name, r.Credentials[name])
	}
	fmt.Fprintf(&text, "transport: %s to %s\nprotocol: %s\n", r.Transport, r.Listener, r.ProtocolVersion)
	return text.String()
}

// Fingerprint returns the first 8 hex digits of the SHA-256 of a credential as it stands in a header, without the word
// for its scheme: enough to compare with a value that one has, too little to find one.
func Fingerprint(value string) string {
	if scheme, rest, ok := strings.Cut(value, " "); ok && isScheme(scheme) {
		value = strings.TrimSpace(rest)
	}
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:4])
}

// isScheme reports whether word is an authentication scheme and not the beginning of a value (RFC 9110 §11.1).
func isScheme(word string) bool {
	switch strings.ToLower(word) {
	case "bearer", "basic", "digest", "token", "dpop", "apikey", "negotiate":
		return true
	}
	return false
}

// looksSecret reports whether a header of this name commonly carries a credential.
func looksSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "token", "key", "secret", "cookie", "passw", "credential", "signature"},
		func(part string) bool { return strings.Contains(name, part) })
}
