package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"swell"
	"swell/internal/plan"
)

// view is one reading of all sources, from which answers are made. It is used by
// one goroutine.
type view struct {
	State
	services  map[string]ServiceStat
	instances map[string]InstanceStat
	routes    map[string]Traffic
	edges     []EdgeStat
}

func (s *Server) view() view {
	v := view{State: s.opt.State()}
	if st := s.opt.Stats; st != nil {
		v.services, v.instances, v.routes, v.edges = st.Services(), st.Instances(), st.Routes(), st.Edges()
	}
	return v
}

func (s *Server) app(v view) AppInfo {
	return AppInfo{
		Name: v.App.Name, Policy: string(v.App.Policy), Listen: v.App.Gateway.Listen,
		Services: len(v.App.Services), Routes: len(v.App.Gateway.Routes),
		Version: s.opt.Version, Started: s.started.UTC(), Trouble: v.Trouble,
	}
}

func (s *Server) serviceList(v view) []Service {
	out := make([]Service, 0, len(v.App.Services))
	for _, svc := range v.App.Services {
		out = append(out, service(v, svc))
	}
	return out
}

func service(v view, svc swell.Service) Service {
	stat := v.services[svc.Name]
	out := Service{
		Name: svc.Name, Traffic: sane(stat.Traffic), Waiting: stat.Waiting,
		Address: addresses(svc), Protocol: string(svc.Protocol), Uses: notNil(svc.Uses),
		Goals: goals(svc.Scale), SLO: svc.Scale.SLO.Latency.Seconds(), Quantile: svc.Scale.SLO.Quantile,
	}
	if len(svc.Address) > 0 {
		out.Status, out.Goals = External, []string{}
		return out
	}
	failing := false
	for _, i := range v.Instances {
		if i.Service != svc.Name {
			continue
		}
		switch i.State {
		case swell.Ready:
			out.Ready++
		case swell.Starting:
			out.Starting++
			failing = failing || i.Restarts > 0
		case swell.Draining:
			out.Draining++
		}
	}
	out.Min, out.Max = svc.Scale.Min, svc.Scale.Max
	out.Desired = plan.Replicas(svc, v.Decisions)
	for _, d := range v.Decisions {
		if d.Service == svc.Name {
			out.By, out.Reason = d.By, d.Reason
		}
	}
	switch {
	case failing && out.Ready < out.Desired:
		out.Status = Failing
	case out.Desired == 0 && out.Ready == 0:
		out.Status = Idle
	case out.Ready >= out.Desired:
		out.Status = OK
	case out.Ready == 0:
		out.Status = Pending
	default:
		out.Status = Scaling
	}
	return out
}

// goals says what scales a service, one goal an entry.
func goals(s swell.Scale) []string {
	out := []string{}
	if s.SLO.Latency > 0 {
		out = append(out, fmt.Sprintf("p%s ≤ %s", trim(s.SLO.Quantile*100), s.SLO.Latency))
	}
	if s.Targets.Concurrency > 0 {
		out = append(out, trim(s.Targets.Concurrency)+" in flight")
	}
	if s.Targets.RPS > 0 {
		out = append(out, trim(s.Targets.RPS)+" req/s")
	}
	if s.Targets.CPU > 0 {
		out = append(out, trim(s.Targets.CPU*100)+" % CPU")
	}
	return out
}

// trim writes a number without needless digits.
func trim(f float64) string {
	s := fmt.Sprintf("%.2f", f)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

var stateNames = [...]string{swell.Starting: "starting", swell.Ready: "ready", swell.Draining: "draining", swell.Gone: "gone"}

func (s *Server) instanceList(v view, of string) []Instance {
	out := []Instance{}
	for _, i := range v.Instances {
		if of != "" && i.Service != of {
			continue
		}
		used := v.instances[i.ID]
		n := Instance{
			ID: i.ID, Service: i.Service, Revision: i.Revision, Slot: i.Slot, Addr: i.Addr, PID: i.PID,
			Created: i.Created, Restarts: i.Restarts, Reason: i.Reason, Traffic: sane(used.Traffic),
			CPU: finite(used.CPU), Memory: used.Memory,
		}
		if i.State >= 0 && int(i.State) < len(stateNames) {
			n.State = stateNames[i.State]
		}
		if !i.ReadyAt.IsZero() {
			at := i.ReadyAt
			n.ReadyAt = &at
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Slot, b.Slot), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// edgeList joins what was declared with what was seen.
func edgeList(v view) []Edge {
	all := map[swell.Edge]*Edge{}
	at := func(e swell.Edge) *Edge {
		if all[e] == nil {
			all[e] = &Edge{Caller: e.Caller, Callee: e.Callee}
		}
		return all[e]
	}
	for _, e := range plan.Edges(v.App) {
		at(e).Declared = true
	}
	for _, r := range v.App.Gateway.Routes {
		for _, t := range r.To {
			at(swell.Edge{Caller: swell.GatewayCaller, Callee: t.Service}).Declared = true
		}
	}
	known := map[string]bool{}
	for _, svc := range v.App.Services {
		known[svc.Name] = true
	}
	for _, e := range v.edges {
		key := swell.Edge{Caller: e.Caller, Callee: e.Callee}
		// A service that left the app leaves the graph with it.
		if all[key] == nil && (!known[e.Callee] || e.Rate == 0) {
			continue
		}
		at(key).Traffic = sane(e.Traffic)
	}
	out := make([]Edge, 0, len(all))
	for _, e := range all {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Callee, b.Callee))
	})
	return out
}

func (s *Server) routeList(v view) []Route {
	routes := v.App.Gateway.Routes
	if s.opt.Order != nil {
		place := map[string]int{}
		for i, name := range s.opt.Order() {
			place[name] = i + 1
		}
		// One that was not compiled comes last: it is never tried.
		at := func(r swell.Route) int { return (place[r.Name] - 1) & math.MaxInt }
		routes = slices.SortedStableFunc(slices.Values(routes), func(a, b swell.Route) int { return cmp.Compare(at(a), at(b)) })
	}
	out := make([]Route, 0, len(routes))
	for _, r := range routes {
		out = append(out, route(v, r))
	}
	return out
}

func route(v view, r swell.Route) Route {
	out := Route{Name: r.Name, Match: matchText(r.Match), To: []RouteTarget{}, Use: []string{}, Traffic: sane(v.routes[r.Name])}
	total := 0
	for _, t := range r.To {
		total += t.Weight
	}
	for _, t := range r.To {
		share := 0.0
		if total > 0 {
			share = float64(t.Weight) / float64(total)
		}
		out.To = append(out.To, RouteTarget{Service: t.Service, Share: share})
	}
	for _, u := range append(slices.Clone(v.App.Gateway.Use), r.Use...) {
		out.Use = append(out.Use, u.Name)
	}
	if d := r.Redirect; d != nil {
		target := d.Host
		if d.Scheme != "" {
			target = d.Scheme + "://" + target
		}
		if d.Port != 0 {
			target += fmt.Sprintf(":%d", d.Port)
		}
		out.Redirect = fmt.Sprintf("%d %s%s", d.Status, target, d.Path)
	}
	switch w := r.Rewrite; {
	case w.Path != nil:
		out.Rewrite = "path " + *w.Path
	case w.Prefix != nil:
		out.Rewrite = "prefix " + *w.Prefix
	}
	if r.Rewrite.Host != "" {
		out.Rewrite = strings.TrimSpace(out.Rewrite + " host " + r.Rewrite.Host)
	}
	return out
}

func matchText(m swell.Match) string {
	var b strings.Builder
	if len(m.Methods) > 0 {
		b.WriteString(strings.Join(m.Methods, ",") + " ")
	}
	b.WriteString(m.Host)
	switch {
	case m.Regex != "":
		b.WriteString("~" + m.Regex)
	default:
		b.WriteString(cmp.Or(m.Path, "/**"))
	}
	for i, q := range m.Query {
		b.WriteString(map[bool]string{true: "?", false: "&"}[i == 0] + q.Name + wanted("=", q))
	}
	for _, h := range m.Headers {
		b.WriteString(" " + h.Name + wanted(": ", h))
	}
	return b.String()
}

// decisionList returns the newest n decisions of a service, of all if it is "",
// oldest first.
func (s *Server) decisionList(v view, of string, n int) []Decision {
	out := []Decision{}
	for _, svc := range v.App.Services {
		if of != "" && svc.Name != of || s.opt.Decisions == nil {
			continue
		}
		var previous *int
		for _, d := range s.opt.Decisions(svc.Name) {
			e := decision(d)
			e.Previous = previous
			replicas := d.Replicas
			previous = &replicas
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b Decision) int { return a.At.Compare(b.At) })
	return out[max(0, len(out)-n):]
}

func decision(d swell.Decision) Decision {
	out := Decision{Service: d.Service, Replicas: d.Replicas, By: d.By, Reason: d.Reason, At: d.At, Steps: []Step{}}
	for _, s := range d.Steps {
		out.Steps = append(out.Steps, Step{Name: s.Name, Value: finite(s.Value), Text: s.Text})
	}
	return out
}

func (s *Server) history(service string) []Point {
	if s.opt.Stats == nil {
		return []Point{}
	}
	out := slices.Clone(s.opt.Stats.History(service))
	for i := range out {
		out[i].Traffic = sane(out[i].Traffic)
	}
	return notNil(out)
}

// points returns the newest second of each service.
func (s *Server) points(of []Service) map[string]Point {
	out := map[string]Point{}
	for _, svc := range of {
		if h := s.history(svc.Name); len(h) > 0 {
			out[svc.Name] = h[len(h)-1]
		}
	}
	return out
}

// spark is the rate of the last two minutes.
func (s *Server) spark(service string) []float64 {
	h := s.history(service)
	h = h[max(0, len(h)-120):]
	out := make([]float64, len(h))
	for i, p := range h {
		out[i] = p.Rate
	}
	return out
}

func lines(from []swell.Line) []Line {
	out := make([]Line, len(from))
	for i, l := range from {
		out[i] = Line{Seq: l.Seq, At: l.At, Service: l.Service, Instance: l.Instance, Stream: l.Stream, Text: l.Text}
	}
	return out
}

// sane replaces what JSON can't say: a quantile of nothing is 0.
func sane(t Traffic) Traffic {
	return Traffic{
		Rate: finite(t.Rate), Errors: finite(t.Errors), Inflight: finite(t.Inflight),
		P50: finite(t.P50), P95: finite(t.P95), P99: finite(t.P99),
	}
}

func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// defaultFloor is the life of a floor set by hand.
const defaultFloor = 10 * time.Minute

// wanted writes what a value must be, behind sign: a regular expression begins with ~.
func wanted(sign string, v swell.Value) string {
	if v.Regex != "" {
		return sign + "~" + v.Regex
	}
	return sign + v.Exact
}

// addresses are where a service is that Swell does not run.
func addresses(svc swell.Service) []string {
	var out []string
	for _, a := range svc.Address {
		out = append(out, a.Addr)
	}
	return out
}
