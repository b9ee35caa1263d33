package pool

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// Sizes of flow control and of what is queued to be written.
const (
	firstWindow = 64 << 10  // of an answer; it grows up to Options.Window
	connWindow  = 16 << 20  // of all answers: given again as they come in, as each has its own
	mostQueued  = 256 << 10 // bytes that may wait to be written until request bodies wait, too
	mostControl = 64 << 10  // bytes of answers to PING, SETTINGS and the like
	lastID      = 1<<31 - 1
)

// Why connections end that did nothing wrong.
var (
	errIdle   = errors.New("idle for long")
	errDone   = errors.New("not needed any more")
	errSilent = fmt.Errorf("%w: no answer to PING", exchange.ErrClosed)
)

// conn is one connection to an upstream. What is not said to be another's is
// under mu, which is given back by done, never else.
type conn struct {
	pool   *Pool
	host   *host
	nc     net.Conn
	raw    syscall.RawConn // nil if a write may block whoever makes it
	scheme string
	place  int // in pool.conns, under its lock

	mu      sync.Mutex
	streams map[uint32]*stream
	active  int    // places taken, by streams and by requests about to become one
	next    uint32 // ID of the next stream
	err     error  // why it ended; nil while it has not
	buried  bool   // and that was seen to
	leaving bool   // no new streams
	last    bool   // and none after those that it has
	freed   bool   // places became free
	used    bool   // it carried a stream

	// What the upstream set.
	most     int // streams at a time
	frame    int // bytes of a frame's payload
	initial  int // window of a new stream
	extended bool
	window   int64 // what may be sent, of all streams
	resize   bool  // the next field section tells of the smaller table

	in    frames.Inflow
	heard uint64 // reads so far
	quiet int64  // when the sweep first saw that number
	seen  uint64 // which number that was
	idle  int64  // since when there has been no stream; 0: there is one
	asked int64  // when a PING went out that is unanswered; 0: none
	// checked: whether the upstream is still there is being found out; no stream
	// begins meanwhile. It is written under mu.
	checked atomic.Bool

	out, spare []byte
	writing    bool   // somebody writes
	queued     int64  // bytes ever put into out
	offered    int64  // bytes ever offered to the system
	control    int    // bytes in out that the upstream provoked
	stuck      int    // senders that wait for room or a window
	rest       []byte // what the socket did not take: the flusher's

	// Of who writes.
	try   []byte
	tried int
	tryE  error
	onTry func(fd uintptr) bool
}

func newConn(h *host, nc net.Conn) *conn {
	c := &conn{
		pool: h.pool, host: h, nc: nc, scheme: "http", raw: rawOf(nc), streams: map[uint32]*stream{}, next: 1,
		most: 100, frame: frames.MinFrame, initial: frames.DefaultWindow, window: frames.DefaultWindow,
		idle: exchange.Now(), quiet: exchange.Now(),
	}
	if _, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		c.scheme = "https"
	}
	c.onTry = c.tryWrite
	c.in.Open(frames.DefaultWindow, connWindow)
	return c
}

// greet begins the connection: our preface and settings go out, and the
// upstream's settings come in.
func (c *conn) greet() (*input, error) {
	out := append([]byte(nil), frames.Preface...)
	var set []byte
	set = frames.AppendSetting(set, frames.EnablePush, 0)
	set = frames.AppendSetting(set, frames.InitialWindowSize, firstWindow)
	set = frames.AppendSetting(set, frames.MaxHeaderListSize, uint32(c.pool.o.Head))
	out = append(frames.AppendHead(out, len(set), frames.Settings, 0, 0), set...)
	out = frames.AppendWindowUpdate(out, 0, c.in.Consume(0))
	if _, err := c.nc.Write(out); err != nil {
		return nil, cause(err)
	}
	in := newInput()
	for {
		h, p, ok := in.frame()
		if h.Length > frames.MinFrame || ok && (h.Type != frames.Settings || h.Has(frames.Ack)) ||
			!ok && in.w > 3 && in.b[3] != byte(frames.Settings) {
			return nil, fmt.Errorf("%w: it does not begin with the SETTINGS of HTTP/2", exchange.ErrMalformed)
		}
		if ok {
			if err := c.settings(h, p); err != nil {
				return nil, malformed(err)
			}
			return in, nil
		}
		if err := in.read(c.nc); err != nil {
			return nil, cause(err)
		}
	}
}

// cause says what an error of reading or writing means.
func cause(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%w: %w", exchange.ErrClosed, err)
	}
	return err
}

func malformed(e *frames.Error) error { return fmt.Errorf("%w: %w", exchange.ErrMalformed, e) }

// reserve takes a place for a stream; false if there is none.
func (c *conn) reserve() bool {
	c.mu.Lock()
	if c.err != nil || c.leaving || c.checked.Load() || c.active >= min(c.most, c.pool.o.Streams) || c.next > lastID {
		c.mu.Unlock()
		return false
	}
	if c.active == 0 && c.pool.sweep.clock.Load()-c.quiet > int64(c.pool.o.QuietTime) && c.heard == c.seen {
		c.ask()
		c.mu.Unlock()
		go func() { // h.mu is held, which done may ask for
			c.mu.Lock()
			c.done()
		}()
		return false
	}
	c.active++
	c.idle = 0
	c.mu.Unlock()
	return true
}

// giveBack gives up a place that reserve took.
func (c *conn) giveBack() {
	c.mu.Lock()
	c.free()
	c.done()
}

// free makes a place free.
func (c *conn) free() {
	c.active--
	c.freed = true
	c.over()
}

// over sees to a connection that has no streams, perhaps.
func (c *conn) over() {
	if c.active > 0 || c.err != nil {
		return
	}
	if c.idle == 0 {
		c.idle = c.pool.sweep.clock.Load()
	}
	if c.leaving || c.last {
		c.fail(errDone)
	}
}

// ask finds out whether the upstream is still there.
func (c *conn) ask() {
	if c.checked.Load() {
		return
	}
	c.checked.Store(true)
	c.asked = exchange.Now()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(c.asked))
	c.put(frames.AppendPing(c.out, false, b[:]))
	c.pool.sweep.wake()
}

// put replaces out by what was appended to it.
func (c *conn) put(out []byte) {
	c.queued += int64(len(out) - len(c.out))
	c.out = out
}

// reply is put for frames that the upstream provoked. Of those no number may wait.
func (c *conn) reply(out []byte) {
	c.control += len(out) - len(c.out)
	c.put(out)
	if c.control > mostControl {
		c.end(&frames.Error{Code: frames.EnhanceYourCalm, Why: "flood"})
	}
}

// end ends the connection for a violation.
func (c *conn) end(e *frames.Error) {
	if c.err != nil {
		return
	}
	c.put(frames.AppendGoAway(c.out, 0, e.Code, e.Why))
	c.fail(malformed(e))
}

// fail ends the connection and its streams.
func (c *conn) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	for _, s := range c.streams {
		e := err
		if c.offered <= s.at {
			e = &refused{err}
		}
		s.fail(e)
	}
	clear(c.streams)
}

// done ends a hold of mu. What is queued gets written, unless somebody does that
// already; what became free is given to who waits; and a connection that ended is
// closed. Before it writes, it lets others add theirs.
func (c *conn) done() { c.settle(true) }

// settle is done; whoever may hold a lock of others' does not let them go first.
func (c *conn) settle(polite bool) {
	if c.err != nil {
		c.bury()
		return
	}
	if len(c.out) == 0 || c.writing {
		c.unlock()
		return
	}
	c.writing = true
	if c.raw == nil {
		go c.flush()
		c.unlock()
		return
	}
	if polite {
		c.unlock()
		runtime.Gosched() // others have something to add, mostly, and it goes out in one write
		c.mu.Lock()
	}
	for range 4 {
		if !c.write() {
			return
		}
	}
	go c.flush() // others keep us from our own work
	c.unlock()
}

// write gives the socket what is queued, as the one who writes. It returns false,
// with mu given back, when there is nothing more to do.
func (c *conn) write() bool {
	if c.err != nil || len(c.out) == 0 {
		c.writing = false
		if c.err != nil {
			c.bury()
		} else {
			c.unlock()
		}
		return false
	}
	c.swap()
	c.mu.Unlock()
	c.tried, c.tryE = 0, nil
	err := c.raw.Write(c.onTry)
	if err == nil {
		err = c.tryE
	}
	b, n := c.try, c.tried
	c.mu.Lock()
	switch {
	case err != nil:
		c.fail(cause(err))
	case n < len(b):
		c.rest = b[n:]
		go c.flush()
		c.unlock()
		return false
	default:
		c.wrote(b)
	}
	return true
}

// swap makes what is queued what is tried.
func (c *conn) swap() {
	c.try = c.out
	c.offered += int64(len(c.out))
	c.out, c.spare, c.control = c.spare[:0], nil, 0
}

// wrote keeps the memory of b, and has senders go on.
func (c *conn) wrote(b []byte) {
	c.try = nil
	if cap(b) <= mostQueued {
		c.spare = b[:0]
	}
	if c.stuck > 0 {
		c.unstick()
	}
}

// unstick wakes the senders that wait.
func (c *conn) unstick() {
	for _, s := range c.streams {
		if s.stuck {
			s.signalRoom()
		}
	}
}

// flush writes as long as there is something to be written, on a goroutine of its
// own, as the one who writes: it may be held up by the upstream.
func (c *conn) flush() {
	c.mu.Lock()
	for {
		b := c.rest
		c.rest = nil
		if b == nil {
			if c.err != nil || len(c.out) == 0 {
				break
			}
			c.swap()
			b = c.try
		}
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if err != nil {
			c.fail(cause(err))
		} else {
			c.wrote(b[:0:cap(b)])
		}
	}
	c.writing = false
	c.done()
}

// unlock gives mu back and tells who waits of free places.
func (c *conn) unlock() {
	freed := c.freed
	c.freed = false
	c.mu.Unlock()
	if freed && c.host.waiting.Load() > 0 {
		c.host.admit()
	}
}

// bury closes a connection that ended, once, and gives mu back.
func (c *conn) bury() {
	if c.buried {
		c.mu.Unlock()
		return
	}
	c.buried = true
	b := c.out
	c.out = nil
	if c.writing {
		b = nil
	}
	c.mu.Unlock()
	if len(b) > 0 && c.raw != nil { // a GOAWAY; it gets there or not
		c.try, c.tried = b, 0
		_ = c.raw.Write(c.onTry)
	}
	_ = plain(c.nc).Close()
	c.pool.forget(c)
	c.host.forget(c)
}

// look is the sweep's: it ends what took too long. It reports whether anything is
// under way.
func (c *conn) look(now int64) bool {
	c.mu.Lock()
	if c.heard != c.seen {
		c.seen, c.quiet = c.heard, now
	}
	active := c.active > 0 || c.asked != 0
	for _, s := range c.streams {
		s.look(now)
	}
	switch {
	case c.err != nil:
	case c.asked != 0 && now-c.asked > int64(c.pool.o.PingTime):
		c.fail(errSilent)
	case c.active == 0 && c.idle != 0 && now-c.idle > int64(c.pool.o.IdleTime):
		c.fail(errIdle)
	}
	c.settle(false)
	return active
}

// refused is why a stream ended of which the upstream has processed nothing: it
// said so, or nothing was written.
type refused struct{ err error }

// Error says why.
func (r *refused) Error() string { return r.err.Error() }

// Unwrap returns the cause.
func (r *refused) Unwrap() error { return r.err }
