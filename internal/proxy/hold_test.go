package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"swell"
)

// A thousand requests wait for the first instance: all succeed, in order of arrival.
func TestAThousandWaitInOrder(t *testing.T) {
	const n = 1000
	b := newBed(t)
	snap := one(to("s"))
	b.set(snap)
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

	// The instance has one goroutine that accepts and reads: the order in which it
	// sees connections is the order in which they were made.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []int
	most, now := 0, 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			first := make(chan struct{})
			wg.Go(func() {
				defer c.Close()
				for k := 0; ; k++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						if k == 0 {
							close(first)
						}
						return
					}
					i, _ := strconv.Atoi(r.URL.Path[1:])
					mu.Lock()
					order = append(order, i)
					now++
					most = max(most, now)
					mu.Unlock()
					if k == 0 {
						close(first)
					}
					time.Sleep(2 * time.Millisecond)
					mu.Lock()
					now--
					mu.Unlock()
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			<-first
		}
	})
	defer wg.Wait()
	defer l.Close()
	start := time.Now()
	snap = one(to("s", l.Addr().String()))
	b.set(snap)
	for i, c := range conns {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("request %d: %v, %v", i, r, err)
		}
		io.Copy(io.Discard, r.Body)
		if i == 0 {
			t.Logf("the first answer came %v after the instance", time.Since(start))
		}
	}
	t.Logf("all after %v, at most %d at a time", time.Since(start), most)
	mu.Lock()
	defer mu.Unlock()
	if len(order) != n {
		t.Errorf("the instance got %d requests", len(order))
	}
	if !slices.IsSorted(order) {
		// A reader may be overtaken between its connection and the list of this test,
		// by no more than those that are at the instance at once.
		far := 0
		for i, v := range order {
			far = max(far, i-v, v-i)
		}
		if far > 8 {
			t.Errorf("a request came %d places from its own", far)
		}
	}
	if most > admitsInFlight {
		t.Errorf("%d requests at the instance at a time", most)
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
