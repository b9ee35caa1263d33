package proxy

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"swell"
	"swell/internal/exchange"
)

// RouteInfo is a compiled route, for people.
type RouteInfo struct {
	Name     string          `json:"name"`
	Host     string          `json:"host"`            // "*" for any
	Path     string          `json:"path"`            // "/**" for any, "" with Regex
	Regex    string          `json:"regex,omitempty"` // for the whole path
	Methods  []string        `json:"methods,omitempty"`
	Headers  []swell.Value   `json:"headers,omitempty"`
	Query    []swell.Value   `json:"query,omitempty"`
	To       []swell.Target  `json:"to,omitempty"`
	Redirect *swell.Redirect `json:"redirect,omitempty"`
	Use      []string        `json:"use,omitempty"` // names of filters, outermost first, the gateway's included
}

// Matched says which route a request would take, and why.
type Matched struct {
	Route  *RouteInfo    `json:"route"` // nil if none
	Params []swell.Pair  `json:"params,omitempty"`
	Status int           `json:"status"` // what the client is answered if no route takes it; 0 otherwise
	Why    string        `json:"why"`
	Passed []PassedRoute `json:"passed"` // the routes before it in order of precedence, and why they don't take it
	Behind []string      `json:"behind"` // routes that would take it too, if those before weren't there
}

// PassedRoute is a route that does not take a request.
type PassedRoute struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Routes returns the compiled routes in order of precedence; none without a table.
func (p *Plane) Routes() []RouteInfo {
	t := p.table.Load()
	if t == nil {
		return nil
	}
	out := make([]RouteInfo, 0, len(t.router.ordered))
	for _, rt := range t.router.ordered {
		out = append(out, info(t, rt))
	}
	return out
}

func info(t *table, rt *route) RouteInfo {
	m := rt.src.Match
	i := RouteInfo{
		Name: rt.name, Host: m.Host, Path: m.Path, Regex: m.Regex, Methods: m.Methods, Headers: m.Headers, Query: m.Query,
		To: rt.src.To, Redirect: rt.src.Redirect,
	}
	if i.Host == "" {
		i.Host = "*"
	}
	if i.Path == "" && i.Regex == "" {
		i.Path = "/**"
	}
	for _, u := range t.snapshot.Gateway.Use {
		i.Use = append(i.Use, u.Name)
	}
	for _, u := range rt.src.Use {
		i.Use = append(i.Use, u.Name)
	}
	return i
}

// Match says which route a request to target, a URL or a path with a query, would
// take. It fails if the URL can't be read.
func (p *Plane) Match(method, target string, headers []swell.Pair) (Matched, error) {
	t := p.table.Load()
	if t == nil {
		return Matched{Status: 503, Why: "the data plane has no configuration yet"}, nil
	}
	if method == "" {
		method = "GET"
	}
	var rq exchange.Request
	rq.Method = strings.ToUpper(method)
	if strings.HasPrefix(target, "/") {
		rq.Target = []byte(target)
	} else {
		if !strings.Contains(target, "://") {
			target = "http://" + target
		}
		u, err := url.Parse(target)
		if err != nil {
			return Matched{}, fmt.Errorf("read the URL: %w", err)
		}
		rq.Host = []byte(u.Host)
		_, rest, _ := strings.Cut(target, "://")
		rest = rest[min(strings.IndexAny(rest+"/", "/?"), len(rest)):]
		if !strings.HasPrefix(rest, "/") {
			rest = "/" + rest
		}
		rest, _, _ = strings.Cut(rest, "#")
		rq.Target = []byte(rest)
	}
	for _, h := range headers {
		if exchange.Identify([]byte(h.Name)) == exchange.Host {
			rq.Host = []byte(h.Value)
			continue
		}
		rq.Header.AddName(h.Name, h.Value)
	}
	return t.match(&rq), nil
}

func (t *table) match(rq *exchange.Request) Matched {
	var s search
	if err := s.path.parse(rq.Path()); err != nil {
		return Matched{Status: 400, Why: err.Error()}
	}
	found := t.router.find(rq, &s)
	onlyMethod := s.method
	host := string(s.normalHost(rq.Host))
	out := Matched{Passed: []PassedRoute{}, Behind: []string{}}
	past := false
	for _, rt := range t.router.ordered {
		why := rt.match.why(host, &s.path, rq)
		switch {
		case rt == found:
			past = true
		case past && why == "":
			out.Behind = append(out.Behind, rt.name)
		case !past:
			out.Passed = append(out.Passed, PassedRoute{rt.name, why})
		}
	}
	switch {
	case found != nil:
		i := info(t, found)
		out.Route = &i
		for _, at := range found.match.params {
			seg := s.path.segments[at.at]
			out.Params = append(out.Params, swell.Pair{Name: at.name, Value: string(s.path.norm[seg.from:seg.to])})
		}
		if re := found.match.regex; re != nil {
			groups := re.FindSubmatchIndex(s.path.norm)
			for i, name := range re.SubexpNames() {
				if i > 0 && groups[2*i] >= 0 {
					out.Params = append(out.Params, swell.Pair{Name: cmp.Or(name, strconv.Itoa(i)), Value: string(s.path.norm[groups[2*i]:groups[2*i+1]])})
				}
			}
		}
		out.Why = "it is the first, in order of precedence, that takes " + found.match.says()
	case onlyMethod:
		out.Status = 405
		out.Why = "routes take this path, but with other methods: " + strings.Join(t.router.allowed(rq, &s), ", ")
	default:
		out.Status, out.Why = 404, "no route takes this request"
	}
	return out
}

// says describes what a matcher takes.
func (m *matcher) says() string {
	var parts []string
	if m.src.Host != "" {
		parts = append(parts, "host "+m.src.Host)
	}
	switch m.kind {
	case exactPath:
		parts = append(parts, "exactly the path "+m.src.Path)
	case paramPath:
		parts = append(parts, "paths like "+m.src.Path)
	case regexPath:
		parts = append(parts, "paths like the regular expression "+m.src.Regex)
	case anyPath:
		parts = append(parts, "any path")
	default:
		parts = append(parts, "paths below "+strings.TrimSuffix(m.src.Path, "/**"))
	}
	if len(m.methods) > 0 {
		parts = append(parts, "method "+strings.Join(m.methods, ", "))
	}
	for _, h := range m.headers {
		parts = append(parts, shown(h.name, ": ", h.value, h.re))
	}
	for _, q := range m.query {
		parts = append(parts, shown(q.name, "=", q.value, q.re))
	}
	return strings.Join(parts, ", ")
}

// shown describes what a header or a query parameter must be.
func shown(name, is, value string, re *regexp.Regexp) string {
	if re != nil {
		return name + " " + expected("", re)
	}
	return name + is + value
}
