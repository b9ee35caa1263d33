package frames

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// bufferSize is how much is gathered before a stream with more data waits for the
// writing; mostControl is how much of all kinds may be queued for a peer that
// reads nothing, before it is one that never will.
const (
	bufferSize  = 32 << 10
	mostControl = 256 << 10
)

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// ErrFlooded is a peer that makes us write and doesn't read.
var ErrFlooded = errors.New("too many frames are queued for the peer")

// Writer gathers what many goroutines have to say on one connection into few
// writes. Adding never blocks, but for data; Flush writes, or leaves it to whoever
// writes already. It keeps the sending side of flow control, too: data waits for
// the windows of its stream and of the connection, and for room.
//
// Set it up with Init. Its methods may be called from any goroutine.
type Writer struct {
	nc net.Conn

	mu     sync.Mutex
	out    []byte // what is to be written next; nil while there is nothing
	gen    uint64 // counts the buffers that were taken to be written
	busy   bool   // somebody writes, or is about to
	err    error  // once writing failed, or Fail was called
	shrunk bool   // a ResizeTable is due
	sent   int    // DATA frames since Sent was called

	window  int64     // of the connection
	initial int64     // window of new streams
	frame   int       // the peer's largest frame
	open    Outlet    // the head of the ring of open outlets
	idle    sync.Cond // nobody writes
	waiting int       // outlets that wait for the connection's window, or for room

	// Writing is odd while a write is under way, for a sweep that looks for stuck ones.
	Writing atomic.Uint32
}

// Init readies the writer for a connection.
func (w *Writer) Init(nc net.Conn) {
	w.nc = nc
	w.window, w.initial, w.frame = DefaultWindow, DefaultWindow, MinFrame
	w.open.next, w.open.prev = &w.open, &w.open
	w.idle.L = &w.mu
}

// grab returns the buffer to append to; w.mu is held.
func (w *Writer) grab() []byte {
	if w.out == nil {
		w.out = buffers.Get().(*buffer)[:0]
	}
	return w.out
}

// control appends a control frame, unless the peer lets them pile up.
func (w *Writer) control(out []byte) error {
	w.out = out
	if w.err == nil && len(out) > mostControl {
		w.fail(ErrFlooded)
	}
	return w.err
}

// Raw adds whole frames as they are: a client's preface, SETTINGS.
func (w *Writer) Raw(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(append(w.grab(), b...))
}

// AckSettings adds the acknowledgement of SETTINGS.
func (w *Writer) AckSettings() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(AppendHead(w.grab(), 0, Settings, Ack, 0))
}

// Ping adds a PING, or the answer to one.
func (w *Writer) Ping(ack bool, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(AppendPing(w.grab(), ack, payload))
}

// Grant adds a WINDOW_UPDATE; n of 0 adds nothing.
func (w *Writer) Grant(stream uint32, n int) error {
	if n <= 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(AppendWindowUpdate(w.grab(), stream, n))
}

// Reset adds a RST_STREAM for a stream that has no outlet.
func (w *Writer) Reset(stream uint32, code Code) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(AppendReset(w.grab(), stream, code))
}

// GoAway adds a GOAWAY.
func (w *Writer) GoAway(last uint32, code Code, why string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.control(AppendGoAway(w.grab(), last, code, why))
}

// Pending reports that something waits to be written, and nobody is about to.
func (w *Writer) Pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.out) > 0 && !w.busy && w.err == nil
}

// Flush writes what was added, by anybody, unless somebody is about to. It lets
// the other goroutines that are ready to run go first: mostly they have something
// to add. An error is the connection's, which is closed then.
func (w *Writer) Flush() error {
	w.mu.Lock()
	if w.busy || len(w.out) == 0 || w.err != nil {
		err := w.err
		w.mu.Unlock()
		return err
	}
	w.busy = true
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	w.write()
	err := w.err
	w.mu.Unlock()
	return err
}

// write writes until nothing is left; w.mu and w.busy are held.
func (w *Writer) write() {
	for len(w.out) > 0 && w.err == nil {
		b := w.out
		w.out = nil
		w.gen++
		w.admit()
		w.mu.Unlock()
		w.Writing.Add(1)
		_, err := w.nc.Write(b)
		w.Writing.Add(1)
		if cap(b) == bufferSize {
			buffers.Put((*buffer)(b[:bufferSize]))
		}
		w.mu.Lock()
		if err != nil {
			w.fail(fmt.Errorf("write: %w", err))
		}
	}
	w.busy = false
	w.idle.Broadcast()
}

// Finish writes what was added, or waits until it is written. Give the connection a
// write deadline before.
func (w *Writer) Finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy {
		w.idle.Wait()
	}
	w.busy = true
	w.write()
	return w.err
}

// fail ends all sending; w.mu is held.
func (w *Writer) fail(err error) {
	if w.err != nil {
		return
	}
	w.err = err
	for o := w.open.next; o != &w.open; o = o.next {
		o.wake.Broadcast()
	}
	nc := w.nc
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn() // TLS would say farewell, and wait for a peer that doesn't read
	}
	_ = nc.Close()
}

// Fail ends the writer with err, and closes the connection: whoever waits or adds
// gets err.
func (w *Writer) Fail(err error) {
	w.mu.Lock()
	w.fail(err)
	w.mu.Unlock()
}

// Sent returns how many DATA frames were added since it was called last.
func (w *Writer) Sent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.sent
	w.sent = 0
	return n
}

// Err returns why the writer ended; nil if it didn't.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Free gives the buffer back. Nobody uses the writer afterwards.
func (w *Writer) Free() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cap(w.out) == bufferSize {
		buffers.Put((*buffer)(w.out[:bufferSize]))
	}
	w.out = nil
}

// admit wakes the outlets that wait for what all share; w.mu is held.
func (w *Writer) admit() {
	if w.waiting == 0 {
		return
	}
	for o := w.open.next; o != &w.open; o = o.next {
		if o.shared {
			o.wake.Broadcast()
		}
	}
}

// Update widens the connection's window by n; false if it became too wide, an
// error of the connection.
func (w *Writer) Update(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window+int64(n) > MaxWindow {
		return false
	}
	w.window += int64(n)
	w.admit()
	return true
}

// Initial sets the initial window of streams, and changes those of the open ones;
// false if one became too wide, an error of the connection.
func (w *Writer) Initial(n uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := int64(n) - w.initial
	w.initial = int64(n)
	ok := n <= MaxWindow
	for o := w.open.next; o != &w.open; o = o.next {
		o.window += d
		ok = ok && o.window <= MaxWindow
		o.wake.Broadcast()
	}
	return ok
}

// FrameSize sets the peer's largest frame.
func (w *Writer) FrameSize(n int) {
	w.mu.Lock()
	w.frame = n
	w.mu.Unlock()
}

// TableSize notes the bound that the peer put on our dynamic table.
func (w *Writer) TableSize(n uint32) {
	w.mu.Lock()
	w.shrunk = w.shrunk || n < DefaultTable
	w.mu.Unlock()
}
