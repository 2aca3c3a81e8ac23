package attack

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/test/stack"
)

// proto is the version of HTTP that an agent speaks.
type proto string

const (
	h1 proto = "1.1"
	h2 proto = "2"
)

// field is one header field, exactly as it is sent.
type field struct{ name, value string }

// request says how what is sent differs from an honest tools/call. Both
// encoders write it as it stands: nothing is checked, nothing is repaired.
type request struct {
	method    string // default POST
	target    string // default the path of wiki
	authority string // default the public host; "-" leaves it out
	server    string // name in the TLS handshake; default the public one
	// certificate of the TLS client, by its name in clientCertificates; default none
	certificate string
	fields      []field  // replace honest ones of the same name
	drop        []string // honest ones that are left out
	body        string   // default an honest call
	bodiless    bool     // nothing follows the head
	chunks      bool     // HTTP/1.1: the body goes out in chunks
	bare        bool     // HTTP/1.1: no Content-Length is added
	trailer     []field
	edit        func(string) string // HTTP/1.1: changes the bytes before they go out
	bytewise    bool                // HTTP/1.1: every byte is a TLS record of its own
	announced   string              // Content-Length, whatever follows
	stall       bool                // the body is left unfinished
}

const honestBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"note":"` + argumentCanary + `"}}}`

var honestFields = []field{
	{"Authorization", "Bearer " + stack.AgentToken},
	{"Content-Type", "application/json"},
	{"Accept", "application/json, text/event-stream"},
	{"MCP-Protocol-Version", "2025-11-25"},
}

// fill puts the honest values where nothing else is asked for.
func (q request) fill(host string) request {
	if q.method == "" {
		q.method = "POST"
	}
	if q.target == "" {
		q.target = wikiPath
	}
	switch q.authority {
	case "":
		q.authority = host
	case "-":
		q.authority = ""
	}
	q.authority = strings.ReplaceAll(q.authority, "{host}", host)
	q.target = strings.ReplaceAll(q.target, "{host}", host)
	if q.server == "" {
		q.server = publicName
	}
	if q.body == "" && !q.bodiless {
		q.body = honestBody
	}
	var fields []field
	for _, f := range honestFields {
		same := func(name string) bool { return strings.EqualFold(name, f.name) }
		if !slices.ContainsFunc(q.drop, same) && !slices.ContainsFunc(q.fields, func(g field) bool { return same(g.name) }) {
			fields = append(fields, f)
		}
	}
	q.fields = append(fields, q.fields...)
	for i := range q.fields {
		q.fields[i].value = strings.ReplaceAll(q.fields[i].value, "{host}", host)
	}
	return q
}

// encode writes a filled request for HTTP/1.1.
func (q request) encode() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", q.method, q.target)
	if q.authority != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", q.authority)
	}
	for _, f := range q.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	switch {
	case q.announced != "":
		fmt.Fprintf(&b, "Content-Length: %s\r\n", q.announced)
	case q.chunks:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case !q.bare && !q.bodiless:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(q.body))
	}
	b.WriteString("\r\n")
	switch {
	case q.bodiless:
	case q.chunks:
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(q.body), q.body)
		if !q.stall {
			b.WriteString("0\r\n")
			for _, f := range q.trailer {
				fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
			}
			b.WriteString("\r\n")
		}
	default:
		b.WriteString(q.body)
	}
	if q.edit != nil {
		return q.edit(b.String())
	}
	return b.String()
}

// replace makes an edit.
func replace(old, with string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}
