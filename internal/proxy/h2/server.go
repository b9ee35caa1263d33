package h2

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"swell/internal/exchange"
)

// Limits bound what one client may take. Zero fields mean the defaults named.
type Limits struct {
	Streams int // at a time on a connection; 128. Beyond it: REFUSED_STREAM
	Head    int // bytes of a request's head, 32 added for each field; 64 KiB. More is answered 431
	Target  int // bytes of a request target; 32 KiB. More is answered 414
	Fields  int // fields of a head, and of a trailer; 128. More is answered 431
	Window  int // bytes of a request's body that are held; 256 KiB, at least 64 KiB
	Buffer  int // bytes of all requests' bodies of a connection that are held; 4 MiB
	Resets  int // streams that a client may reset beyond those that it lets end, before some time passes; 200

	HeadTime  time.Duration // from a head's first byte to its last, and for the connection's preface; 10 s
	IdleTime  time.Duration // of a connection without a stream; 75 s
	ReadTime  time.Duration // without a byte of a request's body that is waited for; 60 s. Then 408
	WriteTime time.Duration // without the client taking, or allowing, a byte of an answer; 60 s
}

// Server turns client connections into exchanges. Its fields must not change once
// Serve was called; it must not be copied.
type Server struct {
	// Handle fills x.Response. It runs on the stream's goroutine and may block. A panic
	// in it is logged and answered 500. An exchange without a status after it is
	// answered 500.
	Handle func(x *exchange.Exchange)
	// Done is told once the answer was given to the connection's writer as a whole, or
	// broke with err: exchange.ErrGone, or the error of the body. x is valid until it
	// returns. It may be nil.
	Done func(x *exchange.Exchange, err error)
	// Refused is told of what this server did not take: requests that never became
	// exchanges, connections that broke the protocol or went over a bound, clients that
	// were too slow. status is what they were answered; for a connection or stream that
	// ended by a code instead it is 429 for ENHANCE_YOUR_CALM, 503 for REFUSED_STREAM,
	// 408 for what was too slow, else 400. slug is one word that stays, for metrics; why
	// says it in more. It may be nil.
	Refused func(peer netip.AddrPort, status int, slug, why string)

	Caller string // x.Caller of every exchange
	Limits Limits

	// DrainTime bounds how long streams in flight may go on once ctx ended; 30 s.
	DrainTime time.Duration
	// Log gets panics; slog.Default() if nil.
	Log *slog.Logger

	once    sync.Once
	streams sync.Pool
	crew    crew

	mu    sync.Mutex
	conns map[*conn]struct{}
	timer *time.Timer
	tick  time.Duration
	pass  sync.Mutex // held while a sweep runs
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (s *Server) init() {
	m := &s.Limits
	m.Streams, m.Head, m.Target, m.Fields = or(m.Streams, 128), or(m.Head, 64<<10), or(m.Target, 32<<10), or(m.Fields, 128)
	m.Window, m.Buffer, m.Resets = max(or(m.Window, 256<<10), 64<<10), max(or(m.Buffer, 4<<20), 64<<10), or(m.Resets, 200)
	m.HeadTime, m.IdleTime = or(m.HeadTime, 10*time.Second), or(m.IdleTime, 75*time.Second)
	m.ReadTime, m.WriteTime = or(m.ReadTime, time.Minute), or(m.WriteTime, time.Minute)
	s.DrainTime = or(s.DrainTime, 30*time.Second)
	if s.Log == nil {
		s.Log = slog.Default()
	}
	s.streams.New = func() any { return newStream() }
	s.conns = map[*conn]struct{}{}
	least := min(m.HeadTime, m.IdleTime, m.ReadTime, m.WriteTime, s.DrainTime)
	s.tick = min(500*time.Millisecond, max(10*time.Millisecond, least/8))
}

// Serve speaks HTTP/2 on nc, of which read was read already (the preface included),
// until the connection ends; then it closes it, and all streams have ended. peer is
// the client's address, state nil in the clear. When ctx ends, the connection drains:
// the client is told to begin no more streams, those in flight may end within
// DrainTime. It may be called for many connections at a time.
func (s *Server) Serve(ctx context.Context, nc net.Conn, peer netip.AddrPort, state *tls.ConnectionState, read []byte) {
	s.once.Do(s.init)
	c := newConn(s, nc, peer, state)
	s.enter(c)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { c.drain(); close(told) })
	c.serve(read)
	if !stop() {
		<-told
	}
	s.leave(c)
}

func (s *Server) enter(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	if len(s.conns) > 1 {
		return
	}
	s.crew.open()
	s.timer = time.AfterFunc(s.tick, s.sweep)
}

func (s *Server) leave(c *conn) {
	s.pass.Lock() // a sweep that saw c is over
	defer s.pass.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 {
		s.timer.Stop()
		s.crew.dismiss(true)
	}
}

// sweep ends what took too long. It comes again while there are connections.
func (s *Server) sweep() {
	s.pass.Lock()
	defer s.pass.Unlock()
	now := exchange.Now()
	s.mu.Lock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.look(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) > 0 {
		s.crew.dismiss(false)
		s.timer.Reset(s.tick)
	}
}

func (s *Server) refused(peer netip.AddrPort, status int, slug, why string) {
	if s.Refused != nil {
		s.Refused(peer, status, slug, why)
	}
}
