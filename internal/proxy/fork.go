package proxy

import (
	"slices"
	"sync"

	"swell/internal/balance"
	"swell/internal/exchange"
)

// kin is what the forks of an exchange know of each other: where they have been, so
// that each goes elsewhere.
type kin struct {
	mu sync.Mutex
	at []*balance.Endpoint
}

// avoid makes the endpoints where the others have been count as tried by r.
func (k *kin) avoid(r *balance.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.at {
		if !slices.Contains(r.Tried, e) {
			r.Tried = append(r.Tried, e)
		}
	}
}

// note tells the others that one is at e now.
func (k *kin) note(e *balance.Endpoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.at, e) {
		k.at = append(k.at, e)
	}
}

func (k *kin) reset() {
	clear(k.at)
	k.at = k.at[:0]
}

// fork gives a fork a state of its own, so that rounds can run for it. The parent
// must not go on with a round of its own while forks of it do; a detached fork knows
// nothing of its parent, and outlives it.
func (p *Plane) fork(x *exchange.Exchange, f *exchange.Fork) {
	st, ok := x.Plane.(*state)
	if !ok {
		return
	}
	n := p.begin(&f.Exchange)
	n.depth = st.depth
	if f.Detached() {
		n.depth++
		return
	}
	if st.ep != nil { // an earlier answer, that is not wanted any more
		st.pick.Tried = append(st.pick.Tried, &st.ep.Endpoint)
		x.Response.Drop()
		st.endAttempt(x, exchange.Now(), st.status)
	}
	if st.kin == nil {
		st.kin = &st.family
	}
	n.kin, n.to, n.route, n.raw = st.kin, st.to, st.route, st.raw
	n.search, n.forked = st.search, true // memory that is the parent's
	n.pick.Tried = append(n.pick.Tried, st.pick.Tried...)
}

// join makes the attempt whose answer f has the one of x, which got that answer.
func (p *Plane) join(x *exchange.Exchange, f *exchange.Fork) {
	st, ok := x.Plane.(*state)
	from, has := f.Plane.(*state)
	if !ok || !has {
		return
	}
	st.ep, st.begun, st.status, st.head = from.ep, from.begun, from.status, from.head
	from.ep = nil
	st.calls = append(st.calls, from.calls...)
	clear(from.calls)
	from.calls = from.calls[:0]
}

// quit ends what fork began.
func (p *Plane) quit(f *exchange.Fork) {
	st, ok := f.Plane.(*state)
	if !ok {
		return
	}
	x, now := &f.Exchange, exchange.Now()
	status := x.Response.Status
	if x.Leash != nil && x.Leash.Gone() {
		status = 499
	}
	if st.ep != nil {
		st.endAttempt(x, now, status)
	}
	st.endCalls(x, now, status)
	x.Plane = nil
	if st.forked {
		st.search = search{}
	}
	st.reset()
	p.states.Put(st)
}
