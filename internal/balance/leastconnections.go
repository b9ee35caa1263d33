package balance

import (
	"sync/atomic"

	"swell/internal/plug"
)

// leastConnections takes the endpoint with the fewest requests in flight for its
// weight, as nginx's least_conn and HAProxy's leastconn do; among equals it goes
// around.
type leastConnections struct {
	next atomic.Uint32
	set  atomic.Pointer[[]*Endpoint]
}

func leastConnectionsEntry() plug.Entry[Maker] {
	return plug.Named("least-connections", "The endpoint with the fewest requests in flight for its weight.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(leastConnections) }, nil })
}

func (b *leastConnections) Update(endpoints []*Endpoint) { b.set.Store(&endpoints) }

func (b *leastConnections) Pick(r *Request) *Endpoint {
	set := b.set.Load()
	if set == nil || len(*set) == 0 {
		return nil
	}
	eps := *set
	n := uint32(len(eps))
	at := (b.next.Add(1) - 1) % n
	var (
		best *Endpoint
		busy int64
	)
	for range eps {
		e := eps[at]
		if at++; at == n {
			at = 0
		}
		if !r.usable(e) {
			continue
		}
		// a/wa < b/wb without a division. One more in flight, so that among idle
		// ones the heavier comes first.
		k := e.Inflight() + 1
		if best == nil || k*int64(best.Weight) < busy*int64(e.Weight) {
			best, busy = e, k
		}
	}
	return best
}
