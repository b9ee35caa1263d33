package h1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"swell/internal/exchange"
)

// long ago: a deadline of then makes reads and writes return.
var past = time.Unix(1, 0)

// upstream is one connection to an upstream. Idle, it is the pool's; else it
// belongs to the goroutine of its exchange.
type upstream struct {
	pool  *Pool
	host  *host
	nc    net.Conn
	raw   syscall.RawConn // nil if there is no descriptor
	in    io.Reader       // nc, or what is quicker; one goroutine at a time
	out   io.Writer       // likewise
	place int             // in pool.conns
	used  bool            // it carried an exchange before
	since int64           // idle since

	word     word
	deadline atomic.Int64          // on the scale of exchange.Now; 0 is none
	reason   atomic.Pointer[error] // why it was killed

	// Of an exchange with an IdleTimeout, patience is that, in nanoseconds; reading and
	// writing count beginnings and ends, odd while one is under way.
	// heard and heardAt are the sweep's.
	patience         atomic.Int64
	reading, writing atomic.Uint32
	heard            heard
	heardAt          int64

	sender *sender // of the request's body, while it runs
	shut   bool

	check func(fd uintptr) // made once, so that asking allocates nothing
	still bool             // what check found
}

func newUpstream(p *Pool, h *host, nc net.Conn) *upstream {
	u := &upstream{pool: p, host: h, nc: nc, raw: rawOf(nc)}
	u.in, u.out = sourceOf(nc, u.raw), writerTo(nc, u.raw)
	u.check = func(fd uintptr) { u.still = quiet(fd) }
	u.word.enter(busy)
	return u
}

// rawOf returns the descriptor of a connection, under TLS too; nil without one.
func rawOf(nc net.Conn) syscall.RawConn {
	if !sockets {
		return nil
	}
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// open reports that an idle connection has neither been closed nor spoken out of
// turn. Without a descriptor it can't tell.
func (u *upstream) open() bool {
	if u.raw == nil {
		return true
	}
	return u.raw.Control(u.check) == nil && u.still
}

// kill ends what happens in the phase seen in v: reads and writes return.
func (u *upstream) kill(v uint64, reason *error) {
	if u.word.kill(v) {
		u.reason.Store(reason)
		_ = u.nc.SetDeadline(past)
	}
}

// heard is what a sweep saw of a connection.
type heard struct {
	word          uint64
	reads, writes uint32
}

// silent reports that for as long as an exchange's IdleTimeout, in the phase seen in
// v, the upstream was waited for and nothing went either way. It is the sweep's.
func (u *upstream) silent(v uint64, now int64) bool {
	limit := u.patience.Load()
	if limit == 0 {
		return false
	}
	n := heard{v, u.reading.Load(), u.writing.Load()}
	if n != u.heard || n.reads&1 == 0 && n.writes&1 == 0 {
		u.heard, u.heardAt = n, now
		return false
	}
	return now-u.heardAt >= limit
}

// Cut ends the exchange under way, whose client left: it is only called while the
// exchange's leash holds u.
func (u *upstream) Cut() {
	if v := u.word.Load(); phaseOf(v) == busy {
		u.kill(v, &exchange.ErrGone)
	}
}

func (u *upstream) close() {
	if u.shut {
		return
	}
	u.shut = true
	u.word.enter(piped)
	_ = u.nc.Close()
	u.pool.forget(u)
	if u.pool.o.Conns > 0 {
		u.host.leave()
	}
}

// cause says what an error of reading or writing means.
func (u *upstream) cause(err error) error {
	if r := u.reason.Load(); r != nil {
		return *r
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%w: %w", exchange.ErrClosed, err)
	}
	if errors.Is(err, errChunk) {
		return fmt.Errorf("%w: %w", exchange.ErrMalformed, err)
	}
	return err
}

// tunnel is the upstream's side after 101 Switching Protocols.
type tunnel struct {
	u    *upstream
	rest []byte // read together with the head
	done atomic.Bool
}

func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.rest) > 0 {
		n := copy(p, t.rest)
		t.rest = t.rest[n:]
		return n, nil
	}
	return t.u.nc.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.u.nc.Write(p) }

// CloseWrite tells the upstream that nothing more comes.
func (t *tunnel) CloseWrite() error { return closeWrite(t.u.nc) }

// Close may be called by both directions.
func (t *tunnel) Close() error {
	if !t.done.Swap(true) {
		t.u.close()
	}
	return nil
}

var errNoHalf = errors.New("connection can't be closed by half")

func closeWrite(c any) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errNoHalf
}
