package pool

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

// host is the connections to one address, and who waits for a stream of one.
// Its lock is taken before a connection's, never within.
type host struct {
	pool *Pool
	addr string

	waiting atomic.Int32 // length of waiters, to be looked at without the lock

	mu      sync.Mutex
	conns   []*conn
	waiters []*waiter // the first come is the first served
	dialing int       // connections being made
	drop    bool      // connections are not kept; it is off the pool's map
	closed  bool      // so is the pool
}

// waiter waits for a place on a connection. It is what the client's leash holds
// meanwhile.
type waiter struct {
	ready chan struct{} // has room for one
	gone  atomic.Bool
	c     *conn // under host.mu, as err is
	err   error
}

// Cut ends the waiting: the client left.
func (w *waiter) Cut() {
	w.gone.Store(true)
	w.signal()
}

func (w *waiter) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// take reserves a place for one stream on a connection, which is made or waited for
// if there is none.
func (h *host) take(x *exchange.Exchange) (*conn, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, exchange.ErrPoolClosed
	}
	if len(h.waiters) == 0 {
		if c := h.pick(); c != nil {
			h.mu.Unlock()
			return c, nil
		}
	}
	if len(h.waiters) >= h.pool.o.Pending {
		h.mu.Unlock()
		return nil, exchange.ErrBusy
	}
	limit := h.pool.o.DialTime
	if !x.Deadline.IsZero() {
		limit = min(limit, time.Until(x.Deadline))
	}
	if limit <= 0 {
		h.mu.Unlock()
		return nil, exchange.ErrTimeout
	}
	w := &waiter{ready: make(chan struct{}, 1)}
	h.waiters = append(h.waiters, w)
	h.waiting.Store(int32(len(h.waiters)))
	h.grow()
	h.mu.Unlock()

	if x.Leash != nil {
		if !x.Leash.Hold(w) {
			w.gone.Store(true)
			w.signal()
		}
		defer x.Leash.Release()
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-w.ready:
	case <-t.C:
	}
	h.mu.Lock()
	if i := slices.Index(h.waiters, w); i >= 0 {
		h.waiters = slices.Delete(h.waiters, i, i+1)
		h.waiting.Store(int32(len(h.waiters)))
	}
	c, err, some := w.c, w.err, len(h.conns) > 0
	h.mu.Unlock()
	switch {
	case w.gone.Load():
		if c != nil {
			c.giveBack()
		}
		return nil, exchange.ErrGone
	case c != nil || err != nil:
		return c, err
	case some && (x.Deadline.IsZero() || time.Until(x.Deadline) > 0):
		return nil, exchange.ErrBusy
	}
	return nil, exchange.ErrTimeout
}

// pick reserves a place on a connection; nil if none has one. h.mu is held.
func (h *host) pick() *conn {
	for _, c := range h.conns {
		if c.reserve() {
			return c
		}
	}
	return nil
}

// admit gives places that became free to those who wait, and makes connections for
// the others.
func (h *host) admit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for n < len(h.waiters) {
		c := h.pick()
		if c == nil {
			break
		}
		w := h.waiters[n]
		w.c = c
		w.signal()
		n++
	}
	if n > 0 {
		h.waiters = slices.Delete(h.waiters, 0, n)
		h.waiting.Store(int32(len(h.waiters)))
	}
	h.grow()
}

// expected is how many streams a connection in the making is thought to carry.
const expected = 100

// grow makes another connection if those that exist, and those that are coming, are
// not enough for who waits. h.mu is held.
func (h *host) grow() {
	coming := h.dialing
	for _, c := range h.conns {
		if c.checked.Load() {
			coming++
		}
	}
	if len(h.conns)+h.dialing >= h.pool.o.Conns || len(h.waiters) <= coming*min(expected, h.pool.o.Streams) {
		return
	}
	h.dialing++
	ctx, cancel := context.WithTimeout(context.Background(), h.pool.o.DialTime)
	go h.dial(ctx, cancel)
}

// dial makes a connection and reads from it until it ends.
func (h *host) dial(ctx context.Context, cancel context.CancelFunc) {
	c, rest, err := h.connect(ctx)
	timedOut := ctx.Err() != nil
	cancel()
	h.mu.Lock()
	h.dialing--
	if err != nil {
		if timedOut {
			err = exchange.ErrTimeout
		}
		if len(h.conns)+h.dialing == 0 {
			for _, w := range h.waiters {
				w.err = err
				w.signal()
			}
			h.waiters = nil
			h.waiting.Store(0)
		}
		h.mu.Unlock()
		return
	}
	c.last = h.drop
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	h.pool.sweep.wake()
	h.admit()
	c.mu.Lock()
	c.over()
	c.done()
	c.read(rest)
}

// connect makes a connection and waits until the upstream has said its settings,
// so that what is no HTTP/2 is found out before a request is sent.
func (h *host) connect(ctx context.Context) (*conn, *input, error) {
	nc, err := h.pool.o.Dial(ctx, h.addr)
	if err != nil {
		return nil, nil, err
	}
	c := newConn(h, nc)
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(past) })
	in, err := c.greet()
	if !stop() && err == nil {
		err = exchange.ErrTimeout
	}
	if err == nil && !h.pool.enlist(c) {
		err = exchange.ErrPoolClosed
	}
	if err != nil {
		_ = nc.Close()
		return nil, nil, fmt.Errorf("begin HTTP/2: %w", err)
	}
	return c, in, nil
}

// forget takes a connection off the list, and makes another one if it is needed.
func (h *host) forget(c *conn) {
	h.mu.Lock()
	if i := slices.Index(h.conns, c); i >= 0 {
		h.conns = slices.Delete(h.conns, i, i+1)
	}
	h.mu.Unlock()
	if h.waiting.Load() > 0 {
		h.admit()
	}
}

// leave has the connections end with their last stream.
func (h *host) leave(closed bool) {
	h.mu.Lock()
	h.drop, h.closed = true, h.closed || closed
	all := slices.Clone(h.conns)
	h.mu.Unlock()
	for _, c := range all {
		c.mu.Lock()
		c.leaving, c.last = true, true
		c.over()
		c.done()
	}
}

var past = time.Unix(1, 0)

// plain returns the connection under TLS, or nc.
func plain(nc net.Conn) net.Conn {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return nc
}
