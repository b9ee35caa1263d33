package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"swell"
)

// grpcUpstream answers calls over HTTP/2 in the clear with the status that the path's
// last part names, in the trailer.
func grpcUpstream(t testing.TB, status func(*http.Request) string) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: l.Addr().String()}
	u.srv = &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.hits.Add(1)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, "\x00\x00\x00\x00\x00")
		w.Header().Set("Grpc-Status", status(r))
	})}
	u.srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = u.srv.Serve(l) }()
	t.Cleanup(func() { u.kill(); <-done })
	return u
}

// caller makes calls over HTTP/2 in the clear; it returns the status of a call.
func caller(t testing.TB, addr string) func(path string, header ...string) string {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: 2 * patience}
	return func(path string, header ...string) string {
		t.Helper()
		rq, _ := http.NewRequest("POST", "http://"+addr+path, strings.NewReader("\x00\x00\x00\x00\x00"))
		rq.Header.Set("Content-Type", "application/grpc")
		for i := 0; i+1 < len(header); i += 2 {
			rq.Header.Set(header[i], header[i+1])
		}
		r, err := c.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Fatal(err)
		}
		if v := r.Trailer.Get("Grpc-Status"); v != "" {
			return v
		}
		return fmt.Sprint(r.Header.Get("Grpc-Status"), " ", r.StatusCode, " ", r.Header.Get(reason))
	}
}

func grpcTo(service string, addrs ...string) swell.Upstream {
	u := to(service, addrs...)
	u.Protocol = swell.GRPC
	return u
}

func TestCallsOfGRPCCountAsTheirStatus(t *testing.T) {
	b := newBed(t)
	up := grpcUpstream(t, func(r *http.Request) string { return r.URL.Path[len("/s/"):] })
	snap := one(grpcTo("s", up.addr))
	snap.Gateway.Routes[0].Match.Path = "/s/**"
	b.set(snap)
	ask := caller(t, b.addr)
	for path, want := range map[string]string{
		"/s/0": "0", "/s/5": "5", "/s/13": "13", "/s/14": "14", "/nowhere": "12 200 no-route",
	} {
		if got := ask(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, code := range []string{"200", "404", "500", "503"} {
		line := fmt.Sprintf("swell_requests_total{caller=\"gateway\",code=\"%s\",service=\"s\"} 1\n", code)
		b.wait("a call counts as "+code, func() bool {
			w := httptest.NewRecorder()
			b.hub.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			return strings.Contains(w.Body.String(), line)
		})
	}
}

func TestAnInstanceWhoseCallsFailIsTakenOut(t *testing.T) {
	b := newBed(t)
	good := grpcUpstream(t, func(*http.Request) string { return "0" })
	bad := grpcUpstream(t, func(*http.Request) string { return "14" })
	b.set(one(grpcTo("s", good.addr, bad.addr)))
	ask := caller(t, b.addr)
	for range 60 {
		ask("/a/b")
	}
	if n := bad.hits.Load(); n > 20 {
		t.Errorf("%d calls of 60 went where all fail", n)
	}
}

func TestAFailedServiceIsUnavailableToCalls(t *testing.T) {
	b := newBed(t)
	u := grpcTo("s", freeAddr(t))
	u.Hold = swell.Hold{Max: 10, Timeout: 100 * time.Millisecond}
	b.set(one(u))
	ask := caller(t, b.addr)
	if got := ask("/a/b"); !strings.HasPrefix(got, "14 200 s; ") {
		t.Errorf("nobody listens: %q", got)
	}
	slow := grpcUpstream(t, func(r *http.Request) string { <-r.Context().Done(); return "0" })
	b.set(one(grpcTo("s", slow.addr)))
	if got := ask("/a/b", "Grpc-Timeout", "200m"); !strings.HasPrefix(got, "4") {
		t.Errorf("the deadline passed: %q", got)
	}
}
