package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

// Limits bound what one client may take. Zero fields mean the defaults named.
type Limits struct {
	Conns int // connections at a time; 65536. Beyond it, the longest idle ones are closed and new ones wait to be accepted
	// PerAddress bounds the connections of one client at a time: of an IPv4 address, of
	// an IPv6 network of 64 bits, as Open found it. 0 is no bound. More are answered 503,
	// or closed if they don't speak HTTP/1.1. Each listener counts by itself.
	PerAddress int

	Head   int // bytes of a request's head; 64 KiB, at least 4 KiB, at most 1 MiB. More is answered 431
	Target int // bytes of a request target; 32 KiB. More is answered 414
	Fields int // fields of a head, and of a trailer; 128. More is answered 431

	HeadTime  time.Duration // from a head's first byte to its last (or from accepting, for the first one); 10 s. Then 408
	IdleTime  time.Duration // between exchanges; 75 s
	ReadTime  time.Duration // without a byte of an announced request body; 60 s
	WriteTime time.Duration // without the client taking a byte of the answer; 60 s
	// HalfTime is how long a client that closed its half of the connection is taken to
	// wait for its answer while nothing is sent to it; 3 s.
	HalfTime time.Duration
}

// WithDefaults returns the limits with what is zero filled in, and within bounds.
func (l Limits) WithDefaults() Limits {
	l.Conns, l.Fields = or(l.Conns, 65536), or(l.Fields, 128)
	l.Head = min(max(or(l.Head, headSize), smallSize), 1<<20)
	l.Target = or(l.Target, 32<<10)
	l.HeadTime, l.IdleTime = or(l.HeadTime, 10*time.Second), or(l.IdleTime, 75*time.Second)
	l.ReadTime, l.WriteTime = or(l.ReadTime, time.Minute), or(l.WriteTime, time.Minute)
	l.HalfTime = or(l.HalfTime, 3*time.Second)
	return l
}

// Server turns client connections into exchanges. Its fields must not change
// once Serve was called; the zero Server with a Handle is ready to use.
type Server struct {
	// Handle fills x.Response. It runs on the connection's goroutine and may
	// block. A panic in it is logged and answered 500. An exchange without a
	// status after it is answered 500.
	Handle func(x *exchange.Exchange)
	// Done is told once the answer was sent, or broke with err: exchange.ErrGone, or the
	// error of the body. x is valid until it returns. It may be nil.
	Done func(x *exchange.Exchange, err error)
	// Refused is told, on the connection's goroutine, of what this server did not take:
	// requests that never became exchanges, connections over a bound, clients that were
	// too slow. status is what they were answered, 0 if nothing; slug says why for
	// metrics, why in words as the client got it. It may be nil.
	Refused func(peer netip.AddrPort, status int, slug Slug, why string)

	// Open, if set, readies a connection, on its goroutine and within HeadTime, before
	// anything is read: a PROXY header, TLS. It returns the connection to speak on, the
	// client's address if it is another than the connection's (else zero), and the TLS
	// state if there is one. Its error ends the connection without a word. It has
	// counted and logged what there is to say. ctx does not end with draining: a client
	// may have sent its first request before the handshake is over here.
	Open func(ctx context.Context, nc net.Conn) (net.Conn, netip.AddrPort, *tls.ConnectionState, error)
	// HTTP2, if set, serves a connection that speaks HTTP/2: ALPN named it, or the
	// client began with its preface, in which case read is what was read already, the
	// preface included. It returns when the connection has ended. ctx ends when the
	// server drains; DrainTime later the connection is closed.
	HTTP2 func(ctx context.Context, nc net.Conn, peer netip.AddrPort, state *tls.ConnectionState, read []byte)

	// Take, if set, is asked about each connection once it is open, and may serve it in
	// another protocol: then it returns true when the connection has ended. ctx and the
	// end of the drain are as for HTTP2.
	Take func(ctx context.Context, nc net.Conn, peer netip.AddrPort, state *tls.ConnectionState) bool

	Caller string // x.Caller of every exchange
	Limits Limits
	// Live, if set, holds the limits in force instead, made complete by WithDefaults.
	// It may change while Serve runs: what begins thereafter goes by the new ones.
	Live *atomic.Pointer[Limits]

	// DrainTime bounds how long exchanges in flight may go on once ctx ended; 30 s.
	DrainTime time.Duration
	// DrainFor, if set, is asked for DrainTime and Linger when draining begins; zeros
	// leave them as they are.
	DrainFor func() (drain, linger time.Duration)
	// Linger is how long an idle connection is still listened to when draining, so
	// that a request that is on its way is answered; 100 ms.
	Linger time.Duration
	// Log gets panics and accept errors; slog.Default() if nil.
	Log *slog.Logger
}

// door is one Serve under way.
type door struct {
	Server
	ctx       context.Context // ends when draining begins
	whole     context.Context // doesn't
	exchanges sync.Pool
	sweep     sweeper
	draining  atomic.Bool

	mu      sync.Mutex
	room    *sync.Cond
	conns   []*conn
	drained int64 // when draining began
	crowded bool  // accepting waits for room
	crowd   crowd
	parker  parker
	wg      sync.WaitGroup
}

// Serve accepts connections of l until ctx ends. Then it closes l, closes idle
// connections after Linger, ends the exchanges in flight with Connection: close,
// cuts what is left after DrainTime, and returns nil when the last goroutine has
// ended. An error of l that lasts ends it at once, with that error. It may be
// called once for each of several listeners.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	d := &door{Server: *s, ctx: ctx, whole: context.WithoutCancel(ctx)}
	d.room = sync.NewCond(&d.mu)
	d.exchanges.New = func() any { return new(exchange.Exchange) }
	d.DrainTime, d.Linger = or(d.DrainTime, 30*time.Second), or(d.Linger, 100*time.Millisecond)
	if d.Log == nil {
		d.Log = slog.Default()
	}
	d.Limits = d.Limits.WithDefaults()
	d.sweep.pass, d.sweep.size = d.pass, d.size

	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		d.begin()
		d.room.Broadcast()
		d.mu.Unlock()
		d.sweep.wake()
		// What the system accepted for us already is served, as far as it is quick.
		if t, ok := l.(interface{ SetDeadline(time.Time) error }); ok && t.SetDeadline(time.Now().Add(10*time.Millisecond)) == nil {
			return
		}
		_ = l.Close()
	})
	err := d.accept(ctx, l)
	stop()
	_ = l.Close()
	d.drain()
	return err
}

// accept takes connections until ctx ends or l fails for good.
func (d *door) accept(ctx context.Context, l net.Listener) error {
	wait := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			var t interface{ Temporary() bool } // too many open files, above all
			if !errors.As(err, &t) || !t.Temporary() {
				return fmt.Errorf("accept on %s: %w", l.Addr(), err)
			}
			wait = min(time.Second, max(5*time.Millisecond, 2*wait))
			d.Log.Warn("accept", "addr", l.Addr().String(), "err", err, "again", wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			continue
		}
		wait = 0
		d.admit(nc)
	}
}

// limits returns those in force.
func (d *door) limits() *Limits {
	if d.Live != nil {
		return d.Live.Load()
	}
	return &d.Limits
}

// admit waits for room and starts a connection.
func (d *door) admit(nc net.Conn) {
	c := newConn(d, nc)
	d.mu.Lock()
	for len(d.conns) >= d.limits().Conns && !d.draining.Load() {
		d.crowded = true
		d.mu.Unlock()
		d.sweep.wake()
		d.mu.Lock()
		if len(d.conns) >= d.limits().Conns && !d.draining.Load() {
			d.room.Wait()
		}
	}
	d.crowded = false
	c.place = len(d.conns)
	d.conns = append(d.conns, c)
	d.mu.Unlock()
	d.sweep.wake()
	d.wg.Add(1) // until its end, parked or not
	go c.serve(false)
}

func (d *door) forget(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := len(d.conns) - 1
	d.conns[last].place = c.place
	d.conns[c.place] = d.conns[last]
	d.conns[last] = nil
	d.conns = d.conns[:last]
	d.room.Signal()
}

func (d *door) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// begin begins to drain, once. The caller holds mu.
func (d *door) begin() {
	if d.draining.Load() {
		return
	}
	if d.DrainFor != nil {
		drain, linger := d.DrainFor()
		d.DrainTime, d.Linger = or(drain, d.DrainTime), or(linger, d.Linger)
	}
	d.drained = exchange.Now()
	d.draining.Store(true)
}

// drain waits for the connections, and cuts what is left after DrainTime.
func (d *door) drain() {
	d.mu.Lock()
	d.begin()
	d.mu.Unlock()
	d.sweep.wake()
	cut := time.AfterFunc(d.DrainTime, func() {
		d.mu.Lock()
		all := slices.Clone(d.conns)
		d.mu.Unlock()
		for _, c := range all {
			c.cut()
		}
	})
	d.wg.Wait()
	cut.Stop()
	d.sweep.stop()
	d.parker.stop()
}

// pass ends what took too long, and asks whether clients are still there.
func (d *door) pass(now int64) (active, any bool) {
	active, any, over := d.look(now)
	for _, c := range over {
		c.end()
	}
	if !active {
		d.parker.trim(now)
	}
	return active, any
}

// look is pass, but for the parked connections that are to end.
func (d *door) look(now int64) (active, any bool, over []*conn) {
	draining := d.draining.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	evict, limits := 0, d.limits()
	if d.crowded {
		evict = 1 + len(d.conns)/64
	}
	for _, c := range d.conns {
		v := c.word.Load()
		if v&^killed != c.seen {
			c.seen, c.since, c.probeIn, c.finAt = v&^killed, now, int64(fastTick), 0
		}
		age := now - c.since
		switch phaseOf(v) {
		case idle:
			limit := int64(limits.IdleTime)
			if draining {
				limit, age = int64(d.Linger), min(age, now-d.drained)
				active = true
			}
			switch {
			case age >= limit || evict > 0 && age > int64(d.Linger):
				if c.parked.CompareAndSwap(true, false) {
					over = append(over, c)
				} else {
					c.kill(v)
				}
				evict--
			case v&killed == 0 && age >= int64(parkAfter) && c.plain && !c.fixed.Load() && !c.parked.Load() && !draining:
				c.askToPark(v)
			}
		case inHead:
			active = true
			if age >= int64(limits.HeadTime) {
				c.kill(v)
			}
		case busy, ending:
			active = true
			c.look(v, now, age)
		}
	}
	return active || d.crowded, len(d.conns) > 0, over
}
