package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell"
)

// wire records the requests that the data plane writes, in order.
type wire struct {
	mu    sync.Mutex
	order []int
}

func (w *wire) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wired{c, w}, nil
}

type wired struct {
	net.Conn
	wire *wire
}

func (c *wired) Write(p []byte) (int, error) {
	var i int
	if _, err := fmt.Sscanf(string(p), "GET /%d ", &i); err == nil {
		c.wire.mu.Lock()
		c.wire.order = append(c.wire.order, i)
		c.wire.mu.Unlock()
	}
	return c.Conn.Write(p)
}

// A thousand requests wait for the first instance: all succeed, and go there in
// order of arrival.
func TestAThousandWaitInOrder(t *testing.T) {
	const n = 1000
	var out wire
	b := newBed(t, func(o *Options) { o.Dial = out.dial })
	b.set(one(to("s")))
	wait := b.hub.Wait("s")

	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range n {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(2 * patience))
		conns = append(conns, c)
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		b.wait("it waits", func() bool { return wait.Waiting() == i+1 })
	}

	var now, most, answered atomic.Int64 // most: at a time, beyond those answered before
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		k := now.Add(1) - answered.Load()
		for m := most.Load(); k > m && !most.CompareAndSwap(m, k); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		answered.Add(1)
		now.Add(-1)
		io.WriteString(w, r.URL.Path)
	})
	start := time.Now()
	b.set(one(to("s", u.addr)))
	for i, c := range conns {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("request %d: %v, %v", i, r, err)
		}
		if p, _ := io.ReadAll(r.Body); string(p) != fmt.Sprintf("/%d", i) {
			t.Fatalf("request %d got the answer to %s", i, p)
		}
		if i == 0 {
			t.Logf("the first answer came %v after the instance", time.Since(start))
		}
	}
	t.Logf("all after %v, at most %d more at a time than answered", time.Since(start), most.Load())
	if len(out.order) != n || !slices.IsSorted(out.order) {
		t.Errorf("%d requests went out, in the order %v", len(out.order), out.order)
	}
	if most.Load() > admitsInFlight {
		t.Errorf("%d more requests at the instance at a time than it had answered", most.Load())
	}
	if wait.Waiting() != 0 {
		t.Errorf("%d still wait", wait.Waiting())
	}
}

func TestWaitingEnds(t *testing.T) {
	b := newBed(t)
	u := to("s")
	u.Hold = swell.Hold{Max: 2, Timeout: patience}
	v := to("short")
	v.Hold = swell.Hold{Max: 2, Timeout: 30 * time.Millisecond}
	w := to("deadline")
	w.Use = []swell.Use{{Name: "timeout", Options: []byte(`{"request":"30ms"}`)}}
	snap := one(u)
	snap.Upstreams = append(snap.Upstreams, v, w)
	for _, n := range []string{"short", "deadline"} {
		snap.Gateway.Routes = append(snap.Gateway.Routes, swell.Route{Name: n, Match: swell.Match{Path: "/" + n}, To: []swell.Target{{Service: n, Weight: 1}}})
	}
	b.set(snap)
	wait := b.hub.Wait("s")
	c := client(t)
	if code, _, h := get(t, c, "http://"+b.addr+"/short"); code != 504 || h.Get("X-Swell-Reason") != "short; no-endpoint" {
		t.Errorf("%d %v", code, h)
	}
	if code, _, h := get(t, c, "http://"+b.addr+"/deadline"); code != 504 || h.Get("X-Swell-Reason") != "deadline; timeout" {
		t.Errorf("%d %v", code, h)
	}

	var conns [2]net.Conn
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", b.addr); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
		fmt.Fprint(conns[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		b.wait("it waits", func() bool { return wait.Waiting() == i+1 })
	}
	if code, _, h := get(t, c, "http://"+b.addr+"/"); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("the third of two: %d %v", code, h)
	}
	// A client that leaves makes room at once.
	conns[0].Close()
	b.wait("its place is free", func() bool { return wait.Waiting() == 1 })
	// A service that goes away sends those who wait for it away.
	gone := one(to("other"))
	b.set(gone)
	conns[1].SetDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(bufio.NewReader(conns[1]), nil)
	if err != nil || r.StatusCode != 503 {
		t.Errorf("%v, %v", r, err)
	}
	b.wait("nobody waits", func() bool { return wait.Waiting() == 0 })
}

// Requests whose answers take long don't keep those behind them waiting for ever.
func TestSlowAnswersDoNotBlockTheRoom(t *testing.T) {
	b := newBed(t)
	b.set(one(to("s")))
	wait := b.hub.Wait("s")
	const n = 3 * admitsInFlight
	var wg sync.WaitGroup
	release := make(chan struct{})
	for range n {
		wg.Go(func() {
			r, err := client(t).Get("http://" + b.addr + "/")
			if err != nil {
				t.Error(err)
				return
			}
			r.Body.Close()
		})
	}
	b.wait("all wait", func() bool { return wait.Waiting() == n })
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	b.set(one(to("s", u.addr)))
	b.wait("all are there", func() bool { return u.hits.Load() == n })
	close(release)
	wg.Wait()
}

// An instance that dies and comes back at the same place: requests wait meanwhile,
// and the data plane finds it by itself.
func TestTheOnlyInstanceComesBack(t *testing.T) {
	b := newBed(t)
	u := newUpstream(t, nil)
	b.set(one(to("s", u.addr)))
	c := client(t)
	get(t, c, "http://"+b.addr+"/")
	u.kill()
	got := make(chan int, 4)
	for range 4 {
		go func() {
			r, err := c.Post("http://"+b.addr+"/", "text/plain", nil)
			if err != nil {
				got <- 0
				return
			}
			r.Body.Close()
			got <- r.StatusCode
		}()
	}
	wait := b.hub.Wait("s")
	b.wait("they wait", func() bool { return wait.Waiting() == 4 })
	upstreamAt(t, u.addr, nil)
	for range 4 {
		if s := <-got; s != 200 {
			t.Errorf("status %d", s)
		}
	}
}

// More clients than the first bound keep asking: the room must not stay in their
// way once the instance answers.
func TestTheRoomEmptiesUnderLoad(t *testing.T) {
	b := newBed(t)
	b.set(one(to("s")))
	wait := b.hub.Wait("s")
	var l load
	stop := make(chan struct{})
	const n = 3 * admitsInFlight
	l.run(t, n, stop, func(c *http.Client, i int) (*http.Response, error) { return c.Get("http://" + b.addr + "/") })
	b.wait("all wait", func() bool { return wait.Waiting() == n })
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { time.Sleep(20 * time.Millisecond) })
	b.set(one(to("s", u.addr)))
	s := b.plane.table.Load().services["s"].service
	b.wait("nobody waits, while all go on", func() bool { return u.hits.Load() > 2*n && s.room.waiting.Load() == 0 })
	close(stop)
	l.verdict(t)
}
