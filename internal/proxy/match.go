package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
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
	prefixedPath                 // "/a/**", also with "{id}"
	regexPath                    // a regular expression for the whole path
	anyPath                      // "/**" or none
)

// matcher is a compiled swell.Match.
type matcher struct {
	src swell.Match

	host     string // lower case; of a wildcard what follows "*."; "" is any
	wildcard bool
	labels   int // of host

	kind     pathKind
	norm     string   // of an exact path
	segments []string // literals, "" for a parameter
	params   []paramAt
	slash    bool           // the pattern ends with one
	regex    *regexp.Regexp // of a regexPath
	prefix   string         // what the paths like regex begin with

	methods []string
	headers []fieldMatch
	query   []queryMatch
}

type paramAt struct {
	name string
	at   int // index of the segment
}

type fieldMatch struct {
	id    exchange.ID
	name  string
	value string
	re    *regexp.Regexp // instead of value, if not nil
}

type queryMatch struct {
	name  string
	value string
	re    *regexp.Regexp // instead of value, if not nil
}

// compileMatch checks a match and makes it ready.
func compileMatch(m swell.Match) (matcher, error) {
	out := matcher{src: m, methods: m.Methods}
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
	if m.Regex != "" {
		if m.Path != "" {
			return out, fmt.Errorf("it has both a path and a regular expression for it; leave one out")
		}
		var err error
		if out.regex, out.prefix, err = compileRegex(m.Regex); err != nil {
			return out, fmt.Errorf("path: %w", err)
		}
		if out.prefix != "" && out.prefix[0] != '/' {
			return out, fmt.Errorf("path: regular expression %q: it is for the whole path, which begins with a slash", short(m.Regex))
		}
		out.kind = regexPath
	} else if err := out.compilePath(m.Path); err != nil {
		return out, err
	}
	for _, h := range m.Headers {
		re, err := compileValue(h)
		if err != nil {
			return out, fmt.Errorf("header %s: %w", h.Name, err)
		}
		out.headers = append(out.headers, fieldMatch{exchange.Identify([]byte(h.Name)), h.Name, h.Exact, re})
	}
	for _, q := range m.Query {
		re, err := compileValue(q)
		if err != nil {
			return out, fmt.Errorf("query %s: %w", q.Name, err)
		}
		out.query = append(out.query, queryMatch{q.Name, q.Exact, re})
	}
	return out, nil
}

// compileValue returns the regular expression of a value; nil if it is exact.
func compileValue(v swell.Value) (*regexp.Regexp, error) {
	if v.Regex == "" {
		return nil, nil
	}
	if v.Exact != "" {
		return nil, fmt.Errorf("it has both a value and a regular expression; leave one out")
	}
	re, _, err := compileRegex(v.Regex)
	return re, err
}

func (m *matcher) compilePath(path string) error {
	if path == "" {
		m.kind = anyPath
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
	switch {
	case m.kind == exactPath && len(m.params) > 0:
		m.kind = paramPath
	case prefixed && len(m.segments) == 0:
		m.kind = anyPath
	}
	return nil
}

// before orders two matchers by precedence: what it puts first takes a request
// that both match; between equals, the first written does. See swell.Match.
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
		cmp.Compare(len(b.query), len(a.query)))
}

// method reports whether the request's method is taken. CONNECT, which asks for a
// tunnel to anywhere, is not among all methods: it must be named.
func (m *matcher) method(method string) bool {
	if len(m.methods) == 0 {
		return method != "CONNECT"
	}
	return slices.Contains(m.methods, method)
}

// rest reports whether headers and query are as wanted.
func (m *matcher) rest(r *exchange.Request, s *search) bool {
	for i := range m.headers {
		if !m.headers[i].matches(r) {
			return false
		}
	}
	for i := range m.query {
		if !m.query[i].matches(r.Query(), s) {
			return false
		}
	}
	return true
}

// matches reports whether any field of the name has the value.
func (f *fieldMatch) matches(r *exchange.Request) bool {
	if f.id == exchange.Host {
		return f.is(r.Host)
	}
	fields := r.Header.Fields()
	for i := range fields {
		h := &fields[i]
		if h.ID == f.id && (f.id != exchange.None || sameName(h.Name, f.name)) && f.is(h.Value) {
			return true
		}
	}
	return false
}

// is reports whether a value is as wanted.
func (f *fieldMatch) is(value []byte) bool {
	if f.re != nil {
		return like(f.re, value)
	}
	return string(value) == f.value
}

// sameName compares the names of two fields.
func sameName(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if d := b[i]; c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// matches reports whether any parameter of the name has the value.
func (q *queryMatch) matches(query []byte, s *search) bool {
	for len(query) > 0 {
		var name, value []byte
		name, value, query = nextParam(query)
		switch {
		case !queryEqual(name, q.name):
		case q.re == nil:
			if queryEqual(value, q.value) {
				return true
			}
		case len(value) <= 3*maxSubject:
			if like(q.re, s.plain(value)) {
				return true
			}
		}
	}
	return false
}

// nextParam takes the first parameter off a raw query, name and value still encoded.
func nextParam(query []byte) (name, value, rest []byte) {
	part := query
	if i := bytes.IndexByte(query, '&'); i >= 0 {
		part, rest = query[:i], query[i+1:]
	}
	if i := bytes.IndexByte(part, '='); i >= 0 {
		return part[:i], part[i+1:], rest
	}
	return part, nil, rest
}

// plain returns an encoded part of a query as plain text, until the next call.
func (s *search) plain(raw []byte) []byte {
	if len(raw) > 8<<10 { // too much to keep
		return unescape(nil, raw)
	}
	s.text = unescape(s.text[:0], raw)
	return s.text
}

// unescape adds an encoded part of a query to dst as plain text.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(raw) && hex(raw[i+1]) >= 0 && hex(raw[i+2]) >= 0:
			c = byte(hex(raw[i+1])<<4 | hex(raw[i+2]))
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
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
		return fmt.Sprintf("path %s is not like %s", p.norm, cmp.Or(m.src.Path, m.src.Regex))
	}
	for i := range m.headers {
		if f := &m.headers[i]; !f.matches(r) {
			return fmt.Sprintf("header %s is not %s", f.name, expected(f.value, f.re))
		}
	}
	var s search
	for i := range m.query {
		if q := &m.query[i]; !q.matches(r.Query(), &s) {
			return fmt.Sprintf("query %s is not %s", q.name, expected(q.value, q.re))
		}
	}
	if !m.method(r.Method) {
		if len(m.methods) == 0 {
			return "method CONNECT is not named"
		}
		return fmt.Sprintf("method %s is none of %s", r.Method, strings.Join(m.methods, ", "))
	}
	return ""
}

// expected shows what a value should be.
func expected(value string, re *regexp.Regexp) string {
	if re != nil {
		s := re.String()
		return "like " + strings.TrimSuffix(strings.TrimPrefix(s, `\A(?:`), `)\z`)
	}
	return quoted(value)
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// path reports whether the path is taken.
func (m *matcher) path(p *parsedPath) bool {
	n := len(m.segments)
	prefixed := m.kind == prefixedPath || m.kind == anyPath
	if m.kind == regexPath {
		return like(m.regex, p.norm)
	}
	if prefixed && len(p.segments) < n || !prefixed && (len(p.segments) != n || p.slash != m.slash) {
		return false
	}
	for i, want := range m.segments {
		if s := p.segments[i]; want != "" && string(p.norm[s.from:s.to]) != want {
			return false
		}
	}
	return true
}
