package h1

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"swell/internal/exchange"
)

// rig is the least proxy: a server whose Handle is one RoundTrip.
type rig struct {
	t      testing.TB
	addr   string
	pool   *Pool
	server *Server
	stop   func() error // drains; returns Serve's error

	mu    sync.Mutex
	dones []error
}

type rigOption func(*rig, *PoolOptions)

// newRig starts a proxy to the upstream address on a loopback port.
func newRig(t testing.TB, upstream string, opts ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t}
	o := PoolOptions{}
	r.server = &Server{
		Log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		Done: func(_ *exchange.Exchange, err error) { r.mu.Lock(); r.dones = append(r.dones, err); r.mu.Unlock() },
	}
	r.server.Handle = func(x *exchange.Exchange) {
		if err := r.pool.RoundTrip(x, upstream); err != nil {
			x.Reply(exchange.Status(err), err.Error())
		}
	}
	r.server.Limits.HalfTime = 200 * time.Millisecond
	for _, f := range opts {
		f(r, &o)
	}
	r.pool = NewPool(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx, l) }()
	var once sync.Once
	var res error
	r.stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case res = <-ended:
			case <-time.After(40 * time.Second):
				t.Error("the server didn't end")
			}
			r.pool.Close()
		})
		return res
	}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// done returns the errors that Done was told of so far.
func (r *rig) done() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.dones...)
}

// dial connects a raw client.
func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return newClient(t, nc)
}
