package proxy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"swell"
	"swell/internal/balance"
	"swell/internal/filter"
	"swell/internal/telemetry"
)

// table is a compiled snapshot. It is immutable.
type table struct {
	snapshot *swell.Snapshot
	services map[string]*serviceRound
	balancer map[string]*balancerBox
	via      map[string]*transportBox
	router   *router
	edges    map[swell.Edge]*edgeRound
	tcp      map[string]*edgeRound // by the name of the gateway's TCP listener
}

// edgeRound is what a request on an edge goes through.
type edgeRound struct {
	to    *serviceRound
	meter *telemetry.Meter
}

// compile makes the table of a snapshot. It changes nothing that runs: the caller
// installs it, or forgets it. What did not change is taken over from old, which may
// be nil, so that filters keep their state (a retry budget, for one) and a change of
// endpoints costs little.
func (p *Plane) compile(snap *swell.Snapshot, old *table) (*table, error) {
	t := &table{
		snapshot: snap, services: map[string]*serviceRound{},
		balancer: map[string]*balancerBox{}, via: map[string]*transportBox{}, edges: map[swell.Edge]*edgeRound{}, tcp: map[string]*edgeRound{},
	}
	same := old != nil && len(old.services) == len(snap.Upstreams)
	for i := range snap.Upstreams {
		u := &snap.Upstreams[i]
		if t.services[u.Service] != nil {
			return nil, fmt.Errorf("service %s is there twice", u.Service)
		}
		to, box, err := p.compileService(u, old)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", u.Service, err)
		}
		t.services[u.Service], t.balancer[u.Service] = to, box
		if old != nil && old.via[u.Service] != nil && old.via[u.Service].same(u) {
			t.via[u.Service] = old.via[u.Service]
		} else if t.via[u.Service], err = p.newTransport(u); err != nil {
			return nil, fmt.Errorf("service %s: %w", u.Service, err)
		}
		same = same && old.services[u.Service] == to && old.via[u.Service].protocol == u.Protocol
	}
	if same && reflect.DeepEqual(snap.Gateway.Routes, old.snapshot.Gateway.Routes) && sameFilters(&snap.Gateway, &old.snapshot.Gateway) {
		t.router = old.router
	} else {
		r, err := p.compileRoutes(snap, t, old)
		if err != nil {
			return nil, err
		}
		t.router = r
	}
	for _, e := range snap.Edges {
		to := t.services[e.Callee]
		if to == nil {
			return nil, fmt.Errorf("edge from %s to %s: there is no service %s", e.Caller, e.Callee, e.Callee)
		}
		if old != nil && old.edges[e.Edge] != nil && old.edges[e.Edge].to == to {
			t.edges[e.Edge] = old.edges[e.Edge]
			continue
		}
		t.edges[e.Edge] = &edgeRound{to, p.opt.Hub.Meter(telemetry.Key{Caller: e.Caller, Service: e.Callee})}
	}
	for _, r := range snap.Gateway.TCP {
		to := t.services[r.Service]
		if to == nil {
			return nil, fmt.Errorf("TCP listener %s: there is no service %s", r.Listen, r.Service)
		}
		if box := t.via[r.Service]; box.protocol != swell.TCP {
			return nil, fmt.Errorf("TCP listener %s: service %s speaks %s, not plain TCP", r.Listen, r.Service, box.protocol)
		}
		name := "tcp " + r.Listen
		t.tcp[name] = &edgeRound{to, p.opt.Hub.Meter(telemetry.Key{Caller: swell.GatewayCaller, Route: name, Service: r.Service})}
	}
	return t, nil
}

func (p *Plane) compileService(u *swell.Upstream, old *table) (*serviceRound, *balancerBox, error) {
	for _, e := range u.Endpoints {
		if e.ID == "" || e.Addr == "" {
			return nil, nil, fmt.Errorf("endpoint %q has no ID or no address", cmp.Or(e.ID, e.Addr))
		}
	}
	use := u.Balance
	if use.Name == "" {
		use.Name = balance.Default
	}
	var (
		to  *serviceRound
		box *balancerBox
	)
	if old != nil {
		to, box = old.services[u.Service], old.balancer[u.Service]
	}
	if box == nil || box.zones != u.Spread.Zones || !reflect.DeepEqual(box.use, use) {
		m, err := p.balancers.Build(use.Name, use.Options)
		if err != nil {
			return nil, nil, err
		}
		box = p.newBalancer(m, use, u)
	}
	if to != nil && sameUses(to.use, u.Use) {
		return to, box, nil
	}
	next := &serviceRound{use: u.Use}
	if to != nil {
		next.service = to.service
	} else {
		next.service = p.newService(u.Service)
	}
	env := p.env
	env.Service = u.Service
	filters, err := p.compileFilters(u.Use, env)
	if err != nil {
		return nil, nil, err
	}
	// Failover is retry's matter alone: a service that declares none has its defaults.
	if !slices.ContainsFunc(u.Use, func(u swell.Use) bool { return u.Name == filter.Retry }) {
		m, err := p.filters.Build(filter.Retry, nil)
		if err != nil {
			return nil, nil, err
		}
		filters = append(filters, m(env))
	}
	next.round = filter.Chain(next.service.forward, filters...)
	return next, box, nil
}

func (p *Plane) compileFilters(uses []swell.Use, env filter.Env) ([]filter.Filter, error) {
	var out []filter.Filter
	for _, u := range uses {
		m, err := p.filters.Build(u.Name, u.Options)
		if err != nil {
			return nil, err
		}
		out = append(out, m(env))
	}
	return out, nil
}

// compileRoutes makes the router. A route that is as before, goes to the same
// services and stands behind the same filters of the gateway is taken over.
func (p *Plane) compileRoutes(snap *swell.Snapshot, t, old *table) (*router, error) {
	before := map[string]*route{}
	if old != nil && sameFilters(&snap.Gateway, &old.snapshot.Gateway) {
		for _, rt := range old.router.ordered {
			before[rt.name] = rt
		}
	}
	routes := make([]*route, 0, len(snap.Gateway.Routes))
	names := map[string]bool{}
	for _, src := range snap.Gateway.Routes {
		if names[src.Name] {
			return nil, fmt.Errorf("route %q is there twice", src.Name)
		}
		names[src.Name] = true
		for _, to := range src.To {
			if box := t.via[to.Service]; box != nil && box.protocol == swell.TCP && !slices.Equal(src.Match.Methods, []string{"CONNECT"}) {
				return nil, fmt.Errorf("route %s: service %s speaks plain TCP: only a route whose one method is CONNECT can lead to it", src.Name, to.Service)
			}
		}
		if rt := before[src.Name]; rt != nil && rt.current(t) && reflect.DeepEqual(rt.src, src) {
			routes = append(routes, rt)
			continue
		}
		env := p.env
		env.Route = src.Name
		filters, err := p.compileFilters(snap.Gateway.Use, env)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		if most := snap.Gateway.Limits.Body; most > 0 {
			filters = slices.Insert(filters, 0, filter.BodyLimit(most))
		}
		own, err := p.compileFilters(src.Use, env)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", src.Name, err)
		}
		rt, err := p.compileRoute(src, t.services, append(filters, own...))
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", src.Name, err)
		}
		routes = append(routes, rt)
	}
	return newRouter(routes), nil
}

// sameFilters reports whether two gateways put the same in front of every route.
func sameFilters(a, b *swell.Gateway) bool {
	return sameUses(a.Use, b.Use) && a.Limits.Body == b.Limits.Body
}

// current reports whether the route's services are those of t.
func (rt *route) current(t *table) bool {
	for _, target := range rt.targets {
		if t.services[target.to.service.name] != target.to {
			return false
		}
	}
	return true
}
