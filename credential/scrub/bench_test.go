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
	prose := bytes.Repeat([]byte("Revenue by region, third quarter: north 1,204, east 998, south 1,377, west 1,045 (thousands). "), 40000)
	for name, text := range map[string][]byte{
		"prose":    prose,
		"base64":   bytes.Repeat([]byte("VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZw0KfoPQ"), 60000),
		"nested":   bytes.Repeat([]byte(`{\"region\":\"north\",\"total\":1204,\n\"path\":\"\/reports\/q3\"},`), 60000),
		"percent":  bytes.Repeat([]byte("a%20b%2Fc%3Fd=e&"), 250000),
		"nearly":   bytes.Repeat([]byte("bench/key+1-Zq7Lw2nXv9Rb4Kt0PdF_"), 120000),
		"small-64": []byte(strings.Repeat("x", 64)),
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
