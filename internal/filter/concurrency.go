package filter

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// ConcurrencyOptions are the options of concurrency.
//
// The service does 100 things at a time; 50 more may wait for a second:
//
//	concurrency: {limit: 100, queue: 50, wait: 1s}
type ConcurrencyOptions struct {
	Limit Limits        `json:"limit" doc:"How many requests may be in flight here at a time; at the gateway each route counts for itself."`
	Queue int           `json:"queue" doc:"How many more may wait, in order, until one ends; 0 is none."`
	Wait  unit.Duration `json:"wait" doc:"How long each waits at most, shorter if its time is over sooner; then it is answered 503."`
}

// Limits is how a number of requests is bounded: by a number.
type Limits int

// MarshalText writes the number.
func (l Limits) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(l), 10), nil }

// UnmarshalText reads a number.
func (l *Limits) UnmarshalText(b []byte) error {
	n, err := strconv.Atoi(string(b))
	switch {
	case string(b) == "adaptive":
		return errors.New("adaptive is not in this version; give a number such as 100")
	case err != nil:
		return fmt.Errorf("%q is not a number of requests; write it as 100", b)
	}
	*l = Limits(n)
	return nil
}

// UnmarshalJSON reads a number, or text.
func (l *Limits) UnmarshalJSON(b []byte) error {
	return l.UnmarshalText(bytes.Trim(b, `"`))
}

const (
	concurrencyMost = 1 << 20
	goneEvery       = 100 * time.Millisecond // how often one who waits looks whether its client left
)

func concurrencyEntry() plug.Entry[Maker] {
	return plug.Named("concurrency", "Bounds the requests that are in flight at a time; some more may wait in order, and the rest is answered 503.",
		ConcurrencyOptions{Limit: 100, Queue: 50, Wait: unit.Duration(time.Second)}, func(o ConcurrencyOptions) (Maker, error) {
			switch {
			case o.Limit < 1 || o.Limit > concurrencyMost:
				return nil, fmt.Errorf("limit is %d; it is from 1 to %d", o.Limit, concurrencyMost)
			case o.Queue < 0 || o.Queue > concurrencyMost:
				return nil, fmt.Errorf("queue is %d; it is from 0 (nobody waits) to %d", o.Queue, concurrencyMost)
			case o.Queue > 0 && o.Wait == 0:
				return nil, errors.New("wait is 0s, so nobody could use the queue; give a time such as 1s, or queue: 0")
			}
			return func(env Env) Filter { return newGate(o, env.complete()).filter }, nil
		})
}

// gate lets a bounded number of exchanges in. Who waits is let in by who leaves, in
// order, so that nobody overtakes.
type gate struct {
	limit, queue int
	wait         time.Duration
	env          Env
	leave        func(*exchange.Exchange) // made once
	tickets      sync.Pool

	refused, late, gone, queued Counter

	mu         sync.Mutex
	inside     int
	waiting    int
	head, tail *ticket
}

// ticket is a place in the queue.
type ticket struct {
	prev, next *ticket
	in         bool          // it was let in
	wake       chan struct{} // of one
	timer      *time.Timer
}

// Cut wakes the one who waits: its client left.
func (t *ticket) Cut() { t.notify() }

func (t *ticket) notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func newGate(o ConcurrencyOptions, env Env) *gate {
	g := &gate{limit: int(o.Limit), queue: o.Queue, wait: time.Duration(o.Wait), env: env}
	for outcome, c := range map[string]*Counter{"full": &g.refused, "timeout": &g.late, "gone": &g.gone} {
		*c = env.counter("swell_concurrency_refused_total", "reason", outcome)
	}
	g.queued = env.counter("swell_concurrency_queued_total")
	g.leave = g.ended
	g.tickets.New = func() any { return &ticket{wake: make(chan struct{}, 1)} }
	return g
}

func (g *gate) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		if !x.Mark(g) { // it came again, by a retry further out, and is in already
			return next(x)
		}
		if f := g.enter(x); f != nil {
			x.Unmark(g)
			return f
		}
		x.Ended = append(x.Ended, g.leave)
		return next(x)
	}
}

// enter lets x in, or says why not.
func (g *gate) enter(x *exchange.Exchange) *Failure {
	g.mu.Lock()
	if g.inside < g.limit { // then nobody waits
		g.inside++
		g.mu.Unlock()
		return nil
	}
	if g.waiting >= g.queue {
		g.mu.Unlock()
		g.refused.Add(1)
		x.Note("concurrency", "full")
		return &Failure{Service: x.Service, Cause: Limit, After: time.Second}
	}
	t := g.tickets.Get().(*ticket)
	t.prev, t.in = g.tail, false
	if g.tail == nil {
		g.head = t
	} else {
		g.tail.next = t
	}
	g.tail = t
	g.waiting++
	g.mu.Unlock()
	g.queued.Add(1)
	return g.await(x, t)
}

// await waits until t is let in, its time is over or its client left.
func (g *gate) await(x *exchange.Exchange, t *ticket) *Failure {
	begun := g.env.Now()
	until := begun.Add(g.wait)
	if !x.Deadline.IsZero() && x.Deadline.Before(until) {
		until = x.Deadline
	}
	held := x.Leash != nil && x.Leash.Hold(t)
	left := x.Leash != nil && !held
	for {
		d := min(until.Sub(g.env.Now()), goneEvery)
		in := false
		if !left && d > 0 {
			if t.timer == nil {
				t.timer = time.NewTimer(d)
			} else {
				t.timer.Reset(d)
			}
			select {
			case <-t.wake:
			case <-t.timer.C:
			}
			t.timer.Stop()
			left = x.Gone != nil && x.Gone()
		}
		over := left || d <= 0
		g.mu.Lock()
		if in = t.in; !in && over {
			g.remove(t)
		}
		g.mu.Unlock()
		if !in && !over {
			continue
		}
		if held {
			x.Leash.Release()
		}
		select { // a token that came too late
		case <-t.wake:
		default:
		}
		g.tickets.Put(t)
		switch {
		case in:
			x.Note("queued", g.env.Now().Sub(begun).Round(time.Millisecond).String())
			return nil
		case left:
			g.gone.Add(1)
			return &Failure{Service: x.Service, Cause: Gone}
		}
		g.late.Add(1)
		x.Note("concurrency", "timeout")
		return &Failure{Service: x.Service, Cause: Limit, After: time.Second}
	}
}

// remove takes t out of the queue. mu is held.
func (g *gate) remove(t *ticket) {
	if t.prev == nil {
		g.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		g.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	g.waiting--
}

// ended lets the next one in.
func (g *gate) ended(*exchange.Exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.head; t != nil { // it takes the place over
		g.remove(t)
		t.in = true
		t.notify()
		return
	}
	g.inside--
}
