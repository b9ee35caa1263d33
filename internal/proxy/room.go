package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
)

// room is a service's waiting room: the requests that came while it had no
// endpoint, in order of arrival.
//
// When an endpoint is there, the first is let in, to an endpoint that was chosen
// for it; once its request has been written (or failed), the next. So they arrive
// in order, and at first no more than admitsInFlight of them await an endpoint's
// answer at a time: a fresh instance with a short listen queue isn't flooded. With
// each answer there may be one more. As long as anybody waits, new
// requests queue too.
type room struct {
	service *service
	waiting atomic.Int64 // those in the list, and the one that is being let in

	mu         sync.Mutex
	head, tail *waiter
	count      int
	writing    *waiter // was let in and has not written its request yet
	last       int64   // when somebody was let in
	raised     int64   // how much more than admitsInFlight each endpoint may get
	let        int     // in since there was nobody waiting
}

// waiter is a request's place in the room. It is part of the exchange's state.
type waiter struct {
	st         *state
	prev, next *waiter
	queued     bool
	ep         *endpoint     // where it was let in
	wake       chan struct{} // of one; told when ep is set or the room is dismissed
	timer      *time.Timer
}

// goneCheck is how often a waiting request looks whether its client has left.
const goneCheck = 100 * time.Millisecond

// inOrderMost is how many are let in one after the other, each once the one before
// was written. If still more came meanwhile, they come faster than that: the rest
// is let in side by side, or the room would never be empty again.
const inOrderMost = 4096

// slowAnswers is how long nobody was let in until the endpoints count as slow.
const slowAnswers = 500 * time.Millisecond

// insert puts w in order of arrival, which is nearly always the end. mu is held.
func (r *room) insert(w *waiter) {
	after := r.tail
	for after != nil && after.st.x.Start > w.st.x.Start {
		after = after.prev
	}
	w.prev = after
	if after == nil {
		w.next, r.head = r.head, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		r.tail = w
	} else {
		w.next.prev = w
	}
	w.queued = true
	r.count++
	r.tell()
}

// remove takes w out of the list. mu is held.
func (r *room) remove(w *waiter) {
	if w.prev == nil {
		r.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		r.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	r.count--
	r.tell()
}

func (r *room) tell() {
	n := int64(r.count)
	if r.writing != nil {
		n++
	}
	if n == 0 {
		r.raised, r.let = 0, 0
	}
	r.waiting.Store(n)
}

// admit lets in the first, if it is somebody's turn and there is an endpoint with
// room. Anybody calls it when that may be so.
func (s *service) admit() {
	r := &s.room
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.writing == nil && r.head != nil {
		w := r.head
		w.st.pick.Now = exchange.Now()
		e := s.free(w)
		if e == nil {
			return
		}
		e.unanswered.Add(1)
		r.last = w.st.pick.Now
		if r.let++; r.let <= inOrderMost {
			r.writing = w
		}
		r.remove(w)
		w.ep = e
		w.notify()
	}
}

// answered opens the room wider: an endpoint that answers can take more, as in
// TCP's slow start, and what was a bound for a fresh instance must not become one
// for a warm one.
func (r *room) answered() {
	r.mu.Lock()
	if r.head != nil {
		r.raised++
	}
	r.mu.Unlock()
}

// hurry raises the bound when nobody was let in for a while though there are
// endpoints: they answer slowly (long polls, for one), and whoever waits for their
// answers would wait in vain.
func (s *service) hurry() {
	r := &s.room
	r.mu.Lock()
	if now := exchange.Now(); r.writing == nil && r.head != nil && now-r.last > int64(slowAnswers) {
		if r.last = now; s.more(&r.head.st.pick) { // else there is nobody to be slow
			r.raised += admitsInFlight
		}
	}
	r.mu.Unlock()
	s.admit()
}

// free picks an endpoint for w that has room for one more. room.mu is held.
func (s *service) free(w *waiter) *endpoint {
	rq := &w.st.pick
	e := s.pick(rq)
	if e == nil {
		e = s.again(rq)
	}
	bound := admitsInFlight + s.room.raised
	// The balancer's choice may be full, and another one not. Those that are full are
	// passed over by taking them for tried.
	tried := len(rq.Tried)
	for e != nil && e.unanswered.Load() >= bound {
		rq.Tried = append(rq.Tried, &e.Endpoint)
		e.unpick()
		e = s.pick(rq)
	}
	clear(rq.Tried[tried:])
	rq.Tried = rq.Tried[:tried]
	return e
}

func (w *waiter) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// written tells that the request which was let in last has been sent, or never
// will be: the next one's turn.
func (r *room) written(w *waiter) {
	r.mu.Lock()
	mine := r.writing == w
	if mine {
		r.writing = nil
		r.tell()
	}
	r.mu.Unlock()
	if mine {
		r.service.admit()
	}
}

// dismiss sends everybody away: the service is gone.
func (r *room) dismiss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.head != nil {
		w := r.head
		r.remove(w)
		w.notify()
	}
}

// enter waits for an endpoint. It returns one with the request counted there, or
// why there is none.
func (s *service) enter(x *exchange.Exchange, st *state) (*endpoint, *filter.Failure) {
	r, w, hold := &s.room, &st.wait, s.hold.Load()
	fail := func(c filter.Cause) *filter.Failure { return &filter.Failure{Service: s.name, Cause: c} }
	if s.closed.Load() {
		return nil, fail(filter.Full)
	}
	if w.wake == nil {
		w.wake = make(chan struct{}, 1)
	}
	select { // a stale token of an earlier wait
	case <-w.wake:
	default:
	}
	w.st, w.ep = st, nil

	r.mu.Lock()
	if r.count >= hold.Max {
		r.mu.Unlock()
		// Nobody waits if there may be nobody waiting; but an endpoint may do.
		if hold.Max == 0 {
			if e := s.pick(&st.pick); e != nil {
				return e, nil
			}
		}
		s.plane.full.Add(1)
		return nil, fail(filter.Full)
	}
	r.insert(w)
	r.mu.Unlock()

	start := exchange.Now()
	s.wait.Enter()
	outcome := "served"
	defer func() { s.wait.Leave(exchange.Now()-start, outcome) }()
	s.admit() // an endpoint may have come while we went in

	until := start + int64(hold.Timeout)
	why := filter.Nobody
	if !x.Deadline.IsZero() {
		if d := exchange.At(x.Deadline); d < until {
			until, why = d, filter.Timeout
		}
	}
	for {
		left := time.Duration(until - exchange.Now())
		if w.timer == nil {
			w.timer = time.NewTimer(min(left, goneCheck))
		} else {
			w.timer.Reset(min(left, goneCheck))
		}
		select {
		case <-w.wake:
			w.timer.Stop()
			r.mu.Lock()
			e := w.ep
			r.mu.Unlock()
			if e == nil {
				outcome = "closed"
				return nil, fail(filter.Full)
			}
			return e, nil
		case <-w.timer.C:
		}
		gone := x.Gone != nil && x.Gone()
		if !gone && exchange.Now() < until {
			s.hurry()
			continue
		}
		r.mu.Lock()
		if w.queued {
			r.remove(w)
			r.mu.Unlock()
			if gone {
				outcome = "gone"
				return nil, fail(filter.Gone)
			}
			outcome = "timeout"
			return nil, fail(why)
		}
		e := w.ep // it was let in just now
		r.mu.Unlock()
		if e == nil {
			outcome = "closed"
			return nil, fail(filter.Full)
		}
		return e, nil
	}
}
