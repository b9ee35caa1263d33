package pool

import (
	"context"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a Pool. Zero fields mean the defaults named.
type Options struct {
	// Dial connects to an upstream, which speaks HTTP/2 from the start; TCP with
	// net.Dialer if nil. TLS, with ALPN, is its matter: a connection that has a
	// ConnectionState method gets requests of the scheme https.
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	DialTime time.Duration // bounds Dial and the upstream's SETTINGS, and waiting for a stream; 5 s

	Conns   int // connections to one address at a time; 64
	Streams int // at a time on one connection, fewer if the upstream says so; 1000. Another connection is made when one is full
	Pending int // requests that wait for a stream of one address; 4096. More fail with exchange.ErrBusy

	Head     int           // bytes of an answer's head; 64 KiB, at most 1 MiB
	Fields   int           // fields of a head, and of a trailer; 256
	IdleTime time.Duration // how long a connection without a stream is kept; 90 s
	PingTime time.Duration // how long the upstream may leave a PING unanswered; 2 s
	// QuietTime is how long a connection may have been silent until the upstream is
	// asked, before the next request, whether it is still there; 15 s.
	QuietTime time.Duration
	// Window is how much of an answer may wait for its reader, at most; 1 MiB. It
	// begins with 64 KiB and grows for readers that keep up.
	Window int

	// ExpectTime is how long the upstream may leave "Expect: 100-continue"
	// unanswered before the body is sent all the same; 1 s.
	ExpectTime time.Duration
}

// Pool holds connections to upstreams. It is safe for concurrent use.
type Pool struct {
	o     Options
	hosts atomic.Pointer[map[string]*host] // replaced as a whole, under mu
	sweep sweeper

	mu     sync.Mutex
	conns  []*conn // all
	scan   []*conn // the sweep's copy of them
	closed bool
}

// New makes a pool. It starts nothing.
func New(o Options) *Pool {
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	o.DialTime = or(o.DialTime, 5*time.Second)
	o.Conns, o.Streams, o.Pending = or(o.Conns, 64), or(o.Streams, 1000), or(o.Pending, 4096)
	o.Head = min(or(o.Head, 64<<10), 1<<20)
	o.Fields = or(o.Fields, 256)
	o.IdleTime, o.PingTime = or(o.IdleTime, 90*time.Second), or(o.PingTime, 2*time.Second)
	o.QuietTime = or(o.QuietTime, 15*time.Second)
	o.Window = min(max(or(o.Window, 1<<20), firstWindow), 1<<30)
	o.ExpectTime = or(o.ExpectTime, time.Second)
	p := &Pool{o: o}
	p.hosts.Store(&map[string]*host{})
	p.sweep.pass = p.pass
	return p
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// host returns what is known of an address.
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
	h := &host{pool: p, addr: addr, drop: p.closed, closed: p.closed}
	if p.closed {
		return h
	}
	all := maps.Clone(old)
	all[addr] = h
	p.hosts.Store(&all)
	return h
}

// enlist adds a connection; false if the pool is closed.
func (p *Pool) enlist(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	c.place = len(p.conns)
	p.conns = append(p.conns, c)
	return true
}

// forget takes a connection off the list.
func (p *Pool) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.conns) - 1
	p.conns[last].place = c.place
	p.conns[c.place] = p.conns[last]
	p.conns[last] = nil
	p.conns = p.conns[:last]
}

// pass ends exchanges whose time is over, connections that idled too long, and
// those whose upstream does not answer.
func (p *Pool) pass(now int64) (active, any bool) {
	p.mu.Lock()
	p.scan = append(p.scan[:0], p.conns...)
	p.mu.Unlock()
	for i, c := range p.scan {
		active = c.look(now) || active
		p.scan[i] = nil
	}
	return active, len(p.scan) > 0
}

// Keep closes the idle connections to all other addresses than addrs; those in
// use close when their exchanges end, whatever Keep says later.
func (p *Pool) Keep(addrs []string) {
	p.mu.Lock()
	all := *p.hosts.Load()
	keep := make(map[string]*host, len(addrs))
	for _, a := range addrs {
		if h := all[a]; h != nil {
			keep[a] = h
		}
	}
	closed := p.closed
	p.hosts.Store(&keep)
	p.mu.Unlock()
	for a, h := range all {
		if keep[a] == nil {
			h.leave(closed)
		}
	}
}

// Close closes the idle connections, and the others when their exchanges end.
// RoundTrip fails afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Keep(nil)
}
