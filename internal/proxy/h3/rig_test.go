package h3

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"swell/internal/exchange"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// patience bounds everything that should be fast: tests run on loaded machines.
const patience = 30 * time.Second

// absentHere skips the test, or fails it where everything must be there.
func absentHere(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// certificate makes one for localhost, and the hash of its key that Chromium wants.
func certificate(t testing.TB, name string) (tls.Certificate, *x509.CertPool, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	hash := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, pool, base64.StdEncoding.EncodeToString(hash[:])
}

// rig is a server under test with a client.
type rig struct {
	t      testing.TB
	addr   string
	roots  *x509.CertPool
	spki   string
	client *http.Client
	tr     *http3.Transport
	log    *lockedBuffer
	stop   func() error // ends the server

	mu      sync.Mutex
	ended   []error // of exchanges, by Done
	refused []string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t testing.TB, handle func(*exchange.Exchange), change ...func(*Server, *tls.Config)) *rig {
	t.Helper()
	cert, roots, spki := certificate(t, "first")
	r := &rig{t: t, roots: roots, spki: spki, log: new(lockedBuffer)}
	s := &Server{
		Handle: handle, Caller: "gateway", DrainTime: patience, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		Done: func(_ *exchange.Exchange, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, err)
		},
		Refused: func(_ netip.AddrPort, _ int, slug, _ string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.refused = append(r.refused, slug)
		},
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for _, c := range change {
		c(s, config)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = pc.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, pc, config) }()
	var once sync.Once
	var end error
	r.stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case end = <-done:
			case <-time.After(2 * patience):
				t.Error("the server does not end")
			}
		})
		return end
	}
	r.client, r.tr = r.newClient()
	t.Cleanup(func() {
		r.tr.Close()
		if err := r.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if strings.Contains(r.log.String(), "panic") && !t.Failed() && !strings.Contains(t.Name(), "Panic") {
			t.Errorf("log: %s", r.log)
		}
	})
	return r
}

func (r *rig) newClient() (*http.Client, *http3.Transport) {
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: r.roots, ServerName: "localhost"}, DisableCompression: true,
		QUICConfig: &quic.Config{MaxIdleTimeout: patience, KeepAlivePeriod: patience / 6},
	}
	return &http.Client{Transport: tr, Timeout: 2 * patience}, tr
}

func (r *rig) url(path string) string { return "https://" + r.addr + path }

// do makes a request and returns status and body.
func (r *rig) do(method, path string, body io.Reader, header ...string) (*http.Response, string) {
	r.t.Helper()
	rq, err := http.NewRequest(method, r.url(path), body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		rq.Header.Add(header[i], header[i+1])
	}
	rs, err := r.client.Do(rq)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer rs.Body.Close()
	b, err := io.ReadAll(rs.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return rs, string(b)
}

func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("in vain waited until %s", what)
		}
	}
}

// last waits for n exchanges to end and returns the last one's error.
func (r *rig) last(n int) error {
	r.t.Helper()
	r.wait("the exchanges end", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.ended) >= n
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended[n-1]
}

func (r *rig) refusals() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.refused, ",")
}

// echo answers with what it was asked.
func echo(x *exchange.Exchange) {
	q, a := &x.Request, &x.Response
	a.Status, a.Length, a.Body = 200, q.Length, q.Body
	if q.Body == nil {
		a.Length = 0
	}
	if v := q.Header.Get(exchange.ContentType); v != nil {
		a.Header.SetBytes(exchange.ContentType, v)
	}
	a.Header.AddName("X-Method", q.Method)
	a.Header.AddName("X-Target", string(q.Target))
	a.Header.AddName("X-Host", string(q.Host))
}

// steps is a body that is made step by step.
type steps struct {
	next  func() ([]byte, error)
	ready bool
	shut  func()
}

func (s *steps) Next() ([]byte, error) { return s.next() }
func (s *steps) Ready() bool           { return s.ready }
func (s *steps) Close() {
	if s.shut != nil {
		s.shut()
	}
}
