package clientcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// lookEvery is how often, at most, a call looks whether the file of CAs has changed.
	lookEvery = time.Second
	// staleFor is for how long the CAs of before count once their file cannot be used: long enough for a file that is being
	// written, and short enough for one that was taken away on purpose.
	staleFor = time.Minute
	// maxFile bounds the file of CAs, in bytes.
	maxFile = 1 << 20

	certificateBlock = "CERTIFICATE" // RFC 7468 section 5
)

// roots are the CAs of a file that may be replaced at any time.
type roots struct {
	path string

	mu      sync.Mutex // guards what follows
	pool    *x509.CertPool
	stamp   fs.FileInfo // of the file that was last read; nil if there was none
	looked  time.Time
	confirm time.Time // when the pool was last known to be the file's
	broken  error     // why it is not; nil if it is
}

func loadRoots(path string) (*roots, error) {
	r := &roots{path: path}
	r.look(time.Now())
	return r, r.broken
}

// get gives the CAs that count now; a pool that was read again is another pointer. The error says why there are none.
func (r *roots) get() (*x509.CertPool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.looked) >= lookEvery {
		r.look(now)
	}
	if r.broken != nil && now.Sub(r.confirm) >= staleFor {
		return nil, r.broken
	}
	return r.pool, nil
}

// look reads the file if it is another than before, or could not be used. It needs mu held.
func (r *roots) look(now time.Time) {
	r.looked = now
	stamp, err := os.Stat(r.path) // before it is read: what changes in between is seen the next time
	if err == nil && r.broken == nil && same(stamp, r.stamp) {
		r.confirm = now
		return
	}
	r.stamp = stamp
	var pool *x509.CertPool
	if err == nil {
		pool, err = readRoots(r.path)
	}
	if r.broken = err; err == nil {
		r.pool, r.confirm = pool, now
	}
}

// same compares identity, time of change and size.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readRoots(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA certificates: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the CA certificates: %w", err)
	}
	pool, err := parseRoots(raw)
	if err != nil {
		return nil, fmt.Errorf("read the CA certificates of %s: %w", path, err)
	}
	return pool, nil
}

// parseRoots takes a file of CA certificates whole or not at all, so that one which is half written counts as none.
func parseRoots(raw []byte) (*x509.CertPool, error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("more than %d KiB", maxFile>>10)
	}
	begun := bytes.Count(raw, []byte("-----BEGIN "))
	pool, read := x509.NewCertPool(), 0
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		read++
		if block.Type != certificateBlock {
			return nil, errors.New("it holds something else than certificates: write the CA certificates alone")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate number %d is none", read)
		}
		if err := checkRoot(cert); err != nil {
			return nil, fmt.Errorf("certificate number %d %w", read, err)
		}
		pool.AddCert(cert)
	}
	switch {
	case begun != read:
		return nil, errors.New("it is no whole PEM: write it beside, and rename it")
	case read == 0:
		return nil, errors.New("it holds no certificate in PEM")
	}
	return pool, nil
}

// checkRoot refuses what would make a client certificate, or a key that others can find, a CA.
func checkRoot(cert *x509.Certificate) error {
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("is no CA: write the certificates of those who sign client certificates, not client certificates")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("is of a CA that may not sign certificates")
	case !strong(cert.PublicKey):
		return errors.New("has a weak key: use RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519")
	}
	return nil
}
