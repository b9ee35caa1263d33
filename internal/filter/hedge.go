package filter

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// HedgeOptions are the options of hedge.
//
// A request without an answer after the time in which 95 % have one is sent to a
// second instance as well, as long as that makes no more than 10 % more requests; the
// first good answer counts:
//
//	hedge: {after: p95, attempts: 2, budget: 10%}
type HedgeOptions struct {
	After    HedgeAfter   `json:"after" doc:"How long the head of an answer is awaited before the request is sent to another instance as well: a time such as 50ms, or a quantile of the service's own latencies such as p95, learned as it goes."`
	Attempts int          `json:"attempts" doc:"How many may be under way for one request, the first included; each after the time above. Interim answers (1xx) of hedged requests are not passed on."`
	Budget   unit.Percent `json:"budget" doc:"Further attempts allowed, as a share of the requests; a service with few requests may have one a second all the same."`
}

// HedgeAfter is a time, or a quantile of latencies, as text: "50ms", "p95".
type HedgeAfter string

// MarshalText writes the text.
func (a HedgeAfter) MarshalText() ([]byte, error) { return []byte(a), nil }

// UnmarshalText reads 50ms or p95.
func (a *HedgeAfter) UnmarshalText(b []byte) error {
	*a = HedgeAfter(b)
	_, _, err := a.parse()
	return err
}

// parse returns the quantile, in (0, 1), or else the time.
func (a HedgeAfter) parse() (quantile float64, after time.Duration, err error) {
	if p, ok := strings.CutPrefix(string(a), "p"); ok {
		f, err := strconv.ParseFloat(p, 64)
		if err != nil || f < 50 || f > 99.9 {
			return 0, 0, fmt.Errorf("%q is not a quantile; it is from p50 to p99.9", a)
		}
		return f / 100, 0, nil
	}
	var d unit.Duration
	if err := d.UnmarshalText([]byte(a)); err != nil {
		return 0, 0, fmt.Errorf("%q is neither a time nor a quantile; write it as 50ms or p95", a)
	}
	return 0, time.Duration(d), nil
}

// hedgeBody bounds the request bodies that are read before they are sent, so that
// they can be sent twice.
const hedgeBody = 64 << 10

func hedgeEntry() plug.Entry[Maker] {
	return plug.Named("hedge", "Sends a request that may be repeated to another instance as well when the first one is slow; the first good answer counts, and the other attempt is cut.",
		HedgeOptions{After: "p95", Attempts: 2, Budget: 0.1}, func(o HedgeOptions) (Maker, error) {
			q, after, err := o.After.parse()
			switch {
			case err != nil:
				return nil, fmt.Errorf("after: %w", err)
			case q == 0 && (after < time.Millisecond || after > time.Minute):
				return nil, errors.New("after is out of bounds; it is from 1ms to 1m, or a quantile such as p95")
			case o.Attempts < 2 || o.Attempts > 4:
				return nil, fmt.Errorf("attempts is %d; it is from 2 to 4", o.Attempts)
			case o.Budget > 1 || o.Budget == 0:
				return nil, errors.New("budget is out of bounds; it is over 0% and at most 100%")
			}
			return func(env Env) Filter { return newHedger(o, q, after, env.complete()).filter }, nil
		})
}

// hedger sends requests twice ("hedged requests": Dean and Barroso, "The Tail at
// Scale", CACM 2013). Each attempt is a fork of the exchange on a goroutine of its
// own, so that an answer never waits for the one that lost; that ends before the
// exchange does.
type hedger struct {
	attempts int
	after    time.Duration // 0: as learned
	learn    quantile
	budget   *budget
	env      Env
	ended    func(*exchange.Exchange) // made once
	races    sync.Pool

	sent, won, refused Counter
}

func newHedger(o HedgeOptions, q float64, after time.Duration, env Env) *hedger {
	h := &hedger{
		attempts: o.Attempts, after: after, learn: quantile{q: q}, budget: newBudget(float64(o.Budget)), env: env,
		sent:    env.counter("swell_hedges_total"),
		won:     env.counter("swell_hedges_won_total"),
		refused: env.counter("swell_hedges_refused_total"),
	}
	h.ended = h.end
	h.races.New = func() any { return newRace(h) }
	return h
}

func (h *hedger) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		h.budget.request()
		if !hedgeable(x) {
			return next(x)
		}
		after := h.after
		if after == 0 {
			if after = time.Duration(h.learn.value()); after == 0 {
				begun := exchange.Now()
				err := next(x)
				if err == nil {
					h.learn.add(exchange.Now() - begun)
				}
				return err
			}
		}
		r := h.races.Get().(*race)
		if err := r.read(x); err != nil {
			r.free()
			return err
		}
		return r.run(x, next, max(after, time.Millisecond))
	}
}

// hedgeable reports whether the request may be sent twice, by what it is and by
// whether its body can be had twice.
func hedgeable(x *exchange.Exchange) bool {
	q := &x.Request
	return Idempotent(q.Method) && q.Upgrade == nil && (q.Body == nil || q.Length >= 0 && q.Length <= hedgeBody && !q.Expect)
}

// race is the attempts at one exchange.
type race struct {
	h       *hedger
	next    Round
	body    []byte
	has     bool
	timer   *time.Timer
	results chan *try // room for all: nobody waits to tell
	running int       // the goroutine's that has the exchange
	tries   []*try

	mu      sync.Mutex // of what several goroutines see
	started int
	cut     bool // the client left
	over    bool // there is a winner
	winner  *try
}

// try is one attempt.
type try struct {
	race     *race
	fork     *exchange.Fork
	run      func() // made once
	begun    int64
	took     int64
	err      error
	attempts int  // of the exchange
	back     bool // its outcome was taken
	ended    bool // nothing of it is left
}

func newRace(h *hedger) *race {
	r := &race{h: h, results: make(chan *try, h.attempts)}
	for range h.attempts {
		t := &try{race: r, fork: exchange.NewFork()}
		t.run = t.attempt
		r.tries = append(r.tries, t)
	}
	return r
}

// free gives the race back. Nobody uses anything of it any more.
func (r *race) free() {
	if cap(r.body) > hedgeBody {
		r.body = nil
	}
	r.next, r.body, r.has, r.started, r.cut, r.over, r.winner = nil, r.body[:0], false, 0, false, false, nil
	r.h.races.Put(r)
}

// read takes the whole body of the request.
func (r *race) read(x *exchange.Exchange) error {
	if x.Request.Body == nil {
		return nil
	}
	r.has = true
	for {
		p, err := x.Request.Body.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && len(r.body)+len(p) > hedgeBody {
			err = exchange.ErrLong
		}
		if err != nil {
			f := &Failure{Service: x.Service, Cause: Request, Err: err}
			if x.Gone != nil && x.Gone() {
				f.Cause = Gone
			}
			return f
		}
		r.body = append(r.body, p...)
	}
}

// Cut ends all attempts: the client left.
func (r *race) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	for _, t := range r.tries[:r.started] {
		t.fork.Leave()
	}
}

// start begins one more attempt.
func (r *race) start(x *exchange.Exchange) {
	t := r.tries[r.started]
	t.err, t.attempts, t.back, t.ended = nil, 0, false, false
	t.fork.Begin(x, r.body, r.has)
	if r.started > 0 {
		t.fork.Start = exchange.Now()
	}
	r.h.env.Fork(x, t.fork)
	r.mu.Lock()
	r.started++
	if r.cut {
		t.fork.Leave()
	}
	r.mu.Unlock()
	r.running++
	t.begun = exchange.Now()
	go t.run()
}

// attempt runs on the attempt's own goroutine.
func (t *try) attempt() {
	r := t.race
	defer func() { r.results <- t }()
	t.err = t.protect()
	t.took = exchange.Now() - t.begun
	r.mu.Lock()
	late := r.over
	r.mu.Unlock()
	if late {
		t.end()
	}
}

// protect runs the round. A panic on this goroutine would end the process, where on
// the exchange's own it is an answer like others.
func (t *try) protect() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return t.race.next(&t.fork.Exchange)
}

// end lets go of everything that the attempt holds. Nobody else uses it.
func (t *try) end() {
	t.attempts, t.ended = t.fork.Attempt, true
	t.race.h.env.Quit(t.fork)
	t.fork.End()
}

// run is the race: it returns with the first good answer, or when all failed.
func (r *race) run(x *exchange.Exchange, next Round, after time.Duration) error {
	h := r.h
	r.next = next
	if x.Leash != nil && !x.Leash.Hold(r) {
		r.free()
		return &Failure{Service: x.Service, Cause: Gone}
	}
	r.start(x)
	if r.timer == nil {
		r.timer = time.NewTimer(after)
	} else {
		r.timer.Reset(after)
	}
	var best *try // of those that are no good
	for {
		select {
		case t := <-r.results:
			r.running--
			t.back = true
			if t == r.tries[0] && h.after == 0 && t.err == nil {
				h.learn.add(t.took)
			}
			good := t.err == nil && t.fork.Response.Status < 500
			if best == nil || good || best.err != nil && t.err == nil {
				best = t
			}
			if good || r.running == 0 {
				r.timer.Stop()
				return r.decide(x, best)
			}
		case <-r.timer.C:
			r.mu.Lock()
			more := r.started < len(r.tries) && !r.cut
			r.mu.Unlock()
			if !more {
				continue
			}
			if !h.budget.retry(h.env.Now()) {
				h.refused.Add(1)
				continue
			}
			h.sent.Add(1)
			r.start(x)
			r.timer.Reset(after)
		}
	}
}

// decide gives x the outcome of t and cuts the others.
func (r *race) decide(x *exchange.Exchange, t *try) error {
	h := r.h
	r.mu.Lock()
	r.over, r.winner = true, t
	for _, o := range r.tries[:r.started] {
		if o != t {
			o.fork.Leave()
		}
	}
	r.mu.Unlock()
	if first := r.tries[0]; t != first && h.after == 0 && r.running > 0 {
		h.learn.add(exchange.Now() - first.begun) // it took longer than that
	}
	if r.started > 1 {
		which := "first"
		if t != r.tries[0] {
			which = "other"
			if t.err == nil {
				h.won.Add(1)
			}
		}
		x.Note("hedge", which)
	}
	err := t.err
	if err == nil {
		h.env.Join(x, t.fork)
		t.fork.Join(x)
	} else {
		// The attempts before have told of themselves; what can be said of all is that
		// something may have been received.
		if f := failure(err); f != nil && r.started > 1 {
			f.Safe = false
		}
		x.Attempt += t.fork.Attempt
		t.attempts = 0
	}
	for _, o := range r.tries[:r.started] {
		if o != t && o.back {
			o.end()
		}
	}
	x.Marks = append(x.Marks, r)
	x.Ended = append(x.Ended, h.ended)
	return err
}

// end ends a race when its exchange has: it waits for the attempts that were cut.
func (h *hedger) end(x *exchange.Exchange) {
	var r *race
	for i := len(x.Marks) - 1; i >= 0 && r == nil; i-- {
		if m, ok := x.Marks[i].(*race); ok && m.h == h {
			r = m
			x.Marks = append(x.Marks[:i], x.Marks[i+1:]...)
		}
	}
	if r == nil {
		return
	}
	if x.Leash != nil {
		x.Leash.Release()
	}
	for ; r.running > 0; r.running-- {
		<-r.results
	}
	for _, t := range r.tries[:r.started] {
		if !t.ended {
			t.end()
		}
		if t != r.winner {
			x.Attempt += t.attempts
		}
	}
	r.free()
}
