package proxy

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"swell"

	"github.com/quic-go/quic-go/http3"
)

// TestHTTP3Listener has HTTP/3 beside HTTP/2 on one port, announced by Alt-Svc, with
// certificates that change.
func TestHTTP3Listener(t *testing.T) {
	a := newAuthority(t)
	b := newBed(t)
	u := newUpstream(t, echo)
	snap := overTLS(t, to("s", u.addr), swell.TLS{Certificates: []swell.Certificate{a.issue("a", "a.test")}, HTTP3: true})
	b.set(snap)
	at := snap.Gateway.TLS.Listen
	r, err := a.client(true).Get("https://" + at + "/")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	port := at[strings.LastIndexByte(at, ':'):]
	if h := r.Header.Get("Alt-Svc"); h != `h3="`+port+`"; ma=86400` {
		t.Errorf("Alt-Svc %q", h)
	}
	serial := func() string {
		t.Helper()
		tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool()}}
		defer tr.Close()
		c := &http.Client{Transport: tr, Timeout: patience}
		r, err := c.Post("https://"+at+"/three", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		if r.ProtoMajor != 3 || string(body) != at+"/three" || r.Header.Get("Seen-X-Forwarded-Proto") != "https" || r.Header.Get("Alt-Svc") != "" {
			t.Errorf("HTTP/%d: %q, %v", r.ProtoMajor, body, r.Header)
		}
		return r.TLS.PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	a.issue("a", "a.test")
	b.wait("the new certificate is shown", func() bool { return serial() != first })
	next := *snap
	spec := *snap.Gateway.TLS
	spec.HTTP3 = false
	next.Gateway.TLS = &spec
	b.set(&next)
	r, err = a.client(true).Get("https://" + at + "/")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.Header.Get("Alt-Svc") != "" {
		t.Error("HTTP/3 is announced where it is not spoken")
	}
}
