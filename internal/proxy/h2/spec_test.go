package h2_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swell/internal/exchange"
)

// certificate is one of our own, for the loopback address.
func certificate(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}
}

// TestH2spec has the conformance suite find nothing, in the clear and over TLS.
func TestH2spec(t *testing.T) {
	if testing.Short() {
		t.Skip("h2spec takes seconds")
	}
	tool := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", tool, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("build h2spec: %v\n%s", err, out)
		}
		t.Skipf("h2spec can't be built here: %v\n%s", err, out)
	}
	for _, secure := range []bool{false, true} {
		name, args, conf := "clear", []string{}, (*tls.Config)(nil)
		if secure {
			name, args, conf = "TLS", []string{"-t", "-k"}, certificate(t)
		}
		t.Run(name, func(t *testing.T) {
			s := echoServer()
			handle := s.Handle
			s.Handle = func(x *exchange.Exchange) {
				if handle(x); x.Response.Body == nil { // the suite wants one to look at
					x.Response.Length, x.Response.Body = 5, exchange.Bytes([]byte("hello"))
				}
			}
			s.DrainTime, s.Log = time.Second, quiet()
			host, port, _ := net.SplitHostPort(listen(t, s, conf))
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, tool, append(args, "-h", host, "-p", port, "-P", "/", "-o", "5")...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "145 tests, 145 passed, 0 skipped, 0 failed") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestOverTLS: the exchange knows, and many streams at once go well.
func TestOverTLS(t *testing.T) {
	s := echoServer()
	s.Handle = func(x *exchange.Exchange) {
		if x.TLS == nil || x.TLS.NegotiatedProtocol != "h2" {
			t.Error("no TLS")
		}
		x.Reply(200, strings.Repeat("secret ", 20000))
	}
	addr := listen(t, s, certificate(t))
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is our own
	defer tr.CloseIdleConnections()
	cl := &http.Client{Transport: tr}
	for range 20 {
		res, err := cl.Get("https://" + addr + "/")
		if b := body(t, res, err); len(b) != 140001 {
			t.Fatal(len(b))
		}
	}
}
