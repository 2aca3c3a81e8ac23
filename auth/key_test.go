package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sallyport.dev/auth"
)

func TestKeyIsMadeOnceAndLoadedAfter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion.key")
	var wg sync.WaitGroup
	keys := make([]ed25519.PrivateKey, 8)
	for i := range keys {
		wg.Go(func() {
			key, err := auth.LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	again, err := auth.LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		if !again.Equal(key) {
			t.Errorf("start %d works with a key that is not on disk", i)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestKeyIsRefused(t *testing.T) {
	good := keyPEM(t, newEd25519(t))
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name    string
		content string
		mode    os.FileMode
		text    string
	}{
		{"readable by the group", good, 0o640, "chmod 600"},
		{"readable by all", good, 0o604, "chmod 600"},
		{"empty", "", 0o600, "holds no Ed25519 key"},
		{"cut off", good[:len(good)/2], 0o600, "holds no Ed25519 key"},
		{"something behind", good + "x", 0o600, "holds no Ed25519 key"},
		{"another type of block", strings.ReplaceAll(good, "PRIVATE KEY", "PUBLIC KEY"), 0o600, "holds no Ed25519 key"},
		{"another type of key", keyPEM(t, ecKey), 0o600, "holds no Ed25519 key"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			key, err := auth.LoadOrCreateKey(path)
			if key != nil || err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %q", err, c.text)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != c.content {
				t.Error("the refused file was changed")
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		if _, err := auth.LoadOrCreateKey(t.TempDir()); err == nil || !strings.Contains(err.Error(), "regular") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no parent folder", func(t *testing.T) {
		_, err := auth.LoadOrCreateKey(filepath.Join(t.TempDir(), "missing", "k"))
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A key that root replaces stays the key of the user that the gateway runs as. Who is not root replaces its own.
func TestReplaceKeyKeepsTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	before, err := auth.LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	public, err := auth.ReplaceKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != owner || info.Mode().Perm() != 0o600 {
		t.Errorf("the new key is of user %d with mode %#o, want %d and 0600", stat.Uid, info.Mode().Perm(), owner)
	}
	if after, err := auth.LoadKey(path); err != nil || after.Equal(before) || !after.Public().(ed25519.PublicKey).Equal(public) {
		t.Errorf("the new key is not in its place: %v", err)
	}
}
