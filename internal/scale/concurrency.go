package scale

import "fmt"

// concurrency wants so many instances that each has the target number of
// requests in flight.
//
// While instances hold no more than that, Little's law makes the requests in
// flight a rate: an instance at the target does target/latency per second. When
// they hold more, latency includes the queue and the law would count the backlog
// as demand. Then an instance carries what it does at the base latency, or what
// a saturated one was seen to do if that is less.
func concurrency(v *view) (want, bool) {
	target := v.scale.Targets.Concurrency
	if target <= 0 {
		return want{}, false
	}
	w := want{by: "concurrency", holds: target, unit: target,
		target: fmt.Sprintf("%s in flight for an instance", number(target))}
	ready := float64(v.counts.ready)
	if v.mean.n >= calmFor && v.mean.rate > 0 && v.mean.inflight > 0 && v.mean.inflight <= 1.1*target*ready {
		takes := v.mean.inflight / v.mean.rate
		w.capacity = target / takes
		w.text = fmt.Sprintf("an instance at the target does %s/s, as a request takes %s", number(w.capacity), seconds(takes))
		w.most = w.capacity
		return w, true
	}
	// What a request takes in all without a queue: base and downstream.
	base := v.cap.base
	if l := &v.in.Load; l.Inflight > 0 && l.Downstream > 0 {
		base /= max(0.005, 1-l.Downstream/l.Inflight)
	}
	if base <= 0 {
		return w, true // nothing ended yet: only those that wait count
	}
	w.capacity = target / base
	w.text = fmt.Sprintf("an instance at the target does %s/s, as a request takes %s without a queue", number(w.capacity), seconds(base))
	doubted := v.cap.calmly < calmFor // the base may have been measured in a queue
	most, sure, _ := v.cap.Estimate()
	x, windows := v.cap.now()
	switch {
	case sure > 0 && (0.9*most < w.capacity || doubted):
		w.capacity = 0.9 * most
		w.text = fmt.Sprintf("an instance does %s/s when saturated, a tenth is kept free", number(most))
	case windows > 0 && (x < w.capacity || doubted):
		w.capacity = x
		w.text = fmt.Sprintf("an instance does %s/s while requests pile up", number(x))
		if windows == 1 || doubted {
			w.limit = doubled(v)
		}
	case doubted:
		w.limit = max(v.current, 1)
	}
	w.most = w.capacity
	if v.mean.n >= 2*calmFor && v.counts.starting == 0 && v.cap.queued() {
		// A queue that neither grows nor drains is no backlog but too few
		// instances: then the ratio counts, a half more at a time.
		w.need = min(v.mean.inflight/target, 1.5*ready)
	}
	return w, true
}

// doubled is how far a count may go on evidence that is not yet sure.
func doubled(v *view) int { return max(2*v.counts.ready, v.counts.ready+1, v.current) }
