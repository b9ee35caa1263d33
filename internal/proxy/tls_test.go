package proxy

import (
	"bufio"
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
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell"
	"swell/internal/exchange"

	"github.com/pires/go-proxyproto"
)

// authority issues certificates for tests.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	n    int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, dir: t.TempDir(), cert: c, key: key}
	a.file = filepath.Join(a.dir, "ca.pem")
	a.put(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// put replaces a file at once.
func (a *authority) put(path string, b []byte) {
	a.t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes a certificate for the names, and for 127.0.0.1, as files called name.
func (a *authority) issue(name string, names ...string) swell.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	c := swell.Certificate{Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key")}
	a.put(c.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.put(c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}))
	return c
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// client is one that trusts a, for HTTP/1.1 or for HTTP/2.
func (a *authority) client(http2 bool, change ...func(*tls.Config)) *http.Client {
	conf := &tls.Config{RootCAs: a.pool()}
	for _, f := range change {
		f(conf)
	}
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: 64, DisableCompression: true}
	if !http2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	a.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 2 * patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// overTLS makes a snapshot of u behind TLS.
func overTLS(t testing.TB, u swell.Upstream, spec swell.TLS) *swell.Snapshot {
	snap := one(u)
	if spec.Listen == "" {
		spec.Listen = freeAddr(t)
	}
	snap.Gateway.TLS = &spec
	return snap
}

func echo(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	for _, n := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"} {
		w.Header().Set("Seen-"+n, strings.Join(r.Header.Values(n), "|"))
	}
	_, _ = io.WriteString(w, r.Host+r.RequestURI)
}

func TestTLSListener(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{
		Certificates: []swell.Certificate{a.issue("a", "a.test"), a.issue("b", "b.test", "*.wild.test")},
		Redirect:     true, HSTS: swell.HSTS{Age: 365 * 24 * time.Hour, Subdomains: true, Preload: true},
	})
	b.set(snap)
	at := snap.Gateway.TLS.Listen
	_, port, _ := net.SplitHostPort(at)
	for _, two := range []bool{false, true} {
		c := a.client(two)
		r, err := c.Get("https://" + at + "/x?y")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		want := 1
		if two {
			want = 2
		}
		if r.StatusCode != 200 || r.ProtoMajor != want || string(body) != at+"/x?y" {
			t.Errorf("%d by HTTP/%d: %q", r.StatusCode, r.ProtoMajor, body)
		}
		if h := r.Header.Get("Strict-Transport-Security"); h != "max-age=31536000; includeSubDomains; preload" {
			t.Errorf("HSTS %q", h)
		}
		if h := r.Header.Get("Seen-X-Forwarded-Proto"); h != "https" {
			t.Errorf("forwarded as %q", h)
		}
	}
	// In the clear there is only the way to https, and no HSTS (RFC 6797, 7.2).
	c := client(t)
	rq, _ := http.NewRequest("POST", "http://"+b.addr+"/a%2Fb?c", strings.NewReader("x"))
	rq.Host = "shop.test:8080"
	r, err := c.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if l := r.Header.Get("Location"); r.StatusCode != 308 || l != "https://shop.test:"+port+"/a%2Fb?c" || r.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("%d to %s", r.StatusCode, l)
	}
	// Who speaks HTTP to the port for TLS is told so.
	code, text, _ := get(t, c, "http://"+at+"/")
	if code != 400 || !strings.Contains(text, "TLS") {
		t.Errorf("%d %s", code, text)
	}
	b.wait("handshakes are counted", func() bool {
		return b.count("swell_tls_handshakes_total", "result", "ok", "version", "1.3") >= 2 && b.count("swell_tls_handshakes_total", "result", "not-tls", "version", "") == 1
	})
}

// TestSlowOpenings has clients that say nothing, or half of what they should, before
// their connection is open.
func TestSlowOpenings(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test")}})
	snap.Gateway.Limits.HeadTime = 200 * time.Millisecond
	b.set(snap)
	slow := func(addr, say string) {
		t.Helper()
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(nc, say)
		if _, err := io.ReadAll(nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q at %s is waited for", say, addr)
		}
	}
	slow(snap.Gateway.TLS.Listen, "")
	slow(snap.Gateway.TLS.Listen, "\x16\x03\x01\x02\x00\x01")
	b.wait("they are counted", func() bool {
		return b.count("swell_tls_handshakes_total", "result", "timeout", "version", "") == 2
	})
	next := *snap
	next.Gateway.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.set(&next)
	for _, say := range []string{"", "PROXY TCP4 1.2.", local[:14]} {
		slow(b.addr, say)
		slow(snap.Gateway.TLS.Listen, say)
	}
}

// TestExpiryIsShown looks at the metric.
func TestExpiryIsShown(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	b.set(overTLS(t, to("s"), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test", "b.test")}}))
	w := httptest.NewRecorder()
	b.hub.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(w.Body.String(), `swell_certificate_expiry_seconds{name="a.test"} 1`) {
		t.Error(w.Body.String())
	}
}

// TestProxyProtocolThrough passes a TCP connection on, with a header on both sides.
func TestProxyProtocolThrough(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := newBed(t)
	u := to("s", l.Addr().String())
	u.Protocol, u.Proxy = swell.TCP, 2
	snap := one(u)
	snap.Gateway.Routes = nil
	snap.Gateway.TCP = []swell.TCPRoute{{Listen: freeAddr(t), Service: "s"}}
	snap.Gateway.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.set(snap)
	nc, err := net.Dial("tcp", snap.Gateway.TCP[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, "PROXY TCP6 2001:db8::1 2001:db8::2 1000 80\r\nhello"); err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_ = in.SetDeadline(time.Now().Add(patience))
	peer, err := readProxy(in)
	if err != nil || peer != netip.MustParseAddrPort("[2001:db8::1]:1000") {
		t.Error(peer, err)
	}
	word := make([]byte, 5)
	if _, err := io.ReadFull(in, word); err != nil || string(word) != "hello" {
		t.Errorf("%q, %v", word, err)
	}
}

func (b *bed) count(name string, labels ...string) uint64 {
	return b.hub.Count(name, labels...).Value()
}

func TestHTTP2InTheClear(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, echo)
	b.set(one(to("s", u.addr)))
	var ps http.Protocols
	ps.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &ps}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr, Timeout: patience}).Get("http://" + b.addr + "/h2c")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if r.ProtoMajor != 2 || string(body) != b.addr+"/h2c" {
		t.Errorf("HTTP/%d: %s", r.ProtoMajor, body)
	}
}

// TestCurlAndOpenSSL has other people's implementations of TLS.
func TestCurlAndOpenSSL(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test"), a.issue("b", "b.test")}})
	b.set(snap)
	host, port, _ := net.SplitHostPort(snap.Gateway.TLS.Listen)
	run := func(name string, args ...string) (string, bool) {
		path, err := exec.LookPath(name)
		if err != nil {
			if os.Getenv("CI") != "" {
				t.Errorf("%s is not installed", name)
			}
			t.Logf("%s is not installed", name)
			return "", false
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Stdin = strings.NewReader("")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out), true
	}
	for _, v := range []string{"--http1.1", "--http2"} {
		if out, ok := run("curl", "-sS", v, "--cacert", a.file, "--resolve", "b.test:"+port+":"+host, "-w", " %{http_version}", "https://b.test:"+port+"/x"); ok && !strings.HasPrefix(out, "b.test:"+port+"/x "+strings.TrimLeft(v, "-htp")[:1]) {
			t.Errorf("curl %s: %q", v, out)
		}
	}
	for _, v := range []string{"-tls1_2", "-tls1_3"} {
		if out, ok := run("openssl", "s_client", "-connect", host+":"+port, "-servername", "b.test", "-CAfile", a.file, "-verify_return_error", "-verify_hostname", "b.test", "-alpn", "h2", v); ok && (!strings.Contains(out, "Verify return code: 0") || !strings.Contains(out, "ALPN protocol: h2")) {
			t.Errorf("openssl %s: %s", v, out)
		}
	}
}

// TestCertificatesChangeUnderLoad swaps the certificate, options and limits a hundred
// times while requests run on kept and on new connections: none fails, and no kept
// connection is closed.
func TestCertificatesChangeUnderLoad(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test")}})
	b.set(snap)
	at := snap.Gateway.TLS.Listen
	var failed, done, dials atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	work := func(c *http.Client, closing bool) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				rq, _ := http.NewRequest("POST", "https://"+at+"/", strings.NewReader("body"))
				rq.Close = closing
				r, err := c.Do(rq)
				if err == nil {
					_, err = io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
				if err != nil || r.StatusCode != 200 {
					failed.Add(1)
					t.Log(err)
				}
				done.Add(1)
			}
		})
	}
	two := a.client(true)
	two.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	work(two, false)
	work(a.client(false), true)
	nc, err := tls.Dial("tcp", at, &tls.Config{RootCAs: a.pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	wg.Go(func() { // one connection of HTTP/1.1 from the start to the end
		in := bufio.NewReader(nc)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = nc.SetDeadline(time.Now().Add(patience))
			fmt.Fprint(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
			r, err := http.ReadResponse(in, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err != nil || r.Close {
				t.Errorf("the kept connection ended: %v", err)
				return
			}
		}
	})
	for i := range 100 {
		a.issue("a", "a.test")
		if i%5 == 0 { // the rest is noticed on disk
			next := *snap
			spec := *snap.Gateway.TLS
			next.Gateway.TLS = &spec
			spec.Minimum = []string{"1.2", "1.3"}[i/5%2]
			spec.HSTS.Age = time.Duration(i) * time.Second
			next.Gateway.Limits.Head = 8<<10 + i
			b.set(&next)
		}
		n := done.Load()
		b.wait("requests go on", func() bool { return done.Load() > n+2 })
	}
	close(stop)
	wg.Wait()
	if failed.Load() != 0 || dials.Load() != 1 {
		t.Errorf("%d of %d requests failed; %d connections of HTTP/2 instead of one", failed.Load(), done.Load(), dials.Load())
	}
}

func TestListenersMoveAndLimitsChange(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test")}})
	snap.Gateway.Limits.Target = 50
	snap.Gateway.Limits.Body = 10
	b.set(snap)
	c := client(t)
	long := strings.Repeat("x", 60)
	if code, _, _ := get(t, c, "http://"+b.addr+"/"+long); code != 414 {
		t.Errorf("%d", code)
	}
	b.wait("it is counted", func() bool { return b.count("swell_gateway_refused_total", "reason", "target-length") == 1 })
	for _, body := range []io.Reader{strings.NewReader(long), io.MultiReader(strings.NewReader(long))} {
		r, err := c.Post("http://"+b.addr+"/", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != 413 {
			t.Errorf("a body over the limit: %d", r.StatusCode)
		}
	}
	// The same connection goes by the new limits, on a listener that stayed.
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(nc)
	ask := func(path string) int {
		t.Helper()
		fmt.Fprintf(nc, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		return r.StatusCode
	}
	if code := ask("short"); code != 200 {
		t.Error(code)
	}
	next := *snap
	spec := *snap.Gateway.TLS
	next.Gateway.TLS = &spec
	spec.Listen = freeAddr(t)
	next.Gateway.Limits = swell.Limits{}
	old := a.client(true)
	if r, err := old.Get("https://" + snap.Gateway.TLS.Listen + "/"); err != nil {
		t.Fatal(err)
	} else {
		r.Body.Close()
	}
	b.set(&next)
	if code := ask(long); code != 200 {
		t.Error(code)
	}
	moved := a.client(true)
	if r, err := moved.Get("https://" + spec.Listen + "/"); err != nil {
		t.Error(err)
	} else {
		r.Body.Close()
	}
	b.wait("the old address is free", func() bool {
		c, err := net.Dial("tcp", snap.Gateway.TLS.Listen)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	// Broken options refuse the whole snapshot.
	bad := next
	badSpec := spec
	badSpec.Certificates = []swell.Certificate{{Cert: "/none.pem", Key: "/none.key"}}
	bad.Gateway.TLS = &badSpec
	b.offer(&bad)
	select {
	case err := <-b.feed.refused:
		if !strings.Contains(err.Error(), "/none.pem") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("taken")
	}
}

func TestClientsCertificatesAtTheGateway(t *testing.T) {
	a, theirs := newAuthority(t), newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test")}, Clients: &swell.Clients{CA: theirs.file, Required: true}})
	b.set(snap)
	own := theirs.issue("client", "me.test")
	pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	with := a.client(true, func(c *tls.Config) { c.Certificates = []tls.Certificate{pair} })
	if r, err := with.Get("https://" + snap.Gateway.TLS.Listen + "/"); err != nil {
		t.Error(err)
	} else {
		r.Body.Close()
	}
	if r, err := a.client(true).Get("https://" + snap.Gateway.TLS.Listen + "/"); err == nil {
		r.Body.Close()
		t.Error("who shows no certificate is let in")
	}
	b.wait("it is counted", func() bool {
		return b.count("swell_tls_handshakes_total", "result", "client-certificate", "version", "") == 1
	})
}

// proxied sends a header and then a request, and returns the answer.
func proxied(t testing.TB, addr, header string) (*http.Response, error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, header+"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 7.7.7.7\r\nConnection: close\r\n\r\n"); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	return r, nil
}

func v2(t testing.TB, src, dst string, tlvs ...proxyproto.TLV) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(src)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(dst)))
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

func TestProxyProtocolIn(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := one(to("s", u.addr))
	snap.Gateway.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.set(snap)
	for header, want := range map[string]string{
		"PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n":                                                 "7.7.7.7, 1.2.3.4",
		"PROXY TCP6 2001:db8::1 2001:db8::2 1000 80\r\n":                                         "7.7.7.7, 2001:db8::1",
		"PROXY UNKNOWN\r\n":                                                                      "7.7.7.7, 127.0.0.1",
		"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n":                                          "7.7.7.7, 127.0.0.1",
		v2(t, "1.2.3.4:1000", "5.6.7.8:80"):                                                      "7.7.7.7, 1.2.3.4",
		v2(t, "[2001:db8::1]:1000", "[2001:db8::2]:80"):                                          "7.7.7.7, 2001:db8::1",
		v2(t, "1.2.3.4:1", "5.6.7.8:80", proxyproto.TLV{Type: 0xE0, Value: make([]byte, 1<<10)}): "7.7.7.7, 1.2.3.4",
		local: "7.7.7.7, 127.0.0.1",
	} {
		r, err := proxied(t, b.addr, header)
		if err != nil {
			t.Errorf("%q: %v", header, err)
		} else if got := r.Header.Get("Seen-X-Forwarded-For"); r.StatusCode != 200 || got != want {
			t.Errorf("%q: %d for %q, want %q", header, r.StatusCode, got, want)
		}
	}
	bad := []string{
		"", "PROXY ", "PROXY TCP4 1.2.3.4 5.6.7.8 1000\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1000 99999\r\n", "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\n", "PROXY TCP4 ::1 ::2 1 2\r\n", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n",
		"PROXY  TCP4 1.2.3.4 5.6.7.8 1000 80\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 01000 80\r\n", "proxy TCP4 1.2.3.4 5.6.7.8 1000 80\r\n",
		local[:12] + "\x31\x11\x00\x0c" + strings.Repeat("\x01", 12), local[:12] + "\x21\x12\x00\x0c" + strings.Repeat("\x01", 12),
		local[:12] + "\x21\x11\x00\x04\x01\x02\x03\x04", local[:12] + "\x21\x11\xff\xff" + strings.Repeat("\x01", 12),
	}
	for _, header := range bad {
		if r, err := proxied(t, b.addr, header); err == nil {
			t.Errorf("%q is taken: %d for %q", header, r.StatusCode, r.Header.Get("Seen-X-Forwarded-For"))
		}
	}
	b.wait("they are counted", func() bool {
		return b.count("swell_gateway_refused_total", "reason", "proxy-header") == uint64(len(bad))
	})
	// From elsewhere it is no header, and nobody is believed.
	next := *snap
	next.Gateway.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	b.set(&next)
	if r, err := proxied(t, b.addr, ""); err != nil || r.Header.Get("Seen-X-Forwarded-For") != "127.0.0.1" {
		t.Error(err, r)
	}
	if r, err := proxied(t, b.addr, "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n"); err != nil || r.StatusCode != 400 {
		t.Error(err, r)
	}
}

func TestProxyProtocolBeforeTLS(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test")}})
	snap.Gateway.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.set(snap)
	for _, two := range []bool{false, true} {
		c := a.client(two)
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err == nil {
				_, err = io.WriteString(nc, v2(t, "1.2.3.4:1000", "5.6.7.8:443"))
			}
			return nc, err
		}
		r, err := c.Get("https://" + snap.Gateway.TLS.Listen + "/")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if got := r.Header.Get("Seen-X-Forwarded-For"); got != "1.2.3.4" {
			t.Errorf("HTTP/%d: %q", r.ProtoMajor, got)
		}
	}
}

// FuzzProxyHeader wants that what is read never reaches beyond the header, that what
// is taken was one, and that what we write is read.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\nrest"))
	f.Add([]byte(local + "rest"))
	f.Add([]byte(v2(f, "1.2.3.4:1000", "5.6.7.8:80") + "rest"))
	f.Add([]byte(v2(f, "[::1]:1000", "[::2]:80") + "rest"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		peer, err := readProxy(r)
		if err != nil {
			return
		}
		head := in[:len(in)-r.Len()]
		if !bytes.HasPrefix(head, proxyV2) && (!bytes.HasPrefix(head, []byte("PROXY ")) || !bytes.HasSuffix(head, []byte("\r\n")) || bytes.Count(head, []byte("\n")) != 1) {
			t.Fatalf("%q was taken for a header", head)
		}
		if !peer.IsValid() {
			return
		}
		for _, version := range []int{1, 2} {
			for _, to := range []string{"10.0.0.1:1", "[2001:db8::9]:1"} {
				b, err := proxyHeader(version, &exchange.Exchange{Peer: peer, Local: netip.MustParseAddrPort(to)})
				if err != nil {
					t.Fatal(peer, err)
				}
				again, err := readProxy(bytes.NewReader(b))
				if err != nil || again != peer {
					t.Fatalf("version %d: %v was written as %q, which is %v, %v", version, peer, b, again, err)
				}
			}
		}
	})
}

// TestProxyProtocolOut has the upstream say which header its connections began with.
func TestProxyProtocolOut(t *testing.T) {
	for version := 1; version <= 2; version++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pl := &proxyproto.Listener{Listener: l, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil }}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(pl) }()
		t.Cleanup(func() { srv.Close(); <-done })

		b := newBed(t)
		u := to("s", l.Addr().String())
		u.Proxy = version
		snap := one(u)
		b.set(snap)
		// Two clients never share a connection.
		for range 3 {
			nc, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = nc.SetDeadline(time.Now().Add(patience))
			fmt.Fprint(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			r, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			if string(body) != nc.LocalAddr().String() {
				t.Errorf("version %d: the upstream thinks that %s asks, it is %s", version, body, nc.LocalAddr())
			}
			nc.Close()
		}
	}
}

func TestTLSToServices(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	own := a.issue("up", "up.test")
	pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(echo), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	b := newBed(t)
	c := client(t)
	for _, x := range []struct {
		tls swell.UpstreamTLS
		ok  bool
	}{
		{swell.UpstreamTLS{CA: a.file}, true}, {swell.UpstreamTLS{CA: a.file, Name: "up.test"}, true}, {swell.UpstreamTLS{Insecure: true}, true},
		{swell.UpstreamTLS{CA: a.file, Name: "another.test"}, false}, {swell.UpstreamTLS{CA: other.file}, false}, {swell.UpstreamTLS{}, false},
	} {
		u := to("s", l.Addr().String())
		u.TLS = &x.tls
		u.Health = swell.Health{Kind: "http", Path: "/", Interval: time.Hour}
		u.Hold = swell.Hold{Max: 10, Timeout: 100 * time.Millisecond} // an endpoint that can't be connected to is out
		b.set(one(u))
		if code, text, _ := get(t, c, "http://"+b.addr+"/x"); (code == 200) != x.ok {
			t.Errorf("%+v: %d %s", x.tls, code, text)
		}
		// Checks of health go the same way.
		b.plane.use1.Lock()
		s := b.plane.table.Load().services["s"].service
		b.plane.use1.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := s.check(ctx, s.endpoints[0])
		cancel()
		if (err == nil) != x.ok {
			t.Errorf("%+v: the check says %v", x.tls, err)
		}
	}
	u := to("s", l.Addr().String())
	u.TLS = &swell.UpstreamTLS{CA: "/none.pem"}
	b.offer(one(u))
	select {
	case err := <-b.feed.refused:
		if !strings.Contains(err.Error(), "/none.pem") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("taken")
	}
}

func TestSparing(t *testing.T) {
	var s sparing
	if _, ok := s.may("a"); !ok {
		t.Error("the first is held back")
	}
	for range 5 {
		if _, ok := s.may("a"); ok {
			t.Error("a second in the same second")
		}
	}
	if _, ok := s.may("b"); !ok {
		t.Error("another kind is held back")
	}
	s.kinds[0].last.Add(-int64(time.Second))
	if n, ok := s.may("a"); !ok || n != 5 {
		t.Error(n, ok)
	}
	for i := range 200 {
		s.may(fmt.Sprint("kind ", i))
	}
}

func TestShakeResults(t *testing.T) {
	for want, err := range map[string]error{
		"left": io.EOF, "timeout": fmt.Errorf("read: %w", os.ErrDeadlineExceeded), "not-tls": tls.RecordHeaderError{},
		"version": errors.New("tls: client offered only unsupported versions: []"), "other": errors.New("odd"),
		"refused-by-client": &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		"protocol":          errors.New("tls: client requested unsupported application protocols ([\"x\"])"),
	} {
		if got := shakeResult(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
