package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell"
)

func use(name, options string) swell.Use {
	return swell.Use{Name: name, Options: json.RawMessage(options)}
}

// tail asks n times from each of so many clients, and returns what it took, sorted.
func tail(t testing.TB, addr string, clients, n int) []time.Duration {
	var mu sync.Mutex
	var out []time.Duration
	var wg sync.WaitGroup
	for range clients {
		c := client(t)
		wg.Go(func() {
			for range n {
				begun := time.Now()
				r, err := c.Get("http://" + addr + "/")
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || r.StatusCode != 200 || string(text) != "fine" {
					t.Errorf("%d %q, %v", r.StatusCode, text, err)
				}
				mu.Lock()
				out = append(out, time.Since(begun))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(out)
	return out
}

// oneSlow makes three instances of which one takes that long.
func oneSlow(t testing.TB, slow time.Duration) (addrs []string, cut *atomic.Int64) {
	cut = new(atomic.Int64)
	for i := range 3 {
		u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if i == 0 {
				select {
				case <-r.Context().Done():
					cut.Add(1)
					return
				case <-time.After(slow):
				}
			}
			io.WriteString(w, "fine")
		})
		addrs = append(addrs, u.addr)
	}
	return addrs, cut
}

func TestHedgingCutsTheTailOfASlowInstance(t *testing.T) {
	const slow = 2 * time.Second
	addrs, cut := oneSlow(t, slow)
	b := newBed(t)
	u := to("s", addrs...)
	u.Balance = swell.Use{Name: "round-robin"}
	b.set(one(u))
	if p := tail(t, b.addr, 3, 3); p[len(p)-1] < slow {
		t.Errorf("without hedging the slowest took %v: the instance isn't slow", p[len(p)-1])
	}
	u.Use = []swell.Use{use("hedge", `{"after":"20ms","budget":"100%"}`)}
	b.set(one(u))
	p := tail(t, b.addr, 6, 30)
	t.Logf("hedged: median %v, p90 %v, p99 %v, most %v; %d attempts were cut", p[len(p)/2], p[len(p)*9/10], p[len(p)*99/100], p[len(p)-1], cut.Load())
	if got := p[len(p)*9/10]; got >= slow {
		t.Errorf("with hedging one in ten takes %v", got)
	}
	if b.hub.Count("swell_hedges_won_total", "service", "s", "route", "").Value() == 0 {
		t.Error("no hedge won")
	}
	b.wait("the slow attempts are cut", func() bool { return cut.Load() > 0 })
	b.idle("s")
}

// An instance whose host is gone answers no connection attempt: neither the answer nor
// the next request waits for the attempt that was cut.
func TestHedgingCutsADialThatHangs(t *testing.T) {
	u := newUpstream(t, nil)
	const lost = "192.0.2.1:80"
	var hung atomic.Int64
	b := newBed(t, func(o *Options) {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if addr != lost {
				return d.DialContext(ctx, "tcp", addr)
			}
			hung.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		o.Pool.DialTime = patience
	})
	up := to("s", u.addr, lost)
	up.Balance = swell.Use{Name: "round-robin"}
	up.Use = []swell.Use{use("hedge", `{"after":"5ms","budget":"100%"}`)}
	b.set(one(up))
	c := client(t)
	begun := time.Now()
	for range 8 {
		if code, text, _ := get(t, c, "http://"+b.addr+"/"); code != 200 || text != u.addr {
			t.Errorf("%d %q", code, text)
		}
	}
	if hung.Load() == 0 || time.Since(begun) >= patience {
		t.Errorf("%d dials hung; it took %v", hung.Load(), time.Since(begun))
	}
	b.idle("s")
}

// idle waits until nothing is in flight to a service's endpoints.
func (b *bed) idle(service string) {
	b.t.Helper()
	b.wait("nothing is in flight to "+service, func() bool {
		s := b.plane.table.Load().services[service].service
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.endpoints {
			if e.Inflight() != 0 {
				return false
			}
		}
		return true
	})
}

// Clients come and leave while their requests are hedged, with bodies and without;
// instances are slow, fail and break off. Nothing is lost, mixed up or left behind.
func TestHedgingUnderCancellation(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) { hedgeAndCancel(t, swell.HTTP) })
	t.Run("HTTP/2", func(t *testing.T) { hedgeAndCancel(t, swell.HTTP2) })
}

// overHTTP2 is what speaks HTTP/2 in the clear.
var overHTTP2 = func() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}()

// hedgeAndCancel has clients and services of a protocol.
func hedgeAndCancel(t *testing.T, protocol swell.Protocol) {
	var mixed atomic.Int64
	var posts sync.Map
	var addrs []string
	for i := range 3 {
		handle := func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			if r.Method == "POST" {
				if _, twice := posts.LoadOrStore(r.URL.Path, true); twice {
					mixed.Add(1)
				}
			}
			switch n := rand.IntN(10); {
			case n < 3+i:
				select {
				case <-r.Context().Done():
				case <-time.After(time.Duration(rand.IntN(30)) * time.Millisecond):
				}
			case n == 9 && r.Method != "POST":
				w.WriteHeader(503)
				return
			}
			w.Header().Set("X-Path", r.URL.Path)
			w.Write(body)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(handle)}
		if protocol == swell.HTTP2 {
			srv.Protocols = overHTTP2
		}
		done := make(chan struct{})
		go func() { defer close(done); srv.Serve(l) }()
		t.Cleanup(func() { srv.Close(); <-done })
		addrs = append(addrs, l.Addr().String())
	}
	b := newBed(t)
	u := to("s", addrs...)
	u.Protocol = protocol
	u.Use = []swell.Use{
		use("concurrency", `{"limit":64,"queue":64,"wait":"20s"}`),
		use("hedge", `{"after":"2ms","budget":"100%","attempts":3}`),
		use("retry", `{"on":["connect","reset",503],"budget":"100%","attempts":5,"backoff":"1ms"}`),
	}
	u.Outliers.Consecutive = 1 << 30
	b.set(one(u))
	tail1 := client(t)
	get(t, tail1, "http://"+b.addr+"/warm")
	before := runtime.NumGoroutine()
	var served, left atomic.Int64
	var wg sync.WaitGroup
	for c := range 8 {
		cl := client(t)
		if protocol == swell.HTTP2 {
			cl.Transport.(*http.Transport).Protocols = overHTTP2
		}
		wg.Go(func() {
			defer cl.CloseIdleConnections()
			for i := range 60 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(3) == 0 {
					stop := time.AfterFunc(time.Duration(rand.IntN(8))*time.Millisecond, cancel)
					defer stop.Stop()
				}
				method := []string{"GET", "PUT", "POST"}[rand.IntN(3)]
				path, body := fmt.Sprintf("/%d/%d", c, i), ""
				if method != "GET" {
					body = strings.Repeat(path, 1+rand.IntN(300))
				}
				rq, _ := http.NewRequestWithContext(ctx, method, "http://"+b.addr+path, strings.NewReader(body))
				r, err := cl.Do(rq)
				if err != nil {
					left.Add(1)
					cancel()
					continue
				}
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				switch {
				case err != nil:
					left.Add(1)
				case r.StatusCode == 200 && (string(text) != body || r.Header.Get("X-Path") != path):
					mixed.Add(1)
				case r.StatusCode == 200:
					served.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	t.Logf("%d served, %d left; %d hedges, %d won", served.Load(), left.Load(),
		b.hub.Count("swell_hedges_total", "service", "s", "route", "").Value(), b.hub.Count("swell_hedges_won_total", "service", "s", "route", "").Value())
	if mixed.Load() > 0 || served.Load() == 0 {
		t.Errorf("%d answers were mixed up, or POSTs received twice; %d were served", mixed.Load(), served.Load())
	}
	b.idle("s")
	tail1.CloseIdleConnections()
	b.wait("no goroutine is left behind", func() bool {
		b.plane.table.Load().services["s"].service.transport.Load().Keep(nil)
		return runtime.NumGoroutine() <= before+16
	})
}

func TestAnotherServiceStandsIn(t *testing.T) {
	broken := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(500)
	})
	var seen atomic.Value
	well := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		seen.Store(r.Method + " " + string(p))
		io.WriteString(w, "instead")
	})
	b := newBed(t)
	a, c := to("a", broken.addr), to("b", well.addr)
	a.Use = []swell.Use{use("fallback", `{"service":"b"}`)}
	s := one(a)
	s.Upstreams = append(s.Upstreams, c)
	b.set(s)
	cl := client(t)
	if code, text, h := get(t, cl, "http://"+b.addr+"/"); code != 200 || text != "instead" || h.Get("X-Swell-Fallback") != "service" {
		t.Errorf("%d %q %v", code, text, h)
	}
	rq, _ := http.NewRequest("PUT", "http://"+b.addr+"/", strings.NewReader("data"))
	r, err := cl.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 || seen.Load() != "PUT data" {
		t.Errorf("%d, it got %v", r.StatusCode, seen.Load())
	}
	hits := well.hits.Load()
	if r, err := cl.Post("http://"+b.addr+"/", "text/plain", strings.NewReader("data")); err != nil || r.StatusCode != 500 || well.hits.Load() != hits {
		t.Errorf("a POST that was received went to the other service: %v", err)
	} else {
		r.Body.Close()
	}
	b.idle("a")
	b.idle("b")
	if n := b.hub.Count("swell_fallbacks_total", "service", "a", "route", "", "kind", "service").Value(); n != 2 {
		t.Errorf("%d fallbacks are counted", n)
	}
}

// Two services that stand in for each other, and one for itself: it comes to an end.
func TestServicesThatStandInForEachOther(t *testing.T) {
	bad := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }
	ua, ub := newUpstream(t, bad), newUpstream(t, bad)
	b := newBed(t)
	a, c := to("a", ua.addr), to("b", ub.addr)
	a.Use = []swell.Use{use("fallback", `{"service":"b"}`)}
	c.Use = []swell.Use{use("fallback", `{"service":"a","status":418,"body":"tired"}`)}
	s := one(a)
	s.Upstreams = append(s.Upstreams, c)
	b.set(s)
	code, text, _ := get(t, client(t), "http://"+b.addr+"/")
	if code != 418 || text != "tired" || ua.hits.Load() != 2 || ub.hits.Load() != 2 {
		t.Errorf("%d %q; a was asked %d times, b %d times", code, text, ua.hits.Load(), ub.hits.Load())
	}
	b.idle("a")
	b.idle("b")
}

func TestMirroring(t *testing.T) {
	var first, second sync.Map
	main := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		first.Store(r.RequestURI, string(p))
		if r.Header.Get("X-Swell-Mirror") != "" {
			t.Error("the request itself is marked as a copy")
		}
		io.WriteString(w, "primary")
	})
	release := make(chan struct{})
	copies := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Swell-Mirror") == "1" {
			second.Store(r.RequestURI, r.Method+" "+string(p))
		}
		<-release // it delays nobody
		w.WriteHeader(500)
	})
	b := newBed(t)
	a, c := to("a", main.addr), to("b", copies.addr)
	a.Use = []swell.Use{use("mirror", `{"to":"b","body":"1Ki"}`)}
	c.Use = []swell.Use{use("mirror", `{"to":"a"}`), use("retry", `{"attempts":1}`)} // in a circle
	s := one(a)
	s.Upstreams = append(s.Upstreams, c)
	b.set(s)
	cl := client(t)
	for i := range 20 {
		method, body := "GET", ""
		if i%2 == 1 {
			method, body = "POST", fmt.Sprint("body ", i)
		}
		if i == 19 {
			body = strings.Repeat("x", 2000)
		}
		rq, _ := http.NewRequest(method, fmt.Sprintf("http://%s/%d?q", b.addr, i), strings.NewReader(body))
		if i == 17 {
			rq.ContentLength = -1
		}
		r, err := cl.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(text) != "primary" {
			t.Errorf("%d %q", r.StatusCode, text)
		}
	}
	b.wait("all copies have come", func() bool {
		n := 0
		second.Range(func(any, any) bool { n++; return true })
		return n == 19
	})
	for i := range 19 {
		want := "GET "
		if i%2 == 1 {
			want = fmt.Sprint("POST body ", i)
		}
		if got, _ := second.Load(fmt.Sprintf("/%d?q", i)); got != want {
			t.Errorf("the copy of %d is %v, want %q", i, got, want)
		}
	}
	close(release)
	b.idle("a")
	b.idle("b")
	if n := b.hub.Count("swell_mirrored_total", "service", "b", "outcome", "body").Value(); n != 1 {
		t.Errorf("%d copies were too large", n)
	}
}

// The plane ends while a copy hangs: it is cut.
func TestAHangingCopyDoesNotOutliveThePlane(t *testing.T) {
	main := newUpstream(t, nil)
	came := make(chan struct{}, 1)
	stuck := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-r.Context().Done()
	})
	b := newBed(t)
	a, c := to("a", main.addr), to("b", stuck.addr)
	a.Use = []swell.Use{use("mirror", `{"to":"b"}`)}
	s := one(a)
	s.Upstreams = append(s.Upstreams, c)
	b.set(s)
	cl := client(t)
	get(t, cl, "http://"+b.addr+"/")
	<-came
	cl.CloseIdleConnections()
	b.end()
}

func TestABodyOverItsLimit(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			io.WriteString(w, "all")
		}
	})
	b := newBed(t)
	up := to("s", u.addr)
	up.Use = []swell.Use{use("body-limit", `{"max":"64Ki"}`)}
	s := one(up)
	s.Gateway.Use = []swell.Use{use("body-limit", `{"max":"1Ki"}`)} // the service's own holds
	b.set(s)
	for _, x := range []struct {
		size    int
		chunked bool
		want    int
	}{{2 << 10, false, 200}, {64 << 10, true, 200}, {64<<10 + 1, false, 413}, {1 << 20, true, 413}} {
		hits := u.hits.Load()
		rq, _ := http.NewRequest("POST", "http://"+b.addr+"/", strings.NewReader(strings.Repeat("x", x.size)))
		if x.chunked {
			rq.ContentLength = -1
		}
		r, err := client(t).Do(rq)
		if err != nil {
			t.Errorf("%+v: %v", x, err)
			continue
		}
		r.Body.Close()
		if r.StatusCode != x.want {
			t.Errorf("%+v: %d", x, r.StatusCode)
		}
		if x.want == 413 && !x.chunked && u.hits.Load() != hits {
			t.Error("a body that announced itself as too large was forwarded")
		}
	}
	b.idle("s")
}

func TestABreakerInFrontOfAPlane(t *testing.T) {
	var bad atomic.Bool
	bad.Store(true)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if bad.Load() {
			w.WriteHeader(500)
		}
	})
	b := newBed(t)
	up := to("s", u.addr)
	up.Outliers.Consecutive = 1 << 30
	up.Use = []swell.Use{use("circuit-breaker", `{"requests":5,"open":"50ms","probes":1}`)}
	b.set(one(up))
	c := client(t)
	b.wait("it opens", func() bool {
		code, _, h := get(t, c, "http://"+b.addr+"/")
		return code == 503 && h.Get("X-Swell-Reason") == "s; circuit-open" && h.Get("Retry-After") == "1"
	})
	bad.Store(false)
	b.wait("it closes", func() bool { code, _, _ := get(t, c, "http://"+b.addr+"/"); return code == 200 })
	b.idle("s")
}

func TestAffinity(t *testing.T) {
	var addrs []string
	for range 3 {
		u := newUpstream(t, nil)
		addrs = append(addrs, u.addr)
	}
	b := newBed(t)
	up := to("s", addrs...)
	up.Balance = swell.Use{Name: "round-robin"}
	up.Use = []swell.Use{use("affinity", `{"cookie":"sticky"}`)}
	b.set(one(up))
	c := client(t)
	_, first, h := get(t, c, "http://"+b.addr+"/")
	cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	for range 10 {
		rq, _ := http.NewRequest("GET", "http://"+b.addr+"/", nil)
		rq.Header.Set("Cookie", "a=b; "+cookie)
		r, err := c.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(text) != first || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("it went to %s instead of %s, and got the cookie %q", text, first, r.Header.Get("Set-Cookie"))
		}
	}
}

// BenchmarkHedge is the tail with one slow instance of three, without hedging and with.
func BenchmarkHedge(b *testing.B) {
	for _, x := range []struct{ name, options string }{{"none", ""}, {"20ms", `{"after":"20ms","budget":"50%"}`}} {
		b.Run(x.name, func(b *testing.B) {
			addrs, _ := oneSlow(b, 200*time.Millisecond)
			bed := newBed(b)
			u := to("s", addrs...)
			u.Balance = swell.Use{Name: "round-robin"}
			if x.options != "" {
				u.Use = []swell.Use{use("hedge", x.options)}
			}
			bed.set(one(u))
			var p []time.Duration
			for b.Loop() {
				p = append(p, tail(b, bed.addr, 4, 25)...)
			}
			slices.Sort(p)
			b.ReportMetric(float64(p[len(p)/2])/1e6, "ms/p50")
			b.ReportMetric(float64(p[len(p)*99/100])/1e6, "ms/p99")
		})
	}
}
