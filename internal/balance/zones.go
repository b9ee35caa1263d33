package balance

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// Zones prefers the endpoints of one zone as long as they can take their share, over
// any balancer.
//
// Callers are taken to be spread evenly over the Z zones in which endpoints are. If
// the zone's endpoints have at least 1/Z of all the weight, they can take what its
// callers send, and get all of it. If they have a share l below that, they get l · Z
// of it, which is what every other endpoint then has too, and the rest spills over to
// the other zones: Envoy's zone-aware routing, without its knowledge of how many
// callers are where. Endpoints that are taken out count for nothing, so a zone in
// which some fail spills as much as they would have taken.
type zones struct {
	zone          string
	local, remote Balancer
	share         atomic.Uint64 // of the zone, as the bits of a float64
}

// keyed is a balancer whose choice depends on a key.
type keyed interface {
	// die returns a number in [0, 1) that is always the same for the same key; false
	// for a request without one.
	die(r *Request) (float64, bool)
}

// PreferZone returns makers of balancers that prefer the endpoints of a zone. If zone
// is "", they are m's own.
func PreferZone(m Maker, zone string) Maker {
	if zone == "" {
		return m
	}
	return func() Balancer { return &zones{zone: zone, local: m(), remote: m()} }
}

// LocalShare returns what part of a zone's requests its own endpoints get: 1 if they
// can take them all, 0 if there are none.
func LocalShare(endpoints []*Endpoint, zone string) float64 {
	local, all := 0, 0
	seen := map[string]bool{}
	for _, e := range endpoints {
		all += e.Weight
		if e.Zone == zone {
			local += e.Weight
		}
		seen[e.Zone] = true
	}
	if local == 0 {
		return 0
	}
	// A hair more, as l · Z of equal zones is 1 but for rounding.
	return min(1, float64(local)*float64(len(seen))/float64(all)+1e-9)
}

func (b *zones) Update(endpoints []*Endpoint) {
	local, remote := make([]*Endpoint, 0, len(endpoints)), make([]*Endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		if e.Zone == b.zone {
			local = append(local, e)
		} else {
			remote = append(remote, e)
		}
	}
	b.local.Update(local)
	b.remote.Update(remote)
	b.share.Store(math.Float64bits(LocalShare(endpoints, b.zone)))
}

func (b *zones) Pick(r *Request) *Endpoint {
	first, second := b.local, b.remote
	if share := math.Float64frombits(b.share.Load()); share < 1 {
		die, ok := 0.0, false
		if k, is := first.(keyed); is {
			die, ok = k.die(r)
		}
		if !ok {
			die = rand.Float64()
		}
		if die >= share {
			first, second = second, first
		}
	}
	if e := first.Pick(r); e != nil {
		return e
	}
	return second.Pick(r)
}
