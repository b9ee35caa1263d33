package h2

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// stream is one exchange under way. Server.streams pools it.
type stream struct {
	c     *conn
	id    uint32
	x     exchange.Exchange
	leash exchange.Leash
	out   frames.Outlet
	arena []byte   // holds the request's head
	head  []byte   // scratch for the answer's
	bad   *refusal // it is answered so, and never handled

	// Under c.mu.
	first, tail *block // what came of the body and was not consumed
	lent        int    // bytes that Next gave out and that are consumed with the next call
	length      int64  // Content-Length; -1 is unknown
	got         int64
	whole       bool  // the client ended its side
	dead        bool  // the stream is over but for its goroutine
	err         error // why
	shut        bool  // nobody wants the body any more
	stopped     bool  // reading the body was interrupted
	slow        bool  // the body was waited for too long
	gone        bool  // by the client's RST_STREAM
	tunnel      bool  // it may be silent as long as it likes
	informed    bool  // 100 Continue went out
	answering   bool  // the answer's head did
	flow        frames.Inflow
	wake        sync.Cond

	reading atomic.Uint32 // odd while the body is waited for

	// Made once, so that using them allocates nothing.
	inform func(int, *exchange.Header) error
	isGone func() bool

	// The sweep's.
	readSeen, waitSeen uint32
	readAt, waitAt     int64
}

func newStream() *stream {
	s := new(stream)
	s.inform, s.isGone = s.interim, s.leash.Gone
	return s
}

// begin readies the stream, whose request's head was read, before anybody else
// knows it.
func (s *stream) begin(c *conn, id uint32, bad *refusal) {
	s.c, s.id, s.bad = c, id, bad
	s.first, s.tail, s.lent, s.got = nil, nil, 0, 0
	s.whole, s.dead, s.err, s.shut, s.stopped, s.slow, s.gone, s.tunnel, s.informed, s.answering = false, false, nil, false, false, false, false, false, false, false
	s.wake.L = &c.mu
	s.leash.Reset()
	s.out.Open(&c.w, id)
	x := &s.x
	x.Peer, x.Hop, x.Local, x.TLS, x.Caller = c.peer, c.hop, c.local, c.tls, c.s.Caller
	x.Inform, x.Gone, x.Leash, x.Codec = s.inform, s.isGone, &s.leash, s
	x.Start = c.now
}

// mostKept bounds the memory that a pooled stream keeps.
const mostKept = 16 << 10

// recycle gives the stream back.
func (s *stream) recycle(server *Server) {
	s.x.Request.Body = nil
	s.x.Reset()
	s.c, s.bad, s.err = nil, nil, nil
	if cap(s.arena) > mostKept {
		s.arena = nil
	}
	if cap(s.head) > mostKept {
		s.head = nil
	}
	server.streams.Put(s)
}

// run handles the stream.
func (s *stream) run() {
	c, x := s.c, &s.x
	q := &x.Request
	if s.lost() { // before anything was done for it
		s.end()
		return
	}
	switch {
	case s.bad != nil:
		x.Reply(s.bad.status, s.bad.why)
	case len(q.Target) == 1 && q.Target[0] == '*':
		x.Reply(200, "")
		x.Response.Header.AddName("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")
	default:
		if q.Upgrade != nil {
			key(q)
		}
		s.handle()
	}
	slow := s.tooSlow()
	if slow && (x.Response.Status >= 400 || x.Response.Status == 0) { // what else came of it
		x.Reply(slowBody.status, slowBody.why)
	}
	err := s.respond()
	switch {
	case s.bad != nil:
		c.s.refused(c.peer, s.bad.status, s.bad.slug, s.bad.why)
	case slow:
		c.s.refused(c.peer, slowBody.status, slowBody.slug, slowBody.why)
	}
	if c.s.Done != nil && s.bad == nil {
		c.s.Done(x, err)
	}
	if x.Response.Close {
		c.drain()
	}
	x.Response.Drop() // ends the body's sender, too
	s.end()
}

// lost reports that the client left, or the connection ended.
func (s *stream) lost() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.dead
}

// end takes the stream off, and has what it added written. s is another's then.
func (s *stream) end() {
	c := s.c
	s.finish()
	_ = c.w.Flush()
	c.mu.Lock()
	c.ended()
	c.mu.Unlock()
}

func (s *stream) tooSlow() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.slow
}

// handle runs the server's Handle; a panic makes the answer 500.
func (s *stream) handle() {
	defer func() {
		if r := recover(); r != nil {
			s.c.s.Log.Error("exchange", "panic", r, "target", string(s.x.Request.Target), "stack", string(debug.Stack()))
			s.x.Reply(500, "internal error")
		}
	}()
	s.c.s.Handle(&s.x)
	if st := s.x.Response.Status; st < 200 && st != 101 {
		s.x.Reply(500, "no answer was made")
	}
}

// finish takes the stream off the connection and gives it back.
func (s *stream) finish() {
	c := s.c
	c.mu.Lock()
	if !s.whole && !s.dead {
		s.out.Reset(frames.NoError) // the answer is whole; the rest of the request is not wanted
		c.noteReset(s.id)
	} else if s.dead && !s.gone {
		c.noteReset(s.id)
	}
	if !s.dead {
		c.completed.Add(1)
	}
	s.out.Close()
	s.shut = true
	grant := c.flow.Consume(s.drop())
	if c.closed {
		grant = 0
	}
	delete(c.streams, s.id)
	if c.drainAt != 0 && c.final && len(c.streams) == 0 {
		c.quit()
	}
	c.mu.Unlock()
	_ = c.w.Grant(0, grant)
	s.recycle(c.s)
}

// lose ends what is done for the stream, because it or the connection broke; c.mu
// is held.
func (s *stream) lose(err error) {
	if s.dead {
		return
	}
	s.dead, s.err = true, err
	s.leash.Leave()
	s.wake.Broadcast()
}

// block holds a piece of a body.
type block struct {
	b    []byte
	r, w int
	next *block
}

const smallBlock, largeBlock = 4 << 10, frames.MinFrame

var (
	smallBlocks = sync.Pool{New: func() any { return &block{b: make([]byte, smallBlock)} }}
	largeBlocks = sync.Pool{New: func() any { return &block{b: make([]byte, largeBlock)} }}
)

func (b *block) free() {
	b.r, b.w, b.next = 0, 0, nil
	if len(b.b) == smallBlock {
		smallBlocks.Put(b)
	} else {
		largeBlocks.Put(b)
	}
}

// push adds what came of the body; c.mu is held.
func (s *stream) push(p []byte) {
	for len(p) > 0 {
		t := s.tail
		if t == nil || t.w == len(t.b) {
			pool := &largeBlocks
			if t == nil && len(p) <= smallBlock {
				pool = &smallBlocks
			}
			b := pool.Get().(*block)
			if t == nil {
				s.first = b
			} else {
				t.next = b
			}
			s.tail, t = b, b
		}
		n := copy(t.b[t.w:], p)
		t.w += n
		p = p[n:]
	}
}

// drop forgets what is held of the body and returns how much that was, what was
// lent included; c.mu is held.
func (s *stream) drop() int {
	n := s.lent
	s.lent = 0
	for b := s.first; b != nil; {
		next := b.next
		n += b.w - b.r
		b.free()
		b = next
	}
	s.first, s.tail = nil, nil
	return n
}

// settle takes back what Next lent, and returns what is to be granted to the client
// for it; c.mu is held.
func (s *stream) settle() (stream, connection int) {
	if s.lent == 0 {
		return 0, 0
	}
	n := s.lent
	s.lent = 0
	if b := s.first; b != nil && b.r == b.w {
		s.first = b.next
		if s.first == nil {
			s.tail = nil
		}
		b.free()
	}
	if !s.whole && !s.dead {
		if s.got > int64(frames.DefaultWindow)/2 {
			s.flow.Grow(s.c.s.Limits.Window) // somebody reads it, and more comes than fits
		}
		stream = s.flow.Consume(n)
	}
	return stream, s.c.flow.Consume(n)
}

var (
	errShut    = errors.New("body was given up")
	errStopped = errors.New("reading the body was interrupted")
	errSlow    = errors.New("request body took too long")
)

// Next returns the next bytes from the client, as exchange.Body has it.
func (s *stream) Next() ([]byte, error) {
	c := s.c
	c.mu.Lock()
	for {
		mine, all := s.settle()
		if mine+all > 0 {
			c.mu.Unlock()
			_ = c.w.Grant(s.id, mine)
			_ = c.w.Grant(0, all)
			_ = c.w.Flush()
			c.mu.Lock()
			continue
		}
		p, err := s.take()
		if p != nil || err != nil {
			c.mu.Unlock()
			s.x.Request.Bytes += int64(len(p))
			return p, err
		}
		if s.x.Request.Expect && !s.informed {
			c.mu.Unlock()
			if err := s.interim(100, nil); err != nil {
				return nil, err
			}
			c.mu.Lock()
			continue
		}
		s.reading.Add(1)
		s.wake.Wait()
		s.reading.Add(1)
	}
}

// take returns what Next returns if it needn't wait; c.mu is held.
func (s *stream) take() ([]byte, error) {
	switch {
	case s.shut:
		return nil, errShut
	case s.err != nil:
		return nil, s.err
	}
	if b := s.first; b != nil && b.r < b.w {
		p := b.b[b.r:b.w:b.w]
		b.r = b.w
		s.lent = len(p)
		return p, nil
	}
	switch {
	case s.whole:
		return nil, io.EOF
	case s.slow:
		return nil, errSlow
	case s.stopped:
		return nil, errStopped
	}
	return nil, nil
}

// Ready reports that Next would return at once.
func (s *stream) Ready() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.shut || s.err != nil || s.whole || s.slow {
		return true
	}
	b := s.first
	if b != nil && b.r == b.w {
		b = b.next
	}
	return b != nil && b.r < b.w
}

// Close gives up what is left.
func (s *stream) Close() {
	c := s.c
	if c == nil {
		return
	}
	c.mu.Lock()
	if s.shut {
		c.mu.Unlock()
		return
	}
	s.shut = true
	s.wake.Broadcast()
	c.mu.Unlock()
}

// Interrupt makes Next return, as exchange.Codec has it.
func (s *stream) Interrupt() {
	s.c.mu.Lock()
	s.stopped = true
	s.wake.Broadcast()
	s.c.mu.Unlock()
}

// Resume lets the body be read on after an interrupt.
func (s *stream) Resume() {
	s.c.mu.Lock()
	s.stopped = false
	s.c.mu.Unlock()
}

// interim sends an interim answer. It is what x.Inform is.
func (s *stream) interim(status int, h *exchange.Header) error {
	if status < 100 || status > 199 || status == 101 || status == 100 && !s.x.Request.Expect {
		return nil
	}
	c := s.c
	section := frames.AppendStatus(make([]byte, 0, 256), status)
	if h != nil {
		section = frames.AppendFields(section, h)
	}
	c.mu.Lock()
	if s.answering || status == 100 && s.informed {
		c.mu.Unlock()
		return nil
	}
	s.informed = s.informed || status == 100
	err := s.out.Head(false, section)
	c.mu.Unlock()
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", exchange.ErrGone, err)
	}
	return nil
}
