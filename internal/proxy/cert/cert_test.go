package cert

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell"

	"golang.org/x/crypto/ocsp"
)

// patience bounds everything that should be fast: tests run on loaded machines.
const patience = 30 * time.Second

// ca is an authority of a test.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

var serial atomic.Int64

func newCA(t testing.TB) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{c, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a certificate with its chain, and its key.
func (c *ca) issue(t testing.TB, names []string, change ...func(*x509.Certificate)) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, k.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), c.pem...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb})
}

// write writes a pair into a folder.
func write(t testing.TB, dir, name string, cert, key []byte) swell.Certificate {
	t.Helper()
	c := swell.Certificate{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	put(t, c.Cert, cert)
	put(t, c.Key, key)
	return c
}

func put(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// keep runs a keeper until the test ends.
func keep(t testing.TB, opt Options) *Keeper {
	t.Helper()
	if opt.Log == nil {
		opt.Log = quiet()
	}
	k := NewKeeper(opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the keeper does not end")
		}
	})
	return k
}

func use(t testing.TB, k *Keeper, spec swell.TLS) *Server {
	t.Helper()
	s := k.Server()
	p, err := s.Prepare(&spec, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Use(p)
	return s
}

// shake does a handshake with s, and says one word each way so that tickets and late
// alerts arrive.
func shake(s *Server, client *tls.Config) (tls.ConnectionState, error) {
	near, far := net.Pipe()
	_ = near.SetDeadline(time.Now().Add(patience))
	_ = far.SetDeadline(time.Now().Add(patience))
	served := make(chan error, 1)
	go func() {
		c := tls.Server(far, s.Config())
		err := c.Handshake()
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		_ = far.Close()
		served <- err
	}()
	c := tls.Client(near, client)
	err := c.Handshake()
	state := c.ConnectionState()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil {
		_, err = c.Write([]byte("y"))
	}
	_ = near.Close()
	if serr := <-served; err == nil {
		err = serr
	}
	return state, err
}

func (c *ca) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
		<-tick.C
	}
}

func TestChoosesByName(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	var list []swell.Certificate
	for _, names := range [][]string{{"first.test"}, {"exact.wild.test", "Big.Test"}, {"*.wild.test"}} {
		cert, key := a.issue(t, names)
		list = append(list, write(t, dir, strings.ReplaceAll(names[0], "*", "_"), cert, key))
	}
	s := use(t, keep(t, Options{}), swell.TLS{Certificates: list})
	for name, want := range map[string]string{
		"first.test": "first.test", "exact.wild.test": "exact.wild.test", "EXACT.wild.TEST": "exact.wild.test", "big.test": "exact.wild.test",
		"a.wild.test": "*.wild.test", "a.b.wild.test": "first.test", "wild.test": "first.test", "other": "first.test", "": "first.test",
	} {
		st, err := shake(s, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("%q: %v", name, err)
		} else if got := st.PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("%q gets %s, want %s", name, got, want)
		}
	}
}

func TestOldAndWeakIsRefused(t *testing.T) {
	a := newCA(t)
	cert, key := a.issue(t, []string{"a.test"})
	c := write(t, t.TempDir(), "a", cert, key)
	k := keep(t, Options{})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{c}})
	ok := &tls.Config{RootCAs: a.pool(), ServerName: "a.test", NextProtos: []string{"http/1.1", "h2"}}
	st, err := shake(s, ok)
	if err != nil || st.Version != tls.VersionTLS13 || st.NegotiatedProtocol != "h2" {
		t.Fatal(err, st.Version, st.NegotiatedProtocol)
	}
	for what, c := range map[string]*tls.Config{
		"TLS 1.1":     {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"RSA":         {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
		"CBC":         {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"other ALPN":  {NextProtos: []string{"spdy/3"}},
		"P-521 alone": {CurvePreferences: []tls.CurveID{tls.CurveP521}},
	} {
		c.InsecureSkipVerify = true
		if _, err := shake(s, c); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	two := &tls.Config{RootCAs: a.pool(), ServerName: "a.test", MaxVersion: tls.VersionTLS12}
	if st, err := shake(s, two); err != nil || st.Version != tls.VersionTLS12 {
		t.Error(err)
	}
	use(t, k, swell.TLS{Certificates: []swell.Certificate{c}, Minimum: "1.3"})
	if _, err := shake(s, two); err == nil {
		t.Error("TLS 1.2 is taken though 1.3 is the least")
	}
	if _, err := shake(s, ok); err != nil {
		t.Error(err)
	}
}

func TestFilesAreReread(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	cert, key := a.issue(t, []string{"a.test"})
	c := write(t, dir, "a", cert, key)
	var mu sync.Mutex
	var log bytes.Buffer
	k := keep(t, Options{Log: slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil))})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{c}})
	client := &tls.Config{RootCAs: a.pool(), ServerName: "a.test"}
	number := func() int64 {
		st, err := shake(s, client)
		if err != nil {
			t.Fatal(err)
		}
		return st.PeerCertificates[0].SerialNumber.Int64()
	}
	conf, first := s.Config(), number()

	// One that is broken stays without effect, and is spoken of once.
	put(t, c.Cert, []byte("nonsense"))
	until(t, "the broken file is seen", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "can't be used")
	})
	k.wake()
	k.wake()
	if number() != first {
		t.Error("another certificate")
	}

	cert2, key2 := a.issue(t, []string{"a.test"})
	put(t, c.Cert, cert2)
	put(t, c.Key, key2)
	until(t, "the new one is in use", func() bool { return number() != first })
	if s.Config() != conf {
		t.Error("a change of certificates made another configuration: its tickets are lost")
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "can't be used"); n > 2 { // the second: the new certificate with the old key
		t.Errorf("complained %d times:\n%s", n, log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestExchangedFolders changes a certificate as volumes of secrets do: by a link to
// a folder that is replaced.
func TestExchangedFolders(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	make1 := func(name string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := a.issue(t, []string{"a.test"})
		write(t, filepath.Join(dir, name), "tls", cert, key)
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name+".tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".tmp"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	make1("..1")
	link("..1", "..data")
	link("..data/tls.pem", "tls.pem")
	link("..data/tls.key", "tls.key")
	s := use(t, keep(t, Options{}), swell.TLS{Certificates: []swell.Certificate{{Cert: filepath.Join(dir, "tls.pem"), Key: filepath.Join(dir, "tls.key")}}})
	number := func() int64 {
		st, err := shake(s, &tls.Config{RootCAs: a.pool(), ServerName: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		return st.PeerCertificates[0].SerialNumber.Int64()
	}
	first := number()
	make1("..2")
	link("..2", "..data")
	until(t, "the new one is in use", func() bool { return number() != first })
}

func TestSessionsOutliveAReload(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	cert, key := a.issue(t, []string{"a.test"})
	c := write(t, dir, "a", cert, key)
	k := keep(t, Options{})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{c}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &tls.Config{RootCAs: a.pool(), ServerName: "a.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		if st, err := shake(s, client); err != nil || st.DidResume {
			t.Fatal(err, st.DidResume)
		}
		cert, key := a.issue(t, []string{"b.test", "a.test"})
		d := write(t, dir, "b", cert, key)
		use(t, k, swell.TLS{Certificates: []swell.Certificate{c, d}})
		if st, err := shake(s, client); err != nil || !st.DidResume {
			t.Errorf("%x: resumed %v, %v", version, st.DidResume, err)
		}
		// Other options make another configuration; the keys are the same.
		use(t, k, swell.TLS{Certificates: []swell.Certificate{c, d}, ACME: &swell.ACME{Storage: dir, Directory: "https://127.0.0.1:1/none"}})
		if st, err := shake(s, client); err != nil || !st.DidResume {
			t.Errorf("%x, other options: resumed %v, %v", version, st.DidResume, err)
		}
		// But not where clients' certificates are another matter.
		put(t, filepath.Join(dir, "ca.pem"), newCA(t).pem)
		use(t, k, swell.TLS{Certificates: []swell.Certificate{c, d}, Clients: &swell.Clients{CA: filepath.Join(dir, "ca.pem")}})
		if st, err := shake(s, client); err != nil || st.DidResume {
			t.Errorf("%x, other clients: resumed %v, %v", version, st.DidResume, err)
		}
		use(t, k, swell.TLS{Certificates: []swell.Certificate{c}})
	}
}

func TestKeysOfTicketsAreRotated(t *testing.T) {
	var k tickets
	now := time.Now()
	var c tls.Config
	var seen [][32]byte
	for range 5 {
		k.give(now, &c)
		k.give(now.Add(time.Hour), &c)
		seen = append(seen, k.keys[0])
		now = now.Add(ticketFor)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] == seen[i-1] {
			t.Error("not rotated")
		}
	}
	if len(k.keys) != ticketKeys || k.keys[1] != seen[len(seen)-2] {
		t.Errorf("%d keys", len(k.keys))
	}
}

func TestClientsCertificates(t *testing.T) {
	a, theirs, stranger := newCA(t), newCA(t), newCA(t)
	dir := t.TempDir()
	cert, key := a.issue(t, []string{"a.test"})
	c := write(t, dir, "a", cert, key)
	bundle := filepath.Join(dir, "clients.pem")
	put(t, bundle, theirs.pem)
	show := func(of *ca) *tls.Config {
		conf := &tls.Config{RootCAs: a.pool(), ServerName: "a.test"}
		if of != nil {
			pair, err := tls.X509KeyPair(of.issue(t, []string{"client"}))
			if err != nil {
				t.Fatal(err)
			}
			// Shown even where the server names other authorities.
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		return conf
	}
	k := keep(t, Options{})
	for _, required := range []bool{true, false} {
		put(t, bundle, theirs.pem)
		k.Server().refresh()
		s := use(t, k, swell.TLS{Certificates: []swell.Certificate{c}, Clients: &swell.Clients{CA: bundle, Required: required}})
		if st, err := shake(s, show(theirs)); err != nil {
			t.Errorf("required %v: %v %v", required, st, err)
		}
		if _, err := shake(s, show(stranger)); err == nil {
			t.Errorf("required %v: a stranger's certificate is taken", required)
		}
		if _, err := shake(s, show(nil)); (err != nil) != required {
			t.Errorf("required %v, none shown: %v", required, err)
		}
		// The bundle changes: strangers are friends now.
		put(t, bundle, append(bytes.Clone(theirs.pem), stranger.pem...))
		until(t, "the new authority counts", func() bool { _, err := shake(s, show(stranger)); return err == nil })
		if _, err := shake(s, show(theirs)); err != nil {
			t.Error(err)
		}
		// One that is broken changes nothing.
		put(t, bundle, []byte("nonsense"))
		s.refresh()
		if _, err := shake(s, show(theirs)); err != nil {
			t.Error(err)
		}
	}
}

func TestPrepareSaysWhatIsWrong(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	cert, key := a.issue(t, []string{"a.test"})
	_, other := a.issue(t, []string{"a.test"})
	good := write(t, dir, "good", cert, key)
	s := NewKeeper(Options{Log: quiet()}).Server()
	for want, spec := range map[string]swell.TLS{
		"needs a certificate":   {},
		"no such file":          {Certificates: []swell.Certificate{{Cert: dir + "/none", Key: dir + "/none"}}},
		"private key":           {Certificates: []swell.Certificate{write(t, dir, "mixed", cert, other)}},
		"no PEM certificate":    {Certificates: []swell.Certificate{good}, Clients: &swell.Clients{CA: good.Key}},
		"it can be 1.2 or 1.3":  {Certificates: []swell.Certificate{good}, Minimum: "1.1"},
		"which no file of cert": {Certificates: []swell.Certificate{write(t, dir, "big", make([]byte, mostPEM+1), key)}},
	} {
		if _, err := s.Prepare(&spec, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is said, not %q", err, want)
		}
	}
}

func TestExpiry(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	cert, key := a.issue(t, []string{"a.test"}, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = end.Add(-100*time.Hour), end })
	var mu sync.Mutex
	var log bytes.Buffer
	told := make(chan map[string]time.Time, 8)
	k := keep(t, Options{Expiry: func(m map[string]time.Time) { told <- m }, Log: slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil))})
	use(t, k, swell.TLS{Certificates: []swell.Certificate{write(t, dir, "a", cert, key)}})
	if m := <-told; !m["a.test"].Equal(end) {
		t.Error(m)
	}
	until(t, "it is spoken of", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "expires soon")
	})
}

// responder answers for certificates of a: Good, but for serials in revoked.
type responder struct {
	ca      *ca
	asked   atomic.Int64
	revoked atomic.Bool
	broken  atomic.Bool
}

func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.asked.Add(1)
	b, _ := io.ReadAll(q.Body)
	ask, err := ocsp.ParseRequest(b)
	if err != nil || r.broken.Load() {
		http.Error(w, "bad", http.StatusInternalServerError)
		return
	}
	tmpl := ocsp.Response{Status: ocsp.Good, SerialNumber: ask.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	if r.revoked.Load() {
		tmpl.Status, tmpl.RevokedAt = ocsp.Revoked, time.Now().Add(-time.Minute)
	}
	out, err := ocsp.CreateResponse(r.ca.cert, r.ca.cert, tmpl, crypto.Signer(r.ca.key))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(out)
}

func TestStaples(t *testing.T) {
	a := newCA(t)
	r := &responder{ca: a}
	h := httptest.NewServer(r)
	defer h.Close()
	must, err := asn1.Marshal([]int{5})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := a.issue(t, []string{"a.test"}, func(c *x509.Certificate) {
		c.OCSPServer = []string{h.URL}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: must}}
	})
	plain, plainKey := a.issue(t, []string{"b.test"})
	dir := t.TempDir()
	k := keep(t, Options{})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{write(t, dir, "a", cert, key), write(t, dir, "b", plain, plainKey)}})
	leaf, _ := pem.Decode(cert)
	parsed, err := x509.ParseCertificate(leaf.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !mustStaple(parsed) {
		t.Error("Must-Staple is not seen")
	}
	staple := func(name string) []byte {
		st, err := shake(s, &tls.Config{RootCAs: a.pool(), ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return st.OCSPResponse
	}
	until(t, "the certificate is stapled", func() bool { return staple("a.test") != nil })
	if res, err := ocsp.ParseResponseForCert(staple("a.test"), parsed, a.cert); err != nil || res.Status != ocsp.Good {
		t.Error(res, err)
	}
	if staple("b.test") != nil {
		t.Error("a certificate without a responder is stapled")
	}
	if n := r.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// A responder that fails takes nothing away; one that revokes does.
	again := func() {
		s.staples.mu.Lock()
		for _, at := range s.staples.of {
			at.next = time.Time{}
		}
		s.staples.mu.Unlock()
		n := r.asked.Load()
		s.staples.wake()
		until(t, "asked again", func() bool { return r.asked.Load() > n })
	}
	r.broken.Store(true)
	again()
	if staple("a.test") == nil {
		t.Error("the staple went with a failure")
	}
	r.broken.Store(false)
	r.revoked.Store(true)
	again()
	until(t, "no staple any more", func() bool { return staple("a.test") == nil })
}

func TestClientVerifies(t *testing.T) {
	a, b := newCA(t), newCA(t)
	dir := t.TempDir()
	cert, key := a.issue(t, []string{"a.test"}, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	k := keep(t, Options{})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{write(t, dir, "a", cert, key)}})
	put(t, dir+"/a-ca.pem", a.pem)
	put(t, dir+"/b-ca.pem", b.pem)
	dial := func(u swell.UpstreamTLS, addr string, protos ...string) error {
		c, err := k.Client(u, protos...)
		if err != nil {
			t.Fatal(err)
		}
		return handshake(c, s, addr)
	}
	for _, c := range []struct {
		what string
		u    swell.UpstreamTLS
		addr string
		fail string
	}{
		{"by the address's host", swell.UpstreamTLS{CA: dir + "/a-ca.pem"}, "127.0.0.1:443", ""},
		{"by name", swell.UpstreamTLS{CA: dir + "/a-ca.pem", Name: "a.test"}, "10.0.0.1:443", ""},
		{"another name", swell.UpstreamTLS{CA: dir + "/a-ca.pem", Name: "b.test"}, "127.0.0.1:443", "b.test"},
		{"another authority", swell.UpstreamTLS{CA: dir + "/b-ca.pem"}, "127.0.0.1:443", "unknown authority"},
		{"the system's", swell.UpstreamTLS{}, "127.0.0.1:443", "unknown authority"},
		{"insecure", swell.UpstreamTLS{Insecure: true}, "10.0.0.1:443", ""},
	} {
		err := dial(c.u, c.addr, "http/1.1")
		if (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := dial(swell.UpstreamTLS{Insecure: true}, "x:1", "h2"); err != nil {
		t.Error(err)
	}
	// A server without ALPN.
	bare := &tls.Config{GetCertificate: s.choose}
	c, err := k.Client(swell.UpstreamTLS{Insecure: true}, "h2")
	if err != nil {
		t.Fatal(err)
	}
	if err := handshakeWith(c, bare, "x:1"); !errors.Is(err, errALPN) {
		t.Error(err)
	}
	// The authority changes while the client is in use.
	c, err = k.Client(swell.UpstreamTLS{CA: dir + "/b-ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/b-ca.pem", a.pem)
	until(t, "the new authority is trusted", func() bool { return handshake(c, s, "127.0.0.1:1") == nil })
	put(t, dir+"/b-ca.pem", nil)
	c.refresh()
	if err := handshake(c, s, "127.0.0.1:1"); err != nil {
		t.Error(err)
	}
}

func handshake(c *Client, s *Server, addr string) error { return handshakeWith(c, s.Config(), addr) }

func handshakeWith(c *Client, conf *tls.Config, addr string) error {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(far, conf).Handshake()
		_ = far.Close()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := c.Handshake(ctx, near, addr)
	if err == nil {
		_ = nc.Close()
	}
	_ = near.Close()
	<-done
	return err
}

func TestClientShowsItsCertificate(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	cert, key := a.issue(t, []string{"a.test"})
	pair := write(t, dir, "a", cert, key)
	put(t, dir+"/ca.pem", a.pem)
	k := keep(t, Options{})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{pair}, Clients: &swell.Clients{CA: dir + "/ca.pem", Required: true}, Minimum: "1.2"})
	conf := s.Config().Clone()
	conf.MaxVersion = tls.VersionTLS12 // where the client learns of it within the handshake
	for _, own := range []swell.Certificate{pair, {}} {
		c, err := k.Client(swell.UpstreamTLS{CA: dir + "/ca.pem", Name: "a.test", Cert: own})
		if err != nil {
			t.Fatal(err)
		}
		if err := handshakeWith(c, conf, "x:1"); (err == nil) != (own != swell.Certificate{}) {
			t.Error(own, err)
		}
	}
}

// TestSwapsUnderLoad changes the certificate a hundred times while handshakes run.
func TestSwapsUnderLoad(t *testing.T) {
	a := newCA(t)
	dir := t.TempDir()
	type both struct{ cert, key []byte }
	var all []both
	for range 4 {
		cert, key := a.issue(t, []string{"a.test"})
		all = append(all, both{cert, key})
	}
	c := write(t, dir, "a", all[0].cert, all[0].key)
	k := keep(t, Options{})
	s := use(t, k, swell.TLS{Certificates: []swell.Certificate{c}})
	var failed, done atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := shake(s, &tls.Config{RootCAs: a.pool(), ServerName: "a.test"}); err != nil {
					failed.Add(1)
					t.Log(err)
				}
				done.Add(1)
			}
		})
	}
	for i := range 100 {
		p := all[i%len(all)]
		put(t, c.Cert, p.cert)
		put(t, c.Key, p.key)
		s.refresh()
		if i%10 == 0 {
			use(t, k, swell.TLS{Certificates: []swell.Certificate{c}, Minimum: []string{"1.2", "1.3"}[i/10%2]})
		}
		n := done.Load()
		until(t, "handshakes go on", func() bool { return done.Load() > n })
	}
	close(stop)
	wg.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d of %d handshakes failed", failed.Load(), done.Load())
	}
}

func BenchmarkHandshake(b *testing.B) {
	a := newCA(b)
	cert, key := a.issue(b, []string{"a.test"})
	s := use(b, NewKeeper(Options{Log: quiet()}), swell.TLS{Certificates: []swell.Certificate{write(b, b.TempDir(), "a", cert, key)}})
	client := &tls.Config{RootCAs: a.pool(), ServerName: "a.test"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shake(s, client); err != nil {
			b.Fatal(err)
		}
	}
}
