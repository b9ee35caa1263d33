package pool

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// sender sends the rest of a request's body while the exchange's own goroutine
// reads the answer, so that neither waits for the other.
type sender struct {
	s        *stream
	q        *exchange.Request
	pending  []byte // read before, to be sent first
	extra    []byte // after that
	complete bool   // nothing comes after it
	left     int64  // of the body after it; -1 is unknown
	start    chan bool
	patience time.Duration // with Expect: how long to wait for start
	turn     atomic.Int32  // with Expect: whether the sender began, or was called off before
	halting  atomic.Bool
	read     atomic.Bool // something of the body was read, or tried to be in vain
	done     chan struct{}
	err      error // of the body
}

// Turns of a sender.
const (
	waits int32 = iota
	began
	calledOff
)

var errStopped = errors.New("nothing more is to be sent")

// push queues as much of p as the windows allow, with the end of the body if all of
// it goes and it is the last. It returns how much that is. c.mu is held.
func (s *stream) push(p []byte, last bool) int {
	c := s.c
	n := 0
	for {
		k := min(len(p)-n, c.frame)
		k = int(min(int64(k), s.window, c.window))
		if k <= 0 && len(p) > n {
			return n
		}
		var flags uint8
		if last && n+k == len(p) {
			flags = frames.EndStream
			s.sentEnd = true
		} else if k <= 0 {
			return n
		}
		c.put(append(frames.AppendHead(c.out, k, frames.Data, flags, s.id), p[n:n+k]...))
		s.window -= int64(k)
		c.window -= int64(k)
		s.beat++
		if n += k; n == len(p) {
			return n
		}
	}
}

// close ends the request, with a trailer if there is one. c.mu is held.
func (s *stream) close(trailer *exchange.Header) {
	if trailer.Len() == 0 {
		s.push(nil, true)
		return
	}
	s.c.put(frames.AppendSection(s.c.out, s.id, true, s.c.frame, frames.AppendFields(nil, trailer)))
	s.sentEnd = true
}

// send sends p, waiting for windows, and for room in what is queued; then the end, if
// that is wanted. more says that there is more to send at once.
func (s *stream) send(p []byte, end bool, trailer *exchange.Header, more bool) error {
	c := s.c
	c.mu.Lock()
	for {
		if s.stop || s.err != nil || c.err != nil {
			c.done()
			return errStopped
		}
		if len(c.out) < mostQueued {
			p = p[s.push(p, end && trailer.Len() == 0):]
			if len(p) == 0 {
				break
			}
		}
		s.stuck = true
		c.stuck++
		c.done()
		<-s.room
		c.mu.Lock()
		c.stuck--
		s.stuck = false
	}
	if end {
		if !s.sentEnd {
			s.close(trailer)
		}
		if s.gotEnd {
			s.remove()
		}
	}
	if more && len(c.out) < frames.MinFrame {
		c.mu.Unlock()
		return nil
	}
	c.done()
	return nil
}

// run is the sender's goroutine.
func (d *sender) run() {
	defer close(d.done)
	if d.start != nil {
		t := time.NewTimer(d.patience)
		defer t.Stop()
		select {
		case wanted := <-d.start:
			if !wanted {
				return
			}
		case <-t.C:
		}
	}
	if !d.turn.CompareAndSwap(waits, began) {
		return
	}
	err := d.pump()
	if err != nil && err != errStopped && !d.halting.Load() {
		d.err = err
		c := d.s.c
		c.mu.Lock()
		if !d.s.ended() {
			d.s.cut(frames.Cancel, exchange.ErrRequest)
		}
		c.done()
	}
}

// pump copies the body. It returns the body's error, or errStopped.
func (d *sender) pump() (err error) {
	defer func() {
		if r := recover(); r != nil { // a filter's body
			err = fmt.Errorf("request body: panic: %v", r)
		}
	}()
	s, q := d.s, d.q
	if len(d.pending) > 0 || d.complete {
		if err := s.send(d.pending, d.complete, &q.Trailer, false); err != nil || d.complete {
			return err
		}
	}
	if len(d.extra) > 0 {
		if err := s.send(d.extra, false, &q.Trailer, false); err != nil {
			return err
		}
	}
	b := q.Body
	for {
		p, err := b.Next()
		if err != nil && d.halting.Load() {
			return errStopped
		}
		d.read.Store(true)
		if err == io.EOF {
			if d.left > 0 {
				return exchange.ErrShort
			}
			return s.send(nil, true, &q.Trailer, false)
		}
		if err != nil {
			return err
		}
		if d.left >= 0 {
			if d.left -= int64(len(p)); d.left < 0 {
				return exchange.ErrLong
			}
		}
		if err := s.send(p, false, &q.Trailer, b.Ready()); err != nil {
			return err
		}
	}
}

// go100 says that the upstream wants the body.
func (d *sender) go100() { d.tell(true) }

// answered says that the final answer is there: a body that nobody asked for yet
// is not sent any more.
func (d *sender) answered() { d.tell(false) }

func (d *sender) tell(wanted bool) {
	if d.start != nil {
		select {
		case d.start <- wanted:
		default:
		}
	}
}

// halt ends the sender and waits for it.
func (d *sender) halt() {
	select {
	case <-d.done:
		return
	default:
	}
	d.halting.Store(true)
	d.answered()
	if d.turn.CompareAndSwap(waits, calledOff) { // the body is untouched, for another attempt
		<-d.done
		return
	}
	s := d.s
	s.c.mu.Lock()
	s.stop = true
	s.signalRoom()
	s.c.mu.Unlock()
	if x := s.x; x.Codec != nil {
		x.Codec.Interrupt()
		<-d.done
		x.Codec.Resume()
	} else {
		d.q.Body.Close()
		<-d.done
	}
}
