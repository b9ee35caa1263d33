package balance

import (
	"math/rand/v2"
	"sync/atomic"

	"swell/internal/plug"
)

// leastConnections takes the endpoint with the fewest requests in flight for its
// weight, as nginx's least_conn and HAProxy's leastconn do; among equals it goes
// around.
//
// Up to fewExact endpoints it looks at all of them. nginx does so for any number, and
// pays for each; HAProxy keeps a tree that every request locks twice. Beyond
// fewExact, the best of draws that chance names, each as likely as its weight, is
// taken instead: with d of them the share of endpoints that are k requests above the
// mean falls like d^-d^k (Vvedenskaya, Dobrushin, Karpelevich, Problems of
// Information Transmission 32(1), 1996; Mitzenmacher, IEEE TPDS 12(10), 2001), which
// for eight is no more than one request above it; the cost doesn't grow; and several
// data planes don't all find the same one least busy at the same time.
type leastConnections struct {
	next atomic.Uint32
	set  atomic.Pointer[alias]
}

const (
	fewExact = 16
	draws    = 8
)

func leastConnectionsEntry() plug.Entry[Maker] {
	return plug.Named("least-connections", "The endpoint with the fewest requests in flight for its weight.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(leastConnections) }, nil })
}

func (b *leastConnections) Update(endpoints []*Endpoint) { b.set.Store(newAlias(endpoints)) }

func (b *leastConnections) Pick(r *Request) *Endpoint {
	set := b.set.Load()
	if set == nil || len(set.endpoints) == 0 {
		return nil
	}
	eps := set.endpoints
	var best least
	if len(eps) <= fewExact {
		best.all(r, eps, int((b.next.Add(1)-1)%uint32(len(eps))), true)
	} else {
		for range draws {
			if e := set.draw(rand.Uint64()); r.takes(e) {
				best.offer(r, e)
			}
		}
	}
	if best.e == nil {
		best.all(r, eps, rand.IntN(len(eps)), false)
	}
	return best.e
}

// least is the least busy endpoint so far.
type least struct {
	e    *Endpoint
	busy float32
}

func (l *least) offer(r *Request, e *Endpoint) {
	// One more in flight, so that among idle ones the heavier comes first.
	k := r.busy(e) + 1
	if l.e == nil || k*float32(l.e.Weight) < l.busy*float32(e.Weight) {
		l.e, l.busy = e, k
	}
}

// all offers all endpoints, the one at at first.
func (l *least) all(r *Request, eps []*Endpoint, at int, warm bool) {
	for range eps {
		e := eps[at]
		if at++; at == len(eps) {
			at = 0
		}
		if warm && r.takes(e) || !warm && r.usable(e) {
			l.offer(r, e)
		}
	}
}
