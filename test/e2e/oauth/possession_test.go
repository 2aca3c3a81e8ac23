package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// holder is a client that proves with each request that it holds a key
// (RFC 9449). None of the clients above does.
type holder struct {
	key    *ecdsa.PrivateKey
	client *http.Client
}

// prove signs a proof for one request.
func (h *holder) prove(t *testing.T, method, at, token, nonce string) string {
	t.Helper()
	point, err := h.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	claims := jwt.MapClaims{"jti": rand.Text(), "htm": method, "htu": at, "iat": time.Now().Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = b64(hash[:])
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	proof.Header["typ"] = "dpop+jwt"
	proof.Header["jwk"] = map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	text, err := proof.SignedString(h.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// do sends a request and reads the answer.
func (h *holder) do(ctx context.Context, t *testing.T, at, body string, header map[string]string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// boundToken lets the provider bind a token to the key of a client, which
// then is of use with a proof only.
func boundToken(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{key: key, client: w.client}
	endpoint := w.provider.issuer + "/token"
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {secretClient}, "client_secret": {clientSecret},
		"scope": {"mcp"}, "resource": {w.url(wiki)},
	}
	resp, text := h.do(ctx, t, endpoint, form.Encode(), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "DPoP": h.prove(t, http.MethodPost, endpoint, "", ""),
	})
	var got struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Type != "DPoP" {
		t.Fatalf("the provider answers %s: %s", resp.Status, text)
	}
	const body = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"holder","version":"1"}}}`
	call := func(scheme, proof string) *http.Response {
		header := map[string]string{
			"Authorization": scheme + " " + got.Token, "Content-Type": "application/json",
			"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25",
		}
		if proof != "" {
			header["DPoP"] = proof
		}
		resp, text := h.do(ctx, t, w.url(wiki), body, header)
		t.Logf("%s, with a proof %t: %s: %.100s", scheme, proof != "", resp.Status, text)
		return resp
	}
	prove := func(nonce string) string { return h.prove(t, http.MethodPost, w.url(wiki), got.Token, nonce) }

	proof := prove("")
	resp = call("DPoP", proof)
	if nonce := resp.Header.Get("DPoP-Nonce"); resp.StatusCode == http.StatusUnauthorized && nonce != "" {
		proof = prove(nonce)
		resp = call("DPoP", proof)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("with a proof: %s, %q", resp.Status, resp.Header.Values("WWW-Authenticate"))
	}
	thief := &holder{client: w.client}
	if thief.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	for what, resp := range map[string]*http.Response{
		"the same proof again":      call("DPoP", proof),
		"no proof":                  call("DPoP", ""),
		"as a bearer":               call("Bearer", ""),
		"as a bearer, with a proof": call("Bearer", prove("")),
		"another's proof":           call("DPoP", thief.prove(t, http.MethodPost, w.url(wiki), got.Token, "")),
		"a proof for another URL":   call("DPoP", h.prove(t, http.MethodPost, w.url(drafts), got.Token, "")),
	} {
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", what, resp.Status)
		}
		if what == "no proof" && !strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), "\n"), "DPoP ") {
			t.Errorf("%s: the challenge does not ask for one: %q", what, resp.Header.Values("WWW-Authenticate"))
		}
	}
}
