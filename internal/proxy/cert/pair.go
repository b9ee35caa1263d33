package cert

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"time"

	"swell"
)

// mostPEM bounds a file of certificates: the system's roots are a quarter of it.
const mostPEM = 1 << 20

// read returns what a file of PEM holds.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > mostPEM {
		return nil, fmt.Errorf("%s has %d bytes, which no file of certificates has", path, info.Size())
	}
	return os.ReadFile(path)
}

// pair is a certificate from two files.
type pair struct {
	swell.Certificate
	cert, key []byte // as they were read
	tls       *tls.Certificate
}

// load reads the pair. It returns old if the files are what they were.
func load(c swell.Certificate, old *pair) (*pair, error) {
	p := &pair{Certificate: c}
	var err error
	if p.cert, err = read(c.Cert); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if p.key, err = read(c.Key); err != nil {
		return nil, fmt.Errorf("key of the certificate %s: %w", c.Cert, err)
	}
	if old != nil && old.Certificate == c && bytes.Equal(old.cert, p.cert) && bytes.Equal(old.key, p.key) {
		return old, nil
	}
	t, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with the key %s: %w", c.Cert, c.Key, err)
	}
	if t.Leaf == nil {
		if t.Leaf, err = x509.ParseCertificate(t.Certificate[0]); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", c.Cert, err)
		}
	}
	p.tls = &t
	return p, nil
}

// roots reads a file of certificate authorities.
func roots(path string) (*x509.CertPool, []byte, error) {
	b, err := read(path)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, nil, fmt.Errorf("certificate authorities: there is no PEM certificate in %s", path)
	}
	return pool, b, nil
}

// names returns the names that a certificate is for.
func names(leaf *x509.Certificate) []string {
	out := leaf.DNSNames
	if len(out) == 0 && len(leaf.IPAddresses) == 0 && leaf.Subject.CommonName != "" {
		out = []string{leaf.Subject.CommonName} // of before 2000, or made by hand
	}
	return out
}

// title is what a certificate is called in messages and metrics.
func title(leaf *x509.Certificate) string {
	if n := names(leaf); len(n) > 0 {
		return n[0]
	}
	if len(leaf.IPAddresses) > 0 {
		return leaf.IPAddresses[0].String()
	}
	return leaf.Subject.String()
}

// near is how long before its end a certificate that nobody renewed is spoken of: a
// sixth of its life, at most two weeks.
func near(leaf *x509.Certificate) time.Duration {
	return min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/6)
}

// fingerprint tells certificates apart.
type fingerprint [sha256.Size]byte

func fingerprintOf(c *tls.Certificate) fingerprint { return sha256.Sum256(c.Certificate[0]) }

// mustStaple reports whether a certificate demands an OCSP response beside it
// (RFC 7633: the TLS feature status_request).
func mustStaple(leaf *x509.Certificate) bool {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}) {
			continue
		}
		var features []int
		if rest, err := asn1.Unmarshal(e.Value, &features); err != nil || len(rest) > 0 {
			return false
		}
		for _, f := range features {
			if f == 5 {
				return true
			}
		}
	}
	return false
}

// ErrNone is why a handshake fails while there is no certificate, as before an
// authority has issued the first.
var ErrNone = errors.New("there is no certificate yet")
