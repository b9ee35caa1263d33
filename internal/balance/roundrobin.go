package balance

import (
	"slices"
	"sync/atomic"

	"swell/internal/plug"
)

// roundRobin goes around, each endpoint as often as its weight says and spread
// evenly: nginx's smooth weighted round-robin. As its order repeats, it is worked
// out once for each set of endpoints, and a choice is one atomic addition.
type roundRobin struct {
	next atomic.Uint64
	set  atomic.Pointer[ring]
}

type ring struct {
	endpoints []*Endpoint
	order     []uint16
}

func roundRobinEntry() plug.Entry[Maker] {
	return plug.Named("round-robin", "Each endpoint in turn, as often as its weight says.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(roundRobin) }, nil })
}

func (b *roundRobin) Update(endpoints []*Endpoint) {
	weights := make([]int, len(endpoints))
	for i, e := range endpoints {
		weights[i] = e.Weight
	}
	b.set.Store(&ring{endpoints, Smooth(weights)})
}

func (b *roundRobin) Pick(r *Request) *Endpoint {
	s := b.set.Load()
	if s == nil || len(s.order) == 0 {
		return nil
	}
	n := uint64(len(s.order))
	at := (b.next.Add(1) - 1) % n
	for range s.order {
		if e := s.endpoints[s.order[at]]; r.usable(e) {
			return e
		}
		if at++; at == n {
			at = 0
		}
	}
	return nil
}

// maxOrder bounds the order's length. Weights whose sum is larger are rounded.
const maxOrder = 4096

// Smooth returns the order, by index, in which nginx's smooth weighted round-robin
// (commit 52327e0627f4, "Upstream: smooth weighted round-robin balancing") goes
// through weights: every step, each one's credit grows by its weight, and the
// largest credit is chosen and pays the sum of the weights. It repeats after sum ÷
// gcd steps. A weight of 0 or less never comes. At most 65,536 weights.
func Smooth(weights []int) []uint16 {
	w := make([]int, len(weights))
	sum, div := 0, 0
	for i, x := range weights {
		w[i] = max(0, x)
		sum += w[i]
		div = gcd(div, w[i])
	}
	if sum == 0 {
		return nil
	}
	total := 0
	for i := range w {
		w[i] /= div
		if sum/div > maxOrder && w[i] > 0 {
			w[i] = max(1, w[i]*maxOrder/(sum/div))
		}
		total += w[i]
	}
	order := make([]uint16, 0, total)
	if total == len(w) && !slices.Contains(w, 0) { // all are 1: no need for the long way
		for i := range w {
			order = append(order, uint16(i))
		}
		return order
	}
	credit := make([]int, len(w))
	for range total {
		best := -1
		for i := range w {
			credit[i] += w[i]
			if w[i] > 0 && (best < 0 || credit[i] > credit[best]) {
				best = i
			}
		}
		credit[best] -= total
		order = append(order, uint16(best))
	}
	return order
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
