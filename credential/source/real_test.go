package source_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/credential/source/vaulttest"
)

// bench is a Vault, real or not, on which the same is tried.
type bench struct {
	address string
	token   string // of an operator
	auth    vault.Auth
	mount   string // of a version 2 key-value engine, of which auth may not read /forbidden
	put     func(path string, data map[string]any)
	remove  func(path string)
}

// TestRealVault tries the same on the fake, and on the server that VAULT_ADDR names if VAULT_TOKEN may administer it:
// what the fake promises is what the real one gives.
func TestRealVault(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		v := vaulttest.New(t, false)
		conforms(t, bench{
			address: v.URL, token: vaulttest.RootToken, auth: vaultConfig(t, v).Vault.Auth, mount: "kv",
			put: v.Put, remove: func(path string) { v.Put(path, nil) },
		})
	})
	if address, token := os.Getenv("VAULT_ADDR"), os.Getenv("VAULT_TOKEN"); address != "" && token != "" {
		t.Run("real", func(t *testing.T) { conforms(t, realBench(t, address, token)) })
	}
}

func conforms(t *testing.T, b bench) {
	t.Helper()
	t.Setenv("SALLYPORT_TEST_VAULT_TOKEN", b.token)
	for name, auth := range map[string]vault.Auth{"token": {Token: mustRef(t, "env:SALLYPORT_TEST_VAULT_TOKEN")}, "approle": b.auth} {
		path := "wiki " + name
		b.put(path, map[string]any{"token": canary, "user": "svc", "port": 8080})
		b.put("forbidden/"+path, map[string]any{"token": canary})
		k := keep(t, source.Config{Vault: vault.Config{Address: b.address, Auth: auth, TTL: time.Second}})
		s := of(t, k, "vault:"+b.mount+"/"+path+"#user", "vault:"+b.mount+"/"+path+"#token", "vault:"+b.mount+"/"+path+"#port")
		if got := get(t, s); got != "svc "+canary+" 8080" {
			t.Errorf("%s: got %d bytes", name, len(got))
		}
		b.put(path, map[string]any{"token": "the next one", "user": "svc", "port": 8081})
		wait(t, "the newest version counts", func() bool { return get(t, s) == "svc the next one 8081" })
		b.remove(path)
		wait(t, "a deleted version is given out no more", func() bool {
			_, err := s.Fetch(t.Context(), credential.Principal{})
			return errors.Is(err, credential.ErrUnavailable) && strings.Contains(err.Error(), "nothing at that path")
		})
		_, err := of(t, k, "vault:"+b.mount+"/none#token").Fetch(t.Context(), credential.Principal{})
		if !errors.Is(err, credential.ErrUnavailable) || !strings.Contains(err.Error(), "nothing at that path") {
			t.Errorf("%s: a path where nothing is gives %v", name, err)
		}
		_, err = of(t, k, "vault:"+b.mount+"/forbidden/"+path+"#token").Fetch(t.Context(), credential.Principal{})
		if forbidden := errors.Is(err, vault.ErrRefused); forbidden != (name == "approle") {
			t.Errorf("%s: a path that its policy forbids gives %v", name, err)
		}
		_, err = of(t, k, "vault:sallyport-no-such-mount/x#token").Fetch(t.Context(), credential.Principal{})
		if !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s: an engine that is not there gives %v", name, err)
		}
		if err != nil {
			leaks(t, name, err.Error())
		}
	}
	t.Setenv("SALLYPORT_TEST_VAULT_TOKEN", b.token+"x")
	k := keep(t, source.Config{Vault: vault.Config{Address: b.address, Auth: vault.Auth{Token: mustRef(t, "env:SALLYPORT_TEST_VAULT_TOKEN")}}})
	if _, err := of(t, k, "vault:"+b.mount+"/wiki#token").Fetch(t.Context(), credential.Principal{}); !errors.Is(err, vault.ErrRefused) {
		t.Errorf("a token that is none gives %v", err)
	}
}

// realBench prepares a real server: an engine, a policy and a role of the AppRole method, all of which it removes again.
func realBench(t *testing.T, address, token string) bench {
	t.Helper()
	const name = "sallyport-conformance"
	ask := func(method, path string, body any) map[string]any {
		return administer(t, address, token, method, path, body)
	}
	for _, path := range []string{"sys/mounts/" + name, "sys/auth/" + name, "sys/policies/acl/" + name} {
		t.Cleanup(func() { ask(http.MethodDelete, path, nil) })
	}
	ask(http.MethodPost, "sys/mounts/"+name, map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	ask(http.MethodPost, "sys/auth/"+name, map[string]any{"type": "approle"})
	ask(http.MethodPost, "sys/policies/acl/"+name, map[string]any{
		"policy": `path "` + name + `/data/*" { capabilities = ["read"] } path "` + name + `/data/forbidden/*" { capabilities = ["deny"] }`,
	})
	ask(http.MethodPost, "auth/"+name+"/role/r", map[string]any{"token_policies": []string{name}, "token_ttl": "60s"})
	field := func(answer map[string]any, key string) string {
		data, _ := answer["data"].(map[string]any)
		text, _ := data[key].(string)
		return text
	}
	_, role := writeSecret(t, field(ask(http.MethodGet, "auth/"+name+"/role/r/role-id", nil), "role_id"))
	_, id := writeSecret(t, field(ask(http.MethodPost, "auth/"+name+"/role/r/secret-id", map[string]any{}), "secret_id"))
	return bench{
		address: address, token: token, mount: name,
		auth: vault.Auth{AppRole: &vault.AppRole{RoleID: mustRef(t, role), SecretID: mustRef(t, id), Mount: name}},
		put: func(path string, data map[string]any) {
			ask(http.MethodPost, name+"/data/"+strings.ReplaceAll(path, " ", "%20"), map[string]any{"data": data})
		},
		remove: func(path string) { ask(http.MethodDelete, name+"/data/"+strings.ReplaceAll(path, " ", "%20"), nil) },
	}
}

// administer makes one request as the operator. A new key-value engine says 400 until it is ready.
func administer(t *testing.T, address, token, method, path string, body any) (answer map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var status int
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if status, answer = send(t, address, token, method, path, text); status < http.StatusBadRequest {
			return answer
		}
	}
	t.Fatalf("%s %s: HTTP %d", method, path, status)
	return nil
}

func send(t *testing.T, address, token, method, path string, text []byte) (status int, answer map[string]any) {
	t.Helper()
	r, err := http.NewRequest(method, address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Vault-Token", token)
	r.Header.Set("X-Vault-Request", "true")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(got, &answer) // some have no body
	return resp.StatusCode, answer
}
