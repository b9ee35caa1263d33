package filter

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// CircuitBreakerOptions are the options of circuit-breaker.
//
// When half of at least 20 requests in ten seconds fail, or four of five take longer
// than a second, nothing is sent for five seconds; then three requests try whether it
// is well again:
//
//	circuit-breaker: {errors: 50%, slow: {over: 1s, share: 80%}, window: 10s, requests: 20, open: 5s, probes: 3}
type CircuitBreakerOptions struct {
	Errors   unit.Percent  `json:"errors" doc:"The share of requests that fail (no answer, or a status from 500) at which it opens; 0% is never."`
	Slow     SlowCalls     `json:"slow" doc:"When requests count as slow, and the share of them at which it opens."`
	Window   unit.Duration `json:"window" doc:"The time that is looked back at."`
	Requests int           `json:"requests" doc:"How many requests there must be in the window before it may open."`
	Open     unit.Duration `json:"open" doc:"How long it is open the first time; doubled each time that the probes fail, up to 16 times as long."`
	Probes   int           `json:"probes" doc:"How many requests are let through to try whether it is well again; it closes when all of them are."`
}

// SlowCalls are the requests whose answer is awaited too long.
type SlowCalls struct {
	Over  unit.Duration `json:"over" doc:"Longer than this until the answer's head is slow; 0s: nothing is."`
	Share unit.Percent  `json:"share" doc:"The share of slow requests at which it opens."`
}

func circuitBreakerEntry() plug.Entry[Maker] {
	return plug.Named("circuit-breaker", "Sends nothing to a service for a while when too much of it fails or is slow, and tries then whether it is well again; meanwhile the answer is 503.",
		CircuitBreakerOptions{Errors: 0.5, Slow: SlowCalls{Share: 0.8}, Window: unit.Duration(10 * time.Second), Requests: 20, Open: unit.Duration(5 * time.Second), Probes: 3},
		func(o CircuitBreakerOptions) (Maker, error) {
			switch {
			case o.Errors > 1 || o.Slow.Share > 1:
				return nil, errors.New("a share is over 100%, which is never reached; use at most 100%")
			case o.Errors == 0 && (o.Slow.Over == 0 || o.Slow.Share == 0):
				return nil, errors.New("neither errors nor slow is given, so it would never open; write circuit-breaker: {errors: 50%}")
			case time.Duration(o.Window) < 100*time.Millisecond || time.Duration(o.Window) > time.Hour:
				return nil, errors.New("window is out of bounds; it is from 100ms to 1h")
			case o.Requests < 1:
				return nil, fmt.Errorf("requests is %d; it is at least 1", o.Requests)
			case time.Duration(o.Open) < time.Millisecond:
				return nil, errors.New("open is 0s, so it would never be open; give a time such as 5s")
			case o.Probes < 1 || o.Probes > 1000:
				return nil, fmt.Errorf("probes is %d; it is from 1 to 1000", o.Probes)
			}
			return func(env Env) Filter { return newBreaker(o, env.complete()).filter }, nil
		})
}

// The states of a circuit breaker, as its metric shows them.
const (
	circuitClosed int32 = iota
	circuitOpen
	circuitHalfOpen
)

var circuitNames = [...]string{"closed", "open", "half-open"}

const (
	circuitBuckets = 10 // of a window
	circuitLongest = 16 // times open
)

// breaker is a circuit breaker (Nygard, "Release It!", 2007, chapter 5). Closed, it
// counts outcomes in a sliding window of buckets, with atomics alone.
type breaker struct {
	o     CircuitBreakerOptions
	width int64 // of a bucket, ns
	since int64 // when the first one began
	env   Env

	state   atomic.Int32
	buckets [circuitBuckets]circuitBucket

	mu      sync.Mutex // of changes of the state, and of what follows
	until   time.Time  // open until then
	pause   time.Duration
	turn    uint64 // counts half-open times: a late probe of an earlier one says nothing
	left    int    // probes that may still be let through
	well    int    // probes that were
	refused Counter
	shown   Gauge
	changes [3]Counter
}

type circuitBucket struct {
	slot                atomic.Int64 // which time it counts
	total, failed, slow atomic.Uint32
}

func newBreaker(o CircuitBreakerOptions, env Env) *breaker {
	b := &breaker{o: o, width: int64(o.Window) / circuitBuckets, since: exchange.Now(), env: env, pause: time.Duration(o.Open),
		refused: env.counter("swell_circuit_refused_total"),
		shown:   env.Gauge("swell_circuit_state", "service", env.Service, "route", env.Route),
	}
	for i, name := range circuitNames {
		b.changes[i] = env.counter("swell_circuit_changes_total", "state", name)
	}
	b.shown.Set(0)
	return b
}

func (b *breaker) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		if b.state.Load() != circuitClosed {
			return b.guarded(x, next)
		}
		begun := exchange.Now()
		err := next(x)
		now := exchange.Now()
		if bad, slow, counts := b.judge(x, err, now-begun); counts {
			b.count(now, bad, slow)
		}
		return err
	}
}

// judge says what an outcome means for the service. A client that left or sent
// rubbish, and our own bounds, say nothing.
func (b *breaker) judge(x *exchange.Exchange, err error, took int64) (bad, slow, counts bool) {
	if err == nil {
		bad = x.Response.Status >= 500
	} else {
		f := failure(err)
		if f == nil {
			return false, false, false
		}
		switch f.Cause {
		case Gone, Request, Full, Open, Limit, Large:
			return false, false, false
		}
		bad = true
	}
	return bad, b.o.Slow.Over > 0 && took > int64(b.o.Slow.Over), true
}

// count notes an outcome, and opens if that is one too many.
func (b *breaker) count(now int64, bad, slow bool) {
	slot := (now - b.since) / b.width
	k := &b.buckets[slot%circuitBuckets]
	if k.slot.Load() != slot {
		b.mu.Lock()
		if k.slot.Load() < slot {
			k.total.Store(0)
			k.failed.Store(0)
			k.slow.Store(0)
			k.slot.Store(slot)
		}
		b.mu.Unlock()
	}
	k.total.Add(1)
	if bad {
		k.failed.Add(1)
	}
	if slow {
		k.slow.Add(1)
	}
	if !bad && !slow {
		return
	}
	var total, failed, late uint32
	for i := range b.buckets {
		if k := &b.buckets[i]; slot-k.slot.Load() < circuitBuckets {
			total, failed, late = total+k.total.Load(), failed+k.failed.Load(), late+k.slow.Load()
		}
	}
	if int(total) < b.o.Requests {
		return
	}
	of := func(n uint32) float64 { return float64(n) / float64(total) }
	switch {
	case b.o.Errors > 0 && of(failed) >= float64(b.o.Errors):
		b.trip(fmt.Sprintf("%d of %d requests failed", failed, total))
	case b.o.Slow.Over > 0 && b.o.Slow.Share > 0 && of(late) >= float64(b.o.Slow.Share):
		b.trip(fmt.Sprintf("%d of %d requests were slower than %v", late, total, time.Duration(b.o.Slow.Over)))
	}
}

// trip opens a closed circuit.
func (b *breaker) trip(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load() == circuitClosed {
		b.pause = time.Duration(b.o.Open)
		b.open(why)
	}
}

// open opens. mu is held.
func (b *breaker) open(why string) {
	b.until = b.env.Now().Add(b.pause)
	b.become(circuitOpen, "why", why, "for", b.pause.String())
}

// become changes the state. mu is held.
func (b *breaker) become(state int32, args ...any) {
	b.state.Store(state)
	b.shown.Set(uint64(state))
	b.changes[state].Add(1)
	b.env.Warn("circuit breaker", append([]any{"place", b.env.place(), "state", circuitNames[state]}, args...)...)
}

// guarded is the round while the circuit is not closed.
func (b *breaker) guarded(x *exchange.Exchange, next Round) error {
	turn, wait, ok := b.admit()
	if !ok {
		b.refused.Add(1)
		x.Note("circuit", "open")
		return &Failure{Service: x.Service, Cause: Open, After: wait}
	}
	if turn == 0 {
		return next(x) // it closed just now
	}
	x.Note("circuit", "probe")
	begun := exchange.Now()
	counts, good := false, false
	why := "a probe broke"
	defer func() { b.probed(turn, counts, good, why) }() // of a panic too
	err := next(x)
	bad, slow, c := b.judge(x, err, exchange.Now()-begun)
	counts, good = c, !bad && !slow
	switch {
	case bad:
		why = "a probe failed"
	case slow:
		why = "a probe was slow"
	}
	return err
}

// admit says whether an exchange may go on: as a probe of the turn that is returned,
// or as usual if that is 0. Else wait is how long it is still open.
func (b *breaker) admit() (turn uint64, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state.Load() {
	case circuitClosed:
		return 0, 0, true
	case circuitOpen:
		if d := b.until.Sub(b.env.Now()); d > 0 {
			return 0, d, false
		}
		b.turn++
		b.left, b.well = b.o.Probes, 0
		b.become(circuitHalfOpen)
	}
	if b.left == 0 {
		return 0, time.Second, false
	}
	b.left--
	return b.turn, 0, true
}

// probed takes the outcome of a probe.
func (b *breaker) probed(turn uint64, counts, good bool, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turn != turn || b.state.Load() != circuitHalfOpen {
		return
	}
	switch {
	case !counts: // it said nothing: another one may try
		b.left++
	case !good:
		b.pause = min(2*b.pause, circuitLongest*time.Duration(b.o.Open))
		b.open(why)
	default:
		if b.well++; b.well == b.o.Probes {
			for i := range b.buckets {
				b.buckets[i].slot.Store(-circuitBuckets)
			}
			b.become(circuitClosed)
		}
	}
}
