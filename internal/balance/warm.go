package balance

import "math/rand/v2"

// Slow start. An endpoint that is new has empty caches and nothing compiled; what an
// old one does in a millisecond may take it a second. So its share grows with time,
// from a tenth to the whole, in a straight line (Envoy's slow start with an
// aggression of 1). Every balancer keeps to it, by its own means:
//
//   - Those that go through an order or by chance pass a cold endpoint over, as often
//     as its share says; its turn is nobody's, so that the others get the rest evenly.
//   - Those that hash give it that share of its keys, always the same ones and more
//     and more of them: a key moves once.
//   - Those that compare load do both: it takes part in as many choices, and what it
//     has in flight counts for more. So neither is it flooded for being idle, nor does
//     it starve where all are.

// leastShare is the share that an endpoint begins with.
const leastShare = 0.1

// Warm lets the endpoint's share grow from little to whole between from and to.
func (e *Endpoint) Warm(from, to int64) {
	e.cold.Store(from)
	e.warm.Store(to)
}

// Share returns what part of its due the endpoint is to get at now: 1 if it is warm.
func (e *Endpoint) Share(now int64) float32 {
	to := e.warm.Load()
	if to == 0 || now >= to {
		return 1
	}
	from := e.cold.Load()
	return max(leastShare, float32(now-from)/float32(to-from))
}

// takes reports whether e takes part in the choice for r: it is usable, and warm
// enough for this one.
func (r *Request) takes(e *Endpoint) bool {
	if !r.usable(e) {
		return false
	}
	s := e.Share(r.Now)
	return s >= 1 || rand.Float32() < s
}

// takesKey is takes for a key: always the same answer for the same share.
func (r *Request) takesKey(e *Endpoint, key uint64) bool {
	if !r.usable(e) {
		return false
	}
	s := e.Share(r.Now)
	return s >= 1 || float32(mix(key+e.key)>>40)/(1<<24) < s
}

// busy returns the requests in flight at e, as many as they would feel like if it
// were warm.
func (r *Request) busy(e *Endpoint) float32 {
	k := float32(e.Inflight())
	if s := e.Share(r.Now); s < 1 {
		return k / s
	}
	return k
}
