package scale

import "swell"

// chain fills in each load's Excess: how many of a service's arrivals there are
// only because its callers are working off a backlog, or, negative, how many are
// missing because they are held up by one. Without it, a step of load would reach
// a service late, when its callers have scaled, and then as more than it is.
//
// A caller to which sustained requests come each second, and which ends done of
// them, makes sustained/done times the calls once it keeps up. A caller that
// can't get more instances never will, so its lack counts for nothing.
func chain(app *swell.App, loads map[string]Load, full func(service string) bool) {
	callers := map[string][]string{}
	routed := map[string]bool{}
	for i := range app.Services {
		for _, callee := range app.Services[i].Uses {
			callers[callee] = append(callers[callee], app.Services[i].Name)
		}
	}
	for _, r := range app.Gateway.Routes {
		for _, to := range r.To {
			routed[to.Service] = true
		}
	}
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) { // callers first; uses have no circles
		if seen[name] {
			return
		}
		seen[name] = true
		var asked, done float64
		for _, c := range callers[name] {
			visit(c)
			l := loads[c]
			sustained := max(0, l.Rate-l.Excess)
			if full(c) {
				sustained = min(sustained, l.Done)
			}
			asked += sustained
			done += l.Done
		}
		l, ok := loads[name]
		if !ok || done < chainDone {
			return
		}
		ratio := min(max(asked/done, 1/chainMost), chainMost)
		if ratio > 1-chainBlur && ratio < 1+chainBlur {
			return
		}
		ours := l.Rate
		if routed[name] { // what its callers can't have caused came by the gateway
			ours = min(ours, done)
		}
		l.Excess = ours * (1 - ratio)
		loads[name] = l
	}
	for i := range app.Services {
		visit(app.Services[i].Name)
	}
}

const (
	chainDone = 5   // requests per second that callers must end to be believed
	chainMost = 4   // times as much, or as little, as is seen
	chainBlur = 0.1 // deviations that are chance
)
