package jwk_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/auth/jwk"
)

// The keys that the RFCs publish.
const (
	// rfc7638 is the key of RFC 7638 section 3.1.
	rfc7638N = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rfc7638  = `{"kty":"RSA","n":"` + rfc7638N + `","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	// rfc8037 is the key of RFC 8037 appendix A.2.
	rfc8037X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfc8037  = `{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037X + `"}`
	// rfc7517 is the first key of RFC 7517 appendix A.1, without its use for encryption.
	rfc7517XY = `"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"`
	rfc7517   = `{"kty":"EC","crv":"P-256",` + rfc7517XY + `,"kid":"1"}`
)

func TestThumbprint(t *testing.T) {
	for _, test := range []struct{ name, key, want string }{
		{"RFC 7638 section 3.1", rfc7638, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037 appendix A.3", rfc8037, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{"members in another order", `{"x":"` + rfc8037X + `","use":"sig","kty":"OKP","alg":"EdDSA","crv":"Ed25519"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parse(t, test.key).Thumbprint(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if got := (jwk.Key{}).Thumbprint(); got != "" {
		t.Errorf("the zero key has thumbprint %q", got)
	}
}

func TestParseKey(t *testing.T) {
	all := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	p384, p521 := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521())
	for _, test := range []struct {
		name, key, id string
		algorithms    []string
	}{
		{"RSA of one algorithm", rfc7638, "2011-04-29", []string{"RS256"}},
		{"RSA of any", rsaKey(rfc7638N, "AQAB", ""), "", all},
		{"RSA for PSS", rsaKey(rfc7638N, "AQAB", `"alg":"PS384"`), "", []string{"PS384"}},
		{"RSA with the largest exponent", rsaKey(rfc7638N, "f____w", ""), "", all},
		{"RSA of 8192 bits", rsaKey(modulus(8192), "AQAB", ""), "", all},
		{"P-256", rfc7517, "1", []string{"ES256"}},
		{"P-384", p384, "", []string{"ES384"}},
		{"P-521", p521, "", []string{"ES512"}},
		{"Ed25519", rfc8037, "", []string{"EdDSA"}},
		{"for signatures", with(rfc8037, `"use":"sig","key_ops":["verify"]`), "", []string{"EdDSA"}},
		{"for verifying among others", with(rfc8037, `"key_ops":["sign","verify"]`), "", []string{"EdDSA"}},
		{"with members of strangers", with(rfc8037, `"x5c":["AA=="],"x5t":"AA","exp":1,"Kty":"oct"`), "", []string{"EdDSA"}},
		{"a long ID", with(rfc8037, `"kid":"`+strings.Repeat("k", 128)+`"`), strings.Repeat("k", 128), []string{"EdDSA"}},
		{"an escaped ID", with(rfc8037, `"kid":"\u0061"`), "a", []string{"EdDSA"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := parse(t, test.key)
			if key.ID != test.id || !slices.Equal(key.Algorithms, test.algorithms) {
				t.Errorf("got the ID %q and %v, want %q and %v", key.ID, key.Algorithms, test.id, test.algorithms)
			}
		})
	}
}

func TestParseKeyRefuses(t *testing.T) {
	even := new(big.Int).SetBytes(octets(t, rfc7638N))
	even.SetBit(even, 0, 0)
	for _, test := range []struct {
		name, key   string
		unsupported bool // such a key is left out of a set, others spoil it
	}{
		{"nothing", ``, false},
		{"null", `null`, false},
		{"an array", `[]`, false},
		{"two keys", rfc8037 + rfc8037, false},
		{"something behind it", rfc8037 + `,`, false},
		{"no kty", `{"crv":"Ed25519","x":"` + rfc8037X + `"}`, false},
		{"kty that is no text", `{"kty":1}`, false},
		{"kty null", `{"kty":null}`, false},
		{"kty in another case", `{"kty":"okp","crv":"Ed25519","x":"` + rfc8037X + `"}`, true},
		{"kty oct", `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`, true},
		{"kty AKP", `{"kty":"AKP","alg":"ML-DSA-44"}`, true},
		{"a member twice", `{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037X + `","x":"` + rfc8037X + `"}`, false},
		{"a member twice by escapes", `{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037X + `","\u0078":"` + rfc8037X + `"}`, false},
		{"a member of a stranger twice", with(rfc8037, `"z":1,"z":2`), false},
		{"a member twice inside", with(rfc8037, `"z":[{"a":1,"a":2}]`), false},
		{"broken UTF-8", with(rfc8037, "\"kid\":\"\xff\""), false},
		{"a lone surrogate", with(rfc8037, `"kid":"\ud800"`), false},
		{"longer than 64 KiB", with(rfc8037, `"z":"`+strings.Repeat("z", 64<<10)+`"`), false},

		{"d", with(rfc8037, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`), false},
		{"d that is null", with(rfc8037, `"d":null`), false},
		{"d that is empty", with(rfc7517, `"d":""`), false},
		{"p", with(rfc7638, `"p":"AQ"`), false},
		{"q", with(rfc7638, `"q":"AQ"`), false},
		{"dp", with(rfc7638, `"dp":"AQ"`), false},
		{"dq", with(rfc7638, `"dq":"AQ"`), false},
		{"qi", with(rfc7638, `"qi":"AQ"`), false},
		{"oth", with(rfc7638, `"oth":[]`), false},
		{"k in a key of RSA", with(rfc7638, `"k":"AQ"`), false},

		{"use enc", with(rfc8037, `"use":"enc"`), true},
		{"use in another case", with(rfc8037, `"use":"SIG"`), true},
		{"use that is no text", with(rfc8037, `"use":["sig"]`), false},
		{"key_ops without verify", with(rfc8037, `"key_ops":["sign"]`), true},
		{"no key_ops", with(rfc8037, `"key_ops":[]`), true},
		{"key_ops that is a text", with(rfc8037, `"key_ops":"verify"`), false},
		{"key_ops of numbers", with(rfc8037, `"key_ops":[1]`), false},

		{"alg none", with(rfc8037, `"alg":"none"`), true},
		{"alg HS256 on RSA", rsaKey(rfc7638N, "AQAB", `"alg":"HS256"`), true},
		{"alg HS256 on Ed25519", with(rfc8037, `"alg":"HS256"`), true},
		{"alg ES384 on P-256", with(rfc7517, `"alg":"ES384"`), true},
		{"alg ES256K on P-256", with(rfc7517, `"alg":"ES256K"`), true},
		{"alg RS256 on P-256", with(rfc7517, `"alg":"RS256"`), true},
		{"alg ES256 on RSA", rsaKey(rfc7638N, "AQAB", `"alg":"ES256"`), true},
		{"alg in another case", rsaKey(rfc7638N, "AQAB", `"alg":"rs256"`), true},
		{"alg RSA-OAEP", rsaKey(rfc7638N, "AQAB", `"alg":"RSA-OAEP"`), true},
		{"alg that is no text", with(rfc8037, `"alg":null`), false},

		{"kid that is no text", with(rfc8037, `"kid":1`), false},
		{"kid too long", with(rfc8037, `"kid":"`+strings.Repeat("k", 129)+`"`), true},
		{"kid with a space", with(rfc8037, `"kid":"a b"`), true},
		{"kid with NUL", with(rfc8037, `"kid":"a\u0000"`), true},

		{"RSA of 2047 bits", rsaKey(modulus(2047), "AQAB", ""), false},
		{"RSA of 1024 bits", rsaKey(modulus(1024), "AQAB", ""), false},
		{"RSA of 8193 bits", rsaKey(modulus(8193), "AQAB", ""), false},
		{"RSA, even modulus", rsaKey(encode(even.Bytes()), "AQAB", ""), false},
		{"RSA, no modulus", `{"kty":"RSA","e":"AQAB"}`, false},
		{"RSA, no exponent", `{"kty":"RSA","n":"` + rfc7638N + `"}`, false},
		{"RSA, exponent 0", rsaKey(rfc7638N, "AA", ""), false},
		{"RSA, exponent 1", rsaKey(rfc7638N, "AQ", ""), false},
		{"RSA, exponent 3", rsaKey(rfc7638N, "Aw", ""), false},
		{"RSA, exponent 65536", rsaKey(rfc7638N, "AQAA", ""), false},
		{"RSA, exponent 2^31+1", rsaKey(rfc7638N, "gAAAAQ", ""), false},
		{"RSA, exponent of five octets", rsaKey(rfc7638N, "AQAAAAE", ""), false},
		{"RSA, exponent with a zero in front", rsaKey(rfc7638N, "AAEAAQ", ""), false},
		{"RSA, modulus with a zero in front", rsaKey(encode(append([]byte{0}, octets(t, rfc7638N)...)), "AQAB", ""), false},
		{"RSA, exponent that is a number", `{"kty":"RSA","n":"` + rfc7638N + `","e":65537}`, false},
		{"RSA, padded", rsaKey(rfc7638N+"==", "AQAB", ""), false},
		{"RSA, a line end", rsaKey(rfc7638N[:8]+`\n`+rfc7638N[8:], "AQAB", ""), false},
		{"RSA, base64 that is not of URLs", rsaKey(strings.ReplaceAll(rfc7638N, "_", "/"), "AQAB", ""), false},
		{"RSA, a last character with bits behind", rsaKey(rfc7638N[:len(rfc7638N)-1]+"x", "AQAB", ""), false},

		{"EC, not on the curve", strings.Replace(rfc7517, "4Etl6", "4Etl7", 1), false},
		{"EC, on another curve", strings.Replace(rfc7517, "P-256", "P-384", 1), false},
		{"EC, the point 0, 0", `{"kty":"EC","crv":"P-256","x":"` + encode(make([]byte, 32)) + `","y":"` + encode(make([]byte, 32)) + `"}`, false},
		{"EC, a short coordinate", `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, false},
		{"EC, a compressed point", `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"}`, false},
		{"EC, no crv", `{"kty":"EC",` + rfc7517XY + `}`, false},
		{"EC, P-224", `{"kty":"EC","crv":"P-224",` + rfc7517XY + `}`, true},
		{"EC, secp256k1", `{"kty":"EC","crv":"secp256k1",` + rfc7517XY + `}`, true},

		{"OKP, X25519", strings.Replace(rfc8037, "Ed25519", "X25519", 1), true},
		{"OKP, Ed448", strings.Replace(rfc8037, "Ed25519", "Ed448", 1), true},
		{"OKP, no x", `{"kty":"OKP","crv":"Ed25519"}`, false},
		{"OKP, 31 bytes", okp(make([]byte, 31)), false},
		{"OKP, 33 bytes", okp(make([]byte, 33)), false},
		{"OKP, off the curve", okp(append([]byte{2}, make([]byte, 31)...)), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := jwk.ParseKey([]byte(test.key))
			if err == nil || key.Public != nil {
				t.Fatalf("accepted, with %v", key.Algorithms)
			}
			if errors.Is(err, jwk.ErrUnsupported) != test.unsupported {
				t.Errorf("got %v, want it to be unsupported: %v", err, test.unsupported)
			}
			if strings.Contains(err.Error(), "MKBC") || strings.Contains(err.Error(), "0vx7") {
				t.Errorf("the error quotes the key: %v", err)
			}
		})
	}
}

// TestPointsOfSmallOrder lists all encodings of the eight points whose order divides 8, canonical or not: each of them as a
// public key makes one signature hold for at least every eighth message.
func TestPointsOfSmallOrder(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	y8, _ := new(big.Int).SetString("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16)
	one := big.NewInt(1)
	for _, y := range []*big.Int{
		new(big.Int), one, new(big.Int).Sub(p, one), y8, new(big.Int).Sub(p, y8), p, new(big.Int).Add(p, one),
	} {
		for _, sign := range []byte{0, 0x80} {
			encoded := y.FillBytes(make([]byte, 32))
			slices.Reverse(encoded)
			encoded[31] |= sign
			if _, err := jwk.ParseKey([]byte(okp(encoded))); err == nil {
				t.Errorf("accepted %x", encoded)
			}
			// The identity as R and nothing as S: what makes the point dangerous, where the library decodes it.
			forged := append(append([]byte{1}, make([]byte, 31)...), make([]byte, 32)...)
			holds := 0
			for i := range 64 {
				if ed25519.Verify(encoded, []byte{byte(i)}, forged) {
					holds++
				}
			}
			if holds == 0 && y != p && y.Cmp(p) < 0 && (sign == 0 || y.Cmp(one) > 0) && new(big.Int).Sub(p, y).Cmp(one) != 0 {
				t.Errorf("%x is a harmless point: the test is wrong", encoded)
			}
		}
	}
	for range 64 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		parse(t, okp(public))
	}
}

func TestParseSet(t *testing.T) {
	named := func(key, kid string) string { return with(key, `"kid":"`+kid+`"`) }
	many := make([]string, 33)
	for i := range many {
		many[i] = named(rfc8037, fmt.Sprint("k", i))
	}
	bare := rsaKey(rfc7638N, "AQAB", "")
	for _, test := range []struct {
		name, set string
		keys      int // 0: refused
	}{
		{"one key", set(rfc8037), 1},
		{"three types", set(rfc7638, rfc7517, rfc8037), 3},
		{"the same kid for keys of two types", set(named(bare, "a"), named(rfc8037, "a")), 2},
		{"no kid twice", set(rfc8037, rfc8037), 2},
		{"32 keys", set(many[:32]...), 32},
		{"members of strangers", `{"x":{"y":[1]},"keys":[` + rfc8037 + `],"KEYS":[]}`, 1},
		{"keys for other things", set(`{"kty":"oct","k":"AA"}`, `{"kty":"new"}`, with(bare, `"use":"enc"`), with(bare, `"alg":"RSA-OAEP"`), rfc8037), 1},
		{"the same kid for signing and encryption", set(named(bare, "a"), with(named(bare, "a"), `"use":"enc"`)), 1},
		{"64 KiB", pad(set(rfc8037), 64<<10), 1},

		{"nothing", ``, 0},
		{"a key", rfc8037, 0},
		{"null", `null`, 0},
		{"an array", `[` + rfc8037 + `]`, 0},
		{"no keys", set(), 0},
		{"keys null", `{"keys":null}`, 0},
		{"a key null", `{"keys":[null]}`, 0},
		{"keys in another case", `{"Keys":[` + rfc8037 + `]}`, 0},
		{"no usable key", set(`{"kty":"oct","k":"AA"}`), 0},
		{"33 keys", set(many...), 0},
		{"33 keys, most of no use", set(append(slices.Repeat([]string{`{"kty":"new"}`}, 32), rfc8037)...), 0},
		{"more than 64 KiB", pad(set(rfc8037), 64<<10+1), 0},
		{"the same kid twice", set(named(bare, "a"), named(bare, "a")), 0},
		{"the same kid twice, other curves", set(named(rfc7517[:len(rfc7517)-9]+"}", "a"), named(ecKey(t, elliptic.P384()), "a")), 0},
		{"keys twice", `{"keys":[` + rfc8037 + `],"keys":[` + rfc8037 + `]}`, 0},
		{"a member twice in a key", set(rfc8037, with(rfc8037, `"kid":"a","kid":"b"`)), 0},
		{"a member twice in a key of no use", set(rfc8037, `{"kty":"new","a":{"b":1,"b":1}}`), 0},
		{"a member twice outside", `{"x":{"a":1,"a":1},"keys":[` + rfc8037 + `]}`, 0},
		{"a private key", set(rfc8037, with(rfc8037, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`)), 0},
		{"a weak key", set(rfc8037, rsaKey(modulus(1024), "AQAB", "")), 0},
		{"something behind it", set(rfc8037) + `{}`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, err := jwk.ParseSet([]byte(test.set))
			if len(keys) != test.keys || (err == nil) != (test.keys > 0) {
				t.Errorf("got %d keys and %v, want %d", len(keys), err, test.keys)
			}
		})
	}
}

func TestMarshalSetIsReadBack(t *testing.T) {
	var keys []jwk.Key
	for _, text := range []string{rfc7638, rfc7517, rfc8037, ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521()), rsaKey(rfc7638N, "AQAB", "")} {
		keys = append(keys, parse(t, text))
	}
	text, err := jwk.MarshalSet(keys)
	if err != nil {
		t.Fatal(err)
	}
	again, err := jwk.ParseSet(text)
	if err != nil || len(again) != len(keys) {
		t.Fatalf("%d keys came back of %d, with %v", len(again), len(keys), err)
	}
	for i, key := range keys {
		if again[i].ID != key.ID || !slices.Equal(again[i].Algorithms, key.Algorithms) || again[i].Thumbprint() != key.Thumbprint() {
			t.Errorf("key %d came back as %q %v", i, again[i].ID, again[i].Algorithms)
		}
	}
	want := `{"keys":[{"crv":"Ed25519","kty":"OKP","x":"` + rfc8037X + `","kid":"a","use":"sig","alg":"EdDSA"}]}`
	text, err = jwk.MarshalSet([]jwk.Key{parse(t, with(rfc8037, `"kid":"a"`))})
	if err != nil || string(text) != want {
		t.Errorf("got %s and %v, want %s", text, err, want)
	}
	if text, err := jwk.MarshalSet(nil); err != nil || string(text) != `{"keys":[]}` {
		t.Errorf("no keys are written as %s, with %v", text, err)
	}
	if _, err := jwk.MarshalSet([]jwk.Key{{Public: "text"}}); err == nil {
		t.Error("a key of no type was written")
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte(set(rfc7638, rfc7517, rfc8037)))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(rfc7638))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := jwk.ParseSet(raw)
		if key, errKey := jwk.ParseKey(raw); errKey == nil {
			keys = append(keys, key)
		}
		if err != nil && len(keys) > 1 || len(keys) > jwk.MaxKeys+1 {
			t.Fatalf("%d keys with %v", len(keys), err)
		}
		for _, key := range keys {
			if why := unsound(key); why != "" {
				t.Fatalf("accepted a key %s", why)
			}
			text, err := jwk.MarshalSet([]jwk.Key{key})
			if err != nil {
				t.Fatal(err)
			}
			again, err := jwk.ParseSet(text)
			if err != nil || len(again) != 1 || again[0].Thumbprint() != key.Thumbprint() || again[0].ID != key.ID {
				t.Fatalf("%s is read back as %v, with %v", text, again, err)
			}
		}
	})
}

// unsound says what of a key's promises does not hold, by other means than the package's.
func unsound(key jwk.Key) string {
	switch public := key.Public.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < 2048 || bits > 8192 || public.E < 65537 || public.E%2 == 0 {
			return "of RSA that is weak"
		}
	case *ecdsa.PublicKey:
		if _, err := public.ECDH(); err != nil {
			return "that is not on its curve"
		}
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize || bytes.Equal(public, make([]byte, len(public))) {
			return "of Ed25519 that is no point"
		}
	default:
		return "of no known type"
	}
	if len(key.Algorithms) == 0 || key.ID != "" && !jwk.ValidID(key.ID) || len(key.Thumbprint()) != 43 {
		return "without algorithms, with a wild ID or without thumbprint"
	}
	return ""
}

func BenchmarkParseKey(b *testing.B) {
	for name, text := range map[string]string{"RS256": rfc7638, "ES256": rfc7517, "EdDSA": rfc8037} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jwk.ParseKey([]byte(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func parse(t *testing.T, text string) jwk.Key {
	t.Helper()
	key, err := jwk.ParseKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if why := unsound(key); why != "" {
		t.Fatalf("accepted a key %s", why)
	}
	return key
}

// with adds members to a key.
func with(key, more string) string { return strings.TrimSuffix(key, "}") + "," + more + "}" }

func set(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// pad brings a text to a length with spaces.
func pad(text string, length int) string { return text + strings.Repeat(" ", length-len(text)) }

func rsaKey(n, e, more string) string {
	key := `{"kty":"RSA","n":"` + n + `","e":"` + e + `"}`
	if more != "" {
		key = with(key, more)
	}
	return key
}

func okp(x []byte) string { return `{"kty":"OKP","crv":"Ed25519","x":"` + encode(x) + `"}` }

func ecKey(t *testing.T, curve elliptic.Curve) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := len(point) / 2
	return `{"kty":"EC","crv":"` + curve.Params().Name + `","x":"` + encode(point[1:1+half]) + `","y":"` + encode(point[1+half:]) + `"}`
}

// modulus gives an odd number of so many bits.
func modulus(bits int) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return encode(n.SetBit(n, 0, 1).Bytes())
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func octets(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
