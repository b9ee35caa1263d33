package h1

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

// sender writes the rest of a request's body while the exchange's own goroutine
// reads the answer, so that neither waits for the other.
type sender struct {
	u        *upstream
	x        *exchange.Exchange
	q        *exchange.Request
	s        sink
	pending  []byte        // read before, to be written first
	start    chan bool     // with Expect: whether the body is wanted
	patience time.Duration // with Expect: how long to wait for start
	turn     atomic.Int32  // with Expect: whether the sender began, or was called off before
	stopping atomic.Bool
	done     chan struct{}
	err      error // of the body
	ok       bool  // all was written
}

// Turns of a sender.
const (
	waits int32 = iota
	began
	calledOff
)

// send starts a sender. Whoever ends the exchange stops it.
func send(u *upstream, x *exchange.Exchange, pending []byte, chunked bool, left int64) *sender {
	q := &x.Request
	s := &sender{u: u, x: x, q: q, pending: pending, done: make(chan struct{}),
		s: sink{to: u.out, chunked: chunked, left: left}}
	if x.IdleTimeout > 0 {
		s.s.waiting = &u.writing
	}
	if q.Expect {
		s.start, s.patience = make(chan bool, 1), u.pool.o.ExpectTime
	}
	v := u.word.Load()
	go s.run(v)
	return s
}

func (s *sender) run(v uint64) {
	defer close(s.done)
	if s.start != nil {
		t := time.NewTimer(s.patience)
		defer t.Stop()
		select {
		case wanted := <-s.start:
			if !wanted {
				return
			}
		case <-t.C:
		}
	}
	if !s.turn.CompareAndSwap(waits, began) {
		return
	}
	err := s.pump()
	if err != nil && !s.stopping.Load() {
		s.err = err
		if s.x.Leash != nil && s.x.Leash.Gone() {
			s.u.kill(v, &exchange.ErrGone)
		} else {
			s.u.kill(v, &exchange.ErrRequest)
		}
	}
}

// pump copies the body. It returns the body's error; the upstream's only ends it.
func (s *sender) pump() (err error) {
	defer func() {
		if r := recover(); r != nil { // a filter's body
			err = fmt.Errorf("request body: panic: %v", r)
		}
	}()
	buf := larges.Get().(*large)
	defer larges.Put(buf)
	s.s.out = buf[:0]
	if len(s.pending) > 0 {
		if s.s.piece(s.pending) != nil {
			return nil
		}
	}
	b := s.q.Body
	for {
		if !b.Ready() && s.s.flush() != nil {
			return nil
		}
		p, err := b.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := s.s.piece(p); err == exchange.ErrLong {
			return err
		} else if err != nil {
			return nil
		}
	}
	if err := s.s.end(&s.q.Trailer); err != nil {
		return err
	}
	s.ok = s.s.flush() == nil
	return nil
}

// go100 says that the upstream wants the body.
func (s *sender) go100() {
	if s.start != nil {
		select {
		case s.start <- true:
		default:
		}
	}
}

// answered says that the final answer is there: a body that nobody asked for yet
// is not sent any more.
func (s *sender) answered() {
	if s.start != nil {
		select {
		case s.start <- false:
		default:
		}
	}
}

// stop ends the sender, waits for it and reports whether it had written all.
func (s *sender) stop() bool {
	select {
	case <-s.done:
		return s.ok
	default:
	}
	s.stopping.Store(true)
	s.answered()
	if s.turn.CompareAndSwap(waits, calledOff) { // the body is untouched, for another attempt
		<-s.done
		return false
	}
	_ = s.u.nc.SetWriteDeadline(past)
	if s.x.Codec != nil {
		s.x.Codec.Interrupt()
	} else {
		s.q.Body.Close()
	}
	<-s.done
	if s.x.Codec != nil {
		s.x.Codec.Resume()
	}
	if s.ok {
		_ = s.u.nc.SetWriteDeadline(time.Time{})
	}
	return s.ok
}
