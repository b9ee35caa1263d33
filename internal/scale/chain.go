package scale

import (
	"math"

	"swell"
)

// ratios are how many calls a caller makes of a callee for each of its own
// requests, learned on every edge while the caller keeps up with what it is asked.
type ratios map[swell.Edge]*ratio

type ratio struct {
	calls float64 // per request of the caller
	calm  int     // windows that it was learned from
}

// The learning of ratios.
const (
	ratioCalm  = 3    // windows until it is believed
	ratioLeast = 2    // requests per second of the caller that teach anything
	ratioForce = 0.1  // weight of a new window, once there are ten
	ratioBlur  = 0.15 // a share of its requests that a caller may be behind or ahead and still keep up
)

// chain fills in each load's Excess: how many of a service's arrivals there are
// only because its callers work off a backlog, or, negative, how many are missing
// because they are held up by one. So a step of load reaches all services behind
// the one where it enters in the same decision, and what a caller works off when
// it has scaled is not taken for more load.
//
// A caller that is out of step, or whose own arrivals are, is reckoned to make as
// many calls as its sustained arrivals mean by the learned ratio. One that can't
// get more instances never catches up, so what it can't do counts for nothing.
func (rs *ratios) chain(app *swell.App, loads map[string]Load, full func(service string) bool) {
	if *rs == nil {
		*rs = ratios{}
	}
	uses := map[swell.Edge]bool{}
	callees := map[string][]string{}
	waits := map[string]int{} // callers that are not done
	for i := range app.Services {
		s := &app.Services[i]
		callees[s.Name] = s.Uses
		for _, callee := range s.Uses {
			uses[swell.Edge{Caller: s.Name, Callee: callee}] = true
			waits[callee]++
		}
	}
	for e := range *rs {
		if !uses[e] {
			delete(*rs, e)
		}
	}
	var next []string
	for i := range app.Services {
		if name := app.Services[i].Name; waits[name] == 0 {
			next = append(next, name)
		}
	}
	for len(next) > 0 { // callers before callees
		caller := next[0]
		next = next[1:]
		l, ok := loads[caller]
		for _, callee := range callees[caller] {
			if ok {
				rs.edge(swell.Edge{Caller: caller, Callee: callee}, &l, loads, full(caller))
			}
			if waits[callee]--; waits[callee] == 0 {
				next = append(next, callee)
			}
		}
	}
}

// edge learns from, or corrects by, one caller's calls of one callee.
func (rs *ratios) edge(e swell.Edge, caller *Load, loads map[string]Load, full bool) {
	callee, ok := loads[e.Callee]
	if !ok {
		return
	}
	made := 0.0
	for _, c := range callee.Calls {
		if c.Caller == e.Caller {
			made += c.Rate
		}
	}
	asked := max(0, caller.Rate-caller.Excess)
	r := (*rs)[e]
	keepsUp := math.Abs(caller.Done-asked) <= ratioBlur*max(asked, caller.Done) && caller.Waiting == 0
	if keepsUp && math.Abs(caller.Excess) <= ratioBlur*caller.Rate {
		if asked < ratioLeast {
			return
		}
		if r == nil {
			r = &ratio{}
			(*rs)[e] = r
		}
		r.calm++
		r.calls += max(ratioForce, 1/float64(r.calm)) * (made/asked - r.calls)
		return
	}
	if r == nil || r.calm < ratioCalm {
		return
	}
	if full {
		asked = min(asked, caller.Done)
	}
	callee.Excess += made - r.calls*asked
	loads[e.Callee] = callee
}
