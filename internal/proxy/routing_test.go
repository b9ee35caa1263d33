package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"swell"
	"swell/internal/exchange"
	"swell/internal/telemetry"
)

// The precedence of Gateway API, rule by rule: of two routes that both take a
// request, the first named one gets it, however they are written down.
func TestPrecedenceOfGatewayAPI(t *testing.T) {
	h := func(names ...string) (out []swell.Value) {
		for _, n := range names {
			out = append(out, swell.Value{Name: n, Exact: "1"})
		}
		return out
	}
	for _, c := range []struct {
		rule          string
		first, second swell.Match
		ask           string
	}{
		{"an exact host before a wildcard", swell.Match{Host: "a.example.com"}, swell.Match{Host: "*.example.com", Path: "/x"}, "a.example.com/x"},
		{"the longer wildcard before the shorter", swell.Match{Host: "*.b.example.com"}, swell.Match{Host: "*.example.com", Path: "/x"}, "a.b.example.com/x"},
		{"a wildcard takes several labels", swell.Match{Host: "*.example.com"}, swell.Match{Path: "/x"}, "a.b.example.com/x"},
		{"a wildcard before none", swell.Match{Host: "*.com"}, swell.Match{Path: "/x"}, "a.example.com/x"},
		{"a port does not matter", swell.Match{Host: "a.example.com"}, swell.Match{}, "a.example.com:8443/x"},
		{"an exact path before a prefix", swell.Match{Path: "/x"}, swell.Match{Path: "/x/**", Methods: []string{"GET"}, Headers: h("A", "B")}, "h/x"},
		{"an exact path before one with parameters", swell.Match{Path: "/x"}, swell.Match{Path: "/{p}", Methods: []string{"GET"}}, "h/x"},
		{"the longest prefix", swell.Match{Path: "/x/y/**"}, swell.Match{Path: "/x/**", Methods: []string{"GET"}, Headers: h("A", "B")}, "h/x/y/z"},
		{"a prefix before a regular expression", swell.Match{Path: "/x/**"}, swell.Match{Regex: "/x/.*", Methods: []string{"GET"}}, "h/x/y"},
		{"a regular expression before any path", swell.Match{Regex: "/x/.*"}, swell.Match{Path: "/**", Methods: []string{"GET"}, Headers: h("A")}, "h/x/y"},
		{"a method before headers", swell.Match{Path: "/x", Methods: []string{"GET"}}, swell.Match{Path: "/x", Headers: h("A", "B"), Query: h("q")}, "h/x?q=1"},
		{"a method before headers, by regular expression", swell.Match{Regex: "/x", Methods: []string{"GET"}}, swell.Match{Regex: "/.", Headers: h("A", "B")}, "h/x"},
		{"more headers before fewer", swell.Match{Path: "/x", Headers: h("A", "B")}, swell.Match{Path: "/x", Headers: h("A"), Query: h("q", "r")}, "h/x?q=1&r=1"},
		{"a header by regular expression counts as much", swell.Match{Path: "/x", Headers: []swell.Value{{Name: "A", Regex: "."}, {Name: "B", Regex: ".*"}}}, swell.Match{Path: "/x", Headers: h("A")}, "h/x"},
		{"headers before query", swell.Match{Path: "/x", Headers: h("A")}, swell.Match{Path: "/x", Query: h("q", "r")}, "h/x?q=1&r=1"},
		{"more parameters before fewer", swell.Match{Path: "/x", Query: h("q", "r")}, swell.Match{Path: "/x", Query: h("q")}, "h/x?q=1&r=1"},
	} {
		host, target, _ := strings.Cut(c.ask, "/")
		for i, ms := range [][]swell.Match{{c.first, c.second}, {c.second, c.first}} {
			rq := request("GET", host, "/"+target, "a", "1", "b", "1")
			if got, want := lookUp(t, routerOf(t, ms...), rq), []string{"0", "1"}[i]; got != want {
				t.Errorf("%s: %s goes to %s, want %s (of %+v)", c.rule, c.ask, got, want, ms)
			}
			if got := lookUp(t, routerOf(t, ms[1-i]), rq); got != "0" {
				t.Errorf("%s: the second alone does not take it: %s", c.rule, got)
			}
		}
	}
	same := swell.Match{Path: "/x", Headers: h("A")}
	if got := lookUp(t, routerOf(t, swell.Match{}, same, same), request("GET", "h", "/x", "A", "1")); got != "1" {
		t.Errorf("of equals the first written: %s", got)
	}
}

func TestRegexMatches(t *testing.T) {
	r := routerOf(t,
		swell.Match{Regex: "/users/[0-9]+"}, swell.Match{Regex: "/users/[a-z]+/cart"}, swell.Match{Regex: "/(?i)admin"}, swell.Match{Regex: "/q%2F.*"},
		swell.Match{Path: "/h", Headers: []swell.Value{{Name: "X-V", Regex: "v[12]"}}},
		swell.Match{Path: "/h", Query: []swell.Value{{Name: "a b", Regex: "x y|é"}}},
		swell.Match{Regex: "/long/a*"}, swell.Match{Regex: "/ü.*"})
	for _, c := range []struct{ target, header, want string }{
		{"/users/12", "", "0"}, {"/users/12/", "", "404"}, {"/users/12?x=/users/a/cart", "", "0"}, {"/x/users/12", "", "404"},
		{"//users//12", "", "0"}, {"/users/%31", "", "0"}, {"/users/ab/cart", "", "1"}, {"/ADMIN", "", "2"}, {"/q%2fx", "", "3"}, {"/q/x", "", "404"},
		{"/h", "v1", "4"}, {"/h", "v3", "404"}, {"/h", "xv1", "404"},
		{"/h?a+b=x%20y", "", "5"}, {"/h?a%20b=%C3%A9", "", "5"}, {"/h?a+b=x%20yz", "", "404"},
		{"/long/" + strings.Repeat("a", 4000), "", "6"}, {"/long/" + strings.Repeat("a", 5000), "", "404"},
		{"/ü", "", "7"},
	} {
		if got := lookUp(t, r, request("GET", "h", c.target, "x-v", "v9", "x-v", c.header)); got != c.want {
			t.Errorf("%.40s with %s: %s, want %s", c.target, c.header, got, c.want)
		}
	}
}

func TestLiteralPrefixes(t *testing.T) {
	for pattern, want := range map[string]string{
		"/a/b": "/a/b", "/a.*": "/a", "^/a/[0-9]+": "/a/", "(/a)(/b|/c)": "/a/", "/a|/b": "/", "(?i)/a": "/", "(?i:/a)": "/", "/a?": "/", "/(ab)+c": "/ab",
		"/(a{3})b": "/aaab", "": "", ".*": "", "/a$b": "/a", `\Q/a.b\E.*`: "/a.b", "(?:/x)*": "", "/a\uFFFD": "/a",
	} {
		_, got, err := compileRegex(pattern)
		if err != nil || !strings.HasPrefix(want, got) || got == "" && want != "" && want != "/" {
			t.Errorf("%s: %q, %v; want %q", pattern, got, err, want)
		}
	}
}

// FuzzLiteralPrefix: every text that is like an expression begins as is said.
func FuzzLiteralPrefix(f *testing.F) {
	f.Add("/a.*", "/abc")
	f.Add("(/a|/b)c?", "/b")
	f.Add("(?i)/A", "/a")
	f.Add("(/a)+?$", "/a/a")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, prefix, err := compileRegex(pattern)
		if err == nil && like(re, []byte(text)) && !strings.HasPrefix(text, prefix) {
			t.Errorf("%q is like %q, which is said to begin with %q", text, pattern, prefix)
		}
	})
}

func TestConnectMustBeNamed(t *testing.T) {
	r := routerOf(t, swell.Match{Path: "/**"}, swell.Match{Host: "only.org", Methods: []string{"GET"}}, swell.Match{Host: "tunnel.org", Methods: []string{"CONNECT"}})
	all := "405 " + strings.Join(usualMethods, ",")
	for host, want := range map[string]string{"x.org:443": all, "only.org:443": all, "tunnel.org:443": "2"} {
		if got := lookUp(t, r, request("CONNECT", host, "/")); got != want {
			t.Errorf("CONNECT %s: %s, want %s", host, got, want)
		}
	}
	if got := lookUp(t, routerOf(t, swell.Match{Path: "/a"}), request("CONNECT", "h", "/")); got != all {
		t.Errorf("CONNECT where nothing is: %s", got)
	}
	if got := lookUp(t, routerOf(t, swell.Match{Path: "/**"}), request("GET", "h", "/")); got != "0" {
		t.Errorf("an upgrade by extended CONNECT is a GET: %s", got)
	}
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct{ path, regex, text, target, want string }{
		{"/u/{id}/x/{n}", "", "/v/{n}/{id}", "/u/a/x/b", "/v/b/a"},
		{"/u/{id}", "", "/v/{id}?id={id}&a=1", "/u/a%2fb&c=d+e", "/v/a%2fb&c=d+e?id=a%2fb%26c%3Dd%2Be&a=1"},
		{"/u/{id}/**", "", "/v-{id}", "//u//%41/rest", "/v-%41"},
		{"/u/{id}", "", "/v/$x/$", "/u/1", "/v/$x/$"},
		{"/u", "", "/plain?x=/../", "/u", "/plain?x=/../"},
		{"", "/u/([0-9]+)/(?P<name>.*)", "/v/${name}/$1$$/$0", "/u/7/a/b%2f", "/v/a/b%2F/7$//u/7/a/b%2F"},
		{"", "/u(/.*)?", "$1", "/u/x", "/x"},
		{"", "/u(/.*)?", "$1", "/u", "/"},
		{"", "/u/(.*)", "/q?to=$1", "/u/a&b=c", "/q?to=a%26b%3Dc"},
		{"", "/u(.*)", "/$1", "/u../etc", "refused"},
		{"", "/u/(.*)", "/a/.$1", "/u/./x", "refused at once"},
		{"", "/u/.(.*)", "/a/$1", "/u/..x", "/a/.x"},
		{"", "/u/x(.*)", "/a/$1", "/u/x.", "refused"},
		{"", "/u/x(.*)", "/a/$1", "/u/x%2e%2E", "refused"},
	} {
		m, err := compileMatch(swell.Match{Path: c.path, Regex: c.regex})
		if err != nil {
			t.Fatal(err)
		}
		tm, err := compileTemplate("rewrite.path", c.text, &m)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		var p parsedPath
		if err := p.parse([]byte(c.target)); err != nil {
			if c.want != "refused at once" {
				t.Errorf("%s: %v", c.target, err)
			}
			continue
		}
		if !m.path(&p) {
			t.Errorf("%s does not match %s%s", c.target, c.path, c.regex)
			continue
		}
		out, err := tm.fill([]byte("pre:"), []byte(c.target), &p, &m)
		if got := strings.TrimPrefix(string(out), "pre:"); err != nil && c.want != "refused" || err == nil && got != c.want {
			t.Errorf("%s of %s: %q, %v; want %s", c.text, c.target, got, err, c.want)
		}
	}
	for _, c := range []struct{ path, regex, text, want string }{
		{"/{id}", "", "/{no}", "has no {no}"}, {"/{id}", "", "/{id", "has no }"}, {"/{id}", "", "/$1", "no regular expression"},
		{"", "/(a)", "/$2", "no group"}, {"", "/(a)", "/${x}", "no group"}, {"", "/(a)", "/{x}", "has no {x}"}, {"", "/(a)", "/$99999999999999999999", "no group"},
		{"/a", "", "x", "begins with a slash"}, {"/a", "", "", "begins with a slash"}, {"/{a}", "", "{a}", "begins with a slash"}, {"/a", "", "?x", "begins with a slash"},
		{"/a", "", "/a b", "percent-encoded"}, {"/a", "", "/a#b", "percent-encoded"}, {"/a", "", "/a\r\nb", "percent-encoded"},
	} {
		m, err := compileMatch(swell.Match{Path: c.path, Regex: c.regex})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := compileTemplate("rewrite.path", c.text, &m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want something with %q", c.text, err, c.want)
		}
	}
}

// FuzzTemplate: whatever the path, what is filled in makes no dot segment and keeps
// to its parameter of the query.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"/u/a", "/u/..%2f", "/u/%2e", "/u/a&b=c", "//u//x", "/u/.;x"} {
		f.Add(s)
	}
	byParam, _ := compileMatch(swell.Match{Path: "/u/{id}"})
	byRegex, _ := compileMatch(swell.Match{Regex: "/u(.*)"})
	one, err1 := compileTemplate("t", "/v/.{id}/x{id}?q={id}", &byParam)
	two, err2 := compileTemplate("t", "/$1?q=$1", &byRegex)
	if err1 != nil || err2 != nil {
		f.Fatal(err1, err2)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var p parsedPath
		if strings.ContainsAny(raw, "? #") || p.parse([]byte(raw)) != nil {
			return
		}
		for _, c := range []struct {
			m *matcher
			t *template
		}{{&byParam, one}, {&byRegex, two}} {
			if !c.m.path(&p) {
				continue
			}
			out, err := c.t.fill(nil, []byte(raw), &p, c.m)
			if err != nil {
				continue
			}
			path, query, _ := strings.Cut(string(out), "?")
			var again parsedPath
			if err := again.parse([]byte(path)); err != nil || !strings.HasPrefix(query, "q=") || strings.ContainsAny(query[2:], "&=") {
				t.Errorf("%q becomes %q: %v", raw, out, err)
			}
		}
	})
}

// Gateway API's table of HTTPPathModifier's ReplacePrefixMatch.
func TestReplacePrefix(t *testing.T) {
	for _, c := range []struct{ target, match, prefix, want string }{
		{"/foo/bar", "/foo/**", "/xyz", "/xyz/bar"}, {"/foo/bar", "/foo/**", "/xyz/", "/xyz/bar"},
		{"/foo", "/foo/**", "/xyz", "/xyz"}, {"/foo/", "/foo/**", "/xyz", "/xyz/"}, {"/foo", "/foo/**", "/xyz/", "/xyz/"},
		{"/foo/bar", "/foo/**", "", "/bar"}, {"/foo/", "/foo/**", "", "/"}, {"/foo", "/foo/**", "", "/"},
		{"/foo/", "/foo/**", "/", "/"}, {"/foo", "/foo/**", "/", "/"}, {"/foo/bar", "/**", "/xyz", "/xyz/foo/bar"}, {"/", "/**", "/xyz", "/xyz"},
		{"/foo//bar%2f", "/foo/**", "/xyz", "/xyz/bar%2f"}, {"/a/b/c", "/{x}/b/**", "/z", "/z/c"},
	} {
		m, err := compileMatch(swell.Match{Path: c.match})
		if err != nil {
			t.Fatal(err)
		}
		var p parsedPath
		if err := p.parse([]byte(c.target)); err != nil {
			t.Fatal(err)
		}
		if got := string(m.replacePrefix(nil, []byte(c.target), &p, c.prefix)); got != c.want {
			t.Errorf("%s by %s with %q: %s, want %s", c.target, c.match, c.prefix, got, c.want)
		}
	}
}

func TestRedirects(t *testing.T) {
	b := newBed(t)
	s := func(v string) *string { return &v }
	snap := &swell.Snapshot{App: "t", Gateway: swell.Gateway{
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
		Routes: []swell.Route{
			{Name: "scheme", Match: swell.Match{Path: "/scheme"}, Redirect: &swell.Redirect{Scheme: "https", Status: 302}},
			{Name: "scheme-port", Match: swell.Match{Path: "/scheme-port"}, Redirect: &swell.Redirect{Scheme: "https", Port: 8443, Status: 302}},
			{Name: "own-port", Match: swell.Match{Path: "/own-port"}, Redirect: &swell.Redirect{Scheme: "https", Port: 443, Status: 302}},
			{Name: "host", Match: swell.Match{Path: "/host"}, Redirect: &swell.Redirect{Host: "new.org", Status: 301}},
			{Name: "v6", Match: swell.Match{Path: "/v6"}, Redirect: &swell.Redirect{Host: "::1", Port: 80, Status: 307}},
			{Name: "prefix", Match: swell.Match{Path: "/old/**"}, Redirect: &swell.Redirect{Prefix: s("/new"), Status: 308}},
			{Name: "param", Match: swell.Match{Path: "/u/{id}"}, Redirect: &swell.Redirect{Path: "/p?id={id}", Status: 303}},
			{Name: "regex", Match: swell.Match{Regex: "/r/([a-z]+)/(.*)"}, Redirect: &swell.Redirect{Path: "/$2/$1", Status: 301}},
			{Name: "empty", Match: swell.Match{Path: "/empty"}},
		},
	}}
	snap.Upstreams = []swell.Upstream{to("s", "127.0.0.1:1")}
	snap.Gateway.Routes[8].To = []swell.Target{{Service: "s", Weight: 0}}
	b.set(snap)
	c := client(t)
	for _, x := range []struct {
		target, host string
		status       int
		want         string
	}{
		{"/scheme?a=1", "a.org:8080", 302, "https://a.org/scheme?a=1"}, {"/scheme-port", "a.org:8080", 302, "https://a.org:8443/scheme-port"},
		{"/own-port", "a.org", 302, "https://a.org/own-port"}, {"/host", "a.org", 301, "http://new.org/host"},
		{"/host", "a.org:8080", 301, "http://new.org:8080/host"}, {"/host", "a.org:80", 301, "http://new.org/host"},
		{"/v6", "a.org:8080", 307, "http://[::1]/v6"}, {"/scheme", "[::1]:80", 302, "https://[::1]/scheme"},
		{"/old/a%2Fb?q", "a.org", 308, "http://a.org/new/a%2Fb?q"}, {"/old", "a.org", 308, "http://a.org/new"},
		{"/u/a&b?x=1", "a.org", 303, "http://a.org/p?id=a%26b"}, {"/r/x/y/z?q", "a.org", 301, "http://a.org/y/z/x?q"},
		{"/empty", "a.org", 503, ""},
	} {
		rq, _ := http.NewRequest("GET", "http://"+b.addr+x.target, nil)
		rq.Host = x.host
		r, err := c.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if got := r.Header.Get("Location"); r.StatusCode != x.status || got != x.want {
			t.Errorf("%s at %s: %d to %s, want %d to %s", x.target, x.host, r.StatusCode, got, x.status, x.want)
		}
	}
	b.wait("redirects are counted", func() bool {
		for _, r := range b.hub.Routes() {
			if r.Route == "prefix" {
				return true
			}
		}
		return false
	})
}

func TestBadRoutes(t *testing.T) {
	p := newBed(t).plane
	s := func(v string) *string { return &v }
	for _, c := range []struct {
		route swell.Route
		want  string
	}{
		{swell.Route{Match: swell.Match{Regex: "/a"}, Rewrite: swell.Rewrite{Prefix: s("/x")}}, "use rewrite.path"},
		{swell.Route{Rewrite: swell.Rewrite{Prefix: s("/x"), Path: s("/y")}}, "leave one out"},
		{swell.Route{Rewrite: swell.Rewrite{Path: s("/{id}")}}, "has no {id}"},
		{swell.Route{Redirect: &swell.Redirect{Status: 200}}, "is none of"},
		{swell.Route{Redirect: &swell.Redirect{Status: 301, Prefix: s("/a"), Path: "/b"}}, "leave one out"},
		{swell.Route{Match: swell.Match{Path: "/a"}, Redirect: &swell.Redirect{Status: 301, Prefix: s("/a")}}, "use redirect.path"},
		{swell.Route{Redirect: &swell.Redirect{Status: 301, Path: "b"}}, "slash"},
		{swell.Route{Redirect: &swell.Redirect{Status: 301, Host: "a/b"}}, "not a host"},
		{swell.Route{Redirect: &swell.Redirect{Status: 301, Scheme: "ht tp"}}, "not a scheme"},
		{swell.Route{Redirect: &swell.Redirect{Status: 301, Port: 70000}}, "not a port"},
		{swell.Route{}, "goes nowhere"},
	} {
		if _, err := p.compileRoute(c.route, nil, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want something with %q", c.route, err, c.want)
		}
	}
}

func TestWhoIsBelieved(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tab := &table{snapshot: &swell.Snapshot{Gateway: swell.Gateway{Proxies: proxies}}}
	for _, c := range []struct{ peer, said, peerAfter, list string }{
		{"192.0.2.1", "6.6.6.6", "192.0.2.1", "192.0.2.1"},
		{"10.0.0.1", "6.6.6.6", "6.6.6.6", "6.6.6.6, 10.0.0.1"},
		{"::ffff:10.0.0.1", "6.6.6.6", "6.6.6.6", "6.6.6.6, 10.0.0.1"},
		{"10.0.0.1", "7.7.7.7, 6.6.6.6,10.1.1.1", "6.6.6.6", "7.7.7.7, 6.6.6.6,10.1.1.1, 10.0.0.1"},
		{"10.0.0.1", "10.2.2.2, 10.1.1.1", "10.2.2.2", "10.2.2.2, 10.1.1.1, 10.0.0.1"},
		{"fd00::1", "6.6.6.6:123", "6.6.6.6", "6.6.6.6:123, fd00::1"},
		{"10.0.0.1", "[2001:db8::1]:5", "2001:db8::1", "[2001:db8::1]:5, 10.0.0.1"},
		{"10.0.0.1", "1.1.1.1, who", "10.0.0.1", "1.1.1.1, who, 10.0.0.1"},
		{"10.0.0.1", "", "10.0.0.1", "10.0.0.1"},
	} {
		x := fakeExchange("GET", "/")
		x.Peer = netip.AddrPortFrom(netip.MustParseAddr(c.peer), 99)
		if c.said != "" {
			x.Request.Header.AddName("X-Forwarded-For", c.said)
		}
		x.Request.Header.AddName("X-Forwarded-Proto", "https")
		x.Request.Major, x.Request.Minor = 2, 0
		tab.arrive(new(state), x)
		if got := x.Peer.Addr().Unmap().String(); got != c.peerAfter {
			t.Errorf("%s said %q: the client is %s, want %s", c.peer, c.said, got, c.peerAfter)
		}
		h := &x.Request.Header
		if got := string(h.Get(exchange.ForwardedFor)); got != c.list {
			t.Errorf("%s said %q: the list is %q, want %q", c.peer, c.said, got, c.list)
		}
		if got, want := string(h.Get(exchange.ForwardedProto)), map[bool]string{true: "http", false: "https"}[c.peer == "192.0.2.1"]; got != want {
			t.Errorf("%s: proto %s, want %s", c.peer, got, want)
		}
		if got := string(h.Get(exchange.Via)); got != "2 swell" {
			t.Errorf("via %q", got)
		}
	}
}

// What people are told of a regular expression: that it is one, and its groups.
func TestRegexForPeople(t *testing.T) {
	p := New(Options{Hub: telemetry.New(telemetry.Options{})})
	snap := one(to("s", "127.0.0.1:1"))
	snap.Gateway.Routes = append(snap.Gateway.Routes, swell.Route{Name: "re", To: snap.Gateway.Routes[0].To, Match: swell.Match{
		Regex: "/u/(?P<id>[0-9]+)/(.*)", Headers: []swell.Value{{Name: "X-V", Regex: "v[12]"}},
	}})
	tab, err := p.compile(snap, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.table.Store(tab)
	if r := p.Routes(); len(r) != 2 || r[0].Name != "re" || r[0].Regex != "/u/(?P<id>[0-9]+)/(.*)" || r[0].Path != "" || r[0].Headers[0].Regex != "v[12]" {
		t.Errorf("%+v", r)
	}
	m, err := p.Match("GET", "/u/7/x", []swell.Pair{{Name: "x-v", Value: "v2"}})
	if err != nil || m.Route == nil || m.Route.Name != "re" || len(m.Params) != 2 || m.Params[0] != (swell.Pair{Name: "id", Value: "7"}) || m.Params[1] != (swell.Pair{Name: "2", Value: "x"}) ||
		!strings.Contains(m.Why, "regular expression /u/") || !strings.Contains(m.Why, "X-V like v[12]") {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = p.Match("GET", "/u/7/x", []swell.Pair{{Name: "x-v", Value: "v3"}})
	if err != nil || len(m.Passed) != 1 || m.Passed[0].Why != "header X-V is not like v[12]" {
		t.Errorf("%+v, %v", m, err)
	}
}
