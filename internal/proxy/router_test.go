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
		c, err := compileMatch(m)
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
		{swell.Match{Path: "/a", Regex: "/a"}, "leave one out"}, {swell.Match{Regex: "/a("}, "missing closing"},
		{swell.Match{Regex: "a/b"}, "begins with a slash"}, {swell.Match{Regex: "/(a{100}){100}"}, "repeat count"},
		{swell.Match{Regex: "/" + strings.Repeat("ab", 600)}, "steps"}, {swell.Match{Regex: "/" + strings.Repeat("a", 5000)}, "at most 4096"},
		{swell.Match{Regex: "/(((a{10}){10}){10}){10}"}, "repeat"}, {swell.Match{Regex: `/(a)\1`}, "invalid escape"},
		{swell.Match{Headers: []swell.Value{{Name: "X-A", Regex: "["}}}, "header X-A"},
		{swell.Match{Query: []swell.Value{{Name: "q", Regex: "["}}}, "query q"},
		{swell.Match{Query: []swell.Value{{Name: "q", Exact: "1", Regex: "1"}}}, "leave one out"},
	} {
		if _, err := compileMatch(c.m); err == nil || !strings.Contains(err.Error(), c.want) {
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
	if rnd.IntN(5) == 0 {
		m.Path, m.Regex = "", []string{"/a.*", "/a/[ab]", "/.*", "/(?i)A/b", "/a|/b", "/c%2Fd/?.*", "^/b$", "(/a)+", "/[^/]+/b"}[rnd.IntN(9)]
	}
	switch rnd.IntN(6) {
	case 0, 1:
		m.Methods = []string{"GET"}
	case 2:
		m.Methods = []string{"CONNECT", "PUT"}
	}
	for _, name := range []string{"X-A", "X-Tenant", "Host"} {
		v := swell.Value{Name: name, Exact: fmt.Sprint(rnd.IntN(4))}
		if rnd.IntN(3) == 0 {
			v.Exact, v.Regex = "", []string{"[12]", ".*", "0|3"}[rnd.IntN(3)]
		}
		if name == "Host" && rnd.IntN(4) > 0 || rnd.IntN(3) > 0 {
			continue
		}
		if name == "Host" {
			v.Exact, v.Regex = "", ".*a.org"
		}
		m.Headers = append(m.Headers, v)
	}
	switch rnd.IntN(8) {
	case 0, 1:
		m.Query = []swell.Value{{Name: "q", Exact: "1"}}
	case 2:
		m.Query = []swell.Value{{Name: "q", Regex: "[0-9] ?"}}
	case 3:
		m.Query = []swell.Value{{Name: "p", Exact: "x y"}, {Name: "q", Exact: "2"}}
	}
	return m
}

func randomRequest(rnd *rand.Rand) *exchange.Request {
	var b strings.Builder
	for range rnd.IntN(5) {
		b.WriteString([]string{"/a", "/b", "/x", "/c%2fd", "//a", "/%61"}[rnd.IntN(6)])
	}
	b.WriteString([]string{"", "/", "?q=1", "/?q=2&q=1", "?p=x+y&q=%32", "?q=3%20"}[rnd.IntN(6)])
	target := b.String()
	if target == "" || target[0] != '/' {
		target = "/" + target
	}
	rq := request([]string{"GET", "POST", "PUT", "CONNECT"}[rnd.IntN(4)], []string{"a.org", "b.org", "x.a.org", "c.com", "x.x.a.org"}[rnd.IntN(5)], target)
	for range rnd.IntN(4) {
		rq.Header.AddName([]string{"x-a", "X-Tenant", "x-tenant"}[rnd.IntN(3)], fmt.Sprint(rnd.IntN(4)))
	}
	return rq
}

// The router finds what going through the list in order of precedence finds.
func TestRouterAgreesWithTheList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 600 {
		var ms []swell.Match
		size := 1 + rnd.IntN(25)
		if rnd.IntN(4) == 0 {
			size = 200 // lists that are long enough to be divided
		}
		for range size {
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
			only := false
			for _, rt := range r.ordered {
				why := rt.match.why(host, &s.path, rq)
				only = only || strings.HasPrefix(why, "method ")
			}
			if got == "" && s.method != (only || rq.Method == "CONNECT") {
				t.Fatalf("%s %s%s: a 405: %v, want %v\nroutes %+v", rq.Method, rq.Host, rq.Target, s.method, only, ms)
			}
			if got == "" && s.method && len(r.allowed(rq, &s)) == 0 {
				t.Fatalf("%s %s%s: 405 allows nothing\nroutes %+v", rq.Method, rq.Host, rq.Target, ms)
			}
			if len(s.runs) != 0 {
				t.Fatal("a look-up leaves something behind")
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
