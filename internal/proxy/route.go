package proxy

import (
	"fmt"
	"sync/atomic"

	"swell"
	"swell/internal/balance"
	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/telemetry"
)

// route is a compiled swell.Route.
type route struct {
	src   swell.Route
	name  string
	match matcher

	targets []routeTarget
	order   []uint16 // of targets, by weight; nil for a single one
	next    atomic.Uint64
	meter   *telemetry.Meter // of what goes to no service; nil if all does

	path     *template // of the rewrite; nil if it has none
	location *redirect // nil if the route is none

	round filter.Round
}

// routeTarget is one service that a route goes to.
type routeTarget struct {
	to    *serviceRound
	meter *telemetry.Meter
}

// compileRoute makes a route. services holds the table's; filters are the gateway's
// and the route's own, outermost first.
func (p *Plane) compileRoute(src swell.Route, services map[string]*serviceRound, filters []filter.Filter) (*route, error) {
	rt := &route{src: src, name: src.Name}
	var err error
	if rt.match, err = compileMatch(src.Match); err != nil {
		return nil, err
	}
	if rt.path, err = compileRewrite(src, &rt.match); err != nil {
		return nil, err
	}
	round := filter.Round(rt.send)
	if src.Redirect != nil {
		if len(src.To) > 0 {
			return nil, fmt.Errorf("it has both a redirect and a service to go to; leave one out")
		}
		if rt.location, err = compileRedirect(src, &rt.match); err != nil {
			return nil, err
		}
		round = rt.redirect
	} else if len(src.To) == 0 {
		return nil, fmt.Errorf("it goes nowhere: it has neither a service nor a redirect")
	}
	weights := make([]int, len(src.To))
	for i, t := range src.To {
		to := services[t.Service]
		if to == nil {
			return nil, fmt.Errorf("it goes to service %q, which is not there", t.Service)
		}
		rt.targets = append(rt.targets, routeTarget{to, p.opt.Hub.Meter(telemetry.Key{
			Caller: swell.GatewayCaller, Route: src.Name, Service: t.Service,
		})})
		weights[i] = t.Weight
	}
	if len(weights) > 1 || len(weights) == 1 && weights[0] == 0 {
		rt.order = balance.Smooth(weights)
	} else if len(weights) == 1 {
		rt.order = []uint16{0}
	}
	if len(rt.order) == 0 {
		rt.meter = p.opt.Hub.Meter(telemetry.Key{Caller: swell.GatewayCaller, Route: src.Name})
	}
	rt.round = filter.Chain(round, filters...)
	return rt, nil
}

// target chooses the service for one request; nil if all weights are 0.
func (rt *route) target() *routeTarget {
	switch len(rt.order) {
	case 0:
		return nil
	case 1:
		return &rt.targets[rt.order[0]]
	}
	return &rt.targets[rt.order[(rt.next.Add(1)-1)%uint64(len(rt.order))]]
}

// send is the route's innermost round: rewrite, then the service.
func (rt *route) send(x *exchange.Exchange) error {
	st := x.Plane.(*state)
	if st.to == nil {
		x.Reply(503, "the route has no service with a weight")
		return nil
	}
	if w := &rt.src.Rewrite; w.Prefix != nil || w.Path != nil || w.Host != "" {
		if err := rt.rewrite(x, st); err != nil {
			x.Reply(400, err.Error())
			return nil
		}
	}
	return st.to.round(x)
}
