package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"swell"
	"swell/internal/latest"
	"swell/internal/telemetry"
)

// patience bounds everything that should be fast: tests run on loaded machines.
const patience = 30 * time.Second

// cellFeed is a feed from a cell; refusals are kept.
type cellFeed struct {
	latest.Cell[*swell.Snapshot]
	version atomic.Uint64
	refused chan error
}

func (f *cellFeed) Follow(ctx context.Context, use func(*swell.Snapshot) error) error {
	return f.Cell.Follow(ctx, func(s *swell.Snapshot) error {
		if err := use(s); err != nil {
			f.refused <- err
		}
		return nil
	})
}

// bed is a plane under test.
type bed struct {
	t     testing.TB
	plane *Plane
	feed  *cellFeed
	book  *TCP
	hub   *telemetry.Hub
	addr  string // the gateway's
	log   *lockedBuffer
	end   func() error
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

func newBed(t testing.TB, change ...func(*Options)) *bed {
	t.Helper()
	b := &bed{t: t, feed: &cellFeed{refused: make(chan error, 64)}, book: new(TCP), hub: telemetry.New(telemetry.Options{}), log: new(lockedBuffer), addr: freeAddr(t)}
	opt := Options{
		Hub: b.hub, Book: b.book, AccessLog: b.log, Drain: patience,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, c := range change {
		c(&opt)
	}
	b.plane = New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.plane.Run(ctx, b.feed) }()
	var once sync.Once
	var err error
	b.end = func() error {
		once.Do(func() {
			cancel()
			select {
			case err = <-ended:
			case <-time.After(2 * patience):
				t.Error("the plane does not end")
			}
		})
		return err
	}
	t.Cleanup(func() {
		if err := b.end(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the plane ended with %v", err)
		}
	})
	return b
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// set brings a snapshot into use, and waits until it is.
func (b *bed) set(s *swell.Snapshot) {
	b.t.Helper()
	b.offer(s)
	b.wait("the snapshot is in use", func() bool {
		select {
		case err := <-b.feed.refused:
			// Other tests of this machine look for free ports too.
			if !errors.Is(err, syscall.EADDRINUSE) || s.Gateway.Listen != b.addr {
				b.t.Fatal(err)
			}
			b.addr = freeAddr(b.t)
			again := *s
			again.Gateway.Listen = b.addr
			s = &again
			b.offer(s)
		default:
		}
		return b.plane.Version() == s.Version
	})
}

// offer sends a snapshot on its way.
func (b *bed) offer(s *swell.Snapshot) {
	s.Version = b.feed.version.Add(1)
	if s.Gateway.Listen == "" {
		s.Gateway.Listen = b.addr
	}
	b.feed.Set(s)
}

func (b *bed) wait(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("in vain waited until %s", what)
		}
	}
}

// to makes an upstream with endpoints at addrs; IDs are unique to the addresses.
func to(service string, addrs ...string) swell.Upstream {
	u := swell.Upstream{Service: service, Protocol: "http", Hold: swell.Hold{Max: 2000, Timeout: patience}}
	for _, a := range addrs {
		u.Endpoints = append(u.Endpoints, swell.Endpoint{ID: service + "-" + a, Addr: a, Weight: 1, Revision: "r"})
	}
	return u
}

func all(service string) swell.Route {
	return swell.Route{Name: "all", Match: swell.Match{Path: "/**"}, To: []swell.Target{{Service: service, Weight: 1}}}
}

// one makes a snapshot of one service behind one route.
func one(u swell.Upstream) *swell.Snapshot {
	return &swell.Snapshot{App: "t", Gateway: swell.Gateway{Routes: []swell.Route{all(u.Service)}}, Upstreams: []swell.Upstream{u}}
}

// upstream is a service's instance.
type upstream struct {
	addr string
	hits atomic.Int64
	srv  *http.Server
}

func newUpstream(t testing.TB, handle http.HandlerFunc) *upstream {
	t.Helper()
	return upstreamAt(t, "127.0.0.1:0", handle)
}

func upstreamAt(t testing.TB, addr string, handle http.HandlerFunc) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: l.Addr().String()}
	u.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.hits.Add(1)
		if handle != nil {
			handle(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, u.addr)
	})}
	done := make(chan struct{})
	go func() { defer close(done); u.srv.Serve(l) }()
	t.Cleanup(func() { u.kill(); <-done })
	return u
}

// kill ends the instance as kill -9 does: connections break.
func (u *upstream) kill() { u.srv.Close() }

func client(t testing.TB) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 2 * patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get returns status, body and header.
func get(t testing.TB, c *http.Client, url string) (int, string, http.Header) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

func TestForwarding(t *testing.T) {
	b := newBed(t)
	var seen *http.Request
	var body string
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		seen, body = r, string(p)
		w.Header().Set("X-Up", "1")
		w.WriteHeader(201)
		io.WriteString(w, "made")
	})
	edge := swell.Edge{Caller: "web", Callee: "s"}
	at, err := b.book.Address(edge)
	if err != nil {
		t.Fatal(err)
	}
	snap := one(to("s", u.addr))
	snap.Edges = []swell.EdgeAddr{{Edge: edge, Addr: at}}
	b.set(snap)
	c := client(t)
	send := func(addr string) {
		t.Helper()
		rq, _ := http.NewRequest("POST", "http://"+addr+"/a%2Fb?x=1", strings.NewReader("data"))
		rq.Host = "Shop.example:1"
		rq.Header.Set("X-Forwarded-For", "6.6.6.6")
		rq.Header.Set("X-Forwarded-Proto", "https")
		rq.Header.Set("Forwarded", "for=6.6.6.6")
		rq.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		r, err := c.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != 201 || string(p) != "made" || r.Header.Get("X-Up") != "1" {
			t.Fatalf("%d %q %v", r.StatusCode, p, r.Header)
		}
		if body != "data" || seen.RequestURI != "/a%2Fb?x=1" || seen.Host != "Shop.example:1" {
			t.Errorf("the instance got %q at %q, host %s", body, seen.RequestURI, seen.Host)
		}
		if tp := seen.Header.Get("Traceparent"); !strings.HasPrefix(tp, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(tp, "b7ad6b7169203331") || !strings.HasSuffix(tp, "-01") {
			t.Errorf("traceparent %q", tp)
		}
		if seen.Header.Get("X-Request-Id") == "" || seen.Header.Get("Via") != "1.1 swell" {
			t.Errorf("request ID %q, via %q", seen.Header.Get("X-Request-Id"), seen.Header.Get("Via"))
		}
	}
	header := func(name, want string) {
		t.Helper()
		if got := strings.Join(seen.Header.Values(name), "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	send(b.addr)
	header("X-Forwarded-For", "127.0.0.1")
	header("X-Forwarded-Proto", "http")
	header("X-Forwarded-Host", "Shop.example:1")
	header("Forwarded", `for=127.0.0.1;host="Shop.example:1";proto=http`)
	send(at)
	header("X-Forwarded-For", "6.6.6.6, 127.0.0.1")
	header("X-Forwarded-Proto", "https")
	header("Forwarded", `for=6.6.6.6, for=127.0.0.1;host="Shop.example:1";proto=http`)
}

func TestRewriteAndRedirect(t *testing.T) {
	b := newBed(t)
	var target, host string
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { target, host = r.RequestURI, r.Host })
	s := func(v string) *string { return &v }
	target1 := []swell.Target{{Service: "s", Weight: 1}}
	snap := one(to("s", u.addr))
	snap.Gateway.Routes = []swell.Route{
		{Name: "api", Match: swell.Match{Path: "/api/c/**"}, To: target1, Rewrite: swell.Rewrite{Prefix: s("/")}},
		{Name: "v2", Match: swell.Match{Path: "/v1/**"}, To: target1, Rewrite: swell.Rewrite{Prefix: s("/v2"), Host: "inner"}},
		{Name: "path", Match: swell.Match{Path: "/old/{id}"}, To: target1, Rewrite: swell.Rewrite{Path: s("/new?a=1")}},
		{Name: "moved", Match: swell.Match{Path: "/moved/**"}, Redirect: &swell.Redirect{Scheme: "https", Host: "shop.example", Status: 301}},
		{Name: "port", Match: swell.Match{Path: "/port"}, Redirect: &swell.Redirect{Port: 9, Path: "/x", Status: 307}},
	}
	b.set(snap)
	c := client(t)
	for _, x := range []struct{ ask, want, host string }{
		{"/api/c", "/", ""}, {"/api/c/", "/", ""}, {"/api/c/a/b?q=%20", "/a/b?q=%20", ""}, {"/api/c//a%2Fb/", "/a%2Fb/", ""},
		{"/v1", "/v2", "inner"}, {"/v1/", "/v2/", "inner"}, {"/v1/x", "/v2/x", "inner"}, {"//v1/x?", "/v2/x?", "inner"},
		{"/old/7?b=2", "/new?a=1&b=2", ""}, {"/old/7", "/new?a=1", ""},
	} {
		target = ""
		code, _, _ := get(t, c, "http://"+b.addr+x.ask)
		if code != 200 || target != x.want || x.host != "" && host != x.host {
			t.Errorf("%s: %d, forwarded as %s to host %s, want %s", x.ask, code, target, host, x.want)
		}
	}
	code, _, h := get(t, c, "http://"+b.addr+"/moved/a?b")
	if code != 301 || h.Get("Location") != "https://shop.example/moved/a?b" {
		t.Errorf("%d to %s", code, h.Get("Location"))
	}
	code, _, h = get(t, c, "http://"+b.addr+"/port")
	if code != 307 || h.Get("Location") != "http://127.0.0.1:9/x" {
		t.Errorf("%d to %s", code, h.Get("Location"))
	}
}

func TestAnswersOfOurOwn(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, nil)
	snap := one(to("s", u.addr))
	snap.Gateway.Routes[0].Match = swell.Match{Path: "/a/**", Methods: []string{"GET", "HEAD"}}
	dead := to("dead")
	dead.Hold = swell.Hold{Max: 0, Timeout: time.Second}
	slow := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	late := to("late", slow.addr)
	late.Use = []swell.Use{{Name: "timeout", Options: []byte(`{"request":"50ms"}`)}}
	broken := newRaw(t, func(c net.Conn) { io.WriteString(c, "what?\r\n\r\n") })
	bad := to("bad", broken.addr)
	snap.Upstreams = append(snap.Upstreams, dead, late, bad)
	for _, n := range []string{"dead", "late", "bad"} {
		snap.Gateway.Routes = append(snap.Gateway.Routes, swell.Route{Name: n, Match: swell.Match{Path: "/" + n}, To: []swell.Target{{Service: n, Weight: 1}}})
	}
	snap.Gateway.Routes = append(snap.Gateway.Routes, swell.Route{Name: "none", Match: swell.Match{Path: "/none"}, To: []swell.Target{{Service: "s", Weight: 0}}})
	b.set(snap)
	c := client(t)
	for _, x := range []struct {
		method, path string
		status       int
		header, want string
	}{
		{"GET", "/a/b", 200, "", ""},
		{"GET", "/b", 404, "X-Swell-Reason", "no-route"},
		{"POST", "/a/b", 405, "Allow", "GET, HEAD"},
		{"GET", "/a/%2e%2e/b", 400, "", ""},
		{"GET", "/dead", 503, "Retry-After", "1"},
		{"GET", "/dead", 503, "X-Swell-Reason", "dead; full"},
		{"GET", "/late", 504, "X-Swell-Reason", "late; timeout"},
		{"GET", "/bad", 502, "X-Swell-Reason", "bad; malformed"},
		{"GET", "/none", 503, "", ""},
	} {
		rq, _ := http.NewRequest(x.method, "http://"+b.addr+x.path, nil)
		r, err := c.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != x.status || x.header != "" && r.Header.Get(x.header) != x.want {
			t.Errorf("%s %s: %d %s: %q (%s)", x.method, x.path, r.StatusCode, x.header, r.Header.Get(x.header), text)
		}
		if strings.Contains(string(text), "127.0.0.1") && r.StatusCode >= 400 {
			t.Errorf("%s tells an address: %s", x.path, text)
		}
	}
}

// raw is an upstream that speaks by itself.
type raw struct {
	addr  string
	conns atomic.Int64
}

// newRaw answers each request's head, once it is there, by speak, and closes.
func newRaw(t testing.TB, speak func(net.Conn)) *raw {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &raw{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				u.conns.Add(1)
				speak(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return u
}

func TestAPostIsNeverReceivedTwice(t *testing.T) {
	b := newBed(t)
	u := newRaw(t, func(net.Conn) {}) // takes the request and dies
	v := newRaw(t, func(net.Conn) {})
	b.set(one(to("s", u.addr, v.addr)))
	c := client(t)
	r, err := c.Post("http://"+b.addr+"/", "text/plain", strings.NewReader("pay"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if n := u.conns.Load() + v.conns.Load(); r.StatusCode != 502 || n != 1 {
		t.Errorf("status %d, received %d times", r.StatusCode, n)
	}
	code, _, _ := get(t, c, "http://"+b.addr+"/")
	if n := u.conns.Load() + v.conns.Load(); code != 502 || n != 4 {
		t.Errorf("a GET: status %d, received %d times, want 3", code, n-1)
	}
}

func TestSnapshotsThatDoNotCompileAreRefused(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, nil)
	b.set(one(to("s", u.addr)))
	c := client(t)
	for _, x := range []struct {
		name, want string
		spoil      func(*swell.Snapshot)
	}{
		{"unknown service", `service "x", which is not there`, func(s *swell.Snapshot) { s.Gateway.Routes[0].To[0].Service = "x" }},
		{"unknown filter", `no filter is named "retri"; did you mean "retry"`, func(s *swell.Snapshot) { s.Upstreams[0].Use = []swell.Use{{Name: "retri"}} }},
		{"bad options", "attempts is 0", func(s *swell.Snapshot) {
			s.Upstreams[0].Use = []swell.Use{{Name: "retry", Options: []byte(`{"attempts":0}`)}}
		}},
		{"unknown balancer", `no balancer is named "least"`, func(s *swell.Snapshot) { s.Upstreams[0].Balance.Name = "least" }},
		{"route twice", "twice", func(s *swell.Snapshot) { s.Gateway.Routes = append(s.Gateway.Routes, s.Gateway.Routes[0]) }},
		{"nowhere", "goes nowhere", func(s *swell.Snapshot) { s.Gateway.Routes[0].To = nil }},
		{"protocol", "protocol", func(s *swell.Snapshot) { s.Upstreams[0].Protocol = "gopher" }},
		{"HTTP to TCP", "plain TCP", func(s *swell.Snapshot) { s.Upstreams[0].Protocol = "tcp" }},
		{"TCP to HTTP", "not plain TCP", func(s *swell.Snapshot) {
			s.Gateway.TCP = []swell.TCPRoute{{Listen: "127.0.0.1:0", Service: "s"}}
		}},
		{"edge", "there is no service z", func(s *swell.Snapshot) {
			s.Edges = []swell.EdgeAddr{{Edge: swell.Edge{Caller: "s", Callee: "z"}, Addr: "127.0.0.1:0"}}
		}},
		{"prefix", "rewrite.prefix", func(s *swell.Snapshot) {
			v := "/"
			s.Gateway.Routes[0].Match.Path, s.Gateway.Routes[0].Rewrite.Prefix = "/a", &v
		}},
	} {
		snap := one(to("s", u.addr))
		x.spoil(snap)
		b.offer(snap)
		select {
		case err := <-b.feed.refused:
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s: %v, want something with %q", x.name, err, x.want)
			}
		case <-time.After(patience):
			t.Fatalf("%s: not refused", x.name)
		}
		if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 200 {
			t.Errorf("%s: the last good one does not serve: %d", x.name, code)
		}
	}
}

func TestTheGatewaysAddress(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, nil)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	snap := one(to("s", u.addr))
	snap.Gateway.Listen = other.Addr().String()
	b.offer(snap)
	var le *ListenError
	err = <-b.feed.refused
	if !errors.As(err, &le) || !errors.Is(err, syscall.EADDRINUSE) || le.Addr != snap.Gateway.Listen ||
		!strings.Contains(err.Error(), "another program has that port") {
		t.Fatalf("%v", err)
	}
	b.set(one(to("s", u.addr)))
	c := client(t)
	if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 200 {
		t.Fatal(code)
	}
	// To another address: the old one drains and its port is free again.
	snap = one(to("s", u.addr))
	old := b.addr
	b.addr = freeAddr(t)
	snap.Gateway.Listen = b.addr
	b.set(snap)
	if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 200 {
		t.Fatal(code)
	}
	b.wait("the old port is free", func() bool {
		l, err := net.Listen("tcp", old)
		if err == nil {
			l.Close()
		}
		return err == nil
	})
}

func TestEdgesKeepTheirPort(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, nil)
	edge := swell.Edge{Caller: "web", Callee: "s"}
	at, _ := b.plane.Address(edge)
	again, _ := b.plane.Address(edge)
	if at != again {
		t.Fatalf("%s and %s", at, again)
	}
	with, without := one(to("s", u.addr)), one(to("s", u.addr))
	with.Edges = []swell.EdgeAddr{{Edge: edge, Addr: at}}
	b.set(with)
	c := client(t)
	if code, _, _ := get(t, c, "http://"+at+"/"); code != 200 {
		t.Fatal(code)
	}
	b.set(without)
	b.wait("the edge is closed", func() bool {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if again, _ = b.plane.Address(edge); again != at {
		t.Errorf("after it was gone the edge is at %s, not %s", again, at)
	}
	with2 := one(to("s", u.addr))
	with2.Edges = []swell.EdgeAddr{{Edge: edge, Addr: again}}
	b.set(with2)
	if code, _, _ := get(t, client(t), "http://"+again+"/"); code != 200 {
		t.Fatal(code)
	}
}

func TestWeightedTargets(t *testing.T) {
	b := newBed(t)
	u, v := newUpstream(t, nil), newUpstream(t, nil)
	snap := one(to("s", u.addr))
	snap.Upstreams = append(snap.Upstreams, to("next", v.addr))
	snap.Gateway.Routes[0].To = []swell.Target{{Service: "s", Weight: 9}, {Service: "next", Weight: 1}}
	b.set(snap)
	c := client(t)
	for range 200 {
		get(t, c, "http://"+b.addr+"/")
	}
	if u.hits.Load() != 180 || v.hits.Load() != 20 {
		t.Errorf("shares %d and %d, want 180 and 20", u.hits.Load(), v.hits.Load())
	}
}

func TestAccessLog(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, nil)
	snap := one(to("s", u.addr))
	snap.Gateway.Use = []swell.Use{{Name: "access-log", Options: []byte(`{"format":"common"}`)}}
	b.set(snap)
	get(t, client(t), "http://"+b.addr+"/some?x=1")
	b.wait("the line is written", func() bool { return strings.Contains(b.log.String(), "GET /some?x=1 HTTP/1.1") })
}

func TestRoutesAndMatch(t *testing.T) {
	b := newBed(t)
	if r := b.plane.Routes(); r != nil {
		t.Errorf("routes without a table: %v", r)
	}
	u := newUpstream(t, nil)
	snap := one(to("s", u.addr))
	snap.Gateway.Routes = append(snap.Gateway.Routes,
		swell.Route{Name: "item", Match: swell.Match{Path: "/items/{id}", Methods: []string{"GET"}}, To: []swell.Target{{Service: "s", Weight: 1}}},
		swell.Route{Name: "beta", Match: swell.Match{Path: "/items/{id}", Headers: []swell.Value{{Name: "X-Beta", Exact: "1"}}}, To: []swell.Target{{Service: "s", Weight: 1}}})
	b.set(snap)
	var names []string
	for _, r := range b.plane.Routes() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "item beta all" {
		t.Errorf("order %s", got)
	}
	m, err := b.plane.Match("POST", "http://shop/items/7?x", []swell.Pair{{Name: "x-beta", Value: "1"}})
	if err != nil || m.Route == nil || m.Route.Name != "beta" || len(m.Params) != 1 || m.Params[0] != (swell.Pair{Name: "id", Value: "7"}) {
		t.Fatalf("%+v, %v", m, err)
	}
	if len(m.Passed) != 1 || !strings.Contains(m.Passed[0].Why, "method POST") || len(m.Behind) != 1 || m.Behind[0] != "all" {
		t.Errorf("%+v", m)
	}
	if m, err = b.plane.Match("GET", "/a/../b", nil); err != nil || m.Status != 400 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestNotReadyWithoutASnapshot(t *testing.T) {
	p := New(Options{Hub: telemetry.New(telemetry.Options{})})
	if p.Ready() || p.Version() != 0 {
		t.Error("ready without a snapshot")
	}
	x := fakeExchange("GET", "/")
	(&front{plane: p}).handleGateway(x)
	if x.Response.Status != 503 {
		t.Errorf("status %d", x.Response.Status)
	}
	p.done(x, nil)
}

func TestQuiet(t *testing.T) {
	b := newBed(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-release
		}
	})
	v := newUpstream(t, nil)
	b.set(one(to("s", u.addr)))
	id := "s-" + u.addr
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.plane.Quiet(ctx, "unknown"); err != nil {
		t.Error(err)
	}
	c := client(t)
	answered := make(chan int, 1)
	go func() {
		r, err := c.Get("http://" + b.addr + "/slow")
		if err != nil {
			answered <- 0
			return
		}
		r.Body.Close()
		answered <- r.StatusCode
	}()
	<-arrived
	quiet := make(chan error, 1)
	go func() { quiet <- b.plane.Quiet(ctx, id) }()
	b.set(one(to("s", v.addr)))
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if err := b.plane.Quiet(short, id); err == nil {
		t.Error("quiet while a request is there")
	}
	select {
	case err := <-quiet:
		t.Fatalf("quiet while a request is there: %v", err)
	default:
	}
	close(release)
	if err := <-quiet; err != nil {
		t.Error(err)
	}
	if s := <-answered; s != 200 {
		t.Errorf("the request in flight got %d", s)
	}
}
