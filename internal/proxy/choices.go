package proxy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"swell/internal/exchange"
)

// ranked is a route with its rank among all routes of a table: the lower comes first.
type ranked struct {
	rt   *route
	rank int
}

// choices are the routes of one place in the router (a path, a prefix), of which
// the first one that fits is taken. A long list is divided by the header or query
// value that tells most of its routes apart, so that a thousand tenants' routes on
// one path cost no more than one.
type choices struct {
	all  []ranked // in order of precedence; nil of a divided list
	keys []key
	rest []ranked // the routes that have none of the keys
}

// key divides routes by the value of one header or query parameter.
type key struct {
	id     exchange.ID
	name   string
	query  bool
	values map[string][]ranked
}

const (
	fewChoices = 8 // so many are tried one after the other
	maxKeys    = 8 // each costs a look at every field of a request
)

func (c *choices) add(p ranked) { c.all = append(c.all, p) }

func (c *choices) empty() bool { return len(c.all) == 0 && len(c.keys) == 0 }

// keyName is what a key is about.
type keyName struct {
	name  string // of a header in lower case
	query bool
}

// pairs calls yield with what a route wants to be exactly so.
func (m *matcher) pairs(yield func(keyName, string)) {
	for _, f := range m.headers {
		if f.re == nil && f.id != exchange.Host {
			yield(keyName{strings.ToLower(f.name), false}, f.value)
		}
	}
	for _, f := range m.query {
		if f.re == nil {
			yield(keyName{f.name, true}, f.value)
		}
	}
}

// seal divides the list if it is long. Nothing may be added afterwards.
func (c *choices) seal() {
	if len(c.all) <= fewChoices {
		return
	}
	type pair struct {
		keyName
		value string
	}
	often := map[pair]int{}
	for _, p := range c.all {
		p.rt.match.pairs(func(k keyName, v string) { often[pair{k, v}]++ })
	}
	// Each route goes by its rarest pair; the keys that most routes go by are kept.
	choose := func(m *matcher, ok func(keyName) bool) (best pair, found bool) {
		m.pairs(func(k keyName, v string) {
			if p := (pair{k, v}); ok(k) && (!found || often[p] < often[best]) {
				best, found = p, true
			}
		})
		return best, found
	}
	votes := map[keyName]int{}
	for _, p := range c.all {
		if best, ok := choose(&p.rt.match, func(keyName) bool { return true }); ok {
			votes[best.keyName]++
		}
	}
	names := slices.SortedFunc(maps.Keys(votes), func(a, b keyName) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a.name, b.name))
	})
	names = names[:min(len(names), maxKeys)]
	at := map[keyName]int{}
	for i, n := range names {
		at[n] = i
		k := key{name: n.name, query: n.query, values: map[string][]ranked{}}
		if !n.query {
			k.id = exchange.Identify([]byte(n.name))
		}
		c.keys = append(c.keys, k)
	}
	for _, p := range c.all {
		best, ok := choose(&p.rt.match, func(k keyName) bool { _, kept := at[k]; return kept })
		if !ok {
			c.rest = append(c.rest, p)
			continue
		}
		values := c.keys[at[best.keyName]].values
		values[best.value] = append(values[best.value], p)
	}
	if len(c.keys) > 0 {
		c.all = nil
	}
}

// first returns the first route of one list that fits.
func (s *search) first(c *choices, rq *exchange.Request) *route {
	if len(c.keys) == 0 {
		for i := range c.all {
			if rt := c.all[i].rt; s.fits(rt, rq) {
				return rt
			}
		}
		return nil
	}
	s.gather(c, rq)
	return s.merge(rq)
}

// gather notes the parts of a list that may fit, for merge.
func (s *search) gather(c *choices, rq *exchange.Request) {
	if len(c.keys) == 0 {
		s.runs = append(s.runs, c.all)
		return
	}
	if len(c.rest) > 0 {
		s.runs = append(s.runs, c.rest)
	}
	for i := range c.keys {
		k := &c.keys[i]
		if k.query {
			for query := rq.Query(); len(query) > 0; {
				var name, value []byte
				if name, value, query = nextParam(query); queryEqual(name, k.name) {
					if run := k.values[string(s.plain(value))]; run != nil {
						s.runs = append(s.runs, run)
					}
				}
			}
			continue
		}
		fields := rq.Header.Fields()
		for j := range fields {
			if f := &fields[j]; f.ID == k.id && (f.ID != exchange.None || sameName(f.Name, k.name)) {
				if run := k.values[string(f.Value)]; run != nil {
					s.runs = append(s.runs, run)
				}
			}
		}
	}
}

// merge goes through the gathered lists in order of precedence, and returns the
// first route that fits.
func (s *search) merge(rq *exchange.Request) (found *route) {
	for found == nil {
		best := -1
		for i, run := range s.runs {
			if len(run) > 0 && (best < 0 || run[0].rank < s.runs[best][0].rank) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		if rt := s.runs[best][0].rt; s.fits(rt, rq) {
			found = rt
		}
		s.runs[best] = s.runs[best][1:]
	}
	clear(s.runs) // a state that is put away keeps no table
	s.runs = s.runs[:0]
	return found
}

// fits reports whether a route whose host and path pattern fit takes the request.
func (s *search) fits(rt *route, rq *exchange.Request) bool {
	m := &rt.match
	if !m.rest(rq, s) || m.regex != nil && !like(m.regex, s.path.norm) {
		return false
	}
	if m.method(rq.Method) {
		return true
	}
	s.method = true
	if s.collects {
		s.allow = append(s.allow, m.methods...)
		if len(m.methods) == 0 { // only CONNECT is not among all methods
			s.allow = append(s.allow, usualMethods...)
		}
	}
	return false
}

// usualMethods stand for all where CONNECT is refused.
var usualMethods = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
