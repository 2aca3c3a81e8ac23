package dpoptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Forgery is a proof that a checker must refuse.
type Forgery struct {
	// Name says what is wrong with it.
	Name string
	// Proof is what goes into the DPoP field.
	Proof string
}

// Forgeries gives forged variants of a proof that itself would pass, as of now: of the key, for an http or https URL, whose
// path is not empty, and a token. The nonce is a good one, or empty if none is required.
func (k *Key) Forgeries(method, url, token, nonce string) []Forgery {
	good := Claims(method, url, token, nonce)
	genuine := k.Sign(k.Header(), good)
	now, stranger := time.Now().Unix(), New(k.alg)
	all := []Forgery{
		{"none", ""},
		{"no signature", genuine[:strings.LastIndexByte(genuine, '.')+1]},
		{"two segments", genuine[:strings.LastIndexByte(genuine, '.')]},
		{"a fourth segment", genuine + "."},
		{"empty segments", ".."},
		{"padded", genuine + "="},
		{"a space behind it", genuine + " "},
		{"two in one", genuine + "," + genuine},
		{"line break in the signature", genuine[:len(genuine)-4] + "\n" + genuine[len(genuine)-4:]},
		{"signature in another spelling", respell(genuine)},
		{"signature cut off", genuine[:len(genuine)-4]},
		{"signature of another proof", swap(genuine, k.Sign(k.Header(), Claims(method, url, token, nonce)))},
		{"longer than 8 KiB", k.Sign(k.Header(), alter(good, `{`, `{"x":"`+strings.Repeat("x", 8<<10)+`",`))},
		{"signed by another key", stranger.Sign(k.Header(), good)},
		{"of another key", stranger.Proof(method, url, token, nonce)},
		{"algorithm none", encode([]byte(alter(k.Header(), `"`+k.alg+`"`, `"none"`))) + "." + encode([]byte(good)) + "."},
		{"HS256 with the public key", k.symmetric(good, []byte(k.jwk))},
		{"HS256 with the public key in PEM", k.symmetric(good, k.pem())},
		{"symmetric key", symmetricKey(good)},
		{"weak RSA key", weakRSA(good)},
		{"P-521", p521(good)},
	}
	if strings.HasPrefix(k.alg, "ES") {
		all = append(all, Forgery{"signature in ASN.1", k.asn1(good)})
	}
	header := func(name, old, new string) {
		all = append(all, Forgery{"header: " + name, k.Sign(alter(k.Header(), old, new), good)})
	}
	header("no typ", `"typ":"dpop+jwt",`, ``)
	header("typ JWT", `dpop+jwt`, `JWT`)
	header("typ at+jwt", `dpop+jwt`, `at+jwt`)
	header("typ in another case", `dpop+jwt`, `DPoP+JWT`)
	header("typ with application/", `dpop+jwt`, `application/dpop+jwt`)
	header("typ null", `"dpop+jwt"`, `null`)
	header("typ twice", `"typ":`, `"typ":"dpop+jwt","typ":`)
	header("typ in another case of its name", `"typ":`, `"TYP":`)
	header("no alg", `"alg":"`+k.alg+`",`, ``)
	header("alg in another case", `"`+k.alg+`"`, `"`+strings.ToLower(k.alg)+`"`)
	header("alg twice", `"alg":`, `"alg":"none","alg":`)
	header("alg as a list", `"`+k.alg+`"`, `["`+k.alg+`"]`)
	header("no jwk", `,"jwk":`+k.jwk, ``)
	header("jwk null", k.jwk, `null`)
	header("jwk as text", k.jwk, strconv.Quote(k.jwk))
	header("jwk in a list", k.jwk, `[`+k.jwk+`]`)
	header("jwk twice", `"jwk":`, `"jwk":`+stranger.jwk+`,"jwk":`)
	header("jwk with a member twice", `"kty":`, `"kty":"oct","kty":`)
	header("jwk with a private member", `"kty":`, `"d":"AQ","kty":`)
	header("jwk for encryption", `"kty":`, `"use":"enc","kty":`)
	header("jwk of another algorithm", `"kty":`, `"alg":"HS256","kty":`)
	header("crit", `{"typ"`, `{"crit":["exp"],"typ"`)
	header("empty crit", `{"typ"`, `{"crit":[],"typ"`)
	header("b64", `{"typ"`, `{"b64":false,"typ"`)
	header("kid", `{"typ"`, `{"kid":"a","typ"`)
	header("jku", `{"typ"`, `{"jku":"https://canary.example.test/","typ"`)
	header("x5u", `{"typ"`, `{"x5u":"https://canary.example.test/","typ"`)
	header("x5c", `{"typ"`, `{"x5c":["AA=="],"typ"`)
	header("an unknown member", `{"typ"`, `{"x":1,"typ"`)
	header("something behind it", `}}`, `}}{}`)
	header("invalid UTF-8", `dpop+jwt`, "dpop+jwt\xff")

	claim := func(name, old, new string) {
		all = append(all, Forgery{"claims: " + name, k.Sign(k.Header(), alter(good, old, new))})
	}
	value := func(name, text string) string { return `"` + name + `":` + text }
	replace := func(why, name, text string) { claim(why, member(good, name), value(name, text)) }
	for _, name := range []string{"jti", "htm", "htu", "iat", "ath"} {
		claim("no "+name, member(good, name), `"x":1`)
		replace(name+" null", name, `null`)
		replace(name+" as a list", name, `["x"]`)
		replace(name+" as true", name, `true`)
		claim(name+" twice", value(name, ``), value(name, `"x",`)+value(name, ``))
		claim(name+" twice, by an escape", value(name, ``), `"`+fmt.Sprintf(`\u%04x`, name[0])+name[1:]+`":"x",`+value(name, ``))
		claim(name+" in another case too", value(name, ``), `"`+strings.ToUpper(name)+`":"x",`+value(name, ``))
		claim(name+" in another case only", value(name, ``), value(strings.ToUpper(name), ``))
	}
	for _, name := range []string{"exp", "nbf", "nonce"} {
		claim(strings.ToUpper(name), `{`, `{"`+strings.ToUpper(name)+`":1,`)
		claim(name+" of another kind", `{`, `{`+value(name, `[],`))
	}
	replace("jti empty", "jti", `""`)
	replace("jti too long", "jti", `"`+strings.Repeat("j", 257)+`"`)
	replace("jti with a space", "jti", `"a b"`)
	replace("jti with NUL", "jti", `"a\u0000"`)
	replace("jti beyond ASCII", "jti", `"é"`)
	replace("jti a number", "jti", `1`)

	for _, other := range []string{"", "get", strings.ToLower(method), method + " ", " " + method, method + "X", "PATCH"} {
		replace("htm "+strconv.Quote(other), "htm", strconv.Quote(other))
	}
	for why, other := range otherURLs(url) {
		replace("htu "+why, "htu", strconv.Quote(other))
	}
	for why, at := range map[string]int64{"61 s old": now - 61, "120 s old": now - 120, "120 s ahead": now + 120, "a year ahead": now + 365*24*3600, "0": 0, "negative": -now} {
		replace("iat "+why, "iat", strconv.FormatInt(at, 10))
	}
	for _, text := range []string{`"` + strconv.FormatInt(now, 10) + `"`, `1e400`, `1e9`, `9223372036854775808`, `-1`, `0.5`, strconv.FormatInt(now, 10) + `.0000000000000000000`, strconv.FormatInt(now*1000, 10)} {
		replace("iat "+text, "iat", text)
	}
	claim("exp past", `{`, fmt.Sprintf(`{"exp":%d,`, now-62))
	claim("exp long past", `{`, `{"exp":0,`)
	claim("nbf to come", `{`, fmt.Sprintf(`{"nbf":%d,`, now+120))
	claim("nbf long to come", `{`, `{"nbf":1099511627776,`)

	replace("ath of another token", "ath", strconv.Quote(hash(token+"x")))
	replace("ath of no token", "ath", strconv.Quote(hash("")))
	replace("ath empty", "ath", `""`)
	replace("ath padded", "ath", strconv.Quote(hash(token)+"="))
	replace("ath is the token", "ath", strconv.Quote(token))
	claim("something behind them", `}`, `}{}`)
	claim("invalid UTF-8", `{`, "{\"x\":\"\xff\",")
	claim("a member twice, deep", `{`, `{"x":[{"y":1,"y":1}],`)
	return append(all,
		Forgery{"claims null", k.Sign(k.Header(), `null`)},
		Forgery{"claims in a list", k.Sign(k.Header(), `[`+good+`]`)},
		Forgery{"claims as text", k.Sign(k.Header(), strconv.Quote(good))},
		Forgery{"no claims", k.Sign(k.Header(), ``)},
		Forgery{"no members", k.Sign(k.Header(), `{}`)},
	)
}

// otherURLs are URLs that are not the given one, by what is other.
func otherURLs(url string) map[string]string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	base := scheme + "://" + host
	otherScheme := map[string]string{"http": "https", "https": "http"}[scheme]
	last := url[len(url)-1:]
	return map[string]string{
		"empty":                      "",
		"relative":                   "/" + path,
		"without a scheme":           "//" + rest,
		"of another scheme":          otherScheme + "://" + rest,
		"of a scheme of its own":     "x" + url,
		"of a scheme alone":          scheme + ":" + path,
		"of another host":            scheme + "://evil.example.test/" + path,
		"of a host below":            scheme + "://x." + rest,
		"of a host with a dot":       scheme + "://" + strings.Replace(host, ":", ".:", 1) + "./" + path,
		"of a host as user":          base + "@evil.example.test/" + path,
		"with a user":                scheme + "://u@" + rest,
		"with an empty user":         scheme + "://@" + rest,
		"of another port":            scheme + "://" + strings.Split(host, ":")[0] + ":8/" + path,
		"of two ports":               base + ":1:2/" + path,
		"without a path":             base,
		"of the root":                base + "/",
		"of another path":            url + "x",
		"of a path below":            url + "/x",
		"with a slash behind it":     url + "/",
		"of a path cut off":          url[:len(url)-1],
		"of a path in another case":  base + "/" + strings.ToUpper(path),
		"with two slashes":           base + "//" + path,
		"with a dot segment":         base + "/./" + path,
		"with two dots":              base + "/x/../" + path,
		"with dots behind it":        url + "/.",
		"with encoded dots":          base + "/x/%2e%2e/" + path,
		"with an encoded character":  url[:len(url)-1] + fmt.Sprintf("%%%02x", last[0]),
		"with an encoded slash":      base + "/" + strings.Replace(path, "/", "%2F", 1) + "%2F",
		"with a backslash":           base + `\` + path,
		"with a space":               url + " ",
		"behind a space":             " " + url,
		"with a line break":          url + "\n",
		"with NUL":                   url + "\x00",
		"with a parameter":           url + ";x",
		"in the query of another":    base + "/x?" + url,
		"in the fragment of another": base + "/x#" + url,
		"with its query as a path":   base + "/?" + path,
	}
}

// alter replaces a text that must be there.
func alter(text, old, new string) string {
	altered := strings.Replace(text, old, new, 1)
	if altered == text {
		panic("dpoptest: a forgery alters nothing: " + old)
	}
	return altered
}

// member finds a member of claims, none of whose values has a comma or a brace.
func member(claims, name string) string {
	at := strings.Index(claims, `"`+name+`":`)
	return claims[at : at+strings.IndexAny(claims[at:], ",}")]
}

// respell changes the last character only in bits that a lax decoder ignores, or adds a character of them.
func respell(proof string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	signature := proof[strings.LastIndexByte(proof, '.')+1:]
	if len(signature)%4 == 0 { // no bits are left over
		return proof + "A"
	}
	last := strings.IndexByte(alphabet, proof[len(proof)-1])
	return proof[:len(proof)-1] + alphabet[last|1:last|1+1]
}

// swap puts the signature of another proof behind this one.
func swap(proof, other string) string {
	return proof[:strings.LastIndexByte(proof, '.')] + other[strings.LastIndexByte(other, '.'):]
}

// symmetric takes the public key for a shared secret, as a careless verifier does.
func (k *Key) symmetric(claims string, secret []byte) string {
	return mac(alter(k.Header(), `"`+k.alg+`"`, `"HS256"`), claims, secret)
}

func symmetricKey(claims string) string {
	secret := []byte("a secret of 32 bytes that is sent")
	return mac(fmt.Sprintf(`{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":%q}}`, encode(secret)), claims, secret)
}

func mac(header, claims string, secret []byte) string {
	signing := encode([]byte(header)) + "." + encode([]byte(claims))
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(signing))
	return signing + "." + encode(m.Sum(nil))
}

func (k *Key) pem() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// asn1 signs as TLS does, not as RFC 7518 section 3.4 wants.
func (k *Key) asn1(claims string) string {
	signing := encode([]byte(k.Header())) + "." + encode([]byte(claims))
	digest := sha256.Sum256([]byte(signing))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		panic(err)
	}
	return signing + "." + encode(signature)
}

func weakRSA(claims string) string {
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	weak := &Key{alg: "RS256", private: private, jwk: jwkOf(private.Public())}
	return weak.Sign(weak.Header(), claims)
}

func p521(claims string) string {
	private, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		panic(err)
	}
	long := &Key{alg: "ES512", private: private, jwk: jwkOf(private.Public())}
	return long.Sign(long.Header(), claims)
}
