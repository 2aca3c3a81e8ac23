package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
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
type fileStamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
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
	return fileStamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
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
	stamp, err := c.look()
	if err == nil && stamp == c.stamp {
		return c.current, nil
	}
	var fresh *tls.Certificate
	if err == nil {
		c.stamp = stamp
		fresh, err = c.load()
	}
	if err != nil {
		c.log.Error("certificate not reloaded, the old one stays in use", "error", err)
		return c.current, nil
	}
	c.current = fresh
	c.log.Info("certificate reloaded", "file", c.certPath, "not_after", fresh.Leaf.NotAfter)
	return c.current, nil
}
