package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell"
)

// load sends requests from n clients until stop is closed, and counts.
type load struct {
	ok, failed atomic.Int64
	mu         sync.Mutex
	reasons    map[string]int
	wg         sync.WaitGroup
}

func (l *load) run(t *testing.T, n int, stop chan struct{}, ask func(c *http.Client, i int) (*http.Response, error)) {
	l.reasons = map[string]int{}
	for range n {
		c := client(t)
		l.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r, err := ask(c, i)
				why := ""
				if err != nil {
					why = err.Error()
				} else {
					text, err := io.ReadAll(r.Body)
					r.Body.Close()
					if err != nil {
						why = "body: " + err.Error()
					} else if r.StatusCode != 200 {
						why = fmt.Sprintf("%d %s", r.StatusCode, text)
					}
				}
				if why == "" {
					l.ok.Add(1)
					continue
				}
				l.failed.Add(1)
				l.mu.Lock()
				l.reasons[why]++
				l.mu.Unlock()
			}
		})
	}
}

func (l *load) verdict(t *testing.T) {
	t.Helper()
	l.wg.Wait()
	if l.failed.Load() > 0 || l.ok.Load() == 0 {
		t.Errorf("%d requests succeeded, %d failed: %v", l.ok.Load(), l.failed.Load(), l.reasons)
	}
	t.Logf("%d requests", l.ok.Load())
}

// Instances die under load, one after another, and others take their place: no GET
// fails, and the data plane finds out by itself before any snapshot tells it.
func TestKilledInstancesFailNoGet(t *testing.T) {
	b := newBed(t)
	handle := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		io.WriteString(w, "ok")
	}
	live := []*upstream{newUpstream(t, handle), newUpstream(t, handle), newUpstream(t, handle)}
	publish := func() {
		var addrs []string
		for _, u := range live {
			addrs = append(addrs, u.addr)
		}
		b.set(one(to("s", addrs...)))
	}
	publish()
	var l load
	stop := make(chan struct{})
	l.run(t, 8, stop, func(c *http.Client, i int) (*http.Response, error) { return c.Get("http://" + b.addr + "/") })
	for i := range 15 {
		victim := i % 3
		live[victim].kill()
		time.Sleep(40 * time.Millisecond) // the data plane is on its own
		live[victim] = newUpstream(t, handle)
		publish()
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	l.verdict(t)
}

// A snapshot every 50 ms with other endpoints, routes and edges: keep-alive clients
// and a switched protocol notice nothing.
func TestReloadsUnderLoadAreNoticedByNobody(t *testing.T) {
	b := newBed(t)
	ups := []*upstream{newUpstream(t, nil), newUpstream(t, nil), newUpstream(t, nil), newUpstream(t, nil)}
	echo := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, rw)
	})
	edge := swell.Edge{Caller: "web", Callee: "s"}
	at, err := b.book.Address(edge)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := func(i int) *swell.Snapshot {
		s := one(to("s", ups[i%4].addr, ups[(i+1)%4].addr))
		s.Upstreams[0].Balance.Name = []string{"p2c", "round-robin", "least-connections", "ip-hash"}[i%4]
		s.Upstreams = append(s.Upstreams, to("tunnel", echo.addr))
		s.Gateway.Routes = append(s.Gateway.Routes, swell.Route{Name: "t", Match: swell.Match{Path: "/tunnel"}, To: []swell.Target{{Service: "tunnel", Weight: 1}}})
		if i%3 == 0 {
			s.Gateway.Routes = append(s.Gateway.Routes, swell.Route{Name: fmt.Sprint("r", i), Match: swell.Match{Path: fmt.Sprint("/r", i)}, To: []swell.Target{{Service: "s", Weight: 1}}})
			s.Upstreams[0].Use = []swell.Use{{Name: "timeout", Options: []byte(`{"request":"20s"}`)}}
		}
		s.Edges = []swell.EdgeAddr{{Edge: edge, Addr: at}}
		return s
	}
	b.set(snapshot(0))

	tunnel, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	tunnel.SetDeadline(time.Now().Add(2 * patience))
	fmt.Fprintf(tunnel, "GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(tunnel)
	if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 101 {
		t.Fatalf("upgrade: %v, %v", r, err)
	}

	var l load
	stop := make(chan struct{})
	l.run(t, 6, stop, func(c *http.Client, i int) (*http.Response, error) {
		switch i % 3 {
		case 0:
			return c.Post("http://"+b.addr+"/", "text/plain", strings.NewReader("data"))
		case 1:
			return c.Get("http://" + at + "/")
		}
		return c.Get("http://" + b.addr + "/")
	})
	for i := range 40 {
		b.offer(snapshot(i + 1))
		line := fmt.Sprintf("line %d\n", i)
		io.WriteString(tunnel, line)
		if got, err := in.ReadString('\n'); err != nil || got != line {
			t.Fatalf("the tunnel gave %q, %v", got, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	l.verdict(t)
	select {
	case err := <-b.feed.refused:
		t.Error(err)
	default:
	}
}

// A data plane that is told to end lets what is in flight end.
func TestDrain(t *testing.T) {
	b := newBed(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		io.WriteString(w, "late")
	})
	b.set(one(to("s", u.addr)))
	got := make(chan string, 1)
	go func() {
		r, err := client(t).Get("http://" + b.addr + "/")
		if err != nil {
			got <- err.Error()
			return
		}
		p, _ := io.ReadAll(r.Body)
		r.Body.Close()
		got <- string(p)
	}()
	<-arrived
	ended := make(chan struct{})
	go func() { b.end(); close(ended) }()
	b.wait("nobody listens", func() bool {
		c, err := net.Dial("tcp", b.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-ended:
		t.Error("ended with a request in flight")
	default:
	}
	close(release)
	if s := <-got; s != "late" {
		t.Errorf("the request in flight got %q", s)
	}
	<-ended
}
