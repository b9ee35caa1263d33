package h3

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"swell/internal/exchange"
)

// buffer is what a body is read into.
type buffer [16 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// body is a request's body. A goroutine of its own reads one buffer ahead of who
// takes it, for two reasons: so it is known what there is without waiting, and a wait
// can be interrupted without breaking off within a frame.
type body struct {
	s    *stream
	done sync.WaitGroup // the reader

	mu      sync.Mutex
	wake    sync.Cond
	started bool
	full    *buffer // was read, and not given out
	n       int     // bytes in it
	lent    *buffer // was given out
	free    *buffer
	err     error // of the reader
	shut    bool  // nobody wants it any more
	stopped bool  // reading it was interrupted
	slow    bool  // it was waited for too long
	since   time.Time
	timer   *time.Timer
}

var (
	errShut    = errors.New("body was given up")
	errStopped = errors.New("reading the body was interrupted")
	errSlow    = errors.New("request body took too long")
)

func (b *body) init(s *stream) {
	b.s = s
	b.wake.L = &b.mu
}

// reset readies it for another request. Nobody else has it.
func (b *body) reset() {
	b.started, b.err, b.shut, b.stopped, b.slow = false, nil, false, false, false
	b.full, b.n, b.lent, b.since = nil, 0, nil, time.Time{}
}

// start starts the reader; b.mu is held.
func (b *body) start() {
	if b.started || b.shut {
		return
	}
	b.started = true
	b.free = buffers.Get().(*buffer)
	src := b.s.r.Body
	b.done.Go(func() { b.read(src) })
}

// read reads until the end, an error, or until nobody wants it.
func (b *body) read(src io.Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for b.full != nil && !b.shut {
			b.wake.Wait()
		}
		if b.shut {
			return
		}
		into := b.free
		if b.free = nil; into == nil {
			into = buffers.Get().(*buffer)
		}
		b.mu.Unlock()
		n, err := 0, error(nil)
		for n == 0 && err == nil { // trailers are read as nothing
			n, err = src.Read(into[:])
		}
		b.mu.Lock()
		if n > 0 {
			b.full, b.n = into, n
		} else {
			b.free = into
		}
		if err != nil {
			b.err = err
		}
		b.wake.Broadcast()
		if err != nil {
			return
		}
	}
}

// wait waits for a change, not for ever; b.mu is held.
func (b *body) wait() {
	most := b.s.c.limits.ReadTime
	b.since = time.Now()
	if b.timer == nil {
		b.timer = time.AfterFunc(most, b.tick)
	} else {
		b.timer.Reset(most)
	}
	b.wake.Wait()
	b.timer.Stop()
	b.since = time.Time{}
}

// tick ends a wait that lasts too long. A tick that comes late, of an earlier wait,
// finds that this one is young.
func (b *body) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s.c == nil || b.since.IsZero() || time.Since(b.since) < b.s.c.limits.ReadTime {
		return
	}
	b.slow = true
	b.wake.Broadcast()
}

// none waits until it is known whether there is a body, and reports that there is
// none.
func (b *body) none() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start()
	for b.full == nil && b.err == nil && !b.slow {
		b.wait()
	}
	return b.full == nil && b.err == io.EOF
}

// Next returns the next bytes from the client, as exchange.Body has it.
func (b *body) Next() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lent != nil {
		if b.free == nil {
			b.free = b.lent
		} else {
			buffers.Put(b.lent)
		}
		b.lent = nil
	}
	for {
		b.start()
		switch {
		case b.shut:
			return nil, errShut
		case b.full != nil:
			p := b.full[:b.n]
			b.lent, b.full = b.full, nil
			b.wake.Broadcast()
			b.s.x.Request.Bytes += int64(len(p))
			return p, nil
		case b.err == io.EOF:
			b.trailers()
			return nil, io.EOF
		case b.err != nil:
			return nil, fmt.Errorf("read the request's body: %w", b.err)
		case b.slow:
			return nil, errSlow
		case b.stopped:
			return nil, errStopped
		}
		if b.s.x.Request.Expect && !b.s.informed {
			b.mu.Unlock()
			err := b.s.interim(100, nil)
			b.mu.Lock()
			if err != nil {
				return nil, err
			}
			continue
		}
		b.wait()
	}
}

// trailers takes over the request's trailers, which are there once the reader is
// done.
func (b *body) trailers() {
	t := &b.s.x.Request.Trailer
	if t.Len() > 0 {
		return
	}
	n := 0
	for name, values := range b.s.r.Trailer {
		for _, v := range values {
			if n++; n > b.s.c.limits.Fields {
				return
			}
			t.AddName(name, v)
		}
	}
}

// Ready reports that Next would return at once.
func (b *body) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start()
	return b.full != nil || b.err != nil || b.shut || b.slow
}

// Close gives up what is left.
func (b *body) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.wake.Broadcast()
}

// Interrupt makes Next return, as exchange.Codec has it.
func (b *body) Interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.wake.Broadcast()
}

// Resume lets the body be read on after an interrupt.
func (b *body) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = false
}

// late reports that the body was waited for too long.
func (b *body) late() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow
}

// end ends the reader and gives the memory back. Nobody else has the body any more.
func (b *body) end() {
	b.mu.Lock()
	b.shut = true
	b.wake.Broadcast()
	b.mu.Unlock()
	if b.started {
		_ = b.s.w.SetReadDeadline(time.Unix(1, 0))
		b.done.Wait()
	}
	for _, p := range []**buffer{&b.full, &b.lent, &b.free} {
		if *p != nil {
			buffers.Put(*p)
			*p = nil
		}
	}
}

var _ exchange.Codec = (*body)(nil)
