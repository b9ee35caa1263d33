package proxy

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
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

	round filter.Round
}

// routeTarget is one service that a route goes to.
type routeTarget struct {
	to    *serviceRound
	meter *telemetry.Meter
}

// compileRoute makes a route. services holds the table's; filters are the gateway's
// and the route's own, outermost first.
func (p *Plane) compileRoute(src swell.Route, index int, services map[string]*serviceRound, filters []filter.Filter) (*route, error) {
	rt := &route{src: src, name: src.Name}
	var err error
	if rt.match, err = compileMatch(src.Match, index); err != nil {
		return nil, err
	}
	if err := checkRewrite(src, &rt.match); err != nil {
		return nil, err
	}
	round := filter.Round(rt.send)
	if src.Redirect != nil {
		if len(src.To) > 0 {
			return nil, fmt.Errorf("it has both a redirect and a service to go to; leave one out")
		}
		switch src.Redirect.Status {
		case 301, 302, 303, 307, 308:
		default:
			return nil, fmt.Errorf("redirect status %d is none of 301, 302, 303, 307, 308", src.Redirect.Status)
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
	rt.round = filter.Chain(round, filters...)
	return rt, nil
}

func checkRewrite(src swell.Route, m *matcher) error {
	r := src.Rewrite
	switch {
	case r.Prefix != nil && r.Path != nil:
		return fmt.Errorf("rewrite has both prefix and path; leave one out")
	case r.Prefix != nil && m.kind != prefixedPath:
		return fmt.Errorf("rewrite.prefix replaces what /** stands behind, but the path is %q; use rewrite.path", src.Match.Path)
	}
	for _, p := range []*string{r.Prefix, r.Path} {
		if p == nil {
			continue
		}
		if !strings.HasPrefix(*p, "/") {
			return fmt.Errorf("rewrite to %q: a path begins with a slash", *p)
		}
		for i := range len(*p) {
			if c := (*p)[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '?' && p == r.Prefix {
				return fmt.Errorf("rewrite to %q: %q can't be in a path; write it percent-encoded", *p, c)
			}
		}
	}
	for i := range len(r.Host) {
		if c := r.Host[i]; c <= ' ' || c >= 0x7f || c == '/' {
			return fmt.Errorf("rewrite.host %q is not a host", r.Host)
		}
	}
	return nil
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
		rt.rewrite(x, st)
	}
	return st.to.round(x)
}

// rewrite changes target and host. It starts from the target as it came, so that a
// filter may run the round twice.
func (rt *route) rewrite(x *exchange.Exchange, st *state) {
	w := &rt.src.Rewrite
	if w.Host != "" {
		st.text = append(st.text[:0], w.Host...)
		x.Request.Host = st.text
	}
	if w.Prefix == nil && w.Path == nil {
		return
	}
	if st.raw == nil {
		st.raw = x.Request.Target
	}
	path, query, has := bytes.Cut(st.raw, []byte{'?'})
	out := st.target[:0]
	if w.Path != nil {
		out = append(out, *w.Path...)
	} else {
		rest := path[len(path):]
		if depth := len(rt.match.segments); depth < len(st.search.path.segments) {
			rest = path[st.search.path.segments[depth].raw:]
		} else if st.search.path.slash && depth > 0 {
			rest = path[len(path)-1:] // "/a/" under "/a/**"
		}
		out = append(out, strings.TrimSuffix(*w.Prefix, "/")...)
		switch {
		case len(rest) > 0 && rest[0] != '/':
			out = append(append(out, '/'), rest...)
		case len(rest) > 0:
			out = append(out, rest...)
		case len(out) == 0 || strings.HasSuffix(*w.Prefix, "/") && len(*w.Prefix) > 1:
			out = append(out, '/')
		}
	}
	if has {
		sep := byte('?')
		if w.Path != nil && strings.Contains(*w.Path, "?") {
			sep = '&'
		}
		out = append(append(out, sep), query...)
	}
	st.target = out
	x.Request.Target = out
}

// redirect answers with another place to look.
func (rt *route) redirect(x *exchange.Exchange) error {
	to := rt.src.Redirect
	scheme := to.Scheme
	if scheme == "" {
		scheme = "http"
		if x.TLS != nil {
			scheme = "https"
		}
	}
	host, port := to.Host, ""
	own, ownPort := string(x.Request.Host), ""
	if h, p, err := net.SplitHostPort(own); err == nil {
		own, ownPort = h, p
	}
	if host == "" {
		host, port = own, ownPort
		if to.Scheme != "" {
			port = "" // another scheme has another port
		}
	}
	if to.Port != 0 {
		port = strconv.Itoa(to.Port)
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	if port != "" {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	path, query, has := strings.Cut(string(x.Request.Target), "?")
	if to.Path != "" {
		path = to.Path
	}
	if has && !strings.Contains(path, "?") {
		path += "?" + query
	}
	x.Reply(to.Status, "")
	x.Response.Header.Set(exchange.Location, scheme+"://"+host+path)
	return nil
}
