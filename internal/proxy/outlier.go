package proxy

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"swell"
)

// Outliers: endpoints that do worse than the others of their service.
//
// Attempts that fail in a row are counted as they end. Success rates and latencies
// are judged at intervals, by a loop that runs while the service has requests, and
// only where the manifest asks for it.

// rules are the outlier rules of a service, with every default filled in.
type rules struct{ swell.Outliers }

// defaultOutliers hold where the snapshot says nothing of outliers.
var defaultOutliers = swell.Outliers{
	Consecutive: 5, Requests: 100, Interval: 10 * time.Second,
	Base: time.Second, Longest: 30 * time.Second, MaxEjected: 0.5,
}

func newRules(o swell.Outliers) *rules {
	if o == (swell.Outliers{}) {
		return &rules{defaultOutliers}
	}
	d := defaultOutliers
	o.Requests = cmp.Or(o.Requests, d.Requests)
	o.Interval = cmp.Or(o.Interval, d.Interval)
	o.Base = cmp.Or(o.Base, d.Base)
	o.Longest = max(cmp.Or(o.Longest, d.Longest), o.Base)
	o.MaxEjected = cmp.Or(o.MaxEjected, d.MaxEjected)
	return &rules{o}
}

// rates reports whether success rates or latencies are judged.
func (r *rules) rates() bool { return r.SuccessRate > 0 || r.Latency > 0 }

// term is how long an endpoint is out that was taken out for the n-th time in a row.
func (r *rules) term(n int) time.Duration {
	d := r.Base
	for ; n > 1 && d < r.Longest; n-- {
		d *= 2
	}
	return min(d, r.Longest)
}

// tally counts attempts at an endpoint.
type tally struct {
	requests, failed atomic.Int64
	micros           atomic.Int64 // until their answers' heads, in sum
}

func (t *tally) add(took int64, ok bool) {
	t.requests.Add(1)
	t.micros.Add(took / 1e3)
	if !ok {
		t.failed.Add(1)
	}
}

// take returns what was counted and begins anew. An attempt that ends meanwhile may
// count to both sides in part, which is no matter among as many as are judged.
func (t *tally) take() record {
	n := t.requests.Swap(0)
	r := record{requests: n}
	if failed := t.failed.Swap(0); n > 0 {
		r.success = 1 - min(1, float64(failed)/float64(n))
	}
	if micros := t.micros.Swap(0); n > 0 {
		r.latency = time.Duration(micros/n) * time.Microsecond
	}
	return r
}

// record is how an endpoint did in an interval.
type record struct {
	requests int64
	success  float64       // share of them
	latency  time.Duration // their mean
}

// What must be between an endpoint and the others, beside what the rules say, lest
// the noise of those who all do well be judged: of success rates, and of latencies.
const (
	leastGap   = 0.02
	leastLater = 5 * time.Millisecond
)

// judge says which endpoints did badly in comparison. Those with too few requests are
// not judged and don't count.
//
// By success rate: those below mean - factor × standard deviation, as Envoy's outlier
// detection has it ("Success Rate"); among fewer than three there is no telling who
// is the exception. By latency: those whose mean is over factor × the median of the
// others' means.
func (r *rules) judge(records []record) []outCause {
	verdict := make([]outCause, len(records))
	var who []int
	for i, rec := range records {
		if rec.requests >= int64(r.Requests) {
			who = append(who, i)
		}
	}
	if r.SuccessRate > 0 && len(who) >= 3 {
		var sum, squares float64
		for _, i := range who {
			sum += records[i].success
		}
		mean := sum / float64(len(who))
		for _, i := range who {
			d := records[i].success - mean
			squares += d * d
		}
		least := mean - r.SuccessRate*math.Sqrt(squares/float64(len(who)))
		for _, i := range who {
			if s := records[i].success; s < least && mean-s >= leastGap {
				verdict[i] = unlucky
			}
		}
	}
	if r.Latency > 0 && len(who) >= 2 {
		order := slices.Clone(who)
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(records[a].latency, records[b].latency) })
		for rank, i := range order {
			// The median of the others: of a sorted list without the one at rank.
			at := func(k int) float64 {
				if k >= rank {
					k++
				}
				return float64(records[order[k]].latency)
			}
			n := len(order) - 1
			median := (at((n-1)/2) + at(n/2)) / 2
			late := float64(records[i].latency)
			if verdict[i] == in && late > r.Latency*median && late-median >= float64(leastLater) {
				verdict[i] = slow
			}
		}
	}
	return verdict
}

// startJudge starts the loop that judges, if it doesn't run.
func (s *service) startJudge() {
	if s.judging.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.judging.Load() && !s.closed.Load() {
		s.judging.Store(true)
		s.stopJudge = s.plane.spawn(s.judgeRates)
	}
}

// judgeRates judges at intervals, until there was none with a request.
func (s *service) judgeRates(ctx context.Context) {
	t := time.NewTimer(s.rules.Load().Interval)
	defer t.Stop()
	defer s.judging.Store(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r := s.rules.Load()
		if !r.rates() || !s.judgeOnce(r) {
			return
		}
		t.Reset(r.Interval)
	}
}

// judgeOnce judges what was since it was called last, and reports whether anything was.
func (s *service) judgeOnce(r *rules) bool {
	s.mu.Lock()
	endpoints := s.endpoints // replaced as a whole, never changed
	records := make([]record, 0, len(endpoints))
	judged := make([]*endpoint, 0, len(endpoints))
	any := false
	for _, e := range endpoints {
		rec := e.tally.take()
		any = any || rec.requests > 0
		if e.cause == in {
			judged, records = append(judged, e), append(records, rec)
		}
	}
	s.mu.Unlock()
	verdict := r.judge(records)
	worst := make([]int, 0, len(verdict))
	for i, why := range verdict {
		if why != in {
			worst = append(worst, i)
		}
	}
	slices.SortFunc(worst, func(a, b int) int { // not all may be taken out
		return cmp.Or(cmp.Compare(records[a].success, records[b].success), cmp.Compare(records[b].latency, records[a].latency))
	})
	for _, i := range worst {
		s.eject(judged[i], verdict[i])
	}
	return any
}
