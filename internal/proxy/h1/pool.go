package h1

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"swell/internal/exchange"
)

// PoolOptions configure a Pool. Zero fields mean the defaults named.
type PoolOptions struct {
	// Dial connects to an upstream; TCP with net.Dialer if nil. TLS is its matter.
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	DialTime time.Duration // bounds Dial; 5 s, less if the exchange's Deadline comes sooner

	// Conns bounds the connections to one address at a time, those being made
	// included; 0 is no bound. Requests beyond it wait for one, the first come first,
	// until their Deadline or for a minute, and at most Pending of them; 1024, negative
	// is none. Who can't wait, or waited in vain, gets exchange.ErrBusy.
	Conns, Pending int

	// Single has each connection carry one exchange: Dial says in front of it for whom
	// it is (the PROXY protocol).
	Single   bool
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
	hosts sync.Map // of *host by address
	sweep sweeper
	swept int64 // when idle connections were looked at; 0 never

	mu     sync.Mutex
	conns  []*upstream // all, idle or not
	closed bool
	kept   uint64 // counts calls of Keep
}

// host is the idle connections to one address, the longest idle first.
type host struct {
	addr string
	kept uint64 // the last call of Keep that named it; under Pool.mu
	mu   sync.Mutex
	idle []*upstream
	drop bool // keep none; it is off the pool's map
	line line // who waits for a connection, where they are bounded
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
	o.Pending = max(0, or(o.Pending, 1024))
	p := &Pool{o: o}
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
	if h, ok := p.hosts.Load(addr); ok {
		return h.(*host)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, _ := p.hosts.LoadOrStore(addr, &host{addr: addr, drop: p.closed, kept: p.kept})
	return h.(*host)
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

// get returns a connection: an idle one, or a new one, if need be after waiting.
func (p *Pool) get(x *exchange.Exchange, addr string, h *host) (*upstream, error) {
	if p.o.Conns <= 0 {
		if u := h.reuse(); u != nil {
			return u, nil
		}
		return p.dial(x, addr, h)
	}
	for {
		if u := h.reuse(); u != nil {
			return u, nil
		}
		u, err := h.enter(x, p.o.Conns, p.o.Pending)
		if err != nil {
			return nil, err
		}
		if u == nil {
			break
		}
		if u.open() {
			return u, nil
		}
		u.close() // which makes room for the next one
	}
	u, err := p.dial(x, addr, h)
	if err != nil {
		h.leave()
	}
	return u, err
}

// dialing is a connection that is being made.
type dialing context.CancelFunc

// Cut gives it up: its client left.
func (d dialing) Cut() { d() }

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
	if x.Leash != nil {
		if !x.Leash.Hold(dialing(cancel)) {
			return nil, exchange.ErrGone
		}
		defer x.Leash.Release()
	}
	nc, err := p.o.Dial(ctx, addr)
	if err != nil {
		if x.Leash != nil && x.Leash.Gone() {
			return nil, exchange.ErrGone
		}
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
	if p.o.Single {
		u.close()
		return
	}
	u.used = true
	u.since = p.sweep.clock.Load()
	u.deadline.Store(0)
	u.patience.Store(0)
	h := u.host
	h.mu.Lock()
	phase := idle
	if h.line.first != nil {
		phase = busy
	}
	if h.drop || u.word.enter(phase) {
		h.mu.Unlock()
		u.close()
		return
	}
	if phase == busy {
		w := h.line.pop()
		h.mu.Unlock()
		w.got <- u
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
		if d := u.deadline.Load(); d != 0 && now > d || u.silent(v, now) {
			u.kill(v, &exchange.ErrTimeout)
		}
	}
	any = len(p.conns) > 0
	p.mu.Unlock()

	if p.swept != 0 && now-p.swept < int64(p.o.IdleTime)/8 {
		return active, any // there may be thousands of addresses
	}
	p.swept = now
	for _, a := range p.hosts.Range {
		h := a.(*host)
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
	p.kept++
	for _, a := range addrs {
		if h, ok := p.hosts.Load(a); ok {
			h.(*host).kept = p.kept
		}
	}
	var old []*host
	for a, v := range p.hosts.Range {
		if h := v.(*host); h.kept != p.kept {
			p.hosts.Delete(a)
			old = append(old, h)
		}
	}
	p.mu.Unlock()
	for _, h := range old {
		h.empty()
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
