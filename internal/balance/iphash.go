package balance

import (
	"math"
	"sync/atomic"

	"swell/internal/plug"
)

// ipHash keeps a client at one endpoint. When endpoints come and go, only the clients
// of those move.
//
// Up to fewRendezvous endpoints it is rendezvous hashing (Thaler and Ravishankar,
// IEEE/ACM ToN 6(1), 1998): each endpoint draws a lot for the client, and the highest
// wins. Weights are the logarithmic method's (Schindelhauer and Schomaker, SPAA
// 2005). As that looks at every endpoint, beyond them it is ring-hash.
type ipHash struct{ set atomic.Pointer[hashed] }

const fewRendezvous = 16

type hashed struct {
	endpoints []*Endpoint
	ring      *circle // of many
}

func ipHashEntry() plug.Entry[Maker] {
	return plug.Named("ip-hash", "The same endpoint for the same client address, as long as it is there.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(ipHash) }, nil })
}

func (b *ipHash) Update(endpoints []*Endpoint) {
	s := &hashed{endpoints: endpoints}
	if len(endpoints) > fewRendezvous {
		s.ring = newRing(endpoints, ringPoints)
	}
	b.set.Store(s)
}

func (b *ipHash) Pick(r *Request) *Endpoint {
	s := b.set.Load()
	if s == nil {
		return nil
	}
	client := hashClient(r.Client)
	if s.ring != nil {
		at := s.ring.slot(client)
		for range someSlots {
			if e := s.endpoints[s.ring.owner[at]]; r.takesKey(e, client) {
				return e
			}
			if at++; at == len(s.ring.owner) {
				at = 0
			}
		}
	}
	if e := rendezvous(r, s.endpoints, client, func(e *Endpoint) bool { return r.takesKey(e, client) }); e != nil {
		return e
	}
	return rendezvous(r, s.endpoints, client, nil)
}

func (b *ipHash) die(r *Request) (float64, bool) {
	return float64(mix(hashClient(r.Client)^0x6a09e667f3bcc909)>>11) / (1 << 53), true
}

// rendezvous returns the usable endpoint with the highest lot for a key, of those
// that may (all, if that is nil).
func rendezvous(r *Request, endpoints []*Endpoint, key uint64, may func(*Endpoint) bool) *Endpoint {
	var (
		best  *Endpoint
		score float64
	)
	for _, e := range endpoints {
		if !r.usable(e) || may != nil && !may(e) {
			continue
		}
		// -w / ln(u) for u uniform in (0, 1).
		u := (float64(mix(key^e.key)>>11) + 0.5) / (1 << 53)
		if w := -float64(e.Weight) / math.Log(u); best == nil || w > score {
			best, score = e, w
		}
	}
	return best
}
