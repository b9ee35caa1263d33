package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"swell"
	"swell/internal/exchange"
)

// A TCP connection is an exchange like any other: a CONNECT without HTTP around it
// (Major 0), whose answer is a tunnel. So waiting rooms, balancing, retries of
// connecting, limits and metrics are those of HTTP.

// tcpDialTime bounds a connection's making where the manifest says nothing.
const tcpDialTime = 5 * time.Second

// tcpTransport carries exchanges to endpoints as plain connections.
type tcpTransport struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)
	time time.Duration // for dial
	most int           // connections to one address at a time; 0 is no bound

	mu     sync.Mutex
	counts map[string]int
	closed bool
}

// RoundTrip connects: the answer is a tunnel.
func (t *tcpTransport) RoundTrip(x *exchange.Exchange, addr string) error {
	fail := func(err error) error {
		return &exchange.AttemptError{Addr: addr, Phase: exchange.PhaseDial, Safe: true, Err: err}
	}
	limit := t.time
	if !x.Deadline.IsZero() {
		limit = min(limit, time.Until(x.Deadline))
	}
	if limit <= 0 {
		return fail(exchange.ErrTimeout)
	}
	if err := t.enter(addr); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(exchange.WithExchange(context.Background(), x), limit)
	defer cancel()
	if x.Leash != nil && !x.Leash.Hold(cancelCutter(cancel)) {
		t.leave(addr)
		return fail(exchange.ErrGone)
	}
	nc, err := t.dial(ctx, addr)
	if x.Leash != nil {
		x.Leash.Release()
		if err != nil && x.Leash.Gone() {
			err = exchange.ErrGone
		}
	}
	if err != nil {
		t.leave(addr)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = exchange.ErrTimeout
		}
		return fail(err)
	}
	if x.Wrote != nil {
		x.Wrote(x)
	}
	x.Response.Status = 200
	x.Response.Tunnel = &tcpTunnel{Conn: nc, left: func() { t.leave(addr) }}
	return nil
}

func (t *tcpTransport) enter(addr string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return exchange.ErrPoolClosed
	case t.most > 0 && t.counts[addr] >= t.most:
		return exchange.ErrBusy
	}
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[addr]++
	return nil
}

func (t *tcpTransport) leave(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[addr]--; t.counts[addr] == 0 {
		delete(t.counts, addr)
	}
}

// Keep does nothing: no connection is kept, and those in use end by themselves.
func (t *tcpTransport) Keep([]string) {}

// Close makes RoundTrip fail from now on.
func (t *tcpTransport) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
}

type cancelCutter context.CancelFunc

// Cut implements [exchange.Cutter].
func (c cancelCutter) Cut() { c() }

// tcpTunnel is a connection to an endpoint.
type tcpTunnel struct {
	net.Conn
	once sync.Once
	left func()
}

// Close may be called by both directions.
func (t *tcpTunnel) Close() error {
	err := t.Conn.Close()
	t.once.Do(t.left)
	return err
}

// CloseWrite tells the endpoint that nothing more comes.
func (t *tcpTunnel) CloseWrite() error { return closeWrite(t.Conn) }

func closeWrite(c any) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// takeTCP serves a client's connection whose service speaks plain TCP; false if it
// doesn't. It returns when both sides are done.
func (f *front) takeTCP(_ context.Context, nc net.Conn, peer netip.AddrPort, state *tls.ConnectionState) bool {
	r := f.round.Load()
	if r == nil {
		return false
	}
	if box := r.to.service.transport.Load(); box == nil || box.protocol != swell.TCP {
		return false
	}
	p := f.plane
	var leash exchange.Leash
	x := &exchange.Exchange{
		Peer: peer, TLS: state, Caller: swell.GatewayCaller, Service: r.to.service.name, Route: f.route,
		Start: exchange.Now(), Leash: &leash, Gone: leash.Gone,
		Request: exchange.Request{Method: "CONNECT", Target: []byte{'/'}, Length: -1},
	}
	x.Local, _ = netip.ParseAddrPort(nc.LocalAddr().String())
	if f.edge != (swell.Edge{}) {
		x.Caller = f.edge.Caller
	}
	st := p.begin(x)
	st.to, st.meter = r.to, r.meter
	st.meter.Start(x.Start)
	err := r.to.round(x)
	var reset bool
	switch {
	case err != nil:
		p.answer(x, err) // for metrics and the access log; there is no way to tell the client
		p.opt.Log.Debug("a connection could not be passed on", "service", x.Service, "peer", peer, "error", err)
		reset = true
	case x.Response.Tunnel == nil: // a filter answered
		reset = true
	default:
		x.Response.Sent = true
		err = splice(x, nc, x.Response.Tunnel)
	}
	if tc, ok := nc.(*net.TCPConn); ok && reset {
		_ = tc.SetLinger(0) // what the client sent reached nobody
	}
	_ = nc.Close()
	if !reset && err == nil {
		p.done(x, nil)
	} else {
		p.done(x, err)
	}
	x.Response.Drop()
	return true
}

// splice passes bytes both ways until both sides are done. The end of one direction is
// told to the other side; an error ends both.
func splice(x *exchange.Exchange, client net.Conn, up io.ReadWriteCloser) error {
	var idle *idleness
	if x.IdleTimeout > 0 {
		idle = &idleness{limit: x.IdleTimeout}
		idle.seen.Store(exchange.Now())
	}
	ended := func(to any, err error) {
		if err == nil && closeWrite(to) == nil {
			return
		}
		_ = up.Close()
		_ = client.Close()
	}
	var back error
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Response.Bytes, back = pass(client, up, idle)
		ended(client, back)
	}()
	var err error
	x.Request.Bytes, err = pass(up, client, idle)
	ended(up, err)
	<-done
	_ = up.Close()
	_ = client.Close()
	if errors.Is(err, net.ErrClosed) { // the other direction's error ended this one
		err = nil
	}
	if errors.Is(back, net.ErrClosed) {
		back = nil
	}
	if err := errors.Join(err, back); err != nil {
		return &exchange.AttemptError{Addr: x.Endpoint, Phase: exchange.PhaseBody, Err: err}
	}
	return nil
}

// idleness is when anything last passed in either direction.
type idleness struct {
	limit time.Duration
	seen  atomic.Int64 // on the scale of exchange.Now
}

// pass copies until from ends. Between two sockets the system does it, unless
// silence is bounded.
func pass(to io.Writer, from io.Reader, idle *idleness) (int64, error) {
	if t, ok := to.(*tcpTunnel); ok {
		to = t.Conn
	}
	if t, ok := from.(*tcpTunnel); ok {
		from = t.Conn
	}
	if idle == nil {
		n, err := io.Copy(to, from)
		return n, err
	}
	src, ok := from.(interface{ SetReadDeadline(time.Time) error })
	if !ok {
		return io.Copy(to, from)
	}
	var total int64
	buf := make([]byte, 32<<10)
	for {
		_ = src.SetReadDeadline(time.Now().Add(idle.limit))
		n, err := from.Read(buf)
		if n > 0 {
			idle.seen.Store(exchange.Now())
			w, werr := to.Write(buf[:n])
			total += int64(w)
			if werr != nil {
				return total, werr
			}
		}
		switch {
		case err == io.EOF:
			return total, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if exchange.Now()-idle.seen.Load() < int64(idle.limit) {
				continue // the other direction was busy
			}
			return total, exchange.ErrTimeout
		case err != nil:
			return total, err
		}
	}
}
