package proxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"swell"
	"swell/internal/exchange"
)

func routerOf(t testing.TB, matches ...swell.Match) *router {
	t.Helper()
	var routes []*route
	for i, m := range matches {
		c, err := compileMatch(m, i)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &route{name: fmt.Sprint(i), match: c})
	}
	return newRouter(routes)
}

func request(method, host, target string, headers ...string) *exchange.Request {
	r := &exchange.Request{Method: method, Host: []byte(host), Target: []byte(target)}
	for i := 0; i < len(headers); i += 2 {
		r.Header.AddName(headers[i], headers[i+1])
	}
	return r
}

func lookUp(t testing.TB, r *router, rq *exchange.Request) string {
	t.Helper()
	var s search
	if err := s.path.parse(rq.Path()); err != nil {
		return "refused"
	}
	rt := r.find(rq, &s)
	switch {
	case rt != nil:
		return rt.name
	case s.method:
		return "405 " + strings.Join(r.allowed(rq, &s), ",")
	}
	return "404"
}

func TestPrecedence(t *testing.T) {
	p := func(path string) swell.Match { return swell.Match{Path: path} }
	type ask struct{ method, host, target, want string }
	for _, c := range []struct {
		name    string
		matches []swell.Match
		asks    []ask
	}{
		{"hosts", []swell.Match{{}, {Host: "*.example.com"}, {Host: "*.shop.example.com"}, {Host: "a.shop.example.com"}, {Host: "Example.COM"}}, []ask{
			{"GET", "other.org", "/", "0"},
			{"GET", "example.com", "/", "4"},
			{"GET", "EXAMPLE.com:8080", "/", "4"},
			{"GET", "example.com.", "/", "4"},
			{"GET", "x.example.com", "/", "1"},
			{"GET", "x.y.example.com", "/", "1"},
			{"GET", "x.shop.example.com", "/", "2"},
			{"GET", "a.shop.example.com", "/", "3"},
			{"GET", "shop.example.com", "/", "1"},
			{"GET", "[::1]:80", "/", "0"},
			{"GET", "", "/", "0"},
		}},
		{"a host without a path that fits leaves it to the next", []swell.Match{{Host: "a.org", Path: "/x"}, {Host: "*.org", Path: "/y"}, {Path: "/**"}}, []ask{
			{"GET", "a.org", "/x", "0"}, {"GET", "a.org", "/y", "1"}, {"GET", "a.org", "/z", "2"},
		}},
		{"paths", []swell.Match{p("/**"), p("/a/**"), p("/a/b"), p("/a/{x}"), p("/a/b/**"), p("/a/{x}/c"), p("/a/b/{y}"), p("/a/b/c/d/**"), p("/q/"), p("/{x}/z")}, []ask{
			{"GET", "h", "/", "0"},
			{"GET", "h", "/a", "1"},
			{"GET", "h", "/a/", "1"},
			{"GET", "h", "/ab", "0"},
			{"GET", "h", "/a/b", "2"},
			{"GET", "h", "/a/b?x=/a", "2"},
			{"GET", "h", "/a/b/", "4"},
			{"GET", "h", "/a/x", "3"},
			{"GET", "h", "/a/x/", "1"},
			{"GET", "h", "/a/x/c", "5"},
			{"GET", "h", "/a/b/c", "6"},
			{"GET", "h", "/a/b/c/d", "7"},
			{"GET", "h", "/a/b/c/d/e/f/g", "7"},
			{"GET", "h", "/a/b/c/e", "4"},
			{"GET", "h", "/q/", "8"},
			{"GET", "h", "/q", "0"},
			{"GET", "h", "/y/z", "9"},
			{"GET", "h", "/a/z", "3"},
			{"GET", "h", "//a//b", "2"},
			{"GET", "h", "/%61/%62", "2"},
			{"GET", "h", "/a%2Fb", "0"},
			{"OPTIONS", "h", "*", "0"},
		}},
		{"methods, headers, query", []swell.Match{
			{Path: "/a/**"},
			{Path: "/a/**", Headers: []swell.Value{{Name: "X-A", Exact: "1"}}},
			{Path: "/a/**", Headers: []swell.Value{{Name: "X-A", Exact: "1"}, {Name: "X-B", Exact: "2"}}},
			{Path: "/a/**", Methods: []string{"GET"}},
			{Path: "/a/**", Query: []swell.Value{{Name: "v", Exact: "a b"}}},
			{Path: "/a/**", Query: []swell.Value{{Name: "v", Exact: "a b"}}},
			{Path: "/only", Methods: []string{"GET", "PUT"}},
			{Path: "/only", Methods: []string{"PATCH"}},
		}, []ask{
			{"POST", "h", "/a", "0"},
			{"GET", "h", "/a", "3"},
			{"POST", "h", "/a?v=a+b", "4"},
			{"POST", "h", "/a?u=1&v=a%20b", "4"},
			{"POST", "h", "/a?v=a", "0"},
			{"DELETE", "h", "/only", "405 GET,PATCH,PUT"},
			{"DELETE", "h", "/none", "404"},
			{"PATCH", "h", "/only", "7"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := routerOf(t, c.matches...)
			for _, a := range c.asks {
				if got := lookUp(t, r, request(a.method, a.host, a.target)); got != a.want {
					t.Errorf("%s %s%s: route %s, want %s", a.method, a.host, a.target, got, a.want)
				}
			}
		})
	}
	r := routerOf(t, swell.Match{Path: "/a"}, swell.Match{Path: "/a", Headers: []swell.Value{{Name: "X-A", Exact: "1"}}},
		swell.Match{Path: "/a", Headers: []swell.Value{{Name: "Accept", Exact: "x"}, {Name: "X-A", Exact: "1"}}})
	if got := lookUp(t, r, request("GET", "h", "/a", "x-a", "1")); got != "1" {
		t.Errorf("one header: route %s", got)
	}
	if got := lookUp(t, r, request("GET", "h", "/a", "x-a", "0", "X-A", "1", "accept", "x")); got != "2" {
		t.Errorf("two headers: route %s", got)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"/", "/"}, {"/a/b", "/a/b"}, {"/a//b/", "/a/b/"}, {"//", "/"}, {"/%7euser", "/~user"}, {"/%2f", "/%2F"},
		{"/a%2fb", "/a%2Fb"}, {"/a%", "/a%"}, {"/a%zz", "/a%zz"}, {"/.well-known/x", "/.well-known/x"}, {"/..a", "/..a"},
		{"/a..", "/a.."}, {"/...", "/..."}, {"/a;b", "/a;b"},
		{"/.", ""}, {"/..", ""}, {"/a/../b", ""}, {"/a/./b", ""}, {"/%2e%2e/b", ""}, {"/a/.%2E/b", ""}, {"/a%2f..%2fb", ""},
		{"/a/..;x/b", ""}, {"/a\\..\\b", ""}, {"/a%5c..", ""}, {"/a/..", ""}, {"/a/.;/", ""},
	} {
		var p parsedPath
		err := p.parse([]byte(c.raw))
		if (err != nil) != (c.want == "") || err == nil && string(p.norm) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.raw, p.norm, err, c.want)
		}
	}
}

func TestBadMatches(t *testing.T) {
	for _, c := range []struct {
		m    swell.Match
		want string
	}{
		{swell.Match{Path: "a"}, "slash"}, {swell.Match{Path: "/a/*/b"}, "stars"}, {swell.Match{Path: "/a{b}"}, "whole segment"},
		{swell.Match{Path: "/{"}, "neither"}, {swell.Match{Path: "/{}"}, "neither"}, {swell.Match{Path: "/a/../b"}, "dot segments"},
		{swell.Match{Host: "a.*.org"}, "first label"},
	} {
		if _, err := compileMatch(c.m, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want something with %q", c.m, err, c.want)
		}
	}
}

// randomMatch and randomTarget draw from few words, so that they often meet.
func randomMatch(rnd *rand.Rand) swell.Match {
	var m swell.Match
	hosts := []string{"", "", "a.org", "b.org", "*.org", "*.a.org", "x.a.org"}
	m.Host = hosts[rnd.IntN(len(hosts))]
	if rnd.IntN(8) > 0 {
		var b strings.Builder
		for range rnd.IntN(4) {
			b.WriteString([]string{"/a", "/b", "/{p}", "/c%2Fd"}[rnd.IntN(4)])
		}
		b.WriteString([]string{"", "", "/", "/**", "/**"}[rnd.IntN(5)])
		m.Path = b.String()
		if m.Path == "" {
			m.Path = "/"
		}
	}
	if rnd.IntN(3) == 0 {
		m.Methods = []string{"GET"}
	}
	if rnd.IntN(4) == 0 {
		m.Headers = []swell.Value{{Name: "X-A", Exact: "1"}}
	}
	if rnd.IntN(4) == 0 {
		m.Query = []swell.Value{{Name: "q", Exact: "1"}}
	}
	return m
}

func randomRequest(rnd *rand.Rand) *exchange.Request {
	var b strings.Builder
	for range rnd.IntN(5) {
		b.WriteString([]string{"/a", "/b", "/x", "/c%2fd", "//a", "/%61"}[rnd.IntN(6)])
	}
	b.WriteString([]string{"", "/", "?q=1", "/?q=2&q=1"}[rnd.IntN(4)])
	target := b.String()
	if target == "" || target[0] != '/' {
		target = "/" + target
	}
	rq := request([]string{"GET", "POST"}[rnd.IntN(2)], []string{"a.org", "b.org", "x.a.org", "c.com", "x.x.a.org"}[rnd.IntN(5)], target)
	if rnd.IntN(2) == 0 {
		rq.Header.AddName("x-a", "1")
	}
	return rq
}

// The router finds what going through the list in order of precedence finds.
func TestRouterAgreesWithTheList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		var ms []swell.Match
		for range 1 + rnd.IntN(25) {
			ms = append(ms, randomMatch(rnd))
		}
		r := routerOf(t, ms...)
		for range 60 {
			rq := randomRequest(rnd)
			var s search
			if s.path.parse(rq.Path()) != nil {
				t.Fatal("a random path is refused")
			}
			host := string((&search{}).normalHost(rq.Host))
			want := ""
			for _, rt := range r.ordered {
				if rt.match.why(host, &s.path, rq) == "" {
					want = rt.name
					break
				}
			}
			got := ""
			if rt := r.find(rq, &s); rt != nil {
				got = rt.name
			}
			if got != want {
				t.Fatalf("%s %s%s: router %q, list %q\nroutes %+v", rq.Method, rq.Host, rq.Target, got, want, ms)
			}
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/%2e/", "//a", "/a\\..", "/..;/", "*", "", "/%", "/a%2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var p parsedPath
		if p.parse([]byte(raw)) != nil {
			return
		}
		for i, s := range p.segments {
			if s.from >= s.to || s.to > len(p.norm) || s.raw >= len(raw) || i > 0 && p.segments[i-1].to >= s.from {
				t.Fatalf("%q: segment %+v of %q", raw, s, p.norm)
			}
			if part := string(p.norm[s.from:s.to]); part == "." || part == ".." || strings.Contains(part, "/") {
				t.Fatalf("%q has segment %q", raw, part)
			}
		}
		norm := string(p.norm)
		var again parsedPath
		if strings.HasPrefix(raw, "/") {
			if err := again.parse([]byte(norm)); err != nil || string(again.norm) != norm {
				t.Fatalf("%q: the normal form %q has another one, %q (%v)", raw, norm, again.norm, err)
			}
		}
	})
}

func BenchmarkRouter(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		var ms []swell.Match
		for i := range n {
			host := ""
			if i%2 == 0 {
				host = fmt.Sprintf("h%d.example.com", i%100)
			}
			path := []string{"/api/s%d/**", "/api/s%d/items", "/v1/s%d/{id}/x"}[i%3]
			ms = append(ms, swell.Match{Host: host, Path: fmt.Sprintf(path, i)})
		}
		ms = append(ms, swell.Match{Path: "/**"})
		r := routerOf(b, ms...)
		last := n - n%3 // a prefix route
		if last >= n {
			last -= 3
		}
		host := "shop.example.com"
		if last%2 == 0 {
			host = fmt.Sprintf("h%d.example.com", last%100)
		}
		rq := request("GET", host, fmt.Sprintf("/api/s%d/some/where?x=1", last))
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			var s search
			b.ReportAllocs()
			for b.Loop() {
				if s.path.parse(rq.Path()) != nil {
					b.Fatal("refused")
				}
				if rt := r.find(rq, &s); rt == nil {
					b.Fatal("not found")
				}
			}
		})
		if got := lookUp(b, r, rq); got != fmt.Sprint(last) {
			b.Fatalf("found %s, want %d", got, last)
		}
	}
}

func TestOrderIsStable(t *testing.T) {
	r := routerOf(t, swell.Match{Path: "/**"}, swell.Match{Path: "/a"}, swell.Match{Host: "*.org"}, swell.Match{Host: "a.org"}, swell.Match{Path: "/a/**"}, swell.Match{Path: "/{x}"})
	var names []string
	for _, rt := range r.ordered {
		names = append(names, rt.name)
	}
	if want := []string{"3", "2", "1", "5", "4", "0"}; !slices.Equal(names, want) {
		t.Errorf("order %v, want %v", names, want)
	}
}
