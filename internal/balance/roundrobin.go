package balance

import (
	"slices"
	"sync/atomic"

	"swell/internal/plug"
)

// roundRobin goes around, each endpoint as often as its weight says and spread
// evenly: nginx's smooth weighted round-robin. As its order repeats, it is worked
// out once for each set of endpoints, and a choice is one atomic addition.
//
// A cycle is as long as the sum of the weights, and to find its order by nginx's
// way takes that times the number of endpoints. Where that is too much, endpoints of
// the same weight form a class; the classes take turns smoothly, each by the sum of
// its weights, and a class's turns go around among its endpoints. That is as exact
// and nearly as smooth, and a thousand endpoints of one weight are a cycle of one.
type roundRobin struct {
	next atomic.Uint64
	set  atomic.Pointer[turns]
}

// turns is an order without end.
type turns struct {
	endpoints []*Endpoint
	classes   [][]*Endpoint
	order     []uint16 // a class for each turn of a cycle
	rank      []uint32 // the how manieth turn of its class in the cycle that is
	each      []uint64 // turns of each class in a cycle
}

func roundRobinEntry() plug.Entry[Maker] {
	return plug.Named("round-robin", "Each endpoint in turn, as often as its weight says.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(roundRobin) }, nil })
}

func (b *roundRobin) Update(endpoints []*Endpoint) { b.set.Store(newTurns(endpoints)) }

// mostWork bounds the steps of working out an order.
const mostWork = 1 << 20

func newTurns(endpoints []*Endpoint) *turns {
	t := &turns{endpoints: endpoints}
	sum, div := 0, 0
	for _, e := range endpoints {
		sum += e.Weight
		div = gcd(div, e.Weight)
	}
	if sum == 0 {
		return t
	}
	var weights []int
	if len(endpoints)*(sum/div) <= mostWork && sum/div <= maxCycle {
		for i, e := range endpoints {
			t.classes = append(t.classes, endpoints[i:i+1:i+1])
			weights = append(weights, e.Weight)
		}
	} else {
		sorted := slices.Clone(endpoints)
		slices.SortStableFunc(sorted, func(a, b *Endpoint) int { return b.Weight - a.Weight })
		for from := 0; from < len(sorted); {
			to := from + 1
			for to < len(sorted) && sorted[to].Weight == sorted[from].Weight {
				to++
			}
			t.classes = append(t.classes, sorted[from:to])
			weights = append(weights, sorted[from].Weight*(to-from))
			from = to
		}
	}
	t.order = smooth(weights, maxCycle)
	t.rank = make([]uint32, len(t.order))
	t.each = make([]uint64, len(t.classes))
	for i, c := range t.order {
		t.rank[i] = uint32(t.each[c])
		t.each[c]++
	}
	return t
}

// at returns the endpoint whose turn is the n-th.
func (t *turns) at(n uint64) *Endpoint {
	length := uint64(len(t.order))
	cycle := n / length
	i := n - cycle*length
	c := t.order[i]
	class := t.classes[c]
	if len(class) == 1 {
		return class[0]
	}
	return class[(cycle*t.each[c]+uint64(t.rank[i]))%uint64(len(class))]
}

// someTurns is how many turns are passed over until all endpoints are searched.
const someTurns = 16

func (b *roundRobin) Pick(r *Request) *Endpoint {
	t := b.set.Load()
	if t == nil || len(t.order) == 0 {
		return nil
	}
	for range someTurns {
		n := b.next.Add(1) - 1
		e := t.at(n)
		if r.takes(e) {
			return e
		}
		if !r.tried(e) {
			continue // out or cold: its turn is nobody's
		}
		for i := range uint64(someTurns) {
			if e := t.at(n + 1 + i); r.takes(e) {
				return e
			}
		}
		break
	}
	return r.search(t.endpoints)
}

// maxOrder bounds the length of Smooth's orders, maxCycle that of a balancer's cycle.
const (
	maxOrder = 4096
	maxCycle = 1 << 16
)

// Smooth returns the order, by index, in which nginx's smooth weighted round-robin
// (commit 52327e0627f4, "Upstream: smooth weighted round-robin balancing") goes
// through weights: every step, each one's credit grows by its weight, and the
// largest credit is chosen and pays the sum of the weights. It repeats after sum ÷
// gcd steps; where that would be more than 4,096, the weights are rounded. A weight
// of 0 or less never comes. At most 65,536 weights.
func Smooth(weights []int) []uint16 { return smooth(weights, maxOrder) }

func smooth(weights []int, most int) []uint16 {
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
		if sum/div > most && w[i] > 0 {
			w[i] = max(1, int(int64(w[i])*int64(most)/int64(sum/div)))
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
	if total*len(w) > 4*mostWork { // hundreds of different weights
		turn := newDeadlines(w)
		for range total {
			order = append(order, uint16(turn.next()))
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
