package proxy

import (
	"bytes"
	"slices"

	"swell/internal/exchange"
)

// router finds the route of a request: host, then path, then a short list. It is
// immutable.
type router struct {
	hosts     map[string]*hostRoutes // exact ones
	wildcards map[string]*hostRoutes // by what follows "*."
	any       *hostRoutes            // nil if every route names a host
	ordered   []*route               // all, in order of precedence
}

// hostRoutes are the routes of one host.
type hostRoutes struct {
	exact map[string]*choices
	root  node
	regex *radix  // nil if there are none
	any   choices // of every path
}

// node stands for the segments from the root of a path down to it.
type node struct {
	literal map[string]*node
	param   *node
	ends    choices // of patterns with parameters that end here
	slashed choices // the same, of those that end with a slash
	prefix  choices // of patterns with "/**" here
}

// newRouter takes the routes as written.
func newRouter(routes []*route) *router {
	r := &router{hosts: map[string]*hostRoutes{}, wildcards: map[string]*hostRoutes{}}
	r.ordered = slices.Clone(routes)
	slices.SortStableFunc(r.ordered, func(a, b *route) int { return before(&a.match, &b.match) })
	for rank, rt := range r.ordered {
		r.host(&rt.match).list(&rt.match).add(ranked{rt, rank})
	}
	for _, h := range r.hosts {
		h.seal()
	}
	for _, h := range r.wildcards {
		h.seal()
	}
	if r.any != nil {
		r.any.seal()
	}
	return r
}

// list returns where a route of the host belongs.
func (h *hostRoutes) list(m *matcher) *choices {
	switch m.kind {
	case anyPath:
		return &h.any
	case regexPath:
		if h.regex == nil {
			h.regex = new(radix)
		}
		return &h.regex.at(m.prefix).here
	case exactPath:
		c := h.exact[m.norm]
		if c == nil {
			c = new(choices)
			h.exact[m.norm] = c
		}
		return c
	}
	n := &h.root
	for _, s := range m.segments {
		n = n.child(s)
	}
	switch {
	case m.kind == prefixedPath:
		return &n.prefix
	case m.slash:
		return &n.slashed
	}
	return &n.ends
}

func (h *hostRoutes) seal() {
	for _, c := range h.exact {
		c.seal()
	}
	h.root.seal()
	if h.regex != nil {
		h.regex.seal()
	}
	h.any.seal()
}

func (n *node) seal() {
	n.ends.seal()
	n.slashed.seal()
	n.prefix.seal()
	for _, c := range n.literal {
		c.seal()
	}
	if n.param != nil {
		n.param.seal()
	}
}

func (r *router) host(m *matcher) *hostRoutes {
	fresh := func() *hostRoutes { return &hostRoutes{exact: map[string]*choices{}} }
	if m.host == "" {
		if r.any == nil {
			r.any = fresh()
		}
		return r.any
	}
	in := r.hosts
	if m.wildcard {
		in = r.wildcards
	}
	if in[m.host] == nil {
		in[m.host] = fresh()
	}
	return in[m.host]
}

func (n *node) child(segment string) *node {
	if segment == "" {
		if n.param == nil {
			n.param = new(node)
		}
		return n.param
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	c := n.literal[segment]
	if c == nil {
		c = new(node)
		n.literal[segment] = c
	}
	return c
}

// search is the memory of one look-up, reused from exchange to exchange.
type search struct {
	path     parsedPath
	host     []byte
	hits     []hit
	hostBuf  []byte
	runs     [][]ranked // lists that are gone through together; empty between look-ups
	text     []byte     // a query value, decoded
	method   bool       // a route fits but for its method
	allow    []string   // the methods of such routes, if collected
	collects bool
}

// hit is a prefix on the way down.
type hit struct {
	node  *node
	depth int
}

// find returns the request's route, or nil. s.path must have been parsed. After nil,
// s.method says whether only the method was wrong.
func (r *router) find(rq *exchange.Request, s *search) *route {
	s.method = false
	s.host = s.normalHost(rq.Host)
	if len(r.hosts) > 0 {
		if h := r.hosts[string(s.host)]; h != nil {
			if rt := h.find(rq, s); rt != nil {
				return rt
			}
		}
	}
	if len(r.wildcards) > 0 {
		for rest := s.host; ; {
			i := bytes.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if h := r.wildcards[string(rest)]; h != nil {
				if rt := h.find(rq, s); rt != nil {
					return rt
				}
			}
		}
	}
	if r.any != nil {
		if rt := r.any.find(rq, s); rt != nil {
			return rt
		}
	}
	if rq.Method == "CONNECT" && !s.method { // refused as a method, wherever it is to
		s.method = true
		if s.collects {
			s.allow = append(s.allow, usualMethods...)
		}
	}
	return nil
}

// allowed returns the methods of the routes that fit but for the method.
func (r *router) allowed(rq *exchange.Request, s *search) []string {
	s.collects, s.allow = true, nil
	r.find(rq, s)
	s.collects = false
	slices.Sort(s.allow)
	return slices.Compact(s.allow)
}

func (h *hostRoutes) find(rq *exchange.Request, s *search) *route {
	if c := h.exact[string(s.path.norm)]; c != nil {
		if rt := s.first(c, rq); rt != nil {
			return rt
		}
	}
	s.hits = s.hits[:0]
	if rt := h.root.walk(0, rq, s); rt != nil {
		return rt
	}
	// The longest prefix first; among equally long ones in the order of the walk.
	for len(s.hits) > 0 {
		best := 0
		for i := range s.hits {
			if s.hits[i].depth > s.hits[best].depth {
				best = i
			}
		}
		if rt := s.first(&s.hits[best].node.prefix, rq); rt != nil {
			return rt
		}
		s.hits = slices.Delete(s.hits, best, best+1)
	}
	if h.regex != nil {
		h.regex.walk(s.path.norm, func(c *choices) { s.gather(c, rq) })
		if rt := s.merge(rq); rt != nil {
			return rt
		}
	}
	return s.first(&h.any, rq)
}

// walk goes down the path's segments, literals before parameters, and returns the
// first pattern with parameters that fits. Prefixes on the way are noted.
func (n *node) walk(i int, rq *exchange.Request, s *search) *route {
	if !n.prefix.empty() {
		s.hits = append(s.hits, hit{n, i})
	}
	if i == len(s.path.segments) {
		if s.path.slash {
			return s.first(&n.slashed, rq)
		}
		return s.first(&n.ends, rq)
	}
	if n.literal != nil {
		at := s.path.segments[i]
		if c := n.literal[string(s.path.norm[at.from:at.to])]; c != nil {
			if rt := c.walk(i+1, rq, s); rt != nil {
				return rt
			}
		}
	}
	if n.param != nil {
		return n.param.walk(i+1, rq, s)
	}
	return nil
}

// normalHost is a host for comparison: without port and final dot, in lower case.
func (s *search) normalHost(h []byte) []byte {
	if n := len(h); n > 0 && h[0] == '[' {
		if i := bytes.IndexByte(h, ']'); i >= 0 {
			h = h[:i+1]
		}
	} else if i := bytes.LastIndexByte(h, ':'); i >= 0 {
		h = h[:i]
	}
	if n := len(h); n > 0 && h[n-1] == '.' {
		h = h[:n-1]
	}
	for _, c := range h {
		if c >= 'A' && c <= 'Z' {
			s.hostBuf = append(s.hostBuf[:0], h...)
			for i, c := range s.hostBuf {
				if c >= 'A' && c <= 'Z' {
					s.hostBuf[i] = c + 'a' - 'A'
				}
			}
			return s.hostBuf
		}
	}
	return h
}
