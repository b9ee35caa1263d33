package filter

import (
	"math"
	"sync/atomic"
)

// quantile learns a quantile of a stream of durations in one word, without a lock: it
// takes a step up with each one above the estimate and a step down with each one
// below, of sizes that balance at the quantile (Robbins and Monro, "A Stochastic
// Approximation Method", 1951; in the logarithm, as latencies are). All that counts of
// a duration is on which side it is, so one that was cut off above the estimate
// counts as well as a whole one.
type quantile struct {
	q    float64
	est  atomic.Uint64 // float64 bits, ns
	seen atomic.Uint32
}

const (
	quantileStep  = 0.05 // in the steady state: off by some 8 % with latencies that spread as usual
	quantileLearn = 32   // durations until the estimate is worth something
)

// add takes one more duration, in ns.
func (e *quantile) add(d int64) {
	v := float64(max(d, 1))
	n := e.seen.Load()
	if n < quantileLearn {
		n = e.seen.Add(1)
		if n == 1 {
			e.est.Store(math.Float64bits(v))
			return
		}
	}
	step := max(quantileStep, 1/float64(n))
	for {
		old := e.est.Load()
		was := math.Float64frombits(old)
		now := was
		if v > was {
			now *= 1 + step*e.q
		} else {
			now *= 1 - step*(1-e.q)
		}
		if was == 0 {
			now = v
		}
		if e.est.CompareAndSwap(old, math.Float64bits(now)) {
			return
		}
	}
}

// value returns the estimate in ns; 0 as long as there is none.
func (e *quantile) value() int64 {
	if e.seen.Load() < quantileLearn {
		return 0
	}
	return int64(math.Float64frombits(e.est.Load()))
}
