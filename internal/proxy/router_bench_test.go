package proxy

import (
	"fmt"
	"testing"

	"swell"
	"swell/internal/exchange"
	"swell/internal/telemetry"
)

// tableOf makes n matches of a kind, and a request that only the middle one takes;
// a fallback comes on top.
func tableOf(kind string, n int) ([]swell.Match, *exchange.Request) {
	var ms []swell.Match
	mid := n / 2
	rq := func(method, host, target string, headers ...string) *exchange.Request {
		return request(method, host, target, append(headers, "User-Agent", "test", "Accept", "*/*", "Accept-Encoding", "gzip")...)
	}
	var ask *exchange.Request
	for i := range n {
		var m swell.Match
		var r *exchange.Request
		switch kind {
		case "mixed": // 1,000 hosts, everything that a match can have
			host := fmt.Sprintf("h%d.example.com", i%1000)
			switch mid := i / 1000 % 5; {
			case i == n/2 || mid == 0:
				m = swell.Match{Host: host, Path: fmt.Sprintf("/api/s%d/**", i)}
				r = rq("GET", host, fmt.Sprintf("/api/s%d/some/where?x=1", i))
			case mid == 1:
				m = swell.Match{Host: host, Path: fmt.Sprintf("/api/s%d/items", i)}
			case mid == 2:
				m = swell.Match{Host: host, Path: "/api/{id}/x", Methods: []string{"GET"}}
			case mid == 3:
				m = swell.Match{Host: host, Path: "/api/**", Headers: []swell.Value{{Name: "X-Version", Exact: fmt.Sprint(i)}}}
			default:
				m = swell.Match{Host: host, Path: "/v1/**", Query: []swell.Value{{Name: "v", Exact: fmt.Sprint(i)}}}
			}
		case "host":
			m = swell.Match{Host: fmt.Sprintf("h%d.example.com", i), Path: "/**"}
			r = rq("GET", fmt.Sprintf("h%d.example.com", i), "/api/some/where")
		case "exact":
			m = swell.Match{Path: fmt.Sprintf("/api/s%d/items", i)}
			r = rq("GET", "shop.example", fmt.Sprintf("/api/s%d/items?x=1", i))
		case "prefix":
			m = swell.Match{Path: fmt.Sprintf("/api/s%d/**", i)}
			r = rq("GET", "shop.example", fmt.Sprintf("/api/s%d/some/where?x=1", i))
		case "params":
			m = swell.Match{Path: fmt.Sprintf("/v1/s%d/{id}/x", i)}
			r = rq("GET", "shop.example", fmt.Sprintf("/v1/s%d/77/x", i))
		case "header": // a tenant each, on one path
			m = swell.Match{Path: "/api/**", Headers: []swell.Value{{Name: "X-Tenant", Exact: fmt.Sprintf("t%d", i)}}}
			r = rq("GET", "shop.example", "/api/items", "x-tenant", fmt.Sprintf("t%d", i))
		case "query":
			m = swell.Match{Path: "/api/**", Query: []swell.Value{{Name: "tenant", Exact: fmt.Sprintf("t%d", i)}}}
			r = rq("GET", "shop.example", fmt.Sprintf("/api/items?x=1&tenant=t%d", i))
		case "regex":
			m = swell.Match{Regex: fmt.Sprintf("/s%d/[0-9]+/x", i)}
			r = rq("GET", "shop.example", fmt.Sprintf("/s%d/77/x", i))
		}
		ms = append(ms, m)
		if i == mid {
			ask = r
		}
	}
	return append(ms, swell.Match{Path: "/**"}), ask
}

// BenchmarkRoute is the whole of a look-up, the reading of the path included.
func BenchmarkRoute(b *testing.B) {
	for _, kind := range []string{"mixed", "host", "exact", "prefix", "params", "header", "query", "regex"} {
		for _, n := range []int{1, 100, 1000, 10_000} {
			ms, rq := tableOf(kind, n)
			r := routerOf(b, ms...)
			if got := lookUp(b, r, rq); got != fmt.Sprint(n/2) {
				b.Fatalf("%s %d: found %s", kind, n, got)
			}
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				var s search
				b.ReportAllocs()
				for b.Loop() {
					if s.path.parse(rq.Path()) != nil || r.find(rq, &s) == nil {
						b.Fatal("not found")
					}
				}
			})
		}
	}
}

// manyRoutes is a snapshot of n routes to one service.
func manyRoutes(n int) *swell.Snapshot {
	ms, _ := tableOf("mixed", n)
	snap := one(to("s", "127.0.0.1:1"))
	snap.Gateway.Routes = nil
	for i, m := range ms {
		snap.Gateway.Routes = append(snap.Gateway.Routes, swell.Route{Name: fmt.Sprint(i), Match: m, To: []swell.Target{{Service: "s", Weight: 1}}})
	}
	return snap
}

// BenchmarkCompile is a reload: of everything, and of a table with one route more.
func BenchmarkCompile(b *testing.B) {
	p := New(Options{Hub: telemetry.New(telemetry.Options{})})
	for _, n := range []int{100, 10_000} {
		snap := manyRoutes(n)
		b.Run(fmt.Sprintf("all/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := p.compile(snap, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		old, err := p.compile(snap, nil)
		if err != nil {
			b.Fatal(err)
		}
		more := manyRoutes(n)
		more.Gateway.Routes = append([]swell.Route{{Name: "new", Match: swell.Match{Path: "/new"}, To: more.Gateway.Routes[0].To}}, more.Gateway.Routes...)
		b.Run(fmt.Sprintf("one/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := p.compile(more, old); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A route that is the same as before keeps its state, wherever it now stands in the
// list.
func TestRoutesAreTakenOver(t *testing.T) {
	p := New(Options{Hub: telemetry.New(telemetry.Options{})})
	snap := manyRoutes(50)
	old, err := p.compile(snap, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := manyRoutes(50)
	next.Gateway.Routes = append([]swell.Route{{Name: "new", Match: swell.Match{Path: "/new"}, To: next.Gateway.Routes[0].To}}, next.Gateway.Routes...)
	now, err := p.compile(next, old)
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]*route{}
	for _, rt := range old.router.ordered {
		before[rt.name] = rt
	}
	for _, rt := range now.router.ordered {
		if rt.name != "new" && before[rt.name] != rt {
			t.Errorf("route %s was made anew", rt.name)
		}
	}
}
