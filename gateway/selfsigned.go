package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sallyport.dev/telemetry"
)

const (
	selfSignedCALife   = 10 * 365 * 24 * time.Hour
	selfSignedLife     = 90 * 24 * time.Hour
	selfSignedRenewal  = 30 * 24 * time.Hour // left when a new certificate is made
	selfSignedCheck    = 12 * time.Hour      // how often a running gateway looks
	certificateBackDay = 5 * time.Minute     // clocks that are behind still accept it
)

// ensureSelfSigned makes sure that dir holds a CA and a certificate of it for
// these names, for trials. The CA stays the same over restarts, so that what
// trusts its file goes on trusting it.
func ensureSelfSigned(dir string, names []string) error {
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile))
	if _, missing := os.Stat(filepath.Join(dir, caFile)); errors.Is(missing, fs.ErrNotExist) {
		ca, err = createCA(dir) // the certificate is written last: without it nobody trusts the key yet
	}
	if err != nil {
		return fmt.Errorf("self_signed: CA in %s: %w", dir, err)
	}
	leaf, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, certKeyFile))
	if err == nil && time.Until(leaf.Leaf.NotAfter) > selfSignedRenewal && covers(leaf.Leaf, names) && leaf.Leaf.CheckSignatureFrom(ca.Leaf) == nil {
		return nil
	}
	if err := createLeaf(dir, ca, names); err != nil {
		return fmt.Errorf("self_signed: certificate in %s: %w", dir, err)
	}
	return nil
}

// renewSelfSigned keeps the certificate of a gateway that runs for months from
// expiring. The new files are taken up like any that change.
func (g *Gateway) renewSelfSigned(ctx context.Context) {
	ticker := time.NewTicker(selfSignedCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := ensureSelfSigned(g.cfg.StateDir, g.Names()); err != nil {
				g.log.Error("self-signed certificate not renewed", telemetry.KeyError, err)
			}
		}
	}
}

// covers reports whether the certificate is for all of these names.
func covers(cert *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return cert.VerifyHostname(name) != nil })
}

func createCA(dir string) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Sallyport self-signed CA"},
		NotAfter:              time.Now().Add(selfSignedCALife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	return createPair(template, nil, filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile))
}

func createLeaf(dir string, ca tls.Certificate, names []string) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		NotAfter:    time.Now().Add(selfSignedLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	_, err := createPair(template, &ca, filepath.Join(dir, certFile), filepath.Join(dir, certKeyFile))
	return err
}

// createPair makes a key and its certificate, signed by ca or by itself, and
// writes both; the key first, so that a certificate never lacks its key.
func createPair(template *x509.Certificate, ca *tls.Certificate, certPath, keyPath string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template.SerialNumber, template.NotBefore = serial, time.Now().Add(-certificateBackDay)
	parent, signer := template, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	var certPEM, keyPEM bytes.Buffer
	err = errors.Join(
		pem.Encode(&certPEM, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&keyPEM, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		writeFileAtomic(keyPath, keyPEM.Bytes(), 0o600),
		writeFileAtomic(certPath, certPEM.Bytes(), 0o644),
	)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(certPath, keyPath)
}
