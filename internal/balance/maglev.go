package balance

import (
	"cmp"
	"fmt"
	"slices"

	"swell/internal/plug"
)

// MaglevOptions are the options of maglev.
type MaglevOptions struct {
	Hashing
	Table int `json:"table" doc:"Entries of the table, a prime number: the more, the more even the shares and the fewer keys move when instances change. It should be at least a hundred times the number of instances."`
}

// maglevTable is a prime: 655 entries for each of 100 endpoints, and a table for
// 5,000 is made in a few milliseconds.
const (
	maglevTable   = 65537
	maglevLargest = 5000011
)

// maglev has a table in which every endpoint owns as many entries as its weight says,
// and a key's hash is a place in it: Maglev hashing (Eisenbud et al., Maglev: A Fast
// and Reliable Software Network Load Balancer, NSDI 2016, section 3.4). Each endpoint
// has a permutation of the table's places of its own, and by turns each takes the
// next place of it that is free. Shares are as even as can be, and when an endpoint
// comes or goes few of the others' keys move, though not as few as with ring-hash.
//
// Turns are given by weight, the earliest deadline first, so that when an endpoint's
// turn is doesn't depend on the others.
func maglevEntry() plug.Entry[Maker] {
	return plug.Named("maglev", "The same instance for the same key, by a table with the most even shares.",
		MaglevOptions{Table: maglevTable}, func(o MaglevOptions) (Maker, error) {
			if err := o.check(); err != nil {
				return nil, err
			}
			if o.Table < 3 || o.Table > maglevLargest || !prime(o.Table) {
				n := min(max(3, o.Table), maglevLargest)
				for !prime(n) {
					n++
				}
				return nil, fmt.Errorf("table is %d; it must be a prime number from 3 to %d, %d for instance", o.Table, maglevLargest, n)
			}
			build := func(e []*Endpoint) *circle { return newMaglev(e, o.Table) }
			return func() Balancer { return &consistent{options: o.Hashing, build: build} }, nil
		})
}

func newMaglev(endpoints []*Endpoint, size int) *circle {
	type walk struct{ at, skip uint32 }
	// In order of hashes, as the table must not depend on the order of the endpoints.
	order := make([]uint32, len(endpoints))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		x, y := endpoints[a], endpoints[b]
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.ID, y.ID))
	})
	walks := make([]walk, len(order))
	weights := make([]int, len(order))
	for i, j := range order {
		e := endpoints[j]
		walks[i] = walk{uint32(part(mix(e.key+1), size)), 1 + uint32(part(mix(e.key+2), size-1))}
		weights[i] = e.Weight
	}
	owner := make([]uint32, size)
	const free = 1<<32 - 1
	for i := range owner {
		owner[i] = free
	}
	take := func(i int) {
		w := &walks[i]
		for owner[w.at] != free {
			if w.at += w.skip; w.at >= uint32(size) {
				w.at -= uint32(size)
			}
		}
		owner[w.at] = order[i]
	}
	if sameWeights(endpoints) {
		for n := range size {
			take(n % len(order))
		}
	} else {
		turn := newDeadlines(weights)
		for range size {
			take(turn.next())
		}
	}
	return &circle{owner: owner}
}

func prime(n int) bool {
	if n < 2 || n%2 == 0 {
		return n == 2
	}
	for d := 3; d*d <= n; d += 2 {
		if n%d == 0 {
			return false
		}
	}
	return true
}
