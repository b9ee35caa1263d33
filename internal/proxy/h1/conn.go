package h1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"swell/internal/exchange"
)

// conn is a client's connection. But for what is atomic or under mu it belongs to
// its goroutine; the last fields are the sweep's.
type conn struct {
	door  *door
	nc    net.Conn
	raw   syscall.RawConn // nil if there is no descriptor
	plain bool            // nc is the socket itself
	out   io.Writer       // nc, or what is quicker; for answers
	place int             // in door.conns
	peer  netip.AddrPort
	hop   netip.AddrPort // peer, or the proxy that said who that is
	local netip.AddrPort
	// client is what the connection counts as in door.crowd; invalid if it does not.
	client netip.Addr

	in    reader
	x     *exchange.Exchange
	m     meta
	body  body
	last  bool  // no exchange after this one
	asked bool  // this read has looked at the socket
	lull  uint8 // reads that look at once
	used  bool  // a head was read
	tls   *tls.ConnectionState

	word    word
	leash   exchange.Leash          // holds where the exchange is now
	reading atomic.Uint32           // odd while a read of a body is under way
	writing atomic.Uint32           // odd while a write of an answer is under way
	stalled atomic.Pointer[refusal] // the sweep ended such a read or write
	stopped atomic.Bool             // reads of the body were interrupted
	whole   atomic.Bool             // the request's body was read to its end

	parking atomic.Bool // the sweep ended its wait so that it be parked
	parked  atomic.Bool // it is; whoever resets this has the connection
	leaves  bool        // serve ends and parks it
	fixed   atomic.Bool // it can't be parked
	known   bool        // the parker knows fd; under its mu
	fd      int32

	mu        sync.Mutex
	informed  bool // 100 Continue went out: under mu
	answering bool // the answer's head is going out: under mu
	watch     *watch

	// Made once, so that using them allocates nothing.
	onRead func(fd uintptr) bool
	onAsk  func(fd uintptr)
	inform func(int, *exchange.Header) error
	isGone func() bool
	readN  int
	readE  error

	seen                  uint64
	since, probeIn        int64
	readSeen, writeSeen   uint32
	readSince, wroteSince int64
	parting               parting
	finAt                 int64 // when the client was seen to have finished; 0 it has not
	finWrote              uint32
}

func newConn(d *door, nc net.Conn) *conn {
	c := &conn{door: d, nc: nc, raw: rawOf(nc), peer: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr())}
	c.plain = isSocket(nc) && c.raw != nil
	c.out = writerTo(nc, c.raw)
	c.hop = c.peer
	c.in.nc = nc
	c.body.c = c
	c.onRead, c.onAsk = c.readSome, c.ask
	c.inform, c.isGone = c.interim, c.leash.Gone
	c.word.enter(inHead)
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	case nil:
		return netip.AddrPort{}
	}
	p, _ := netip.ParseAddrPort(a.String())
	return p
}

// serve is the connection's life, or what follows after it was parked.
func (c *conn) serve(parked bool) {
	defer func() {
		if r := recover(); r != nil {
			c.door.Log.Error("connection", "panic", r, "stack", string(debug.Stack()))
		} else if c.leaves {
			c.leaves = false
			c.in.free()
			c.park()
			return
		}
		c.end()
	}()
	if !parked && !c.ready() {
		return
	}
	for c.receive() && c.exchange() {
	}
}

// end ends the connection for good. It is called once, by whoever it belongs to.
func (c *conn) end() {
	c.in.free()
	c.unpark()
	_ = c.nc.Close()
	if c.client.IsValid() {
		c.door.crowd.leave(c.client)
	}
	c.door.forget(c)
	c.door.wg.Done()
}

// ready has the connection opened; false if it ended, or spoke another protocol.
func (c *conn) ready() bool {
	d := c.door
	if d.Open != nil {
		nc, peer, state, err := d.Open(d.whole, c.nc)
		if err != nil {
			return false
		}
		if nc != c.nc {
			c.mu.Lock() // the sweep and the drain look at it
			c.nc, c.raw = nc, rawOf(nc)
			c.mu.Unlock()
			c.in.nc = nc
			c.plain = isSocket(nc) && c.raw != nil
			c.out = writerTo(nc, c.raw)
		}
		if peer.IsValid() {
			c.peer = peer
		}
		c.tls = state
	}
	h2 := c.tls != nil && c.tls.NegotiatedProtocol == "h2" && d.HTTP2 != nil
	if most := d.limits().PerAddress; most > 0 && c.peer.IsValid() {
		client := whose(c.peer.Addr())
		if !d.crowd.enter(client, most) {
			if h2 || d.Take != nil {
				c.refused(manyConns, 0)
			} else {
				c.refuse(manyConns)
			}
			return false
		}
		c.client = client
	}
	if d.Take != nil {
		c.word.enter(piped)
		if d.Take(d.ctx, c.nc, c.peer, c.tls) {
			return false
		}
		c.word.enter(inHead)
	}
	if h2 {
		c.http2(nil)
		return false
	}
	return true
}

// preface begins a connection of HTTP/2 (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// http2 serves the connection as HTTP/2, read being what was read of it.
func (c *conn) http2(read []byte) {
	c.word.enter(piped)
	c.door.HTTP2(c.door.ctx, c.nc, c.peer, c.tls, read)
}

// receive reads a request's head into an exchange. It returns false if there is
// none, having answered if an answer is due.
func (c *conn) receive() bool {
	in := &c.in
	c.keepRest()
	fresh := in.r
	for {
		if in.w > fresh {
			b := in.b[in.r:in.w]
			if b[0] == 'P' && !c.used && c.door.HTTP2 != nil && c.tls == nil {
				if n := min(len(b), len(preface)); string(b[:n]) == preface[:n] {
					if n == len(preface) {
						c.http2(b)
						return false
					}
					goto more
				}
			}
			if c.x == nil {
				c.open()
			}
			if class[b[0]]&token == 0 && b[0] != '\r' {
				return c.refuse(badLine)
			}
			if bytes.IndexByte(in.b[fresh:in.w], '\n') >= 0 || in.w == len(in.b) {
				c.m = meta{}
				c.x.Request.Header.Reset()
				n, bad := request(b, &c.x.Request, &c.m, c.door.limits())
				if bad != nil {
					return c.refuse(bad)
				}
				if n > 0 {
					in.r += n
					c.used = true
					return true
				}
			}
		more:
			if phaseOf(c.word.Load()) == idle {
				if c.word.enter(inHead) {
					c.stays()
				}
				c.door.sweep.wake()
			}
			fresh = in.w
			if in.w == len(in.b) {
				if !in.grow(c.door.limits().Head) {
					return c.refuse(largeHead)
				}
				fresh = in.w
			}
		}
		n, err := c.read()
		if n == 0 && err != nil {
			if c.word.Load()&killed != 0 {
				if c.x != nil && in.w > in.r {
					return c.refuse(slowHead)
				}
				if c.parking.Load() && in.w == in.r {
					c.leaves = true
					return false
				}
			}
			c.close()
			return false
		}
	}
}

// keepRest moves what was read beyond the last message to the start of a head's
// buffer, or gives the buffers back.
func (c *conn) keepRest() {
	in := &c.in
	rest, more := in.rest(), c.takeWatched()
	if len(rest)+len(more) == 0 {
		in.free()
		return
	}
	old, big := in.head, in.big
	var b []byte
	if len(rest)+len(more) < smallSize {
		b = newHead(0, c.door.limits().Head)
	} else {
		b = newHead(smallSize, max(c.door.limits().Head, headSize))
	}
	in.head, in.big = nil, nil
	in.w = copy(b, rest)
	in.w += copy(b[in.w:], more)
	in.head, in.b, in.r = b, b, 0
	if old != nil {
		freeHead(old)
	}
	if big != nil {
		larges.Put(big)
	}
}

// read reads bytes of a head. While a socket has none, no buffer is held.
func (c *conn) read() (int, error) {
	in := &c.in
	if in.head == nil && c.plain {
		c.readN, c.readE, c.asked = 0, nil, false
		if c.lull == 0 {
			runtime.Gosched() // mostly the next request is there then: see trip.head
		}
		if err := c.raw.Read(c.onRead); err != nil {
			return 0, err
		}
		if c.readN == 0 && c.readE == nil {
			c.readE = io.EOF
		}
		return c.readN, c.readE
	}
	if in.head == nil {
		in.head = newHead(0, c.door.limits().Head)
		in.b, in.r, in.w = in.head, 0, 0
	}
	n, err := c.nc.Read(in.b[in.w:])
	in.w += n
	return n, err
}

// lullLength is how many requests of a connection are read without letting others go
// first, once that was in vain.
const lullLength = 32

// readSome is read's look at the socket; false waits until there is something.
func (c *conn) readSome(fd uintptr) bool {
	b := newHead(0, c.door.limits().Head)
	n, again, err := readNow(fd, b)
	if first := !c.asked; first {
		// Letting others go first saves CPU where the next request is soon there, and
		// costs them time where it isn't.
		c.asked = true
		switch {
		case !again:
			c.lull = 0
		case c.lull == 0:
			c.lull = lullLength
		default:
			c.lull--
		}
	}
	if again || n <= 0 {
		freeHead(b)
		c.readE = err
		return !again
	}
	c.in.head, c.in.b, c.in.r, c.in.w = b, b, 0, n
	c.readN, c.readE = n, nil
	return true
}

// open takes an exchange.
func (c *conn) open() {
	x := c.door.exchanges.Get().(*exchange.Exchange)
	c.x = x
	x.Request.Major = 1
	x.Peer, x.Hop, x.Local, x.TLS, x.Caller = c.peer, c.hop, c.local, c.tls, c.door.Caller
	x.Inform, x.Gone, x.Leash, x.Codec = c.inform, c.isGone, &c.leash, c
}

// exchange handles the request and answers it. It returns whether another may
// follow on the connection.
func (c *conn) exchange() bool {
	d, x := c.door, c.x
	if c.word.enter(busy) {
		// The sweep ended the wait as the request came. It is answered; if the connection
		// was to be closed, it is the last one.
		c.last = c.last || !c.stays()
		c.mu.Lock()
		_ = c.nc.SetReadDeadline(time.Time{})
		c.mu.Unlock()
	}
	d.sweep.wake()
	q := &x.Request
	x.Start = exchange.Now()
	c.in.begin(&c.m, &q.Trailer, d.limits().Fields)
	c.whole.Store(c.m.framing == none)
	c.informed, c.answering = false, false
	if c.m.framing != none {
		c.body.shut = false
		q.Body = &c.body
	}
	if len(q.Target) == 1 && q.Target[0] == '*' {
		x.Reply(200, "")
		x.Response.Header.AddName("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")
	} else {
		c.handle()
	}
	if c.stalled.Load() == slowBody {
		if x.Response.Status >= 400 || x.Response.Status == 0 { // what else came of it
			x.Reply(slowBody.status, slowBody.why)
		}
		c.last = true
	}
	if q.Method == "CONNECT" {
		c.last = true // a client that took the tunnel for granted may have spoken into it
	}
	err := c.respond()
	if r := c.stalled.Load(); r != nil {
		status := 0
		if err == nil {
			status = x.Response.Status
		}
		c.refused(r, status)
	}
	if d.Done != nil {
		d.Done(x, err)
	}
	again := err == nil && !c.last && !x.Response.Close
	c.unwatch()
	tunnelled := x.Response.Tunnel != nil
	x.Response.Drop() // ends the body's sender, too
	if again && !c.whole.Load() {
		again = c.skip()
	}
	x.Reset()
	c.x = nil
	d.exchanges.Put(x)
	if again {
		if c.word.enter(idle) {
			again = false
		}
		return again
	}
	if err == nil && !tunnelled {
		c.linger()
	}
	return false
}

// handle runs the server's Handle; a panic makes the answer 500, and the last.
func (c *conn) handle() {
	defer func() {
		if r := recover(); r != nil {
			c.door.Log.Error("exchange", "panic", r, "target", string(c.x.Request.Target), "stack", string(debug.Stack()))
			c.x.Reply(500, "internal error")
			c.last = true
		}
	}()
	c.door.Handle(c.x)
	if s := c.x.Response.Status; s < 200 && s != 101 {
		c.x.Reply(500, "no answer was made")
	}
}

// mostSkip is how much of a body that nobody wanted is read to keep a connection.
const mostSkip = 256 << 10

// skip reads the rest of the request's body, if that is little.
func (c *conn) skip() bool {
	if c.x.Request.Expect && !c.informed {
		return false
	}
	for n := 0; n <= mostSkip; {
		c.body.shut = false
		p, err := c.body.Next()
		n += len(p)
		if err != nil {
			return err == io.EOF
		}
	}
	return false
}

// refused tells of a refusal that was, or will be, answered with status.
func (c *conn) refused(r *refusal, status int) {
	if c.door.Refused != nil {
		c.door.Refused(c.peer, status, r.slug, r.why)
	}
}

// refuse answers a malformed request and ends the connection.
func (c *conn) refuse(r *refusal) bool {
	if c.x == nil {
		c.open()
	}
	c.word.enter(busy)
	_ = c.nc.SetDeadline(time.Now().Add(time.Second)) // nothing after it matters
	c.refused(r, r.status)
	x := c.x
	x.Request.Method = "GET"
	x.Request.Minor = 1
	x.Reply(r.status, r.why)
	c.last = true
	err := c.answer()
	x.Reset()
	c.x = nil
	c.door.exchanges.Put(x)
	if err == nil {
		c.linger()
	}
	return false
}

// linger closes the connection so that what was answered arrives, though the
// client may still be sending: closing on unread bytes would reset it.
func (c *conn) linger() {
	if closeWrite(c.nc) != nil {
		c.close()
		return
	}
	c.word.enter(busy)
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Second))
	b := larges.Get().(*large)
	defer larges.Put(b)
	for n := 0; n < 4<<20; {
		k, err := c.nc.Read(b[:])
		n += k
		if err != nil {
			break
		}
	}
	c.close()
}

func (c *conn) close() { _ = c.nc.Close() }

// cut ends the connection whatever it does, from another goroutine.
func (c *conn) cut() {
	c.leave()
	if c.parked.CompareAndSwap(true, false) {
		c.end()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.nc.Close()
}

// body is the request's.
type body struct {
	c    *conn
	shut bool
}

// Next returns the next bytes from the client, as exchange.Body has it.
func (b *body) Next() ([]byte, error) {
	c := b.c
	if b.shut {
		return nil, errShut
	}
	if !c.in.ready() {
		if c.x.Request.Expect {
			if err := c.interim(100, nil); err != nil {
				return nil, err
			}
		}
		c.reading.Add(1)
		defer c.reading.Add(1)
	}
	p, err := c.in.next()
	switch {
	case err == nil:
		c.x.Request.Bytes += int64(len(p))
	case err == io.EOF:
		c.whole.Store(true)
	case c.stalled.Load() != nil || errors.Is(err, errChunk) || c.stopped.Load():
	default:
		c.leave()
	}
	return p, err
}

var errShut = errors.New("body was given up")

// Ready reports that Next would return at once.
func (b *body) Ready() bool { return b.shut || b.c.in.ready() }

// Close gives up what is left.
func (b *body) Close() { b.shut = true }

// interim sends an interim answer. It is what x.Inform is.
func (c *conn) interim(status int, h *exchange.Header) error {
	if c.m.minor == 0 || status < 100 || status > 199 || status == 101 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answering || status == 100 && c.informed {
		return nil
	}
	if status == 100 {
		c.informed = true
	}
	out := appendStatus(nil, status, nil)
	if h != nil {
		out = appendFields(out, h)
	}
	out = append(out, '\r', '\n')
	c.writing.Add(1)
	_, err := c.nc.Write(out)
	c.writing.Add(1)
	if err != nil {
		c.leave()
		return fmt.Errorf("%w: %w", exchange.ErrGone, err)
	}
	return nil
}
