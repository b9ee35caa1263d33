// Package balance chooses the endpoint of a service that gets the next request:
// load-balancing algorithms, one to a file.
//
// A balancer is a data structure: it knows neither clock nor network. Whoever
// uses it says what the time is, counts requests in and out of endpoints with
// [Endpoint.Begin], [Endpoint.Observe] and [Endpoint.End], and takes endpoints out
// and in again with [Endpoint.SetOut].
package balance

import (
	"math/rand/v2"
	"net/netip"

	"swell/internal/exchange"
	"swell/internal/plug"
)

// Request is what a choice may depend on.
type Request struct {
	Now    int64              // ns of a monotonic clock, the same that Endpoint.Begin and Observe are told
	Client netip.Addr         // who asks; the zero Addr is unknown
	X      *exchange.Exchange // what is asked; nil of what is not HTTP
	Tried  []*Endpoint        // where this request has been already: not again
}

// tried reports whether the request has been at e. The list is as short as the
// number of attempts, so a search beats any set.
func (r *Request) tried(e *Endpoint) bool {
	for _, t := range r.Tried {
		if t == e {
			return true
		}
	}
	return false
}

// usable reports whether e may be chosen for r.
func (r *Request) usable(e *Endpoint) bool { return !e.Out() && !r.tried(e) }

// Balancer chooses endpoints.
type Balancer interface {
	// Update replaces the endpoints. One goroutine at a time calls it, while others
	// call Pick. The slice is the balancer's from then on. The state of an endpoint
	// is in the endpoint itself: who keeps the pointer keeps what was learned.
	Update(endpoints []*Endpoint)
	// Pick returns an endpoint that is neither out nor tried, nil if there is none.
	// Any number of goroutines may call it; it allocates nothing.
	Pick(r *Request) *Endpoint
}

// Maker makes a balancer without endpoints.
type Maker func() Balancer

// Default is the balancer of a service that names none.
const Default = "p2c"

// Kind returns the balancers that can be named.
func Kind() *plug.Kind[Maker] {
	return plug.NewKind("balancer", p2cEntry(), roundRobinEntry(), leastConnectionsEntry(), randomEntry(),
		ipHashEntry(), maglevEntry(), ringHashEntry())
}

// search finds a usable endpoint by weight and chance, whether it is warm or not. It
// looks at all of them: balancers come to it when what they tried first can't be
// used.
func (r *Request) search(endpoints []*Endpoint) *Endpoint {
	var found *Endpoint
	sum := 0
	for _, e := range endpoints { // a reservoir of one (Chao, Biometrika 69(3), 1982)
		if r.usable(e) {
			if sum += e.Weight; found == nil || rand.IntN(sum) < e.Weight {
				found = e
			}
		}
	}
	return found
}

// sameWeights reports whether the endpoints weigh all the same.
func sameWeights(endpoints []*Endpoint) bool {
	for _, e := range endpoints {
		if e.Weight != endpoints[0].Weight {
			return false
		}
	}
	return true
}
