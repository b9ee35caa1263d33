package balance

import (
	"math/rand/v2"
	"sync/atomic"

	"swell/internal/plug"
)

// random takes any endpoint, as likely as its weight says, by the alias method
// (Walker, ACM TOMS 3(3), 1977; the table as Vose makes it, IEEE TSE 17(9), 1991):
// one look into a table, whatever the number of endpoints and weights.
type random struct{ set atomic.Pointer[alias] }

func randomEntry() plug.Entry[Maker] {
	return plug.Named("random", "Any endpoint, as likely as its weight says.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(random) }, nil })
}

func (b *random) Update(endpoints []*Endpoint) { b.set.Store(newAlias(endpoints)) }

// someDraws is how often chance may name an endpoint that can't be used until all are
// searched.
const someDraws = 8

func (b *random) Pick(r *Request) *Endpoint {
	a := b.set.Load()
	if a == nil || len(a.endpoints) == 0 {
		return nil
	}
	for range someDraws {
		if e := a.draw(rand.Uint64()); r.takes(e) {
			return e
		}
	}
	return r.search(a.endpoints)
}

// alias draws endpoints by weight.
type alias struct {
	endpoints []*Endpoint
	cells     []cell  // nil if all weigh the same
	mean      float32 // weight
}

// cell is a column of Vose's table: with a probability of keep ÷ 2^32 it is its own
// endpoint, else another.
type cell struct{ keep, other uint32 }

func newAlias(endpoints []*Endpoint) *alias {
	a := &alias{endpoints: endpoints}
	n := len(endpoints)
	sum := 0
	for _, e := range endpoints {
		sum += e.Weight
	}
	if n > 0 {
		a.mean = float32(sum) / float32(n)
	}
	if sameWeights(endpoints) {
		return a
	}
	a.cells = make([]cell, n)
	level := make([]float64, n)
	small, large := make([]int, 0, n), make([]int, 0, n)
	for i, e := range endpoints {
		level[i] = float64(e.Weight) * float64(n) / float64(sum)
		if level[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.cells[s] = cell{uint32(level[s] * (1<<32 - 1)), uint32(l)}
		if level[l] -= 1 - level[s]; level[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // full, but for rounding
		a.cells[i] = cell{1<<32 - 1, uint32(i)}
	}
	return a
}

// draw returns the endpoint that a random word names.
func (a *alias) draw(word uint64) *Endpoint {
	i := uint32(uint64(uint32(word)) * uint64(len(a.endpoints)) >> 32)
	if a.cells == nil {
		return a.endpoints[i]
	}
	if c := a.cells[i]; uint32(word>>32) > c.keep {
		i = c.other
	}
	return a.endpoints[i]
}
