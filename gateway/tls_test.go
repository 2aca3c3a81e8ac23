package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// certFiles makes a pair of files, and returns its leaf.
func certFiles(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	if err := ensureSelfSigned(dir, []string{"tunnel.example.com"}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, certFile), filepath.Join(dir, certKeyFile)
}

func replace(t testing.TB, path, with string) {
	t.Helper()
	content, err := os.ReadFile(with)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFileAtomic(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateReload(t *testing.T) {
	cert, key := certFiles(t, t.TempDir())
	newCert, newKey := certFiles(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		log := new(logged)
		c, err := loadCertificate(cert, key, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		leaf := func() []byte {
			got, err := c.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return got.Certificate[0]
		}
		old := leaf()
		errors := func() int { return strings.Count(log.String(), "not reloaded") }
		wait := func() { time.Sleep(certCheckInterval) }

		// The certificate first, its key later: the pair in between is no pair.
		replace(t, cert, newCert)
		for range 5 {
			wait()
			if !bytes.Equal(leaf(), old) {
				t.Fatal("a certificate without its key is used")
			}
		}
		if n := errors(); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		replace(t, key, newKey)
		wait()
		fresh := leaf()
		if bytes.Equal(fresh, old) {
			t.Errorf("half a second later the old one is still used:\n%s", log)
		}

		// A file that is gone, and one that is garbage: each said once.
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			wait()
			leaf()
		}
		if n := errors(); n != 2 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		if err := os.WriteFile(key, []byte("garbage-canary"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			wait()
			if !bytes.Equal(leaf(), fresh) {
				t.Fatal("the certificate in use was lost")
			}
		}
		if n := errors(); n != 3 || strings.Contains(log.String(), "canary") {
			t.Errorf("said %d times:\n%s", n, log)
		}
		replace(t, key, newKey)
		wait()
		leaf()
		if n := strings.Count(log.String(), "certificate reloaded"); n != 2 {
			t.Errorf("reloaded %d times:\n%s", n, log)
		}
	})
}

func TestNoCertificate(t *testing.T) {
	cfg := testConfig(t)
	cfg.TLS = TLS{CertFile: "/none.crt", KeyFile: "/none.key"}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "/none.crt") {
		t.Errorf("%v", err)
	}
}

// TestSelfSignedIsRenewedWhileRunning: a gateway that runs for months.
func TestSelfSignedIsRenewedWhileRunning(t *testing.T) {
	cfg := testConfig(t)
	synctest.Test(t, func(t *testing.T) {
		g, err := New(cfg) // made at the bubble's time, which begins in 2000
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.renewSelfSigned(ctx)
		old := g.cert.current.Leaf
		time.Sleep(selfSignedLife - selfSignedRenewal + 2*selfSignedCheck)
		fresh, err := g.cert.get(nil)
		if err != nil || !fresh.Leaf.NotAfter.After(old.NotAfter) {
			t.Errorf("still valid until %s, %v", fresh.Leaf.NotAfter, err)
		}
	})
}
