package proxy

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"swell"
	"swell/internal/balance"
	"swell/internal/exchange"
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

	rules atomic.Pointer[rules]
	byID  atomic.Pointer[[]*endpoint] // sorted

	wait     *telemetry.Wait
	ejected  [outCauses]*telemetry.Counter
	admitted *telemetry.Counter

	judging atomic.Bool // somebody judges; read without mu, written with it

	mu        sync.Mutex
	endpoints []*endpoint // sorted by ID
	health    swell.Health
	spread    swell.Spread
	panicking bool   // too few are in: those that do badly are used as well
	late      func() // ends the regrouping that is to come; nil if there is none
	stopJudge func()
}

// balancerBox holds a balancer with the use that made it.
type balancerBox struct {
	balance.Balancer
	use   swell.Use
	zones string
}

// newBalancer makes the balancer of u by m.
func (p *Plane) newBalancer(m balance.Maker, use swell.Use, u *swell.Upstream) *balancerBox {
	if u.Spread.Zones == "prefer" {
		m = balance.PreferZone(m, p.opt.Zone)
	}
	return &balancerBox{m(), use, u.Spread.Zones}
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
	for c := refusing; c < outCauses; c++ {
		s.ejected[c] = hub.Count("swell_endpoint_ejections_total", "service", name, "reason", c.label())
	}
	s.rules.Store(newRules(swell.Outliers{}))
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
	if s.rules.Load().Outliers != u.Outliers {
		s.rules.Store(newRules(u.Outliers))
	}
	checked := s.health != u.Health
	s.health = u.Health
	same := s.spread == u.Spread
	s.spread = u.Spread
	gone, changed := s.change(u.Endpoints)
	if prev := s.balancer.Load(); prev != box || !same || changed {
		s.balancer.Store(box)
		s.regroup()
	}
	for _, e := range s.endpoints {
		if checked && e.checks != nil {
			e.checks()
			e.checks = nil
		}
		s.watch(e)
	}
	for _, e := range gone {
		e.drop()
	}
	s.admit()
}

// change makes specs the endpoints. It returns those that are not among them any
// more, and whether anything changed. s.mu is held.
func (s *service) change(specs []swell.Endpoint) (gone []*endpoint, changed bool) {
	if slices.EqualFunc(s.endpoints, specs, func(e *endpoint, spec swell.Endpoint) bool { return e.spec == spec }) && s.byID.Load() != nil {
		return nil, false
	}
	old := make(map[string]*endpoint, len(s.endpoints))
	for _, e := range s.endpoints {
		old[e.ID] = e
	}
	next := make([]*endpoint, 0, len(specs))
	now := exchange.Now()
	var fresh []*endpoint
	warm := false // somebody is, who can take what a cold one does not get
	for _, spec := range specs {
		e := old[spec.ID]
		if e != nil && e.spec == spec {
			delete(old, spec.ID)
			warm = warm || e.cause == in && e.Share(now) == 1
			next = append(next, e)
			continue
		}
		n := newEndpoint(s, spec)
		s.plane.enter(n)
		if e == nil || e.spec.Addr != spec.Addr { // else it only weighs something else now
			fresh = append(fresh, n)
		}
		next = append(next, n)
	}
	for _, e := range s.endpoints {
		if old[e.ID] == e {
			gone = append(gone, e)
		}
	}
	s.endpoints = next
	if s.spread.SlowStart > 0 && warm {
		for _, e := range fresh {
			e.Warm(now, now+int64(s.spread.SlowStart))
		}
	}
	sorted := slices.Clone(next)
	slices.SortFunc(sorted, func(a, b *endpoint) int { return strings.Compare(a.ID, b.ID) })
	s.byID.Store(&sorted)
	return gone, true
}

// regroup works out which endpoints are used, and tells the balancer. s.mu is held.
func (s *service) regroup() {
	if s.late != nil {
		s.late()
		s.late = nil
	}
	good := 0
	for _, e := range s.endpoints {
		if e.cause == in {
			good++
		}
	}
	panicking := good < len(s.endpoints) && (good == 0 || float64(good) < s.spread.Panic*float64(len(s.endpoints)))
	list := make([]*balance.Endpoint, 0, len(s.endpoints))
	rescued := 0
	for _, e := range s.endpoints {
		used := e.cause == in || panicking && e.cause != refusing
		if used && e.cause != in {
			rescued++
		}
		e.SetOut(!used)
		if used {
			list = append(list, &e.Endpoint)
		}
	}
	if panicking = rescued > 0; panicking != s.panicking {
		s.panicking = panicking
		if panicking {
			s.plane.opt.Log.Warn("too few endpoints do well: those that don't are used as well", "service", s.name, "endpoints", len(s.endpoints), "well", good)
		}
	}
	zone := ""
	if s.spread.Zones == "prefer" {
		zone = s.plane.opt.Zone
	}
	s.balancer.Load().Update(balance.Subset(list, s.spread.Subset, s.plane.opt.ID, zone))
}

// Of so many endpoints and more, not every ejection is worth a regrouping of its own:
// the balancer passes those over that are out, and is told after regroupAfter.
const (
	manyEndpoints = 64
	regroupAfter  = 10 * time.Millisecond
)

// regroupSoon is regroup, at once or a little later. s.mu is held.
func (s *service) regroupSoon() {
	if len(s.endpoints) < manyEndpoints {
		s.regroup()
		return
	}
	if s.late != nil {
		return
	}
	s.late = s.plane.spawn(func(ctx context.Context) {
		t := time.NewTimer(regroupAfter)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if ctx.Err() == nil {
			s.regroup()
			s.admit()
		}
	})
}

// close ends the service: who still waits for it is told so.
func (s *service) close() {
	s.closed.Store(true)
	s.update(&swell.Upstream{Service: s.name}, s.balancer.Load(), s.transport.Load())
	s.transport.Load().Close()
	s.mu.Lock()
	if s.stopJudge != nil {
		s.stopJudge()
	}
	s.mu.Unlock()
	s.room.dismiss()
}

// pick chooses an endpoint and counts the request there; nil if there is none.
func (s *service) pick(r *balance.Request) *endpoint {
	if r.X != nil && r.X.Prefer != "" {
		if e := s.preferred(r); e != nil {
			return e
		}
	}
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

// preferred returns the endpoint that the exchange prefers, wherever it is and however
// cold; nil if it is not there, is out, or was tried.
func (s *service) preferred(r *balance.Request) *endpoint {
	list := s.byID.Load()
	if list == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(*list, r.X.Prefer, func(e *endpoint, id string) int { return strings.Compare(e.ID, id) })
	if !ok {
		return nil
	}
	e := (*list)[i]
	if e.Out() || slices.Contains(r.Tried, &e.Endpoint) {
		return nil
	}
	if e.Begin(r.Now); e.gone.Load() {
		e.unpick()
		return nil
	}
	return e
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
