package scale

import "fmt"

// latency wants so many instances that the goal for latency is met, and learns
// for it what an instance carries. The goal sets how busy instances may be: in a
// queue requests take S/(1-u) at utilisation u, at every quantile in proportion,
// so that u = 1 - tail at no load / goal; within bounds, as the law is rough.
func latency(v *view) (want, bool) {
	goal := v.scale.SLO.Latency
	if goal <= 0 {
		return want{}, false
	}
	q := v.scale.SLO.Quantile
	if q <= 0 {
		q = 0.95
	}
	w := want{by: "latency", unit: goal.Seconds(),
		target: fmt.Sprintf("p%s within %s", number(100*q), goal)}
	busy := busyMost
	if idle := v.cap.base * v.cap.tail; idle > 0 {
		busy = min(max(1-idle/goal.Seconds(), busyLeast), busyMost)
	}
	carry(v, &w, busy)
	// While a goal that can be met is missed, no instance is given back.
	tail := max(v.mean.tail, v.in.Load.Latency.P95.Seconds())
	w.hold = tail > goal.Seconds() && v.cap.base*v.cap.tail < goal.Seconds()
	// The model may be wrong: what users feel isn't. While the goal is missed and
	// it is a queue here that misses it, a fifth more at a time.
	if v.mean.tail > goal.Seconds() && v.cap.queued() && v.cap.waiting-v.cap.base > 0.2*goal.Seconds() &&
		v.mean.n >= 2*calmFor && v.settled > v.startup && v.counts.starting == 0 &&
		v.mean.own > 0.5*float64(v.counts.ready) {
		more := 1.2 * float64(v.counts.ready)
		if most, sure, _ := v.cap.Estimate(); sure > 0 {
			more = min(more, v.now/(busyLeast*most)) // beyond that it is not the queue
		}
		if more > w.need {
			w.need = more
			w.text += fmt.Sprintf("; p%s is %s, above the goal", number(100*q), seconds(v.mean.tail))
		}
	}
	return w, true
}

// learned is what a service without any target gets: what an instance carries is
// learned, and instances are to be three quarters busy.
func learned(v *view) (want, bool) {
	if given(v.scale) {
		return want{}, false
	}
	w := want{by: "capacity", unit: busyUsual, target: fmt.Sprintf("%s %% busy", number(100*busyUsual))}
	carry(v, &w, busyUsual)
	return w, true
}

// How busy instances may be: 1 is all that they can.
const (
	busyLeast = 0.5
	busyUsual = 0.75
	busyMost  = 0.8
)

// safeConcurrency is how many requests of its own an instance may have in flight
// while its capacity is unknown.
const safeConcurrency = 10

// carry fills in what an instance carries if it may be so busy.
func carry(v *view, w *want, busy float64) {
	most, sure, from := v.cap.Estimate()
	if sure > 0 {
		w.most, w.capacity = most, busy*most
		w.holds = 2 + 2*most*max(v.cap.base, 0)
		w.text = fmt.Sprintf("an instance can do %s/s (learned from %s) and is to be %s %% busy", number(most), from, number(100*busy))
		return
	}
	w.holds = safeConcurrency
	if x, windows := v.cap.now(); windows > 0 && x > 0 {
		// Requests pile up: what is done now is what can be done. After one window
		// it may be half of one, so it counts for a doubling only.
		w.most, w.capacity = x, busy*x
		w.text = fmt.Sprintf("an instance does %s/s while requests pile up", number(x))
		if windows == 1 {
			w.limit = doubled(v)
		}
		return
	}
	// Unknown: the safe concurrency, doubling at most, and never more for an
	// instance to carry than one was seen to carry.
	if v.mean.n >= calmFor {
		w.need = v.mean.own / safeConcurrency
	} else {
		w.need = min(float64(v.current), max(0, v.in.Load.Inflight-v.in.Load.Downstream)/safeConcurrency)
	}
	w.limit = doubled(v)
	w.text = fmt.Sprintf("capacity not yet known: at most %d in flight for an instance", safeConcurrency)
	if v.cap.peak > 0 && v.now > 0 {
		w.need = max(w.need, min(v.now/(1.25*v.cap.peak), float64(v.current)))
	}
}
