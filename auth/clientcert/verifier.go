package clientcert

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/internal/cache"
)

const (
	// maxCertificates is how many certificates a client may send: the leaf, and more intermediates than PKIs have.
	maxCertificates = 8
	// maxCertificate is the longest of them, in bytes.
	maxCertificate = 16 << 10
	// goodFor is for how long a chain that was found good is not looked at again, and badFor one that was refused.
	goodFor = 10 * time.Minute
	badFor  = 10 * time.Second
	// maxCached is the size of one generation of each of the two caches.
	maxCached = 2048

	// minModulus and maxModulus bound RSA keys, in bits: shorter ones can be factored (NIST SP 800-131A), longer ones take
	// long to verify with.
	minModulus = 2048
	maxModulus = 8192
)

// Verifier finds the principal of a TLS client certificate. It is safe for concurrent use and starts no goroutine.
type Verifier struct {
	roots      *roots
	principals []auth.Principal // without an expiry
	bySAN      map[san]int
	good, bad  *cache.Cache[digest, verdict] // apart, so that no number of bad chains makes a good one forgotten
}

type digest [sha256.Size]byte

// verdict is what was found of one chain with one set of CAs.
type verdict struct {
	principal auth.Principal
	err       error
	roots     *x509.CertPool
	until     time.Time // when it is looked at again, by the monotonic clock

	// from and last bound the time for which all certificates of a good chain are valid.
	from, last time.Time
}

// holds reports whether a verdict is still one with these CAs.
func (f verdict) holds(roots *x509.CertPool, now time.Time) bool {
	return f.roots == roots && now.Before(f.until) && (f.err != nil || !now.Before(f.from) && !now.After(f.last))
}

var _ auth.Verifier = (*Verifier)(nil)

// New checks the configuration, reads the CA certificates and gives the verifier. The issuer, the gateway's public URL,
// becomes the issuer of each principal.
func New(issuer string, cfg Config) (*Verifier, error) {
	if issuer == "" {
		return nil, errors.New("clientcert: principals need an issuer: set it to the gateway's public URL")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	v := &Verifier{
		bySAN: make(map[san]int),
		good:  cache.New[digest, verdict](maxCached),
		bad:   cache.New[digest, verdict](maxCached),
	}
	for i, p := range cfg.Principals {
		name, err := p.san()
		if err != nil {
			return nil, err
		}
		v.bySAN[name] = i
		v.principals = append(v.principals, auth.Principal{
			Issuer:  issuer,
			Subject: p.Name,
			Grant:   auth.Grant{Tunnels: slices.Clone(p.Tunnels), Servers: slices.Clone(p.Servers)},
		})
	}
	var err error
	if v.roots, err = loadRoots(cfg.CAFile); err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	return v, nil
}

// Verify gives the principal of the client's certificate, which expires with it; nothing else of what is presented counts.
// The certificate must lead to one of the CAs, be for clients (or for any use, RFC 5280 section 4.2.1.12), and have exactly
// one principal's name among its subject alternative names. The error wraps [auth.ErrNoToken], [auth.ErrInvalid],
// [auth.ErrExpired], or, if the CAs cannot be read, [auth.ErrUnavailable].
func (v *Verifier) Verify(_ context.Context, p auth.Presented) (auth.Principal, error) {
	if len(p.Certificates) == 0 {
		return auth.Principal{}, auth.ErrNoToken
	}
	key, err := fingerprint(p.Certificates)
	if err != nil {
		return auth.Principal{}, fmt.Errorf("check a client certificate: %w", err)
	}
	roots, err := v.roots.get()
	if err != nil {
		return auth.Principal{}, errors.Join(auth.ErrUnavailable, err)
	}
	now := time.Now()
	found, ok := v.good.Get(key)
	if !ok || !found.holds(roots, now) {
		found, ok = v.bad.Get(key)
	}
	if !ok || !found.holds(roots, now) {
		found = v.judge(p.Certificates, roots, now)
		if found.err == nil {
			v.good.Put(key, found)
		} else {
			v.bad.Put(key, found)
		}
	}
	if found.err != nil {
		return auth.Principal{}, fmt.Errorf("check a client certificate: %w", found.err)
	}
	return found.principal, nil
}

// fingerprint tells chains apart, of a bounded size.
func fingerprint(chain []*x509.Certificate) (digest, error) {
	if len(chain) > maxCertificates {
		return digest{}, fmt.Errorf("%w: more than %d certificates", auth.ErrInvalid, maxCertificates)
	}
	hash := sha256.New()
	var length [4]byte
	for _, cert := range chain {
		if cert == nil || len(cert.Raw) == 0 || len(cert.Raw) > maxCertificate {
			return digest{}, fmt.Errorf("%w: a certificate is empty or longer than %d bytes", auth.ErrInvalid, maxCertificate)
		}
		binary.BigEndian.PutUint32(length[:], uint32(len(cert.Raw)))
		hash.Write(length[:])
		hash.Write(cert.Raw)
	}
	return digest(hash.Sum(nil)), nil
}

// judge does all the work for a chain. That a certificate has expired counts only if nothing else is wrong with it.
func (v *Verifier) judge(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) verdict {
	leaf, at := chain[0], now
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	way, err := verifyChain(chain, roots, at)
	var i int
	if err == nil {
		i, err = match(v.bySAN, leaf)
	}
	if err == nil && now.After(leaf.NotAfter) {
		err = fmt.Errorf("%w: the client certificate is past its time", auth.ErrExpired)
	}
	if err != nil {
		return verdict{err: err, roots: roots, until: now.Add(badFor)}
	}
	good := verdict{principal: v.principals[i], roots: roots, until: now.Add(goodFor), from: leaf.NotBefore, last: leaf.NotAfter}
	good.principal.Expiry = leaf.NotAfter
	for _, cert := range way {
		if cert.NotBefore.After(good.from) {
			good.from = cert.NotBefore
		}
		if cert.NotAfter.Before(good.last) {
			good.last = cert.NotAfter
		}
	}
	return good
}

// verifyChain gives a chain (RFC 5280 section 6) from the leaf to a CA, all of which is valid at this time.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, at time.Time) ([]*x509.Certificate, error) {
	leaf := chain[0]
	switch {
	case leaf.IsCA:
		return nil, fmt.Errorf("%w: it is the certificate of a CA", auth.ErrInvalid)
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0: // RFC 8446 section 4.4.2.4
		return nil, fmt.Errorf("%w: its key is not for signing", auth.ErrInvalid)
	case !strong(leaf.PublicKey):
		return nil, fmt.Errorf("%w: its key is weak", auth.ErrInvalid)
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		if strong(cert.PublicKey) { // no way leads over one that is not here
			intermediates.AddCert(cert)
		}
	}
	ways, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil || len(ways) == 0 { // its text would quote the certificate
		return nil, fmt.Errorf("%w: no valid chain leads from it to a CA of ca_file, for clients and now", auth.ErrInvalid)
	}
	return ways[0], nil
}

// strong accepts the keys that a certificate may have anywhere in a chain. Signatures with SHA-1 and MD5 are refused by
// crypto/x509.
func strong(key crypto.PublicKey) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return bits >= minModulus && bits <= maxModulus
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() || key.Curve == elliptic.P384() || key.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return true
	}
	return false
}
