package scale

import (
	"time"

	"swell"
)

// view is what policies look at: the input, digested.
type view struct {
	in      *Input
	scale   *swell.Scale
	counts  counts
	current int           // the count decided last
	now     float64       // arrivals per second
	then    float64       // arrivals per second when an instance started now is ready
	mean    *means        // smoothed measurements
	cap     *Capacity     // of one instance, learned
	cost    *cost         // of a request in CPU, learned
	startup time.Duration // of an instance, 95th percentile
	settled time.Duration // since the set of ready instances changed
}

// want is what a policy concludes.
type want struct {
	by       string
	hold     bool    // it can't tell: not fewer than there are
	capacity float64 // requests per second that one instance is to carry; 0 if need says it all
	most     float64 // requests per second that one instance can carry: bounds the overshoot
	holds    float64 // requests that an instance may have in flight without being behind
	need     float64 // instances; computed from capacity where that is given
	limit    int     // at most so many, while the policy can't know better; 0 is none
	target   string  // the goal in words
	text     string  // where the capacity comes from, in words
	unit     float64 // the number that target speaks of
}

// policy says what one target wants; false if it does not apply to the service.
type policy func(v *view) (want, bool)

// policies are asked in this order; the one that wants the most decides, the
// first of equals.
var policies = [...]policy{concurrency, rps, cpu, latency, learned}

// given reports whether the service has any target of its own.
func given(s *swell.Scale) bool {
	return s.Targets.Concurrency > 0 || s.Targets.RPS > 0 || s.Targets.CPU > 0 || s.SLO.Latency > 0
}

// means are smoothed measurements, about ten seconds of them, taken only while
// the queue neither grows nor drains and the instances stay the same: what
// requests in flight and latencies are in between belongs to a backlog.
type means struct {
	rate     float64 // arrivals per second
	inflight float64
	own      float64 // in flight, without those at services downstream
	tail     float64 // seconds, at the goal's quantile
	n        int     // windows in a row
	asked    int     // of n, those in which a request ended
}

// calmFor is how many windows of calm make means that can be trusted.
const calmFor = 3
