package attack

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// reflection is one way to write the credential down. Text holds it between from and to, where each byte comes to the agent
// as a star.
type reflection struct {
	what     string
	text     string
	from, to int
}

// reflections are the ways that are promised to be masked.
func reflections() []reflection {
	whole := func(what, text string) reflection { return reflection{what, text, 0, len(text)} }
	within := func(what, encoded, before, after string) reflection {
		return reflection{what, before + encoded + after, len(before), len(before) + len(encoded)}
	}
	each := func(f func(i int, c byte) string) string {
		var b strings.Builder
		for i := range len(credentialCanary) {
			b.WriteString(f(i, credentialCanary[i]))
		}
		return b.String()
	}
	every := func(n int, f func(c byte) string) string {
		return each(func(i int, c byte) string {
			if i%n != 0 {
				return string(c)
			}
			return f(c)
		})
	}
	list := []reflection{
		whole("as it is", credentialCanary),
		within("as it arrived", credentialCanary, "Bearer ", ""),
		whole("every character as \\u00xx", every(1, func(c byte) string { return fmt.Sprintf("\\u%04x", c) })),
		whole("every third as \\u00XX", every(3, func(c byte) string { return fmt.Sprintf("\\u%04X", c) })),
		whole("JSON in JSON, every second as \\\\u00xx", every(2, func(c byte) string { return fmt.Sprintf("\\\\u%04x", c) })),
		whole("every byte as %xx", every(1, func(c byte) string { return fmt.Sprintf("%%%02x", c) })),
		whole("every fourth as %XX", every(4, func(c byte) string { return fmt.Sprintf("%%%02X", c) })),
		whole("as a URL has it", url.QueryEscape(credentialCanary)),
		whole("hexadecimal", hex.EncodeToString([]byte(credentialCanary))),
		whole("hexadecimal in capitals", strings.ToUpper(hex.EncodeToString([]byte(credentialCanary)))),
		whole("hexadecimal in mixed case", each(func(i int, c byte) string {
			if i%2 == 0 {
				return fmt.Sprintf("%02X", c)
			}
			return fmt.Sprintf("%02x", c)
		})),
	}
	for shift := range 3 {
		before := "abc"[:shift]
		for _, e := range []struct {
			name string
			*base64.Encoding
		}{{"base64", base64.StdEncoding}, {"base64url", base64.RawURLEncoding}} {
			text := e.EncodeToString([]byte(before + credentialCanary + "\xff\xfe\xfd"))
			// The characters that hold nothing but bits of the credential.
			from, to := (8*shift+5)/6, 8*(shift+len(credentialCanary))/6
			list = append(list, reflection{fmt.Sprintf("%s, %d bytes behind the beginning", e.name, shift), text, from, to})
		}
	}
	return list
}

// masked is the text as it is to arrive.
func (r reflection) masked() string {
	return r.text[:r.from] + strings.Repeat("*", r.to-r.from) + r.text[r.to:]
}

// reflectionAttacks are an upstream that sends the credential back.
func reflectionAttacks() (list []attack) {
	pieces := func(text string) []string { return strings.Split(text, "") }
	passes := func(status int, body string, header ...field) want {
		return want{status: status, hits: 1, header: header, check: func(t *testing.T, a answer, _ []received) {
			t.Helper()
			if string(a.body) != body {
				t.Errorf("the agent got %q, want %q", a.body, body)
			}
		}}
	}
	message := func(text string) string {
		return `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"you sent ` + text + `, thanks"}]}}`
	}
	for _, r := range reflections() {
		event := func(text string) string {
			return "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"" + text + "\"}}\n\n" +
				"data: " + message(text) + "\n\n"
		}
		add := func(where string, s *script, w want) {
			list = append(list, attack{id: "79", what: where + ": " + r.what, script: s, want: w})
		}
		sent, got := r.text, r.masked()
		add("JSON", raw(sized(asJSON, message(sent))), passes(200, message(got)))
		add("JSON in chunks of one byte", raw(chunked(asJSON, pieces(message(sent))...)), passes(200, message(got)))
		add("an event stream", raw(chunked(asEvents, event(sent))), passes(200, event(got)))
		add("an event stream in chunks of one byte", raw(chunked(asEvents, pieces(event(sent))...)), passes(200, event(got)))
		add("an error's text", raw("HTTP/1.1 500 Oh "+sent+"\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nno "+sent), passes(500, "no "+got))
		add("a header", raw(sized("X-Echo: "+sent+"\r\n"+asJSON, answered)), passes(200, answered, field{"X-Echo", got}))
	}
	list = append(list,
		attack{id: "79", what: "103 Early Hints, then a trailer: dropped", want: passes(200, "{}"),
			script: raw("HTTP/1.1 103 Early Hints\r\nLink: </"+credentialCanary+">\r\n\r\n", chunkedWithTrailer(credentialCanary))},
		attack{id: "79", what: "the name of a header", script: raw(sized("X-"+credentialCanary+": a\r\n"+asJSON, answered)), want: passes(200, answered)},
		attack{id: "79", what: "a head that cannot be read", script: raw("HTTP/1.1 200 OK\r\n" + credentialCanary + "\r\n\r\n"), want: want{status: 502, code: -32014, reason: "outcome_unknown", hits: 1}},
		attack{id: "79", what: "the other credential of the same server", script: raw(sized(asJSON, message(tenantCanary))), want: passes(200, message(strings.Repeat("*", len(tenantCanary))))},
		attack{id: "79", what: "all but its last byte: passed, since it is not it", script: raw(sized(asJSON, message(nearly))), want: passes(200, message(nearly))},
	)
	return list
}

// nearly is how a text begins that is not the credential.
var nearly = credentialCanary[:len(credentialCanary)-1] + "_"

// chunkedWithTrailer is an honest answer with the text behind it.
func chunkedWithTrailer(text string) string {
	return "HTTP/1.1 200 OK\r\nConnection: close\r\nTrailer: X-Note\r\n" + asJSON + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Note: " + text + "\r\n\r\n"
}
