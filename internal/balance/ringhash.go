package balance

import (
	"errors"
	"math/bits"

	"swell/internal/plug"
)

// RingOptions are the options of ring-hash.
type RingOptions struct {
	Hashing
	Points int `json:"points" doc:"Points on the ring for each unit of weight: the more, the more even the shares. There are fewer if the ring would have more than half a million."`
}

const (
	ringPoints = 512
	// mostPoints bounds a ring. Beyond it, all endpoints have half the points, or a
	// quarter: only powers of two, so that the ring changes as a whole but seldom.
	mostPoints = 1 << 19
)

// ringHash has a ring on which every endpoint has points, as many as its weight says;
// a key belongs to the first point at or after its hash: consistent hashing (Karger et
// al., STOC 1997), with many points for each server as in Ketama (Jones, 2007). When
// an endpoint comes or goes, only its own keys move. Shares are less even than
// maglev's: with p points they deviate by about 1 ÷ √p.
func ringHashEntry() plug.Entry[Maker] {
	return plug.Named("ring-hash", "The same instance for the same key, by a ring on which the fewest keys move.",
		RingOptions{Points: ringPoints}, func(o RingOptions) (Maker, error) {
			if err := o.check(); err != nil {
				return nil, err
			}
			if o.Points < 16 || o.Points > 1<<16 {
				return nil, errors.New("points must be from 16 to 65536 for each unit of weight")
			}
			build := func(e []*Endpoint) *circle { return newRing(e, o.Points) }
			return func() Balancer { return &consistent{options: o.Hashing, build: build} }, nil
		})
}

// points are places on a ring of 2^64, sorted.
type points struct {
	at    []uint64
	start []uint32 // for each of equal parts of the ring, its first point
	shift uint     // what of a hash is not the part
}

func newRing(endpoints []*Endpoint, each int) *circle {
	sum := 0
	for _, e := range endpoints {
		sum += e.Weight
	}
	halved := 0
	for sum > (mostPoints<<halved)/each {
		halved++
	}
	count := func(e *Endpoint) int { return max(1, e.Weight*each>>halved) }
	total := 0
	for _, e := range endpoints {
		total += count(e)
	}
	// Sorted by counting: hashes are spread evenly, so a part of the ring for each
	// point holds one on average, and sorting parts is next to nothing.
	parts := bits.Len(uint(total - 1))
	p := &points{at: make([]uint64, total), start: make([]uint32, 1<<parts+1), shift: uint(64 - parts)}
	owner := make([]uint32, total)
	point := func(e *Endpoint, j int) uint64 { return mix(e.key + uint64(j)*0x9e3779b97f4a7c15) }
	for _, e := range endpoints {
		for j := range count(e) {
			p.start[point(e, j)>>p.shift+1]++
		}
	}
	for i := 1; i < len(p.start); i++ {
		p.start[i] += p.start[i-1]
	}
	used := make([]uint16, 1<<parts)
	for i, e := range endpoints {
		for j := range count(e) {
			h := point(e, j)
			k := h >> p.shift
			// The new one goes among those of its part, in order; equal ones by the
			// endpoint's hash, as the ring must not depend on the endpoints' order.
			at := p.start[k] + uint32(used[k])
			for ; at > p.start[k] && (p.at[at-1] > h || p.at[at-1] == h && endpoints[owner[at-1]].key > e.key); at-- {
				p.at[at], owner[at] = p.at[at-1], owner[at-1]
			}
			p.at[at], owner[at] = h, uint32(i)
			used[k]++
		}
	}
	return &circle{owner: owner, ring: p}
}

// find returns the first point at or after h.
func (p *points) find(h uint64) int {
	i := int(p.start[h>>p.shift])
	for ; i < len(p.at); i++ {
		if p.at[i] >= h {
			return i
		}
	}
	return 0
}
