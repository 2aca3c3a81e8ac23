package gateway

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"sallyport.dev/telemetry"
)

// certCheckInterval is how often, at most, a handshake looks whether the
// certificate files have changed.
const certCheckInterval = 500 * time.Millisecond

// certificate is a certificate on disk that may be replaced there at any time.
type certificate struct {
	certPath, keyPath string
	log               *slog.Logger

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
	stamp   fileStamp
	checked time.Time
}

// fileStamp tells whether one of two files has changed.
type fileStamp struct{ cert, key fs.FileInfo }

func (s fileStamp) equal(other fileStamp) bool {
	return same(s.cert, other.cert) && same(s.key, other.key)
}

// same compares identity, time of change and size; nil is a file that could
// not be examined.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func loadCertificate(certPath, keyPath string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certPath: certPath, keyPath: keyPath, log: log}
	var err error
	if c.stamp, err = c.look(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if c.current, err = c.load(); err != nil {
		return nil, err
	}
	c.checked = time.Now()
	return c, nil
}

func (c *certificate) look() (fileStamp, error) {
	cert, err := os.Stat(c.certPath)
	if err != nil {
		return fileStamp{}, err
	}
	key, err := os.Stat(c.keyPath)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{cert, key}, nil
}

func (c *certificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certPath, c.keyPath)
	if err != nil {
		return nil, fmt.Errorf("tls: load %s and %s: %w", c.certPath, c.keyPath, err)
	}
	return &pair, nil
}

// get is a tls.Config.GetCertificate. New files count from the first handshake
// half a second after the change; files that do not load leave the old
// certificate in place.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.checked) < certCheckInterval {
		return c.current, nil
	}
	c.checked = now
	stamp, err := c.look() // the zero stamp if a file is missing
	if stamp.equal(c.stamp) {
		return c.current, nil
	}
	c.stamp = stamp // also if it does not load: that is said once
	var fresh *tls.Certificate
	if err == nil {
		fresh, err = c.load()
	}
	if err != nil {
		c.log.Error("certificate not reloaded, the old one stays in use", telemetry.KeyError, err)
		return c.current, nil
	}
	c.current = fresh
	c.log.Info("certificate reloaded", telemetry.KeyPath, c.certPath, "not_after", fresh.Leaf.NotAfter)
	return c.current, nil
}
