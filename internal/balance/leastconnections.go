package balance

import (
	"math/rand/v2"
	"sync/atomic"

	"swell/internal/plug"
)

// leastConnections takes the endpoint with the fewest requests in flight for its
// weight, as nginx's least_conn and HAProxy's leastconn do; equals get it in turn, or as
// often as their weights say.
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
		best.all(r, set, int((b.next.Add(1)-1)%uint32(len(eps))), true)
	} else {
		for range draws {
			if e := set.draw(rand.Uint64()); r.takes(e) {
				best.offer(r, e)
			}
		}
	}
	if best.e == nil {
		best.all(r, set, rand.IntN(len(eps)), false)
	}
	return best.e
}

// least is the least busy endpoint so far.
type least struct {
	e    *Endpoint
	busy float32
	sum  int // of the weights of those that are as busy
}

// offer takes e if it is less busy for its weight.
func (l *least) offer(r *Request, e *Endpoint) (equal bool) {
	k := r.busy(e)
	if l.e != nil {
		a, b := k*float32(l.e.Weight), l.busy*float32(e.Weight)
		if a >= b {
			return a == b
		}
	}
	l.e, l.busy, l.sum = e, k, e.Weight
	return false
}

// all offers all endpoints, the one at at first.
func (l *least) all(r *Request, set *alias, at int, warm bool) {
	for range set.endpoints {
		e := set.endpoints[at]
		if at++; at == len(set.endpoints) {
			at = 0
		}
		if warm && !r.takes(e) || !warm && !r.usable(e) {
			continue
		}
		if l.offer(r, e) && set.cells != nil {
			if l.sum += e.Weight; rand.IntN(l.sum) < e.Weight {
				l.e, l.busy = e, r.busy(e)
			}
		}
	}
}
