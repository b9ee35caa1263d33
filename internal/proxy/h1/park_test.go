package h1

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swell/internal/exchange"
)

// parked counts the parked connections of a rig's server.
func parkedConns(d *door) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		if c.parked.Load() {
			n++
		}
	}
	return n
}

// TestParking parks connections, and has them served on, closed by their clients, by
// the sweep and by draining.
func TestParking(t *testing.T) {
	t.Parallel()
	if !sockets {
		t.Skip("there are no sockets to wait for")
	}
	var d atomic.Pointer[door]
	r := newRig(t, origin(t, okAll), func(r *rig, _ *PoolOptions) {
		handle := r.server.Handle
		r.server.Handle = func(x *exchange.Exchange) { d.Store(x.Codec.(*conn).door); handle(x) }
	})
	const n = 40
	var all []*client
	for range n {
		c := dial(t, r.addr)
		c.send(get)
		if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		all = append(all, c)
	}
	wait := func(want int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); parkedConns(d.Load()) != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections are parked, want %d", parkedConns(d.Load()), want)
			}
		}
	}
	wait(n)
	if g := d.Load().size(); g != n {
		t.Errorf("%d connections", g)
	}
	var wg sync.WaitGroup
	for i, c := range all[:n/2] { // in one piece, and in two
		wg.Go(func() {
			for j := range 3 {
				if (i+j)%2 == 0 {
					_, _ = io.WriteString(c, get[:9])
					time.Sleep(time.Millisecond)
					_, _ = io.WriteString(c, get[9:])
				} else {
					_, _ = io.WriteString(c, get)
				}
				if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 200 {
					t.Error(res, err)
				}
			}
		})
	}
	wg.Wait()
	wait(n) // again
	for _, c := range all[:n/4] {
		_ = c.Close()
	}
	wait(n - n/4)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	for _, c := range all[n/4:] {
		c.closed()
	}
}

// TestParkingLosesNothing sends requests at the very moments when the sweep parks.
func TestParkingLosesNothing(t *testing.T) {
	t.Parallel()
	if !sockets {
		t.Skip("there are no sockets to wait for")
	}
	r := newRig(t, origin(t, okAll))
	var wg sync.WaitGroup
	for i := range 48 {
		wg.Go(func() {
			nc, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
			c := newClient(t, nc)
			for j := range 2 {
				if _, err := io.WriteString(c, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", j)); err != nil {
					t.Error(err)
				}
				if res, _, err := c.reply("POST"); err != nil || res.StatusCode != 200 {
					t.Errorf("connection %d, request %d: %v, %v", i, j, res, err)
					return
				}
				time.Sleep(parkAfter - 300*time.Millisecond + time.Duration(i)*30*time.Millisecond)
			}
		})
	}
	wg.Wait()
}
