package scrub

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strings"

	"sallyport.dev/secret"
)

const (
	minLength  = 12 // bytes of the shortest secret that is masked in bodies
	minEntropy = 36 // bits of the most guessable one
	minInHead  = 4  // bytes of the shortest one that is looked for in headers
	maxLength  = 64 << 10
)

// Weak says why a secret is not masked in bodies, and is empty if it is. Short and simple texts occur by chance: masking
// them would damage innocent answers.
func Weak(v secret.Value) (why string) { return weak(v.Reveal()) }

func weak(text string) string {
	switch {
	case len(text) < minLength:
		return "it has fewer than 12 bytes"
	case len(text) > maxLength:
		return "it has more than 64 KiB"
	case entropy(text) < minEntropy:
		return "it is too easy to guess"
	}
	return ""
}

// entropy is Shannon's, of the text's own bytes, in bits.
func entropy(text string) (bits float64) {
	var counts [256]int
	for i := range len(text) {
		counts[text[i]]++
	}
	n := float64(len(text))
	for _, count := range counts {
		if count > 0 {
			bits -= float64(count) * math.Log2(float64(count)/n)
		}
	}
	return bits
}

// pattern is a text to look for.
type pattern struct {
	text string
	fold bool // in any case; the text is in lower case then
}

// patternsOf returns what a secret looks like once escapes have been undone.
func patternsOf(text string) (list []pattern) {
	list = append(list, pattern{text: text}, pattern{text: hex.EncodeToString([]byte(text)), fold: true})
	if strings.Contains(text, " ") { // application/x-www-form-urlencoded
		list = append(list, pattern{text: strings.ReplaceAll(text, " ", "+")})
	}
	for shift := range 3 {
		padded := "\x00\x00"[:shift] + text + "\x00\x00"
		// The characters that hold bits of the secret alone: six bits each.
		from, to := (8*shift+5)/6, 8*(shift+len(text))/6
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString([]byte(padded))[from:to]
			if !containsText(list, encoded) { // the alphabets differ in two characters
				list = append(list, pattern{text: encoded})
			}
		}
	}
	return list
}

func containsText(list []pattern, text string) bool {
	for _, p := range list {
		if p.text == text && !p.fold {
			return true
		}
	}
	return false
}
