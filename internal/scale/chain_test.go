package scale

import (
	"math"
	"testing"

	"swell"
)

// calls makes a load of a service from what its callers do.
func calls(done float64, by ...swell.Calls) Load {
	l := Load{Done: done, Calls: by}
	for _, c := range by {
		l.Rate += c.Rate
	}
	return l
}

func TestChain(t *testing.T) {
	app := &swell.App{Services: []swell.Service{
		{Name: "catalog", Uses: []string{"pricing"}}, {Name: "pricing"}, {Name: "web", Uses: []string{"catalog"}},
	}}
	never := func(string) bool { return false }
	type call = swell.Calls
	// For each request of web there is one of catalog, for each of catalog two of
	// pricing; ten a second come to catalog from outside.
	calm := func() map[string]Load {
		return map[string]Load{
			"web":     calls(40, call{Caller: "gateway", Rate: 40}),
			"catalog": calls(50, call{Caller: "gateway", Rate: 10}, call{Caller: "web", Rate: 40}),
			"pricing": calls(100, call{Caller: "catalog", Rate: 100}),
		}
	}
	for _, c := range []struct {
		name             string
		loads            map[string]Load
		full             func(string) bool
		catalog, pricing float64 // arrivals that are reckoned with
	}{
		{"in balance", calm(), never, 50, 100},
		{"a step that web holds up", map[string]Load{
			"web":     calls(100, call{Caller: "gateway", Rate: 200}),
			"catalog": calls(50, call{Caller: "gateway", Rate: 10}, call{Caller: "web", Rate: 100}),
			"pricing": calls(100, call{Caller: "catalog", Rate: 100}),
		}, never, 210, 420},
		{"answers that lag behind calls", map[string]Load{
			"web":     calls(20, call{Caller: "gateway", Rate: 200}),
			"catalog": calls(5, call{Caller: "gateway", Rate: 10}, call{Caller: "web", Rate: 150}),
			"pricing": calls(100, call{Caller: "catalog", Rate: 100}),
		}, never, 210, 420},
		{"web works off a backlog", map[string]Load{
			"web":     calls(300, call{Caller: "gateway", Rate: 200}),
			"catalog": calls(400, call{Caller: "gateway", Rate: 10}, call{Caller: "web", Rate: 300}),
			"pricing": calls(800, call{Caller: "catalog", Rate: 800}),
		}, never, 210, 420},
		{"web has all it may have", map[string]Load{
			"web":     calls(100, call{Caller: "gateway", Rate: 300}),
			"catalog": calls(110, call{Caller: "gateway", Rate: 10}, call{Caller: "web", Rate: 100}),
			"pricing": calls(220, call{Caller: "catalog", Rate: 220}),
		}, func(s string) bool { return s == "web" }, 110, 220},
	} {
		var rs ratios
		for range ratioCalm {
			rs.chain(app, calm(), never)
		}
		rs.chain(app, c.loads, c.full)
		for name, want := range map[string]float64{"catalog": c.catalog, "pricing": c.pricing} {
			l := c.loads[name]
			if got := l.Rate - l.Excess; math.Abs(got-want) > 0.02*want {
				t.Errorf("%s: %s reckons with %.1f/s, want %.1f", c.name, name, got, want)
			}
		}
	}

	var rs ratios // never saw a calm window: what is seen counts
	loads := map[string]Load{"web": calls(10, call{Caller: "gateway", Rate: 100}), "catalog": calls(10, call{Caller: "web", Rate: 10})}
	rs.chain(app, loads, never)
	if loads["catalog"].Excess != 0 {
		t.Errorf("without a ratio there is an excess of %v", loads["catalog"].Excess)
	}
	rs.chain(app, calm(), never)
	rs.chain(&swell.App{}, nil, never)
	if len(rs) != 0 {
		t.Errorf("ratios of edges that are gone are kept: %v", rs)
	}
}
