package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"swell"
)

func (b *bed) endpoint(service, addr string) *endpoint {
	t := b.plane.table.Load()
	s := t.services[service].service
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		if e.spec.Addr == addr {
			return e
		}
	}
	b.t.Fatalf("no endpoint at %s", addr)
	return nil
}

func TestARefusingEndpointIsOutAndInAgain(t *testing.T) {
	b := newBed(t)
	u, v := newUpstream(t, nil), newUpstream(t, nil)
	s := one(to("s", u.addr, v.addr))
	s.Upstreams[0].Balance.Name = "round-robin"
	b.set(s)
	c := client(t)
	u.kill()
	for range 4 {
		if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 200 {
			t.Errorf("status %d", code)
		}
	}
	e := b.endpoint("s", u.addr)
	if !e.Out() {
		t.Error("a refusing endpoint is in")
	}
	again := upstreamAt(t, u.addr, nil)
	b.wait("it is in again", func() bool { return !e.Out() })
	for range 4 {
		get(t, c, "http://"+b.addr+"/")
	}
	if again.hits.Load() == 0 {
		t.Error("it is in and gets nothing")
	}
}

func TestAFailingEndpointIsOut(t *testing.T) {
	b := newBed(t)
	var bad atomic.Bool
	bad.Store(true)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if bad.Load() {
			w.WriteHeader(500)
		}
	})
	v, w := newUpstream(t, nil), newUpstream(t, nil)
	s := one(to("s", u.addr, v.addr, w.addr))
	s.Upstreams[0].Balance.Name = "round-robin"
	b.set(s)
	c := client(t)
	e := b.endpoint("s", u.addr)
	for i := 0; !e.Out(); i++ {
		if i > 200 {
			t.Fatal("an endpoint that always fails stays in")
		}
		get(t, c, "http://"+b.addr+"/")
	}
	before := u.hits.Load()
	for range 10 {
		if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 200 {
			t.Errorf("status %d", code)
		}
	}
	if u.hits.Load() != before && e.Out() {
		t.Error("it is out and gets requests")
	}
	bad.Store(false)
	b.wait("it is in again", func() bool { return !e.Out() })
}

func TestTheLastOneThatFailsStays(t *testing.T) {
	b := newBed(t)
	fail := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }
	u, v := newUpstream(t, fail), newUpstream(t, fail)
	b.set(one(to("s", u.addr, v.addr)))
	c := client(t)
	for range 60 {
		if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 500 {
			t.Fatalf("status %d: all fail alike, so none is to be taken out", code)
		}
	}
	if b.endpoint("s", u.addr).Out() && b.endpoint("s", v.addr).Out() {
		t.Error("all are out")
	}
}

func TestFailingOnesAreTakenInWhenTheRestRefuses(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	v, w := newUpstream(t, nil), newUpstream(t, nil)
	s := one(to("s", u.addr, v.addr, w.addr))
	s.Upstreams[0].Balance.Name = "round-robin"
	b.set(s)
	c := client(t)
	e := b.endpoint("s", u.addr)
	for i := 0; !e.Out() && i < 200; i++ {
		get(t, c, "http://"+b.addr+"/")
	}
	v.kill()
	w.kill()
	if code, _, _ := get(t, c, "http://"+b.addr+"/"); code != 500 {
		t.Errorf("status %d, want the bad answer rather than none", code)
	}
}

func TestActiveChecks(t *testing.T) {
	b := newBed(t)
	var sick atomic.Bool
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && sick.Load() {
			w.WriteHeader(503)
		}
		io.WriteString(w, "x")
	})
	v := newUpstream(t, nil)
	s := one(to("s", u.addr, v.addr))
	for i := range s.Upstreams[0].Endpoints {
		s.Upstreams[0].Endpoints[i].Revision = "" // Swell doesn't run them
	}
	s.Upstreams[0].Health = swell.Health{Kind: "http", Path: "/healthz", Interval: 10 * time.Millisecond, Timeout: patience, Failures: 2}
	b.set(s)
	e := b.endpoint("s", u.addr)
	sick.Store(true)
	b.wait("the sick one is out", func() bool { return e.Out() })
	sick.Store(false)
	b.wait("it is in again", func() bool { return !e.Out() })
}
