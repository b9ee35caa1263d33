package balance

import (
	"math/rand/v2"
	"sync/atomic"

	"swell/internal/plug"
)

// p2c takes the better of two endpoints that chance names: "the power of two
// choices" (Mitzenmacher, IEEE TPDS 12(10), 2001), which is nearly as good as the
// best of all and, unlike that, doesn't send everybody to the same one. Better is
// the lower of latency × (requests in flight + 1) ÷ weight, where latency is the
// peak EWMA that Finagle (twitter.github.io/finagle, "P2C + Peak EWMA") and
// Linkerd use: it notices a slow endpoint within one answer.
type p2c struct{ set atomic.Pointer[[]*Endpoint] }

func p2cEntry() plug.Entry[Maker] {
	return plug.Named("p2c", "The better of two random endpoints, by recent latency and requests in flight.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(p2c) }, nil })
}

func (p *p2c) Update(endpoints []*Endpoint) { p.set.Store(&endpoints) }

func (p *p2c) Pick(r *Request) *Endpoint {
	set := p.set.Load()
	if set == nil {
		return nil
	}
	eps := *set
	n := uint32(len(eps))
	if n == 0 {
		return nil
	}
	if n == 1 {
		if r.usable(eps[0]) {
			return eps[0]
		}
		return nil
	}
	for range 3 {
		word := rand.Uint64()
		i := uint32(uint64(uint32(word)) * uint64(n) >> 32)
		j := uint32((word >> 32) * uint64(n-1) >> 32)
		if j >= i {
			j++
		}
		a, b := eps[i], eps[j]
		switch useA, useB := r.usable(a), r.usable(b); {
		case useA && useB:
			if load(b, r.Now) < load(a, r.Now) {
				return b
			}
			return a
		case useA:
			return a
		case useB:
			return b
		}
	}
	// Chance named only endpoints that can't be used: look at all, from anywhere.
	var best *Endpoint
	var least float32
	at := rand.Uint32N(n)
	for range eps {
		e := eps[at]
		if at++; at == n {
			at = 0
		}
		if r.usable(e) {
			if l := load(e, r.Now); best == nil || l < least {
				best, least = e, l
			}
		}
	}
	return best
}

// load is what an endpoint's next request would have to wait for, in a manner of
// speaking. An endpoint that has never answered gets one request to show itself:
// its load is the lowest while it has none, and the highest while it has.
func load(e *Endpoint, now int64) float32 {
	busy := float32(e.Inflight())
	lat := e.Latency(now)
	if lat == 0 {
		if busy == 0 {
			return 0
		}
		return unproven * (busy + 1) / float32(e.Weight)
	}
	return lat * (busy + 1) / float32(e.Weight)
}

// unproven is the latency, in microseconds, that an endpoint without an answer so
// far is taken to have.
const unproven = 1_000_000
