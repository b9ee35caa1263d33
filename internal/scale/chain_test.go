package scale

import (
	"math"
	"testing"

	"swell"
)

func TestChain(t *testing.T) {
	app := &swell.App{Services: []swell.Service{
		{Name: "catalog", Uses: []string{"pricing"}}, {Name: "pricing"}, {Name: "web", Uses: []string{"catalog"}},
	}}
	never := func(string) bool { return false }
	for _, c := range []struct {
		name             string
		loads            map[string]Load
		full             func(string) bool
		catalog, pricing float64 // arrivals that are reckoned with
	}{
		{"in balance", map[string]Load{"web": {Rate: 100, Done: 100}, "catalog": {Rate: 100, Done: 100}, "pricing": {Rate: 200, Done: 200}}, never, 100, 200},
		{"noise", map[string]Load{"web": {Rate: 100, Done: 95}, "catalog": {Rate: 98, Done: 99}, "pricing": {Rate: 97}}, never, 98, 97},
		{"a step that web holds up", map[string]Load{"web": {Rate: 200, Done: 100}, "catalog": {Rate: 100, Done: 50}, "pricing": {Rate: 50, Done: 50}}, never, 200, 200},
		{"web works off a backlog", map[string]Load{"web": {Rate: 200, Done: 250}, "catalog": {Rate: 250, Done: 400}, "pricing": {Rate: 400}}, never, 200, 200},
		{"web has all it may have", map[string]Load{"web": {Rate: 300, Done: 100}, "catalog": {Rate: 100, Done: 100}, "pricing": {Rate: 100}}, func(s string) bool { return s == "web" }, 100, 100},
		{"nothing ends: nobody knows", map[string]Load{"web": {Rate: 300, Done: 0}, "catalog": {Rate: 10, Done: 0}, "pricing": {Rate: 10}}, never, 10, 10},
		{"not without bounds", map[string]Load{"web": {Rate: 10000, Done: 10}, "catalog": {Rate: 10, Done: 10}, "pricing": {Rate: 10}}, never, 40, 40},
	} {
		chain(app, c.loads, c.full)
		for name, want := range map[string]float64{"catalog": c.catalog, "pricing": c.pricing} {
			l := c.loads[name]
			if got := l.Rate - l.Excess; math.Abs(got-want) > 0.01*want {
				t.Errorf("%s: %s reckons with %.1f/s, want %.1f", c.name, name, got, want)
			}
		}
	}

	// What comes straight from outside is not the callers' doing.
	app.Gateway.Routes = []swell.Route{{To: []swell.Target{{Service: "catalog"}}}}
	loads := map[string]Load{"web": {Rate: 20, Done: 10}, "catalog": {Rate: 110}}
	chain(app, loads, never)
	if l := loads["catalog"]; math.Abs(l.Rate-l.Excess-120) > 0.1 {
		t.Errorf("with 100/s from outside: %.1f, want 120", l.Rate-l.Excess)
	}
}
