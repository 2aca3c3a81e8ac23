package scrub

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"sallyport.dev/secret"
)

func benchSet() *Set {
	s := NewSet()
	for i := range 8 {
		s.Use(secret.New(fmt.Sprintf("bench/key+%d-Zq7Lw2nXv9Rb4Kt0PdFg", i)))
	}
	return s
}

// chunks gives a text in pieces of 32 KiB.
type chunks struct {
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	from := benchSet()
	plain := "Revenue by region, third quarter: north 1,204, east 998, south 1,377, west 1,045 (thousands). "
	for name, text := range map[string][]byte{
		"plain-64MiB": bytes.Repeat([]byte(plain), 64<<20/len(plain)),
		"sse":         bytes.Repeat([]byte("event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progress\":50}}\n\n"), 30000),
		"json":        bytes.Repeat([]byte(`{"title":"A \u003cb\u003ebold\u003c/b\u003e claim","body":"line one of this\nline two of this, a \"quoted\" word and C:\\temp"},`), 30000),
		"json-cjk":    bytes.Repeat([]byte(`{"t":"\u4f60\u597d\uff0c\u4e16\u754c\u3002"},`), 60000),
		"json-slash":  bytes.Repeat([]byte(`{\"region\":\"north\",\"total\":1204,\n\"path\":\"\/reports\/q3\"},`), 60000), // of use to a secret, and dense
		"base64":      bytes.Repeat([]byte("VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZw0KfoPQ"), 60000),
		"percent":     bytes.Repeat([]byte("a%20b%2Fc%3Fd=e&"), 250000),
		"nearly":      bytes.Repeat([]byte("bench/key+1-Zq7Lw2nXv9Rb4Kt0PdF_"), 120000),
		"small-64":    []byte(strings.Repeat("x", 64)),
	} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 32<<10)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(io.NopCloser(&chunks{text}), from, func() {})
				for {
					if _, err := r.Read(buf); err != nil {
						break
					}
				}
				_ = r.Close()
			}
		})
	}
}

// BenchmarkHostile: an upstream that sends what is nearly a secret, to a server with many that begin alike, and with a long
// one that repeats itself.
func BenchmarkHostile(b *testing.B) {
	const issuer = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjEyMzQ1Njc4OTAifQ.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSJ9."
	tokens := NewSet()
	for i := range maxTexts {
		tokens.Use(secret.New(fmt.Sprintf("%s%08x%08x", issuer, i*7919, i*104729)))
	}
	for name, test := range map[string]struct {
		from Source
		unit string
	}{
		"1024-tokens": {tokens, issuer + "00001eef0001991~"},
		"repetitive":  {set(strings.Repeat("Zq7Lw2nXv9Rb", 5000) + "!"), "Zq7Lw2nXv9Rb"},
	} {
		text := bytes.Repeat([]byte(test.unit), 1<<20/len(test.unit))
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 32<<10)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r := NewReader(io.NopCloser(&chunks{text}), test.from, func() {})
				for {
					if _, err := r.Read(buf); err != nil {
						break
					}
				}
				_ = r.Close()
			}
		})
	}
}

func BenchmarkUse(b *testing.B) {
	s, v := benchSet(), secret.New("bench/key+1-Zq7Lw2nXv9Rb4Kt0PdFg")
	b.ReportAllocs()
	for b.Loop() {
		s.Use(v)
	}
}

func BenchmarkRebuild(b *testing.B) {
	texts := benchSet().Current().texts
	b.ReportAllocs()
	for b.Loop() {
		newScrubber(texts)
	}
}

// BenchmarkNewToken is what it costs when one of a thousand callers has another token.
func BenchmarkNewToken(b *testing.B) {
	s := NewSet()
	token := func(i int) secret.Value {
		return secret.New(strings.Repeat("eyJhbGciOiJFZERTQSJ9.", 30) + fmt.Sprintf("%d-%s", i, strings.Repeat("Zq7Lw2nX", 20)))
	}
	for i := range 1000 {
		s.Use(token(i))
	}
	s.Current()
	i := 1000
	b.ReportAllocs()
	for b.Loop() {
		s.Use(token(i))
		s.Current()
		i++
	}
}
