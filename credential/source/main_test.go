package source_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the secret of these tests.
const canary = "c4n4ry-Q7w9-do-not-print"

// leaks fails the test when text holds one of the secrets, plain or encoded.
func leaks(t *testing.T, how, text string) {
	t.Helper()
	for _, hidden := range []string{canary, vaulttest.RootToken, vaulttest.SecretID, vaulttest.ServiceJWT, "hvs."} {
		for _, form := range []string{hidden, hex.EncodeToString([]byte(hidden)), base64.StdEncoding.EncodeToString([]byte(hidden))} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows a secret: %s", how, text)
			}
		}
	}
}

// keep makes a keeper that ends with the test.
func keep(t testing.TB, cfg source.Config) *source.Keeper {
	t.Helper()
	k, err := source.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func mustRef(t testing.TB, text string) secret.Ref {
	t.Helper()
	ref, err := secret.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// of is the source of references.
func of(t testing.TB, k *source.Keeper, refs ...string) credential.Source {
	t.Helper()
	var list []secret.Ref
	for _, ref := range refs {
		list = append(list, mustRef(t, ref))
	}
	s, err := k.Source(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var alice = credential.Principal{Issuer: "https://idp.test", Subject: "alice@example.com"}

// get fetches for nobody, and joins the values.
func get(t testing.TB, s credential.Source) string {
	t.Helper()
	return getFor(t, s, credential.Principal{})
}

func getFor(t testing.TB, s credential.Source, who credential.Principal) string {
	t.Helper()
	got, err := s.Fetch(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, 0, len(got.Values))
	for _, v := range got.Values {
		texts = append(texts, v.Reveal())
	}
	return strings.Join(texts, " ")
}

// writeSecret makes a secret file that was last modified an hour ago, as far as its time of modification tells.
func writeSecret(t testing.TB, content string) (path string, ref string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	replace(t, path, content, time.Now().Add(-time.Hour))
	return path, "file:" + path
}

// replace writes the file in place and sets its time of modification.
func replace(t testing.TB, path, content string, changed time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, changed, changed); err != nil {
		t.Fatal(err)
	}
}

// vaultConfig is that of a Vault, logged in to by AppRole.
func vaultConfig(t testing.TB, v *vaulttest.Vault) source.Config {
	t.Helper()
	_, role := writeSecret(t, vaulttest.RoleID)
	_, id := writeSecret(t, vaulttest.SecretID)
	cfg := source.Config{Vault: vault.Config{
		Address: v.URL, Auth: vault.Auth{AppRole: &vault.AppRole{RoleID: mustRef(t, role), SecretID: mustRef(t, id)}},
	}}
	if strings.HasPrefix(v.URL, "https") {
		cfg.Vault.CAFile = filepath.Join(t.TempDir(), "ca.crt")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.CA()})
		if err := os.WriteFile(cfg.Vault.CAFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}
