package frames

import (
	"sync"
	"sync/atomic"
)

// Outlet is the sending side of one stream. But for Update, Fail and Reset it
// belongs to one goroutine at a time. Set it up with Open, and Close it once
// nothing is sent any more.
type Outlet struct {
	w          *Writer
	id         uint32
	window     int64
	err        error // the stream ended
	ended      bool  // END_STREAM or RST_STREAM was added
	wake       sync.Cond
	shared     bool   // it waits for what all streams share
	tail       int    // where the flags of the last frame are, if it was added to
	gen        uint64 // this buffer
	next, prev *Outlet

	// Waiting is odd while Data waits for the peer, for a sweep that looks for
	// streams which it starves.
	Waiting atomic.Uint32
}

// Open begins a stream's sending. The outlet may have been used before.
func (o *Outlet) Open(w *Writer, id uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.w, o.id, o.window, o.err, o.ended, o.shared, o.tail = w, id, w.initial, nil, false, false, -1
	o.wake.L = &w.mu
	o.next, o.prev = w.open.next, &w.open
	o.next.prev, o.prev.next = o, o
}

// Close ends the stream's sending. It returns whether END_STREAM or RST_STREAM was
// added.
func (o *Outlet) Close() bool {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.next != nil {
		o.next.prev, o.prev.next = o.prev, o.next
		o.next, o.prev = nil, nil
	}
	return o.ended
}

func (o *Outlet) broken() error {
	if o.w.err != nil {
		return o.w.err
	}
	return o.err
}

// Head adds a HEADERS frame, and CONTINUATION frames where they are needed.
// Section is encoded already.
func (o *Outlet) Head(end bool, section []byte) error {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := o.broken(); err != nil {
		return err
	}
	out := w.grab()
	from := len(out)
	if w.shrunk {
		w.shrunk = false
		section = append([]byte{ResizeTable}, section...)
	}
	w.out = AppendSection(out, o.id, end, w.frame, section)
	o.ended = end
	o.tail, o.gen = from+4, w.gen
	return nil
}

// Data adds p in DATA frames. It waits until the peer's windows and the connection
// take it, p having been copied then; Flush is left to the caller.
func (o *Outlet) Data(p []byte) error {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		if err := o.broken(); err != nil {
			return err
		}
		room := bufferSize - len(w.out) - HeadSize
		n := min(int64(len(p)), o.window, w.window, int64(w.frame))
		if n > int64(room) && (int64(room) < n/2 || room < 512) {
			n = 0
		} else {
			n = min(n, int64(room))
		}
		if n <= 0 {
			o.wait(o.window > 0)
			continue
		}
		out := w.grab()
		o.tail, o.gen = len(out)+4, w.gen
		w.out = append(AppendHead(out, int(n), Data, 0, o.id), p[:n]...)
		p = p[n:]
		o.window -= n
		w.window -= n
		w.sent++
	}
	return o.broken()
}

// wait waits for a window or room, after everything is on its way that others
// would write; w.mu is held.
func (o *Outlet) wait(shared bool) {
	w := o.w
	if !w.busy && len(w.out) > 0 {
		w.busy = true
		w.write()
		return
	}
	o.shared = shared
	if shared {
		w.waiting++
	}
	o.Waiting.Add(1)
	o.wake.Wait()
	o.Waiting.Add(1)
	if shared {
		w.waiting--
	}
	o.shared = false
}

// End ends the stream in good order: the last frame gets END_STREAM if it wasn't
// written yet, else an empty DATA frame has it.
func (o *Outlet) End() error {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := o.broken(); err != nil {
		return err
	}
	if o.ended {
		return nil
	}
	o.ended = true
	if o.tail >= 0 && o.gen == w.gen && o.tail < len(w.out) {
		w.out[o.tail] |= EndStream
		return nil
	}
	w.out = AppendHead(w.grab(), 0, Data, EndStream, o.id)
	return nil
}

// Reset ends the stream by RST_STREAM, if it hasn't ended by it, and what waits
// in Data; what is to be sent fails from now on.
func (o *Outlet) Reset(code Code) {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.err == nil {
		o.err = &Error{Code: code, Stream: o.id, Why: "reset"}
		if w.err == nil {
			_ = w.control(AppendReset(w.grab(), o.id, code))
		}
		o.ended = true
	}
	o.wake.Broadcast()
}

// Fail ends the sending with err, because the peer reset the stream: nothing more
// is sent.
func (o *Outlet) Fail(err error) {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.err == nil {
		o.err, o.ended = err, true
	}
	o.wake.Broadcast()
}

// Update widens the stream's window by n; false if it became too wide, an error of
// the stream.
func (o *Outlet) Update(n int) bool {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.window+int64(n) > MaxWindow {
		return false
	}
	o.window += int64(n)
	o.wake.Broadcast()
	return true
}
