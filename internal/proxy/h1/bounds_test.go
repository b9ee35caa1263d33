package h1

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
)

func TestConnectionsOfOneAddress(t *testing.T) {
	told := make(chan string, 8)
	r := newRig(t, "", handled(func(x *exchange.Exchange) { x.Reply(200, "") }), func(r *rig, _ *PoolOptions) {
		r.server.Limits.PerAddress = 2
		r.server.Refused = func(_ netip.AddrPort, status int, slug Slug, _ string) { told <- fmt.Sprint(status, " ", slug) }
	})
	a, b := dial(t, r.addr), dial(t, r.addr)
	for _, c := range []*client{a, b} {
		c.send(get)
		c.want("GET", 200, "")
	}
	c := dial(t, r.addr)
	if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 503 || !res.Close {
		t.Errorf("the third was answered %v, %v", res, err)
	}
	c.closed()
	if s := <-told; s != "503 conns-per-address" {
		t.Error(s)
	}
	_ = a.Close()
	for end := time.Now().Add(10 * time.Second); ; { // until the server noticed
		c := dial(t, r.addr)
		c.send(get)
		if res, _, err := c.reply("GET"); err == nil && res.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("its place was not given back")
		}
	}
}

// TestSlowClients: one that stops sending its body is told so, one that stops taking
// its answer can't be; both are said to be refused.
func TestSlowClients(t *testing.T) {
	told := make(chan string, 8)
	slow := func(r *rig, _ *PoolOptions) {
		r.server.Limits.ReadTime, r.server.Limits.WriteTime = 100*time.Millisecond, 100*time.Millisecond
		r.server.Refused = func(_ netip.AddrPort, status int, slug Slug, _ string) { told <- fmt.Sprint(status, " ", slug) }
	}
	t.Run("body", func(t *testing.T) {
		r := newRig(t, origin(t, func(c *client) { _, _ = io.Copy(io.Discard, c.r) }), slow)
		c := dial(t, r.addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
		if res, _, err := c.reply("POST"); err != nil || res.StatusCode != 408 || !res.Close {
			t.Errorf("answered %v, %v", res, err)
		}
		if s := <-told; s != "408 slow-body" {
			t.Error(s)
		}
		c.closed()
	})
	t.Run("body that is read by a handler", func(t *testing.T) {
		r := newRig(t, "", handled(func(x *exchange.Exchange) {
			for {
				if _, err := x.Request.Body.Next(); err != nil {
					x.Reply(400, err.Error())
					return
				}
			}
		}), slow)
		c := dial(t, r.addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab")
		if res, _, err := c.reply("POST"); err != nil || res.StatusCode != 408 {
			t.Errorf("answered %v, %v", res, err)
		}
		if s := <-told; s != "408 slow-body" {
			t.Error(s)
		}
	})
	t.Run("reader", func(t *testing.T) {
		r := newRig(t, "", handled(func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length, x.Response.Body = 200, -1, &endless{}
		}), slow)
		c := dial(t, r.addr)
		c.send(get)
		if s := <-told; s != "0 slow-reader" {
			t.Error(s)
		}
	})
}

// endless is a body without an end.
type endless struct{ b [32 << 10]byte }

func (e *endless) Next() ([]byte, error) { return e.b[:], nil }
func (e *endless) Ready() bool           { return true }
func (e *endless) Close()                {}

func TestWhose(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := whose(netip.MustParseAddr(a)); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts as %s, want %s", a, got, want)
		}
	}
}

// A line's world: an upstream that answers each request after a second, and a pool
// of few connections.
func inLine(t *testing.T, conns, pending int, f func(w *world, p *Pool)) {
	virtual(t, func(c *client) {
		for c.head() != "" {
			time.Sleep(time.Second)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}, func(w *world) {
		p := NewPool(PoolOptions{Dial: w.back.Dial, Conns: conns, Pending: pending})
		defer p.Close()
		f(w, p)
	})
}

func ask(p *Pool, deadline time.Duration, l *exchange.Leash) error {
	x := &exchange.Exchange{Request: exchange.Request{Method: "GET", Target: []byte("/"), Host: []byte("x")}, Leash: l}
	if deadline > 0 {
		x.Deadline = time.Now().Add(deadline)
	}
	err := p.RoundTrip(x, "up")
	x.Response.Drop()
	return err
}

func TestLine(t *testing.T) {
	t.Run("the first come first", func(t *testing.T) {
		inLine(t, 2, 0, func(w *world, p *Pool) {
			var mu sync.Mutex
			var order []int
			var wg sync.WaitGroup
			at := time.Now()
			for i := range 8 {
				wg.Go(func() {
					if err := ask(p, 0, nil); err != nil {
						t.Error(err)
					}
					mu.Lock()
					order = append(order, i/2)
					mu.Unlock()
				})
				synctest.Wait()
				if n := p.size(); n > 2 {
					t.Errorf("%d connections", n)
				}
			}
			wg.Wait()
			if !slices.IsSorted(order) {
				t.Errorf("served in the order %v", order)
			}
			if d := time.Since(at); d != 4*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	})
	busy := func(t *testing.T, err error, is error) {
		t.Helper()
		var e *exchange.AttemptError
		if !errors.As(err, &e) || !errors.Is(err, is) || !e.Safe || e.Phase != exchange.PhaseDial {
			t.Errorf("it ended with %+v", err)
		}
	}
	t.Run("who finds it full, waits in vain or leaves", func(t *testing.T) {
		inLine(t, 1, 2, func(w *world, p *Pool) {
			var wg sync.WaitGroup
			var l exchange.Leash
			wg.Go(func() {
				if err := ask(p, 0, nil); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			wg.Go(func() { busy(t, ask(p, 500*time.Millisecond, nil), exchange.ErrBusy) })
			wg.Go(func() { busy(t, ask(p, 0, &l), exchange.ErrGone) })
			synctest.Wait()
			busy(t, ask(p, 0, nil), exchange.ErrBusy)
			time.Sleep(600 * time.Millisecond)
			l.Leave()
			wg.Wait()
			if err := ask(p, 0, nil); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("connections that can't be made or break make room", func(t *testing.T) {
		inLine(t, 1, 0, func(w *world, p *Pool) {
			_ = w.back.Close()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if err := ask(p, 0, nil); err == nil || errors.Is(err, exchange.ErrBusy) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	})
	t.Run("a storm leaves nothing behind", func(t *testing.T) {
		inLine(t, 3, 50, func(w *world, p *Pool) {
			var wg sync.WaitGroup
			for i := range 200 {
				l := new(exchange.Leash)
				wg.Go(func() {
					time.Sleep(time.Duration(i%17) * 100 * time.Millisecond)
					_ = ask(p, time.Duration(i%5)*700*time.Millisecond, l)
				})
				if i%7 == 0 {
					wg.Go(func() { time.Sleep(time.Duration(i%23) * 90 * time.Millisecond); l.Leave() })
				}
			}
			wg.Wait()
			time.Sleep(time.Minute) // until the idle ones are gone
			h := p.host("up")
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.line.conns != 0 || h.line.length != 0 || h.line.first != nil || p.size() != 0 {
				t.Errorf("%d of %d connections and %d in line are left", h.line.conns, p.size(), h.line.length)
			}
		})
	})
}

func TestIdleTimeout(t *testing.T) {
	pace := func(c *client) {
		for {
			h := c.head()
			if h == "" {
				return
			}
			if strings.HasPrefix(h, "GET /silent") {
				time.Sleep(time.Hour)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			for i := range 5 {
				time.Sleep(900 * time.Millisecond)
				if i == 3 && strings.HasPrefix(h, "GET /stops") {
					time.Sleep(time.Hour)
				}
				_, _ = io.WriteString(c, "!")
			}
		}
	}
	virtual(t, pace, func(w *world) {
		p := NewPool(PoolOptions{Dial: w.back.Dial})
		defer p.Close()
		for target, want := range map[string]string{"/": "5 <nil>", "/silent": "wait", "/stops": "3 body"} {
			x := &exchange.Exchange{Request: exchange.Request{Method: "GET", Target: []byte(target), Host: []byte("x")}, IdleTimeout: time.Second}
			got := ""
			err := p.RoundTrip(x, "up")
			var e *exchange.AttemptError
			if err == nil {
				n := 0
				for {
					var b []byte
					if b, err = x.Response.Body.Next(); err != nil {
						break
					}
					n += len(b)
				}
				got = fmt.Sprint(n, " ")
			}
			switch {
			case err == io.EOF:
				got += "<nil>"
			case errors.As(err, &e) && errors.Is(err, exchange.ErrTimeout):
				got += e.Phase.String()
			default:
				got += err.Error()
			}
			if got != want {
				t.Errorf("%s: %s, want %s", target, got, want)
			}
			x.Response.Drop()
		}
	})
}

// TestManyAddresses adds thousands and takes a few away; both must stay cheap, which
// the benchmark beside it measures.
func TestManyAddresses(t *testing.T) {
	p := NewPool(PoolOptions{})
	defer p.Close()
	var all []string
	for i := range 5000 {
		all = append(all, fmt.Sprintf("10.0.%d.%d:80", i/250, i%250))
		p.host(all[i])
	}
	first, last := p.host(all[0]), p.host(all[4999])
	p.Keep(all[1:])
	if p.host(all[4999]) != last || !first.drop || last.drop {
		t.Error("Keep kept the wrong ones")
	}
	if p.host(all[0]) == first {
		t.Error("what was dropped came back")
	}
}

func BenchmarkManyAddresses(b *testing.B) {
	var all []string
	for i := range 5000 {
		all = append(all, fmt.Sprintf("10.0.%d.%d:80", i/250, i%250))
	}
	b.Run("add 5000", func(b *testing.B) {
		for b.Loop() {
			p := NewPool(PoolOptions{})
			for _, a := range all {
				p.host(a)
			}
			p.Close()
		}
	})
	b.Run("keep all but one", func(b *testing.B) {
		p := NewPool(PoolOptions{})
		defer p.Close()
		for _, a := range all {
			p.host(a)
		}
		for b.Loop() {
			p.Keep(all[1:])
			p.host(all[0])
		}
	})
	b.Run("find", func(b *testing.B) {
		p := NewPool(PoolOptions{})
		defer p.Close()
		for _, a := range all {
			p.host(a)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.host(all[i%5000])
		}
	})
}
