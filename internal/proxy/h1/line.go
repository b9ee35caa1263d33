package h1

import (
	"time"

	"swell/internal/exchange"
)

// mostWait is how long a request without a deadline waits for a connection.
const mostWait = time.Minute

// line is who waits for a connection to one address, the first come first. It is
// under its host's mu.
type line struct {
	conns       int // connections, and those who may make one
	length      int
	first, last *waiter
}

// waiter is one request that waits. got tells it once, either a connection or nil,
// which means to make one.
type waiter struct {
	got        chan *upstream
	prev, next *waiter
	in         bool
	gone       chan struct{} // closed when its client left
}

// Cut ends the wait of a client that left.
func (w *waiter) Cut() { close(w.gone) }

func (l *line) push(w *waiter) {
	w.prev, w.in = l.last, true
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
	l.length++
}

func (l *line) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.prev, w.next, w.in = nil, nil, false
	l.length--
}

// pop takes the first one, who is there.
func (l *line) pop() *waiter {
	w := l.first
	l.remove(w)
	return w
}

// enter returns a connection that another exchange was done with, or nil for leave to
// make one, of which there are at most conns.
func (h *host) enter(x *exchange.Exchange, conns, pending int) (*upstream, error) {
	limit := mostWait
	if !x.Deadline.IsZero() {
		limit = min(limit, time.Until(x.Deadline))
	}
	h.mu.Lock()
	if n := len(h.idle); n > 0 { // it came since we looked
		u := h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		u.word.enter(busy)
		return u, nil
	}
	if h.line.conns < conns {
		h.line.conns++
		h.mu.Unlock()
		return nil, nil
	}
	if h.line.length >= pending || limit <= 0 {
		h.mu.Unlock()
		return nil, exchange.ErrBusy
	}
	w := &waiter{got: make(chan *upstream, 1), gone: make(chan struct{})}
	h.line.push(w)
	h.mu.Unlock()

	err := h.wait(x, w, limit)
	if err == nil {
		return <-w.got, nil
	}
	h.mu.Lock()
	in := w.in
	if in {
		h.line.remove(w)
	}
	h.mu.Unlock()
	if !in { // it was told just now: the next one gets it
		if u := <-w.got; u != nil {
			u.pool.put(u)
		} else {
			h.leave()
		}
	}
	return nil, err
}

// wait waits until w is told something, which it leaves in w.got.
func (h *host) wait(x *exchange.Exchange, w *waiter, limit time.Duration) error {
	if l := x.Leash; l != nil {
		if !l.Hold(w) {
			return exchange.ErrGone
		}
		defer l.Release()
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case u := <-w.got:
		w.got <- u
		return nil
	case <-w.gone:
		return exchange.ErrGone
	case <-t.C:
		return exchange.ErrBusy
	}
}

// leave notes that a connection has ended, or was not made: the first who waits may
// make one.
func (h *host) leave() {
	h.mu.Lock()
	if h.line.first == nil {
		h.line.conns--
		h.mu.Unlock()
		return
	}
	w := h.line.pop()
	h.mu.Unlock()
	w.got <- nil
}
