package manifest

import (
	"slices"
	"strconv"
	"strings"

	"swell"
	"swell/internal/plug"
)

// scale compiles how many instances a service has.
func (b *builder) scale(name string, in service) swell.Scale {
	s := in.Scale
	where := func(path ...any) plug.Pos { return b.at(append([]any{"services", name, "scale"}, path...)...) }
	if !b.has("services", name, "scale", "max") {
		s.Max = max(s.Max, s.Min)
	}
	if s.Min > s.Max {
		pos := where("min")
		if !b.has("services", name, "scale", "min") {
			pos = where("max")
		}
		b.fail(pos, "", "min is %s, and max only %s", b.number(s.Min, "services", name, "scale", "min"), b.number(s.Max, "services", name, "scale", "max"))
	}
	if in.Port != 0 && s.Max > 1 && !b.has("services", name, "address") {
		// Two programs can't listen on one port of one machine.
		if b.has("services", name, "scale", "max") || s.Min > 1 {
			b.warn(b.at("services", name, "port"), "let the program listen on $PORT and leave port out", "service %s listens on a port of its own choice, so there can be one instance of it only", name)
		}
		s.Min, s.Max = min(s.Min, 1), 1
	}
	out := swell.Scale{
		Min: s.Min, Max: s.Max,
		SLO:     b.slo(name, s.SLO),
		Targets: swell.Targets{Concurrency: s.Targets.Concurrency, RPS: s.Targets.RPS, CPU: float64(s.Targets.CPU)},
		Up:      direction(s.Behavior.Up), Down: direction(s.Behavior.Down),
		Idle: s.Idle.D(),
		Hold: swell.Hold{Max: s.Hold.Max, Timeout: s.Hold.Timeout.D()},
		CPU:  float64(in.Resources.CPU), Memory: int64(in.Resources.Memory),
	}
	if b.has("services", name, "scale", "idle") && s.Min > 0 {
		b.warn(b.key("services", name, "scale", "idle"), "with min: 0 it would", "idle has no effect, as the last instance never goes")
	}
	return out
}

func direction(in behavior) swell.Behavior {
	return swell.Behavior{Stabilization: in.Stabilization.D(), Percent: in.Percent, Pods: in.Pods, Period: in.Period.D()}
}

// slo compiles the latency goal, which names one quantile.
func (b *builder) slo(name string, in slo) swell.SLO {
	n := b.root.Get("services").Get(name).Get("scale").Get("slo").Get("latency")
	if n == nil || n.Shape != plug.Map {
		return swell.SLO{}
	}
	var out swell.SLO
	for i, f := range n.Fields {
		if i > 0 {
			b.fail(f.Pos, "keep the one that matters most", "a latency goal has one quantile, but here are %d", len(n.Fields))
			break
		}
		digits, ok := strings.CutPrefix(f.Name, "p")
		q, err := strconv.ParseFloat(digits, 64)
		if !ok || err != nil || !(q >= 1 && q < 100) || strings.Trim(digits, "0123456789.") != "" {
			b.fail(f.Pos, "write it as p50, p95, p99 or p99.9", "%q is no quantile", f.Name)
			continue
		}
		latency, ok := in.Latency[f.Name]
		if ok && latency <= 0 && f.Node.Text != "" {
			b.fail(f.Node.Pos, "", "a latency goal must be above 0")
			continue
		}
		out = swell.SLO{Quantile: q / 100, Latency: latency.D()}
	}
	return out
}

// circles finds services that use each other in a circle: which of them would
// have to start first? Each circle is said once, from its first name on.
func (b *builder) circles(services []swell.Service) {
	uses := map[string][]string{}
	for _, s := range services {
		uses[s.Name] = s.Uses
	}
	done := map[string]bool{}
	on := map[string]int{} // names of path, with their index
	var path []string
	var walk func(string)
	walk = func(name string) {
		if i, ok := on[name]; ok {
			circle := slices.Clone(path[i:])
			first := slices.Index(circle, slices.Min(circle))
			circle = append(slices.Clone(circle[first:]), circle[:first]...)
			from, to := circle[len(circle)-1], circle[0]
			uses := b.root.Get("services").Get(from).Get("uses")
			at := slices.IndexFunc(uses.Items, func(n *plug.Node) bool { return n.Text == to })
			b.fail(b.at("services", from, "uses", max(at, 0)), "leave one of these uses out", "services use each other in a circle: %s", strings.Join(append(circle, to), " → "))
			return
		}
		if done[name] {
			return
		}
		on[name] = len(path)
		path = append(path, name)
		for _, callee := range uses[name] {
			walk(callee)
		}
		path = path[:len(path)-1]
		delete(on, name)
		done[name] = true
	}
	for _, s := range services {
		walk(s.Name)
	}
}

// unused warns of services that get no requests. Where nothing comes in by a
// route, the services may well be called from elsewhere.
func (b *builder) unused(app swell.App) {
	if len(app.Gateway.Routes) == 0 {
		return
	}
	called := b.mentioned
	for _, t := range app.Gateway.TCP {
		called[t.Service] = true
	}
	for _, r := range app.Gateway.Routes {
		for _, t := range r.To {
			called[t.Service] = true
		}
	}
	for _, s := range app.Services {
		for _, u := range s.Uses {
			called[u] = true
		}
	}
	for _, s := range app.Services {
		if !called[s.Name] && len(s.Uses) == 0 { // one that calls others may work by itself
			b.warn(b.key("services", s.Name), "", "service %s gets no requests: no route leads to it, and no service uses it", s.Name)
		}
	}
}
