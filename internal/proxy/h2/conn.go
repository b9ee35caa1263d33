package h2

import (
	"crypto/tls"
	"errors"
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
	"swell/internal/proxy/h2/frames"
)

// inSize is the size of the buffer that is read into: a frame of the largest size
// and as much again.
const inSize = 2*frames.MinFrame + 64

type input [inSize]byte

var inputs = sync.Pool{New: func() any { return new(input) }}

// conn is a client's connection.
type conn struct {
	s     *Server
	nc    net.Conn
	raw   syscall.RawConn // nil if nc is not a socket itself
	peer  netip.AddrPort
	hop   netip.AddrPort
	local netip.AddrPort
	tls   *tls.ConnectionState
	w     frames.Writer

	// The reading goroutine's.
	in      *input // nil while nothing is read
	small   [128]byte
	dec     frames.Decoder
	section frames.Section
	trailer exchange.Header // scratch
	calm    calm
	settled bool      // the client's first SETTINGS came
	part    *part     // of a head whose end didn't come
	begun   []*stream // by what was read last, to be handed out
	wrote   bool      // something was added to the writer
	now     int64
	onRead  func(fd uintptr) bool
	readN   int
	readE   error

	mu        sync.Mutex
	streams   map[uint32]*stream
	flow      frames.Inflow
	last      uint32   // the newest stream of the client's
	reset     []uint32 // the streams that we reset last, of which more may come: a ring
	resetAt   int
	running   int       // goroutines that haven't ended
	done      sync.Cond // running is 0
	drainAt   int64     // when draining began; 0 if it didn't
	greeted   bool      // our SETTINGS were written
	drainLate bool      // draining is to begin once they are
	final     bool      // the second GOAWAY is out
	bound     uint32    // streams over it are ignored then
	quitting  bool      // the reading goroutine is to end
	closed    bool      // it has

	heading   atomic.Int64  // since when the end of a head is awaited, or the preface; 0 if it isn't
	activity  atomic.Uint64 // counts reads
	completed atomic.Int64  // streams that ended well, since resets were rationed
	killed    atomic.Pointer[refusal]

	// The sweep's.
	seen      uint64
	since     int64
	wroteSeen uint32
	wroteAt   int64
}

// part is a head that came in pieces.
type part struct {
	head   frames.Head
	block  []byte
	pieces int
}

func newConn(s *Server, nc net.Conn, peer netip.AddrPort, state *tls.ConnectionState) *conn {
	c := &conn{s: s, nc: nc, peer: peer, tls: state, hop: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr()),
		streams: map[uint32]*stream{}}
	if !c.peer.IsValid() {
		c.peer = c.hop
	}
	if sc, ok := nc.(syscall.Conn); ok && sockets {
		c.raw, _ = sc.SyscallConn()
	}
	c.done.L = &c.mu
	c.onRead = c.readSome
	c.w.Init(nc)
	c.dec.Init(frames.DefaultTable)
	c.section.MaxBytes, c.section.MaxFields = s.Limits.Head, s.Limits.Fields
	c.flow.Open(frames.DefaultWindow, s.Limits.Buffer)
	c.now = exchange.Now()
	c.since = c.now
	c.heading.Store(c.now)
	c.hello()
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

// serve is the connection's life.
func (c *conn) serve(read []byte) {
	err := c.converse(read)
	c.end(err)
}

// converse reads until the connection ends. It returns why: an error of the
// protocol is a *frames.Error.
func (c *conn) converse(read []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.s.Log.Error("connection", "panic", r, "stack", string(debug.Stack()))
			err = &frames.Error{Code: frames.InternalError, Why: "internal"}
		}
	}()
	c.flushSoon()
	c.mu.Lock()
	c.greeted = true
	late := c.drainLate
	c.mu.Unlock()
	if late {
		c.drain()
	}
	read, err = c.preface(read)
	for err == nil {
		if read, err = c.batch(read); err != nil {
			break
		}
		if read, err = c.more(read); err == nil {
			c.now = exchange.Now()
			c.calm.refill(c.now, c.s.Limits.Resets)
			c.activity.Add(1)
		}
	}
	c.dispatch()
	return err
}

// hello adds our SETTINGS, before anything else.
func (c *conn) hello() {
	var p []byte
	p = frames.AppendSetting(p, frames.MaxConcurrentStreams, uint32(c.s.Limits.Streams))
	p = frames.AppendSetting(p, frames.MaxHeaderListSize, uint32(c.s.Limits.Head))
	p = frames.AppendSetting(p, frames.EnableConnectProtocol, 1)
	out := append(frames.AppendHead(nil, len(p), frames.Settings, 0, 0), p...)
	if n := c.flow.Consume(0); n > 0 {
		out = frames.AppendWindowUpdate(out, 0, n)
	}
	_ = c.w.Raw(out)
}

var errPreface = &frames.Error{Code: frames.ProtocolError, Why: "preface"}

// preface reads the client's, beginning with what was read of it.
func (c *conn) preface(read []byte) ([]byte, error) {
	c.now = exchange.Now()
	c.calm.refill(c.now, c.s.Limits.Resets)
	for {
		n := min(len(read), len(frames.Preface))
		if string(read[:n]) != frames.Preface[:n] {
			return nil, errPreface
		}
		if n == len(frames.Preface) {
			return read[n:], nil
		}
		var err error
		if read, err = c.more(read); err != nil {
			return nil, err
		}
	}
}

// batch looks at all whole frames in read, hands out the streams that they began,
// and returns what is left.
func (c *conn) batch(read []byte) ([]byte, error) {
	came := len(read)
	for len(read) >= frames.HeadSize {
		h := frames.ParseHead(read)
		if h.Length > frames.MinFrame {
			return nil, &frames.Error{Code: frames.FrameSizeError, Why: "frame-length"}
		}
		if !c.settled && (h.Type != frames.Settings || h.Has(frames.Ack)) {
			return nil, errPreface
		}
		if len(read) < frames.HeadSize+h.Length {
			break
		}
		if err := c.frame(h, read[frames.HeadSize:frames.HeadSize+h.Length]); err != nil {
			return nil, err
		}
		read = read[frames.HeadSize+h.Length:]
	}
	if c.settled {
		awaits := c.part != nil || len(read) > 0 && (len(read) < frames.HeadSize || frames.Type(read[3]) != frames.Data)
		if since := c.heading.Load(); awaits && (since == 0 || c.part == nil && len(read) < came) {
			c.heading.Store(c.now) // another frame than before
		} else if !awaits && since != 0 {
			c.heading.Store(0)
		}
	}
	c.dispatch()
	return read, nil
}

// dispatch hands out the streams that began, and has written what was added.
func (c *conn) dispatch() {
	for i, s := range c.begun {
		c.s.crew.do(s)
		c.begun[i] = nil
	}
	c.begun = c.begun[:0]
	if c.wrote {
		c.wrote = false
		c.flushSoon()
	}
}

// flushSoon has another goroutine flush, as the reading one never writes.
func (c *conn) flushSoon() {
	if !c.w.Pending() {
		return
	}
	c.mu.Lock()
	c.running++
	c.mu.Unlock()
	c.s.crew.do((*flusher)(c))
}

// flusher is a connection whose writer is to be flushed.
type flusher conn

func (f *flusher) run() {
	c := (*conn)(f)
	_ = c.w.Flush()
	c.mu.Lock()
	c.ended()
	c.mu.Unlock()
}

// ended notes that a goroutine has done its part; c.mu is held.
func (c *conn) ended() {
	if c.running--; c.running == 0 {
		c.done.Broadcast()
	}
}

// more reads more behind rest, which is not consumed. While nothing is there,
// nothing is held.
func (c *conn) more(rest []byte) ([]byte, error) {
	if len(rest) == 0 {
		if c.in != nil {
			inputs.Put(c.in)
			c.in = nil
		}
		if c.raw != nil {
			c.readN, c.readE = 0, nil
			runtime.Gosched() // mostly there is more then, and parking is saved
			if err := c.raw.Read(c.onRead); err != nil {
				return nil, err
			}
			if c.readN == 0 && c.readE == nil {
				c.readE = io.EOF
			}
			if c.readN == 0 {
				return nil, c.readE
			}
			return c.in[:c.readN], nil
		}
		n, err := c.nc.Read(c.small[:])
		if n == 0 {
			return nil, err
		}
		c.in = inputs.Get().(*input) // what else is there comes with the next read
		return c.in[:copy(c.in[:], c.small[:n])], nil
	}
	if c.in == nil {
		c.in = inputs.Get().(*input)
		rest = c.in[:copy(c.in[:], rest)]
	}
	if &rest[0] != &c.in[0] {
		rest = c.in[:copy(c.in[:], rest)]
	}
	n, err := c.nc.Read(c.in[len(rest):])
	if n == 0 && err != nil {
		return nil, err
	}
	return c.in[:len(rest)+n], nil
}

// readSome is more's look at the socket; false waits until there is something.
func (c *conn) readSome(fd uintptr) bool {
	b := inputs.Get().(*input)
	n, again, err := readNow(fd, b[:])
	if again || n <= 0 {
		inputs.Put(b)
		c.readE = err
		return !again
	}
	c.in, c.readN, c.readE = b, n, nil
	return true
}

// end ends the connection: streams first, then what is to be said, then the socket.
func (c *conn) end(err error) {
	var fe *frames.Error
	isProtocol := errors.As(err, &fe)
	c.mu.Lock()
	c.closed = true
	quit := c.quitting
	for _, s := range c.streams {
		s.lose(errLost)
		s.out.Fail(errLost)
	}
	last := c.last
	if c.final {
		last = min(last, c.bound)
	}
	c.mu.Unlock()
	k := c.killed.Load()
	switch {
	case k != nil:
		c.s.refused(c.peer, k.status, k.slug, k.why)
		isProtocol = true
		fe = &frames.Error{Code: frames.EnhanceYourCalm, Why: k.slug}
	case errors.Is(c.w.Err(), frames.ErrFlooded):
		c.s.refused(c.peer, 429, "control-flood", c.w.Err().Error())
	case isProtocol:
		status := 400
		if fe.Code == frames.EnhanceYourCalm {
			status = 429
		}
		c.s.refused(c.peer, status, fe.Why, fe.Error())
	}
	if (isProtocol || quit) && c.w.Err() == nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		if isProtocol {
			_ = c.w.GoAway(last, fe.Code, fe.Why)
		}
		if c.w.Finish() == nil {
			c.linger()
		}
	}
	c.w.Fail(net.ErrClosed)
	c.mu.Lock()
	for c.running > 0 {
		c.done.Wait()
	}
	c.mu.Unlock()
	_ = c.nc.Close()
	if c.in != nil {
		inputs.Put(c.in)
		c.in = nil
	}
	c.w.Free()
}

var errLost = errors.New("the connection ended")

// linger lets what was said arrive though the client may still be sending: closing
// on unread bytes would reset the connection.
func (c *conn) linger() {
	h, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Second))
	b := inputs.Get().(*input)
	defer inputs.Put(b)
	for n := 0; n < 4<<20; {
		k, err := c.nc.Read(b[:])
		n += k
		if err != nil {
			return
		}
	}
}

// quit ends the reading in good order; c.mu is held.
func (c *conn) quit() {
	if !c.quitting {
		c.quitting = true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends the connection whatever it does.
func (c *conn) cut(why *refusal) {
	if why != nil {
		c.killed.CompareAndSwap(nil, why)
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// drainPing is what the PING between the two GOAWAY of a drain holds.
var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// drain tells the client to begin no more streams, and by a PING finds out when it
// knows: what it began before is served (RFC 9113, 6.8).
func (c *conn) drain() {
	c.mu.Lock()
	if c.drainAt != 0 || c.closed || !c.greeted {
		c.drainLate = !c.greeted // SETTINGS come first (RFC 9113, 3.4)
		c.mu.Unlock()
		return
	}
	c.drainAt = exchange.Now()
	c.mu.Unlock()
	_ = c.w.GoAway(frames.MaxWindow, frames.NoError, "drain")
	_ = c.w.Ping(false, drainPing[:])
	_ = c.w.Flush()
}

// finalise says which stream was the last; c.mu is held.
func (c *conn) finalise() {
	if c.final {
		return
	}
	c.final, c.bound = true, c.last
	_ = c.w.GoAway(c.bound, frames.NoError, "")
	if len(c.streams) == 0 {
		c.quit()
	}
}
