package h1

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

// PoolOptions configure a Pool. Zero fields mean the defaults named.
type PoolOptions struct {
	// Dial connects to an upstream; TCP with net.Dialer if nil. TLS is its matter.
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	DialTime time.Duration // bounds Dial; 5 s, less if the exchange's Deadline comes sooner

	Idle     int           // idle connections kept for one address; 256
	IdleTime time.Duration // how long; 4 s, as many runtimes close after 5
	Head     int           // bytes of an answer's head; 64 KiB, at least 4 KiB, at most 1 MiB
	Fields   int           // fields of a head, and of a trailer; 256

	// ExpectTime is how long the upstream may leave "Expect: 100-continue"
	// unanswered before the body is sent all the same; 1 s.
	ExpectTime time.Duration
}

// Pool holds connections to upstreams. It is safe for concurrent use.
type Pool struct {
	o     PoolOptions
	hosts atomic.Pointer[map[string]*host] // replaced as a whole, under mu
	sweep sweeper

	mu     sync.Mutex
	conns  []*upstream // all, idle or not
	closed bool
}

// host is the idle connections to one address, the longest idle first.
type host struct {
	addr string
	mu   sync.Mutex
	idle []*upstream
	drop bool // keep none; it is off the pool's map
}

// NewPool makes a pool.
func NewPool(o PoolOptions) *Pool {
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	o.DialTime = or(o.DialTime, 5*time.Second)
	o.Idle = or(o.Idle, 256)
	o.IdleTime = or(o.IdleTime, 4*time.Second)
	o.Head = min(max(or(o.Head, headSize), smallSize), 1<<20)
	o.Fields = or(o.Fields, 256)
	o.ExpectTime = or(o.ExpectTime, time.Second)
	p := &Pool{o: o}
	p.hosts.Store(&map[string]*host{})
	p.sweep.pass = p.pass
	p.sweep.size = p.size
	return p
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (p *Pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Pool) host(addr string) *host {
	if h := (*p.hosts.Load())[addr]; h != nil {
		return h
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.hosts.Load()
	if h := old[addr]; h != nil {
		return h
	}
	all := maps.Clone(old)
	h := &host{addr: addr, drop: p.closed}
	all[addr] = h
	p.hosts.Store(&all)
	return h
}

// reuse takes an idle connection that is still open; nil if there is none.
func (h *host) reuse() *upstream {
	for {
		h.mu.Lock()
		n := len(h.idle) - 1
		if n < 0 {
			h.mu.Unlock()
			return nil
		}
		u := h.idle[n]
		h.idle[n] = nil
		h.idle = h.idle[:n]
		h.mu.Unlock()
		if u.word.enter(busy) || !u.open() {
			u.close()
			continue
		}
		return u
	}
}

// dial makes a new connection.
func (p *Pool) dial(x *exchange.Exchange, addr string, h *host) (*upstream, error) {
	limit := p.o.DialTime
	if !x.Deadline.IsZero() {
		limit = min(limit, time.Until(x.Deadline))
	}
	if limit <= 0 {
		return nil, exchange.ErrTimeout
	}
	ctx, cancel := context.WithTimeout(exchange.WithExchange(context.Background(), x), limit)
	defer cancel()
	nc, err := p.o.Dial(ctx, addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil, exchange.ErrTimeout
		}
		return nil, err
	}
	u := newUpstream(p, h, nc)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = nc.Close()
		return nil, exchange.ErrPoolClosed
	}
	u.place = len(p.conns)
	p.conns = append(p.conns, u)
	return u, nil
}

// put makes u idle, or closes it.
func (p *Pool) put(u *upstream) {
	u.used = true
	u.since = p.sweep.clock.Load()
	u.deadline.Store(0)
	h := u.host
	h.mu.Lock()
	if h.drop || u.word.enter(idle) {
		h.mu.Unlock()
		u.close()
		return
	}
	var first *upstream
	if len(h.idle) >= p.o.Idle {
		first = h.idle[0]
		h.idle = slices.Delete(h.idle, 0, 1)
	}
	h.idle = append(h.idle, u)
	h.mu.Unlock()
	if first != nil {
		first.close()
	}
	p.sweep.wake()
}

// forget takes a closed connection off the list.
func (p *Pool) forget(u *upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.conns) - 1
	p.conns[last].place = u.place
	p.conns[u.place] = p.conns[last]
	p.conns[last] = nil
	p.conns = p.conns[:last]
}

// pass ends exchanges whose deadline passed and connections that idled too long.
func (p *Pool) pass(now int64) (active, any bool) {
	p.mu.Lock()
	for _, u := range p.conns {
		v := u.word.Load()
		if phaseOf(v) != busy {
			continue
		}
		active = true
		if d := u.deadline.Load(); d != 0 && now > d {
			u.kill(v, &exchange.ErrTimeout)
		}
	}
	any = len(p.conns) > 0
	p.mu.Unlock()

	for _, h := range *p.hosts.Load() {
		h.mu.Lock()
		n := 0
		for n < len(h.idle) && now-h.idle[n].since > int64(p.o.IdleTime) {
			n++
		}
		old := slices.Clone(h.idle[:n])
		h.idle = slices.Delete(h.idle, 0, n)
		h.mu.Unlock()
		for _, u := range old {
			u.close()
		}
	}
	return active, any
}

// Keep closes the idle connections to all other addresses than addrs; those in
// use close when their exchange ends, whatever Keep says later.
func (p *Pool) Keep(addrs []string) {
	p.mu.Lock()
	all := *p.hosts.Load()
	keep := make(map[string]*host, len(addrs))
	for _, a := range addrs {
		if h := all[a]; h != nil {
			keep[a] = h
		}
	}
	p.hosts.Store(&keep)
	p.mu.Unlock()
	for a, h := range all {
		if keep[a] == nil {
			h.empty()
		}
	}
}

// empty closes the idle connections and keeps none any more.
func (h *host) empty() {
	h.mu.Lock()
	old := h.idle
	h.idle, h.drop = nil, true
	h.mu.Unlock()
	for _, u := range old {
		u.close()
	}
}

// Close closes the idle connections, and the others when their exchange ends.
// RoundTrip fails afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Keep(nil)
	p.sweep.stop()
}
