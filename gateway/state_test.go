package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStateFiles(t *testing.T) {
	cfg := testConfig(t)
	first, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		resetKeyFile: 0o600, assertionKeyFile: 0o600, sessionKeyFile: 0o600, caKeyFile: 0o600, certKeyFile: 0o600, caFile: 0o644, certFile: 0o644,
	} {
		info, err := os.Stat(filepath.Join(cfg.StateDir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, mode)
		}
	}
	second, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if second.resetKey != first.resetKey || !bytes.Equal(second.signer.PublicKeys()[0], first.signer.PublicKeys()[0]) {
		t.Error("a second start has other keys")
	}
	if !bytes.Equal(first.cert.current.Certificate[0], second.cert.current.Certificate[0]) {
		t.Error("a second start has another certificate")
	}
	entries, err := os.ReadDir(cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left behind", e.Name())
		}
	}
	cfg.StateDir = t.TempDir()
	third, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if third.resetKey == first.resetKey {
		t.Error("two gateways share a reset key")
	}
}

func TestBadStateFiles(t *testing.T) {
	for _, name := range []string{resetKeyFile, assertionKeyFile, sessionKeyFile, caFile, caKeyFile} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			if _, err := New(cfg); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(cfg.StateDir, name)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), cfg.StateDir) {
				t.Errorf("a truncated file is taken, or not named: %v", err)
			}
		})
	}
}

func TestUnusableStateDir(t *testing.T) {
	cfg := testConfig(t)
	parent := cfg.StateDir
	cfg.StateDir = filepath.Join(parent, "none")
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), cfg.StateDir+" does not exist: make it with: install -d -m 700 "+cfg.StateDir) {
		t.Errorf("missing: %v", err)
	}
	cfg.StateDir = filepath.Join(parent, "all.token")
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), cfg.StateDir+" is not a directory") {
		t.Errorf("a file: %v", err)
	}
	// A directory that refuses cannot be had here by every user who runs tests.
	if err := stateDirError(parent, &os.PathError{Op: "open", Path: parent, Err: syscall.EACCES}); !strings.Contains(err.Error(), "not writable by this user") {
		t.Errorf("not writable: %v", err)
	}
	cfg.StateDir = parent
	if err := os.Mkdir(filepath.Join(parent, lockFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), parent+" cannot be used") {
		t.Errorf("no lock file: %v", err)
	}
}

// TestOneGatewayPerStateDir: a second one is refused while the first runs, and not after it.
func TestOneGatewayPerStateDir(t *testing.T) {
	var cfg Config
	first := runGateway(t, func(c *Config) { cfg = *c })
	cfg.Listen, cfg.PublicURL = "127.0.0.1:0", first.cfg.PublicURL
	second, err := New(cfg)
	if err != nil {
		t.Fatalf("--check fails beside a running gateway: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a Run that gets the lock ends at once
	if err := second.Run(ctx); !errors.Is(err, errLocked) || !strings.Contains(err.Error(), cfg.StateDir) {
		t.Errorf("the second one: %v", err)
	}
	first.stopped(t, 10*time.Second)
	third, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Run(ctx); err != nil {
		t.Errorf("after the first one: %v", err)
	}
}

func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	names := []string{"tunnel.example.com", "127.0.0.1", "::1"}
	if err := ensureSelfSigned(dir, names); err != nil {
		t.Fatal(err)
	}
	ca, leaf := read(caFile), read(certFile)
	if err := ensureSelfSigned(dir, names); err != nil || !bytes.Equal(leaf, read(certFile)) {
		t.Errorf("a second start makes another certificate: %v", err)
	}
	if err := ensureSelfSigned(dir, append(names, "other.example.com")); err != nil || bytes.Equal(leaf, read(certFile)) {
		t.Errorf("a new name makes no new certificate: %v", err)
	}
	if !bytes.Equal(ca, read(caFile)) {
		t.Error("the CA changed with the names")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, certKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, "other.example.com") {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "evil.example.com"}); err == nil {
		t.Error("it covers a name that it should not")
	}
	if pair.Leaf.IsCA {
		t.Error("the leaf is a CA")
	}
	// A leaf of another CA is replaced.
	other := t.TempDir()
	if err := ensureSelfSigned(other, names); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{certFile, certKeyFile} {
		foreign, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), foreign, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	foreign := read(certFile)
	if err := ensureSelfSigned(dir, names); err != nil || bytes.Equal(foreign, read(certFile)) {
		t.Errorf("the certificate of another CA stays: %v", err)
	}
}
