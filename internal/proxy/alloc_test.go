//go:build !race

// The race detector allocates, and empties pools on purpose.

package proxy

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"

	"swell"
)

// constant is an instance that answers every request alike and allocates nothing.
func constant(t testing.TB) string { return constantAt(t, "127.0.0.1:0") }

func constantAt(t testing.TB, addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 8192)
				n := 0
				answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 55\r\n\r\n" + strings.Repeat("x", 55))
				for {
					k, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					n += k
					if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						n = 0
						c.Write(answer)
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

const askOne = "GET /api/catalog/items?page=2 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n"

// asker returns what makes one request through the gateway of a plane that is set
// up as most are, on one connection.
func asker(t testing.TB) (ask func()) {
	b := newBed(t)
	u := to("s", constant(t), constant(t), constant(t))
	u.Use = []swell.Use{{Name: "timeout", Options: json.RawMessage(`{"request":"20s"}`)}}
	s := one(u)
	prefix := "/"
	s.Gateway.Routes = append(s.Gateway.Routes, swell.Route{
		Name: "catalog", Match: swell.Match{Host: "shop.example", Path: "/api/catalog/**"}, To: []swell.Target{{Service: "s", Weight: 1}},
		Rewrite: swell.Rewrite{Prefix: &prefix},
	})
	b.set(s)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	buf, question := make([]byte, 4096), []byte(askOne)
	return func() {
		if _, err := c.Write(question); err != nil {
			t.Fatal(err)
		}
		n := 0
		for !bytes.HasSuffix(buf[:n], []byte("xxxxx")) {
			k, err := c.Read(buf[n:])
			if err != nil {
				t.Fatalf("after %q: %v", buf[:n], err)
			}
			n += k
		}
	}
}

// A request through the gateway, with a route, a rewrite, a deadline, retries
// armed, meters and trace context, allocates nothing in the steady state.
func TestARequestAllocatesNothing(t *testing.T) {
	ask := asker(t)
	for range 2000 { // connections, pools, meters
		ask()
	}
	if n := testing.AllocsPerRun(5000, ask); n >= 1 {
		t.Errorf("%v allocations for a request, want none", n)
	} else {
		t.Logf("%v allocations for a request", n)
	}
}

func BenchmarkGateway(b *testing.B) {
	ask := asker(b)
	for range 100 {
		ask()
	}
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}

// BenchmarkPlane is the data plane's own share of a request: all but the codec.
func BenchmarkPlane(b *testing.B) {
	bed := newBed(b)
	u := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	s := one(u)
	s.Gateway.Routes = append(s.Gateway.Routes, swell.Route{
		Name: "catalog", Match: swell.Match{Host: "shop.example", Path: "/api/catalog/**"}, To: []swell.Target{{Service: "s", Weight: 1}},
	})
	bed.set(s)
	p := bed.plane
	rt := p.table.Load()
	x := fakeExchange("GET", "/api/catalog/items?page=2")
	b.ReportAllocs()
	for b.Loop() {
		st := p.begin(x)
		st.mark(x, true)
		st.search.path.parse(x.Request.Path())
		r := rt.router.find(&x.Request, &st.search)
		to := r.target()
		st.to, st.meter = to.to, to.meter
		st.meter.Start(x.Start)
		sv := to.to.service
		st.pick.Now, st.pick.Client = x.Start, x.Peer.Addr()
		st.ep = sv.pick(&st.pick)
		st.ep.meter.Start(x.Start)
		st.ep.Observe(x.Start+1e6, 1e6, true)
		x.Response.Status = 200
		p.done(x, nil)
		x.Request.Header.Reset()
	}
}
