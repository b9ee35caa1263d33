package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"swell"
	"swell/internal/exchange"
)

// pathKind is what a route's path pattern is; lower ones come first.
type pathKind int

const (
	exactPath    pathKind = iota // "/a/b"
	paramPath                    // "/a/{id}/c"
	prefixedPath                 // "/a/**", also with "{id}"; "" is "/**"
)

// matcher is a compiled swell.Match.
type matcher struct {
	src   swell.Match
	index int // as written

	host     string // lower case; of a wildcard what follows "*."; "" is any
	wildcard bool
	labels   int // of host

	kind     pathKind
	norm     string   // of an exact path
	segments []string // literals, "" for a parameter
	params   []paramAt
	slash    bool // the pattern ends with one

	methods []string
	headers []fieldMatch
	query   []swell.Value
}

type paramAt struct {
	name string
	at   int // index of the segment
}

type fieldMatch struct {
	id    exchange.ID
	name  string
	value string
}

// compileMatch checks a match and makes it ready.
func compileMatch(m swell.Match, index int) (matcher, error) {
	out := matcher{src: m, index: index, methods: m.Methods, query: m.Query}
	host := strings.TrimSuffix(strings.ToLower(m.Host), ".")
	out.host, out.wildcard = strings.CutPrefix(host, "*.")
	if host == "*" {
		out.host = ""
	}
	if strings.Contains(out.host, "*") || out.wildcard && out.host == "" {
		return out, fmt.Errorf("host %q: a star is allowed only as the whole first label, as in *.example.com", m.Host)
	}
	if out.host != "" {
		out.labels = strings.Count(out.host, ".") + 1
	}
	if err := out.compilePath(m.Path); err != nil {
		return out, err
	}
	for _, h := range m.Headers {
		out.headers = append(out.headers, fieldMatch{exchange.Identify([]byte(h.Name)), h.Name, h.Exact})
	}
	return out, nil
}

func (m *matcher) compilePath(path string) error {
	if path == "" {
		m.kind = prefixedPath
		return nil
	}
	if path[0] != '/' {
		return fmt.Errorf("path %q does not begin with a slash", path)
	}
	stem, prefixed := strings.CutSuffix(path, "/**")
	if prefixed {
		m.kind, path = prefixedPath, stem
	}
	if strings.Contains(path, "*") {
		return fmt.Errorf("path %q: stars are allowed only as /** at the end; for one segment write {name}", m.src.Path)
	}
	var p parsedPath
	if err := p.parse([]byte(path)); err != nil {
		return fmt.Errorf("path %q: %w", m.src.Path, err)
	}
	m.slash, m.norm = p.slash, string(p.norm)
	for i, s := range p.segments {
		text := string(p.norm[s.from:s.to])
		name, isParam := strings.CutPrefix(text, "{")
		if isParam {
			name, isParam = strings.CutSuffix(name, "}")
			if !isParam || name == "" {
				return fmt.Errorf("path %q: %q is neither a segment nor a {name}", m.src.Path, text)
			}
			m.params = append(m.params, paramAt{name, i})
			m.segments = append(m.segments, "")
			continue
		}
		if strings.ContainsAny(text, "{}") {
			return fmt.Errorf("path %q: %q: a {name} takes a whole segment", m.src.Path, text)
		}
		m.segments = append(m.segments, text)
	}
	if m.kind == exactPath && len(m.params) > 0 {
		m.kind = paramPath
	}
	return nil
}

// before orders two matchers by precedence: what it puts first takes a request
// that both match. See swell.Match.
func before(a, b *matcher) int {
	boolean := func(a, b bool) int { // true first
		switch {
		case a == b:
			return 0
		case a:
			return -1
		}
		return 1
	}
	rank := func(m *matcher) int {
		switch {
		case m.host == "":
			return 2
		case m.wildcard:
			return 1
		}
		return 0
	}
	if c := cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.labels, a.labels), cmp.Compare(a.host, b.host), cmp.Compare(a.kind, b.kind)); c != 0 {
		return c
	}
	if a.kind == prefixedPath {
		if c := cmp.Compare(len(b.segments), len(a.segments)); c != 0 {
			return c
		}
	}
	for i := range min(len(a.segments), len(b.segments)) {
		if c := boolean(a.segments[i] != "", b.segments[i] != ""); c != 0 {
			return c
		}
	}
	return cmp.Or(
		boolean(len(a.methods) > 0, len(b.methods) > 0),
		cmp.Compare(len(b.headers), len(a.headers)),
		cmp.Compare(len(b.query), len(a.query)),
		cmp.Compare(a.index, b.index))
}

// method reports whether the request's method is taken.
func (m *matcher) method(method string) bool {
	return len(m.methods) == 0 || slices.Contains(m.methods, method)
}

// rest reports whether headers and query are as wanted.
func (m *matcher) rest(r *exchange.Request) bool {
	for i := range m.headers {
		if !m.headers[i].matches(r) {
			return false
		}
	}
	for i := range m.query {
		if !queryHas(r.Query(), m.query[i].Name, m.query[i].Exact) {
			return false
		}
	}
	return true
}

// matches reports whether any field of the name has the value.
func (f *fieldMatch) matches(r *exchange.Request) bool {
	if f.id == exchange.Host {
		return string(r.Host) == f.value
	}
	fields := r.Header.Fields()
	for i := range fields {
		h := &fields[i]
		if h.ID != f.id || string(h.Value) != f.value {
			continue
		}
		if f.id != exchange.None || strings.EqualFold(string(h.Name), f.name) {
			return true
		}
	}
	return false
}

// queryHas reports whether a raw query has a parameter of that name and value.
func queryHas(query []byte, name, value string) bool {
	for len(query) > 0 {
		part := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			part, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		k, v, _ := bytes.Cut(part, []byte{'='})
		if queryEqual(k, name) && queryEqual(v, value) {
			return true
		}
	}
	return false
}

// queryEqual compares an encoded part of a query with plain text.
func queryEqual(raw []byte, text string) bool {
	n := 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(raw) && hex(raw[i+1]) >= 0 && hex(raw[i+2]) >= 0:
			c = byte(hex(raw[i+1])<<4 | hex(raw[i+2]))
			i += 2
		}
		if n >= len(text) || text[n] != c {
			return false
		}
		n++
	}
	return n == len(text)
}

// why says why the matcher does not take a request, in words for people; "" if it
// does. It is the plain form of what the router does fast, and its oracle in tests.
func (m *matcher) why(host string, p *parsedPath, r *exchange.Request) string {
	switch {
	case m.host == "":
	case m.wildcard:
		if !strings.HasSuffix(host, "."+m.host) {
			return fmt.Sprintf("host %s is not below %s", quoted(host), m.host)
		}
	case host != m.host:
		return fmt.Sprintf("host %s is not %s", quoted(host), m.host)
	}
	if !m.path(p) {
		return fmt.Sprintf("path %s is not like %s", p.norm, m.src.Path)
	}
	if !m.method(r.Method) {
		return fmt.Sprintf("method %s is none of %s", r.Method, strings.Join(m.methods, ", "))
	}
	for i := range m.headers {
		if !m.headers[i].matches(r) {
			return fmt.Sprintf("header %s is not %s", m.headers[i].name, quoted(m.headers[i].value))
		}
	}
	for _, q := range m.query {
		if !queryHas(r.Query(), q.Name, q.Exact) {
			return fmt.Sprintf("query %s is not %s", q.Name, quoted(q.Exact))
		}
	}
	return ""
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// path reports whether the path is taken.
func (m *matcher) path(p *parsedPath) bool {
	n := len(m.segments)
	if m.kind == prefixedPath && len(p.segments) < n || m.kind != prefixedPath && (len(p.segments) != n || p.slash != m.slash) {
		return false
	}
	for i, want := range m.segments {
		if s := p.segments[i]; want != "" && string(p.norm[s.from:s.to]) != want {
			return false
		}
	}
	return true
}
