package balance

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync/atomic"

	"swell/internal/plug"
)

// ipHash keeps a client at one endpoint by rendezvous hashing (Thaler and
// Ravishankar, IEEE/ACM ToN 6(1), 1998): each endpoint draws a lot for the
// client, and the highest wins. When endpoints come and go, only the clients of
// those move. Weights are the logarithmic method's (Schindelhauer and Schomaker,
// SPAA 2005).
type ipHash struct{ set atomic.Pointer[hashed] }

type hashed struct {
	endpoints []*Endpoint
	equal     bool // all weights are: the lots can be compared as they are
}

func ipHashEntry() plug.Entry[Maker] {
	return plug.Named("ip-hash", "The same endpoint for the same client address, as long as it is there.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(ipHash) }, nil })
}

func (b *ipHash) Update(endpoints []*Endpoint) {
	s := &hashed{endpoints: endpoints, equal: true}
	for _, e := range endpoints {
		s.equal = s.equal && e.Weight == endpoints[0].Weight
	}
	b.set.Store(s)
}

func (b *ipHash) Pick(r *Request) *Endpoint {
	s := b.set.Load()
	if s == nil {
		return nil
	}
	client := clientKey(r.Client)
	var (
		best  *Endpoint
		most  uint64
		score float64
	)
	for _, e := range s.endpoints {
		if !r.usable(e) {
			continue
		}
		lot := mix(client ^ e.key)
		if s.equal {
			if best == nil || lot > most {
				best, most = e, lot
			}
			continue
		}
		// -w / ln(u) for u uniform in (0, 1).
		u := (float64(lot>>11) + 0.5) / (1 << 53)
		if w := -float64(e.Weight) / math.Log(u); best == nil || w > score {
			best, score = e, w
		}
	}
	return best
}

// clientKey hashes an address; an IPv4 one is the same in its IPv6 form.
func clientKey(a netip.Addr) uint64 {
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	return mix(mix(binary.LittleEndian.Uint64(b[:8])) ^ binary.LittleEndian.Uint64(b[8:]))
}
