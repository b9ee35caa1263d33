package h3_test

import (
	"bufio"
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
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swell"
	"swell/internal/proxy"
	"swell/internal/telemetry"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const patience = 30 * time.Second

// fixed is a feed of one snapshot.
type fixed struct {
	snap *swell.Snapshot
	used chan error
}

func (f fixed) Follow(ctx context.Context, use func(*swell.Snapshot) error) error {
	f.used <- use(f.snap)
	<-ctx.Done()
	return ctx.Err()
}

// plane runs a data plane whose gateway speaks HTTP/3, with one service behind, and
// returns where, and whom a client trusts.
func plane(t *testing.T, upstream string) (addr string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pair := swell.Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(pair.Cert, certPEM, 0o600), os.WriteFile(pair.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)

	for range 10 { // others look for free ports too
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		l.Close()
		feed := fixed{used: make(chan error, 1), snap: &swell.Snapshot{
			Version: 1, App: "t",
			Gateway: swell.Gateway{
				TLS:    &swell.TLS{Listen: addr, HTTP3: true, Certificates: []swell.Certificate{pair}},
				Routes: []swell.Route{{Name: "all", To: []swell.Target{{Service: "s", Weight: 1}}}},
			},
			Upstreams: []swell.Upstream{{Service: "s", Protocol: swell.HTTP, Hold: swell.Hold{Max: 10, Timeout: patience}, Endpoints: []swell.Endpoint{{ID: "s-1", Addr: upstream, Weight: 1}}}},
		}}
		p := proxy.New(proxy.Options{Hub: telemetry.New(telemetry.Options{}), Log: slog.New(slog.DiscardHandler), Drain: patience})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, feed) }()
		err = <-feed.used
		end := func() {
			cancel()
			select {
			case <-ended:
			case <-time.After(2 * patience):
				t.Error("the plane does not end")
			}
		}
		if err == nil {
			t.Cleanup(end)
			return addr, roots
		}
		end()
		if !strings.Contains(err.Error(), "in use") {
			t.Fatal(err)
		}
	}
	t.Fatal("no port is free")
	return "", nil
}

// Through the whole data plane: what a service sees of a client that speaks HTTP/3,
// trailers, an answer that breaks, and a WebSocket (RFC 9220) to a service that
// knows those of HTTP/1.1.
func TestThroughThePlane(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/chat":
			c, err := websocket.Accept(w, q, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			for {
				kind, text, err := c.Read(q.Context())
				if err != nil || c.Write(q.Context(), kind, []byte(strings.ToUpper(string(text)))) != nil {
					return
				}
			}
		case "/broken":
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(make([]byte, 50_000))
			panic(http.ErrAbortHandler)
		case "/trailers":
			w.Header().Set("Trailer", "X-Sum")
			b, _ := io.ReadAll(q.Body)
			_, _ = w.Write(b)
			w.(http.Flusher).Flush()
			w.Header().Set("X-Sum", q.Trailer.Get("X-In"))
		default:
			fmt.Fprintf(w, "%s %s via %s proto %s", q.Method, q.RequestURI, q.Header.Get("Via"), q.Header.Get("X-Forwarded-Proto"))
		}
	}))
	defer up.Close()
	addr, roots := plane(t, strings.TrimPrefix(up.URL, "http://"))
	config := &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h3"}}
	tr := &http3.Transport{TLSClientConfig: config, DisableCompression: true}
	defer tr.Close()
	c := &http.Client{Transport: tr, Timeout: 2 * patience}

	rs, err := c.Get("https://" + addr + "/a%2Fb?x=1")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(rs.Body)
	rs.Body.Close()
	if string(b) != "GET /a%2Fb?x=1 via 3 swell proto https" {
		t.Errorf("the service saw %q", b)
	}

	rq, _ := http.NewRequest("POST", "https://"+addr+"/trailers", struct{ io.Reader }{strings.NewReader("data")})
	rq.Trailer = http.Header{"X-In": {"7"}}
	if rs, err = c.Do(rq); err != nil {
		t.Fatal(err)
	}
	b, err = io.ReadAll(rs.Body)
	rs.Body.Close()
	if string(b) != "data" || err != nil || rs.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%q, %v, trailers %v", b, err, rs.Trailer)
	}

	if rs, err = c.Get("https://" + addr + "/broken"); err == nil {
		_, err = io.ReadAll(rs.Body)
		rs.Body.Close()
	}
	if err == nil {
		t.Error("a broken answer looks whole")
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	st, err := (&http3.Transport{}).NewClientConn(conn).OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask, _ := http.NewRequest("CONNECT", "https://localhost/chat", nil)
	ask.Proto = "websocket"
	ask.Header.Set("Sec-Websocket-Version", "13")
	if err := st.SendRequestHeader(ask); err != nil {
		t.Fatal(err)
	}
	if rs, err = st.ReadResponse(); err != nil || rs.StatusCode != 200 {
		t.Fatalf("%+v, %v", rs, err)
	}
	// A masked text frame (with a mask of zeros), and its answer.
	if _, err := st.Write(append([]byte{0x81, 0x85, 0, 0, 0, 0}, "hello"...)); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 7)
	if _, err := io.ReadFull(bufio.NewReader(st), frame); err != nil || string(frame) != "\x81\x05HELLO" {
		t.Errorf("%q, %v", frame, err)
	}
}
