package authtest

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"sallyport.dev/auth"
)

// Header gives the header of a genuine assertion.
func Header() string {
	return `{"alg":"EdDSA","typ":"sallyport-assertion+jwt","kid":"` + auth.KeyID(PublicKey()) + `"}`
}

// Forgery is an assertion that a checker must refuse.
type Forgery struct {
	// Name says what is wrong with it.
	Name string
	// Token is the assertion.
	Token string
	// Want is the sentinel of package auth that the refusal wraps.
	Want error
}

// Claims gives the claims of a genuine assertion of a as JSON text, issued at a time, to be altered and forged.
func Claims(a auth.Assertion, issued time.Time) string {
	at := issued.Unix()
	return fmt.Sprintf(`{"iss":%q,"aud":%q,"iat":%d,"nbf":%d,"exp":%d,"tunnel":%q,"server":%q,"principal":{"iss":%q,"sub":%q}}`,
		Issuer, a.Connector, at, at, at+30, a.Tunnel, a.Server, a.Principal.Issuer, a.Principal.Subject)
}

// Forge signs any header and claims with a key, as an EdDSA token.
func Forge(header, claims string, key ed25519.PrivateKey) string {
	signing := signingString(header, claims)
	return signing + "." + encode(ed25519.Sign(key, []byte(signing)))
}

// Forgeries gives all forged variants of an assertion that itself would pass, as of now.
func Forgeries(a auth.Assertion) []Forgery {
	now := time.Now()
	good := Claims(a, now)
	genuine := Forge(Header(), good, Key())
	claims := func(name, old, new string, want error) Forgery {
		altered := strings.Replace(good, old, new, 1)
		if altered == good {
			panic("authtest: the forgery " + name + " alters nothing")
		}
		return Forgery{name, Forge(Header(), altered, Key()), want}
	}
	header := func(name, text string, want error) Forgery {
		return Forgery{name, Forge(text, good, Key()), want}
	}
	exp := fmt.Sprintf(`"exp":%d`, now.Unix()+30)
	return []Forgery{
		{"wrong key", Forge(Header(), good, StrangerKey()), auth.ErrInvalid},
		{"no signature", signingString(Header(), good) + ".", auth.ErrInvalid},
		{"algorithm none", signingString(`{"alg":"none","typ":"sallyport-assertion+jwt"}`, good) + ".", auth.ErrInvalid},
		{"HS256 with the public key", hs256(good), auth.ErrInvalid},
		{"malleated signature", malleate(genuine), auth.ErrMalformed},
		{"padded signature", genuine + "==", auth.ErrMalformed},
		{"line break in the signature", genuine[:len(genuine)-4] + "\n" + genuine[len(genuine)-4:], auth.ErrMalformed},
		{"fourth segment", genuine + ".", auth.ErrMalformed},
		{"two segments", signingString(Header(), good), auth.ErrMalformed},
		{"empty segments", "..", auth.ErrMalformed},
		{"too long", genuine + strings.Repeat("A", 8<<10), auth.ErrMalformed},
		{"claims swapped under the signature", swapClaims(genuine, a, now), auth.ErrInvalid},

		header("type of an ordinary token", `{"alg":"EdDSA","typ":"JWT"}`, auth.ErrInvalid),
		header("no type", `{"alg":"EdDSA"}`, auth.ErrInvalid),
		header("algorithm in another case", `{"alg":"eddsa","typ":"sallyport-assertion+jwt"}`, auth.ErrInvalid),
		header("crit", `{"alg":"EdDSA","typ":"sallyport-assertion+jwt","crit":["exp"]}`, auth.ErrMalformed),
		header("no kid", `{"alg":"EdDSA","typ":"sallyport-assertion+jwt"}`, auth.ErrInvalid),
		header("kid", `{"alg":"EdDSA","typ":"sallyport-assertion+jwt","kid":"../../etc/passwd"}`, auth.ErrInvalid),
		header("kid of another key", strings.Replace(Header(), auth.KeyID(PublicKey()), auth.KeyID(StrangerKey().Public().(ed25519.PublicKey)), 1), auth.ErrInvalid),
		header("kid twice", strings.Replace(Header(), `"kid"`, `"kid":"x","kid"`, 1), auth.ErrMalformed),
		header("kid in another case", strings.Replace(Header(), `"kid"`, `"KID"`, 1), auth.ErrMalformed),
		header("jku", `{"alg":"EdDSA","typ":"sallyport-assertion+jwt","jku":"https://canary.example.test/"}`, auth.ErrMalformed),
		header("x5u", `{"alg":"EdDSA","typ":"sallyport-assertion+jwt","x5u":"https://canary.example.test/"}`, auth.ErrMalformed),
		{"embedded key", embeddedKey(good), auth.ErrMalformed},
		header("duplicate algorithm", `{"alg":"none","alg":"EdDSA","typ":"sallyport-assertion+jwt"}`, auth.ErrMalformed),
		header("header null", `null`, auth.ErrInvalid),
		header("header with a second value", Header()+`{}`, auth.ErrMalformed),

		claims("wrong audience", `"aud":"`+a.Connector, `"aud":"other-`+a.Connector, auth.ErrInvalid),
		claims("no audience", `"aud":"`+a.Connector+`",`, ``, auth.ErrInvalid),
		claims("audience list", `"aud":"`+a.Connector+`"`, `"aud":["`+a.Connector+`"]`, auth.ErrMalformed),
		claims("wrong issuer", `"iss":"`+Issuer, `"iss":"`+Issuer+`/`, auth.ErrInvalid),
		claims("no issuer", `"iss":"`+Issuer+`",`, ``, auth.ErrInvalid),
		claims("wrong tunnel", `"tunnel":"`, `"tunnel":"x`, auth.ErrInvalid),
		claims("no tunnel", `"tunnel":"`+a.Tunnel+`",`, ``, auth.ErrInvalid),
		claims("wrong server", `"server":"`, `"server":"x`, auth.ErrInvalid),
		claims("no server", `"server":"`+a.Server+`",`, ``, auth.ErrInvalid),
		claims("no subject", `"sub":"`+a.Principal.Subject+`"`, `"sub":""`, auth.ErrInvalid),
		claims("no expiry", exp+",", ``, auth.ErrInvalid),
		claims("expiry null", exp, `"exp":null`, auth.ErrInvalid),
		claims("expiry as text", exp, `"exp":"`+fmt.Sprint(now.Unix()+30)+`"`, auth.ErrMalformed),
		claims("expiry with a fraction", exp, exp+".5", auth.ErrMalformed),
		claims("expiry of 1e400", exp, `"exp":1e400`, auth.ErrMalformed),
		claims("expiry of 2^63", exp, `"exp":9223372036854775808`, auth.ErrMalformed),
		claims("expiry of 2^62", exp, `"exp":4611686018427387904`, auth.ErrInvalid),
		claims("expiry that overflows a duration", exp, `"exp":1000000000000`, auth.ErrInvalid),
		claims("life above 30 s", exp, fmt.Sprintf(`"exp":%d`, now.Unix()+31), auth.ErrInvalid),
		claims("negative expiry", exp, `"exp":-1`, auth.ErrInvalid),
		claims("no not-before", `"nbf":`+fmt.Sprint(now.Unix())+`,`, ``, auth.ErrInvalid),
		claims("issued later than valid", `"iat":`+fmt.Sprint(now.Unix()), `"iat":`+fmt.Sprint(now.Unix()+7), auth.ErrInvalid),
		claims("no issue time", `"iat":`+fmt.Sprint(now.Unix())+`,`, ``, auth.ErrInvalid),
		claims("outlives its principal", `"principal":{`, fmt.Sprintf(`"principal":{"exp":%d,`, now.Unix()+29), auth.ErrInvalid),
		claims("duplicate audience", `"aud":`, `"aud":"x","aud":`, auth.ErrMalformed),
		claims("duplicate behind an escape", `"aud":`, `"\u0061ud":"x","aud":`, auth.ErrMalformed),
		claims("case variant", `"aud":`, `"AUD":"x","aud":`, auth.ErrMalformed),
		claims("case variant of the subject", `"sub":`, `"SUB":"admin","sub":`, auth.ErrMalformed),
		claims("duplicate subject", `"sub":`, `"sub":"admin","sub":`, auth.ErrMalformed),
		claims("unknown claim", `"iss":`, `"scope":"all","iss":`, auth.ErrMalformed),
		claims("invalid UTF-8", `"sub":"`, "\"sub\":\"\xff", auth.ErrMalformed),
		{"claims null", Forge(Header(), `null`, Key()), auth.ErrInvalid},
		{"claims list", Forge(Header(), `[`+good+`]`, Key()), auth.ErrMalformed},
		{"claims twice", Forge(Header(), good+good, Key()), auth.ErrMalformed},
		{"no claims", Forge(Header(), ``, Key()), auth.ErrMalformed},

		{"expired", Forge(Header(), Claims(a, now.Add(-36*time.Second)), Key()), auth.ErrExpired},
		{"signed in the future", Forge(Header(), Claims(a, now.Add(7*time.Second)), Key()), auth.ErrInvalid},
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func signingString(header, claims string) string {
	return encode([]byte(header)) + "." + encode([]byte(claims))
}

// hs256 takes the public key for a shared secret, which a careless verifier does as well.
func hs256(claims string) string {
	signing := signingString(`{"alg":"HS256","typ":"sallyport-assertion+jwt"}`, claims)
	mac := hmac.New(sha256.New, PublicKey())
	mac.Write([]byte(signing))
	return signing + "." + encode(mac.Sum(nil))
}

// embeddedKey brings its own key along, and is signed with it.
func embeddedKey(claims string) string {
	key := StrangerKey()
	x := encode(key.Public().(ed25519.PublicKey))
	header := `{"alg":"EdDSA","typ":"sallyport-assertion+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}}`
	return Forge(header, claims, key)
}

// malleate changes the last character only in bits that a lax base64 decoder ignores: 64 bytes leave four such bits.
func malleate(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + alphabet[last|1:last|1+1]
}

// swapClaims keeps header and signature and puts another subject between them.
func swapClaims(token string, a auth.Assertion, at time.Time) string {
	a.Principal.Subject += "-admin"
	parts := strings.Split(token, ".")
	return parts[0] + "." + encode([]byte(Claims(a, at))) + "." + parts[2]
}
