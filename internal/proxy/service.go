package proxy

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"swell"
	"swell/internal/balance"
	"swell/internal/filter"
	"swell/internal/telemetry"
)

// service is a service as this data plane knows it, from the first snapshot that
// names it to the last. Its endpoints are always the newest, even for an exchange
// that began with an older table.
type service struct {
	name  string
	plane *Plane
	room  room

	balancer  atomic.Pointer[balancerBox]
	transport atomic.Pointer[transportBox]
	hold      atomic.Pointer[swell.Hold]
	closed    atomic.Bool // no snapshot names it any more

	wait     *telemetry.Wait
	ejected  [3]*telemetry.Counter // by outCause
	admitted *telemetry.Counter

	mu        sync.Mutex
	endpoints []*endpoint // sorted by ID
	health    swell.Health
}

// balancerBox holds a balancer with the use that made it.
type balancerBox struct {
	balance.Balancer
	use swell.Use
}

// serviceRound is a service's part of a table: its filters around its forwarding.
type serviceRound struct {
	service *service
	use     []swell.Use
	round   filter.Round
}

// newService makes a service without endpoints; nothing is started.
func (p *Plane) newService(name string) *service {
	hub := p.opt.Hub
	s := &service{
		name: name, plane: p, wait: hub.Wait(name),
		admitted: hub.Count("swell_endpoint_readmissions_total", "service", name),
	}
	s.ejected[refusing] = hub.Count("swell_endpoint_ejections_total", "service", name, "reason", "refusing")
	s.ejected[failing] = hub.Count("swell_endpoint_ejections_total", "service", name, "reason", "failing")
	s.room.service = s
	s.hold.Store(&swell.Hold{})
	return s
}

// Held for a service whose snapshot says nothing about it.
var defaultHold = swell.Hold{Max: 1024, Timeout: 30 * time.Second}

// update makes the endpoints those of u. box is the balancer to use from now on, and
// via what carries requests to them.
func (s *service) update(u *swell.Upstream, box *balancerBox, via *transportBox) {
	if old := s.transport.Swap(via); old != nil && old != via {
		old.Close()
	}
	addrs := make([]string, 0, len(u.Endpoints))
	for _, e := range u.Endpoints {
		addrs = append(addrs, e.Addr)
	}
	slices.Sort(addrs)
	via.Keep(slices.Compact(addrs))
	hold := u.Hold
	if hold == (swell.Hold{}) {
		hold = defaultHold
	}
	s.hold.Store(&hold)

	s.mu.Lock()
	defer s.mu.Unlock()
	checked := s.health != u.Health
	s.health = u.Health
	old := map[string]*endpoint{}
	for _, e := range s.endpoints {
		old[e.ID] = e
	}
	next := make([]*endpoint, 0, len(u.Endpoints))
	same := len(old) == len(u.Endpoints)
	for _, spec := range u.Endpoints {
		if e := old[spec.ID]; e != nil && e.spec == spec {
			delete(old, spec.ID)
			next = append(next, e)
			if checked && e.checks != nil {
				e.checks()
				e.checks = nil
			}
			continue
		}
		same = false
		next = append(next, newEndpoint(s, spec))
	}
	s.endpoints = next
	for _, e := range next {
		s.plane.enter(e)
		s.watch(e)
	}
	if prev := s.balancer.Load(); prev != box || !same {
		s.balancer.Store(box)
		s.rebalance(box)
	}
	for _, e := range old {
		if e.stop != nil {
			e.stop()
		}
		if e.checks != nil {
			e.checks()
		}
		e.leave()
	}
	s.admit()
}

// rebalance tells the balancer who is in. s.mu is held.
func (s *service) rebalance(box *balancerBox) {
	list := make([]*balance.Endpoint, 0, len(s.endpoints))
	for _, e := range s.endpoints {
		if !e.Out() {
			list = append(list, &e.Endpoint)
		}
	}
	box.Update(list)
}

// close ends the service: who still waits for it is told so.
func (s *service) close() {
	s.closed.Store(true)
	s.update(&swell.Upstream{Service: s.name}, s.balancer.Load(), s.transport.Load())
	s.transport.Load().Close()
	s.room.dismiss()
}

// pick chooses an endpoint and counts the request there; nil if there is none.
func (s *service) pick(r *balance.Request) *endpoint {
	for range 16 {
		be := s.balancer.Load().Pick(r)
		if be == nil {
			return nil
		}
		be.Begin(r.Now)
		e := be.Owner.(*endpoint)
		if !e.gone.Load() {
			return e
		}
		e.unpick() // it left between the choice and now
	}
	return nil
}

// again is pick for a request that has been everywhere: it may go to an endpoint
// twice, as that is better than not at all.
func (s *service) again(r *balance.Request) *endpoint {
	if len(r.Tried) == 0 {
		return nil
	}
	r.Tried = r.Tried[:0]
	return s.pick(r)
}

// more reports whether there is an endpoint that r has not been at.
func (s *service) more(r *balance.Request) bool { return s.balancer.Load().Pick(r) != nil }

func sameUses(a, b []swell.Use) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }
