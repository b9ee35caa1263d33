package scale

import (
	"fmt"
	"math"
	"time"

	"swell"
)

// State is what is remembered of one service from decision to decision. The zero
// value is a service never decided on. It must not be copied once used.
type State struct {
	started   bool
	current   int       // decided last
	at        time.Time // decided last
	newest    time.Time // newest load taken in
	requested time.Time // when there was last a request
	arrivals  arrivals
	startups  startups
	capacity  Capacity
	mean      means
	cost      cost
	peakRate  float64 // most arrivals per second lately, falls by a tenth a second
	ready     int     // instances ready at the newest load
	changed   time.Time
	limits    limits
}

// Capacity returns what was learned of one instance.
func (s *State) Capacity() *Capacity { return &s.capacity }

// Startup returns the 95th percentile of the recent start-up times, and false if
// none was measured yet.
func (s *State) Startup() (time.Duration, bool) { return s.startups.typical() }

// tolerance is how far the need may exceed the count before it is followed: less
// is not worth the flapping.
const tolerance = 0.1

// slack is how far a need may exceed a count that is yet to be decided: nobody
// wants a seventh instance for the last hundredth.
const slack = 1.02

// Overshoot: no more than this times the instances that could just carry the
// arrivals are started to work off a backlog.
const overshoot = 1.45

// Decide decides how many instances the service is to have, and changes st
// accordingly. Equal inputs and states give equal decisions. It is to be called
// about once a second, and may be called at any time in between; Input.Now must
// not run backwards.
func Decide(in Input, st *State) swell.Decision {
	sc := &in.Service.Scale
	c := count(&in)
	d := swell.Decision{Service: in.Service.Name, At: in.Now, Steps: make([]swell.Step, 0, 8)}
	st.startups.see(in.Instances)
	if !st.started {
		// Whoever decided before may have left instances: they are there for a reason.
		st.started = true
		st.requested = in.Now
		st.current = clamp(max(sc.Min, c.ready+c.starting), sc)
		st.changed = in.Now
	}
	st.limits.window(in.Now, sc, st.current)
	fresh := !in.Load.At.IsZero() && in.Now.Sub(in.Load.At) <= freshLoad
	if fresh {
		st.take(&in, c)
	}
	startup, measured := st.startups.typical()
	v := view{in: &in, scale: sc, counts: c, current: st.current, mean: &st.mean,
		cap: &st.capacity, cost: &st.cost, startup: startup, settled: in.Now.Sub(st.changed)}
	v.now, v.then = st.arrivals.rate(min(startup.Seconds(), 5))
	d.Steps = append(d.Steps, signalStep(&in, &v, fresh))

	var raw int // before limits
	switch {
	case !fresh && (c.ready > 0 || !in.Load.At.IsZero()):
		// Blind. Not a request and no measurement look alike to a naive reader.
		raw = st.current
		d.By = "hold"
		d.Reason = fmt.Sprintf("no measurement for %s: the count stays", age(&in))
		if in.Load.At.IsZero() {
			d.Reason = "no measurement yet: the count stays"
		}
		d.Steps = append(d.Steps, swell.Step{Name: "want", Value: float64(raw), Text: d.Reason})
	case !fresh:
		raw = st.current
		d.By = "bounds"
		d.Reason = fmt.Sprintf("no request seen yet: %s", instances(raw))
	default:
		raw = st.want(&v, &d)
	}
	if pending := c.starting; pending > 0 {
		text := fmt.Sprintf("%d ready, %d starting and counted; a start takes %s", c.ready, pending, startup.Round(time.Millisecond))
		if !measured {
			text = fmt.Sprintf("%d ready, %d starting and counted", c.ready, pending)
		}
		d.Steps = append(d.Steps, swell.Step{Name: "pending", Value: float64(pending), Text: text})
	}
	n := st.limit(raw, &v, &d)
	if n != st.current {
		st.limits.changed(in.Now, n-st.current)
	}
	st.current, st.at = n, in.Now
	d.Replicas = n
	d.Steps = append(d.Steps, swell.Step{Name: "result", Value: float64(n), Text: instances(n)})
	return d
}

// take learns from a load that was not seen before.
func (s *State) take(in *Input, c counts) {
	l := &in.Load
	if l.Waiting > 0 || l.Rate > 0 || l.Inflight > 0 {
		s.requested = in.Now
	}
	if c.ready != s.ready || c.changed.After(s.changed) {
		s.ready, s.changed = c.ready, l.At
	}
	w := l.Window.Seconds()
	if !l.At.After(s.newest) || w < 0.5 {
		return // seen, or too short to say anything but that somebody waits
	}
	if gap := l.At.Sub(s.newest); gap > 2*freshLoad {
		s.arrivals.reset() // the load may have become anything since
		s.capacity.nrecent, s.capacity.growing, s.capacity.deep = 0, 0, 0
	}
	s.newest = l.At
	s.arrivals.add(max(0, l.Rate-l.Excess), w)
	s.peakRate = max(l.Rate, s.peakRate*math.Pow(0.9, w))

	own := max(l.Inflight-l.Downstream, 0.005*l.Inflight)
	share := 1.0
	if l.Inflight > 0 {
		share = own / l.Inflight
	}
	good := max(0, l.Done-l.Errors)
	// What instances here have done with is done, even where it still waits for
	// an answer from downstream.
	s.capacity.downstream, good = l.Downstream, max(0, good+(l.Downstream-s.capacity.downstream)/w)
	ended := good + l.Errors
	latency := l.Latency.Mean.Seconds()
	since := l.At.Sub(s.changed)
	s.capacity.learn(window{
		at: l.At, seconds: w, in: l.Rate, out: good, ended: ended,
		latency: latency * share, median: l.Latency.P50.Seconds() * share,
		tail:  quantile(l.Latency, in.Service.Scale.SLO.Quantile).Seconds() * share,
		count: float64(l.Latency.Count), inflight: own,
		ready: meanReady(in), settled: since >= l.Window+2*time.Second,
	})
	if since < l.Window+2*time.Second || !s.capacity.calm() {
		s.mean = means{}
	} else {
		s.mean.take(in, l, own)
	}
	s.cost.learn(in, c, good, since > l.Window+youngFor)
}

func (m *means) take(in *Input, l *Load, own float64) {
	m.n++
	k := max(0.12, 1/float64(m.n))
	m.rate += k * (l.Rate - m.rate)
	m.inflight += k * (l.Inflight - m.inflight)
	m.own += k * (own - m.own)
	if l.Latency.Count == 0 {
		return
	}
	m.asked++
	// Few requests say little about a quantile.
	k = max(0.12*float64(l.Latency.Count)/float64(l.Latency.Count+5), 1/float64(m.asked))
	m.tail += k * (quantile(l.Latency, in.Service.Scale.SLO.Quantile).Seconds() - m.tail)
}

// quantile picks the measured quantile at or above q.
func quantile(l swell.Latency, q float64) time.Duration {
	switch {
	case q <= 0 || (q > 0.5 && q <= 0.95):
		return l.P95
	case q <= 0.5:
		return l.P50
	}
	return l.P99
}

// want asks the policies and says how many instances the most demanding wants.
func (s *State) want(v *view, d *swell.Decision) int {
	var best want
	bestN := -1
	for _, p := range policies {
		w, ok := p(v)
		if !ok {
			continue
		}
		if n := s.need(v, &w); n > bestN {
			best, bestN = w, n
		}
	}
	d.By = best.by
	if v.then > 1.01*v.now {
		d.Steps = append(d.Steps, swell.Step{Name: "forecast", Value: v.then,
			Text: number(v.then) + " requests/s when an instance started now is ready, if the trend goes on"})
	}
	d.Steps = append(d.Steps, swell.Step{Name: "target", Value: best.unit, Text: best.target})
	if best.text != "" {
		d.Steps = append(d.Steps, swell.Step{Name: "capacity", Value: best.capacity, Text: best.text})
	}
	n := bestN
	switch busy := s.busy(v); {
	case !busy:
		n = 0 // whatever averages still remember
	case n < 1:
		n = 1
	}
	d.Steps = append(d.Steps, swell.Step{Name: "want", Value: best.need, Text: fmt.Sprintf("%s would do: %s", number(best.need), instances(n))})
	d.Reason = reason(v, &best, n)
	if n == 0 {
		d.By = "zero"
		d.Reason = fmt.Sprintf("no request for %s", v.in.Now.Sub(s.requested).Round(time.Second))
	} else if v.in.Load.Waiting > 0 && v.counts.ready == 0 {
		d.By = "zero"
		d.Reason = fmt.Sprintf("%d requests wait and no instance is ready", v.in.Load.Waiting)
	}
	return n
}

// busy reports whether a service that may go to zero still needs an instance.
func (s *State) busy(v *view) bool {
	if v.scale.Min > 0 {
		return true
	}
	l := &v.in.Load
	if l.Waiting > 0 || l.Inflight > 0 || l.Rate > 0 {
		return true
	}
	return s.current > 0 && v.in.Now.Sub(s.requested) < v.scale.Idle
}

// need turns what a policy wants into a number of instances, and fills in w.need.
func (s *State) need(v *view, w *want) int {
	l := &v.in.Load
	if w.hold {
		w.need = max(w.need, float64(v.current))
	}
	n := atTolerance(w.need, v.current)
	if w.capacity > 0 {
		drain := v.startup.Seconds() + 3
		own := max(0, l.Inflight-l.Downstream)
		if w.by == "concurrency" {
			own = l.Inflight
		}
		backlog := float64(l.Waiting) + max(0, own-w.holds*float64(v.counts.ready))
		// A backlog is worked off soon if it is small; a large one takes longer
		// rather than more instances than will be needed once it is gone.
		boost := min(backlog/drain, max(0.25*v.now, backlog/(3*drain)))
		if v.counts.ready > 0 && w.most > 0 {
			// Some of it is worked off by what the target keeps free.
			boost = max(0, boost-(w.most-w.capacity)*math.Ceil(v.now/w.capacity))
		}
		demand := max(v.now, v.then)
		full := (demand + boost) / w.capacity
		if full > w.need {
			w.need = full
			n = atTolerance(full, v.current)
			arrivals := max(v.now, min(s.peakRate, float64(l.Waiting)/drain))
			cap := max(math.Ceil(max(demand, arrivals)/w.capacity), math.Floor(overshoot*arrivals/w.most))
			if v.counts.ready == 0 || l.Waiting > 0 {
				cap = max(cap, math.Ceil(float64(l.Waiting)/(3*drain)/w.capacity))
			}
			n = min(n, max(int(cap), atTolerance(demand/w.capacity, v.current)))
		}
	} else if l.Waiting > 0 && v.counts.ready == 0 {
		// Nothing is known of the service yet: many that wait want more than one.
		w.need = max(w.need, float64(l.Waiting)/(10*safeConcurrency))
		w.limit = max(w.limit, 4)
		n = int(math.Ceil(w.need))
	}
	if w.limit > 0 {
		n = min(n, w.limit)
	}
	return n
}

// atTolerance rounds a need up to a count, and keeps the count that there is
// when the need exceeds it by less than the tolerance.
func atTolerance(need float64, current int) int {
	if need <= 0 || math.IsNaN(need) {
		return 0
	}
	if need > 1e6 {
		return 1e6
	}
	n := int(math.Ceil(need/slack - 1e-9))
	if n > current && need <= float64(current)*(1+tolerance) {
		return current
	}
	return n
}

// limit applies what bounds a count, in order: failing instances, stabilisation,
// behaviour, bounds, the floor.
func (s *State) limit(n int, v *view, d *swell.Decision) int {
	now, sc := v.in.Now, v.scale
	note := func(to int, by, text string) {
		if to == n {
			return
		}
		d.Steps = append(d.Steps, swell.Step{Name: "limit", Value: float64(to), Text: text})
		if by != "" {
			d.By = by
		}
		d.Reason += "; " + text
		n = to
	}
	// The bounds come first too: a count that can't be is no count to stabilise.
	if b := clamp(n, sc); b != n {
		text := fmt.Sprintf("at least %d", sc.Min)
		if b < n {
			text = fmt.Sprintf("at most %d", sc.Max)
		}
		note(b, "bounds", text)
	}
	if f := v.counts.failing; n > s.current && f > 0 && 2*f >= v.counts.ready {
		note(s.current, "hold", fmt.Sprintf("%s keep failing to start: more would not help", instances(f)))
	}
	if n > s.current && s.current > 0 && now.Before(s.capacity.futile) {
		note(s.current, "hold", fmt.Sprintf("%s do no more than fewer did: something that they share is the limit", instances(v.counts.ready)))
	}
	if to, text := s.limits.stabilise(now, n, s.current, sc); to != n {
		note(to, "", text)
	}
	if to, text := s.limits.behave(now, n, s.current, sc); to != n {
		note(to, "", text)
	}
	if b := clamp(n, sc); b != n {
		note(b, "bounds", fmt.Sprintf("at least %d, at most %d", sc.Min, sc.Max))
	}
	if f := clamp(v.in.Floor, sc); v.in.Floor > 0 && f > n {
		note(f, "manual", fmt.Sprintf("at least %d was asked for by hand", v.in.Floor))
	}
	return n
}

func clamp(n int, sc *swell.Scale) int {
	return max(min(n, sc.Max), sc.Min, 0)
}
