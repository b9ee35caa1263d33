package balance

import (
	"cmp"
	"slices"
)

// Subset returns the n endpoints that a data plane is to use, or all if there are no
// more. It is deterministic: a data plane keeps its subset over restarts, and when an
// endpoint comes or goes at most one of it changes. What remains is in order.
//
// The Site Reliability Engineering book (Beyer et al., O'Reilly 2016, chapter 20)
// deals endpoints out to clients that are numbered without gaps, which is perfectly
// even and moves nearly everything when a number changes. Data planes have no
// numbers, only names; so each endpoint draws a lot for the plane, and the n highest
// are its own (rendezvous hashing). An endpoint is then in the subsets of P · n ÷ N
// of P planes give or take the root of that, binomially.
//
// Where the data plane prefers the endpoints of a zone, the subset is of those, as
// long as they can take their share; else it has as large a part of them as all
// endpoints have, so that as much spills over.
func Subset(endpoints []*Endpoint, n int, plane, zone string) []*Endpoint {
	if n <= 0 || n >= len(endpoints) {
		return endpoints
	}
	local := 0
	if zone != "" {
		for _, e := range endpoints {
			if e.Zone == zone {
				local++
			}
		}
	}
	mine := 0 // endpoints of the zone in the subset
	switch {
	case local == 0:
	case LocalShare(endpoints, zone) >= 1:
		mine = min(n, local)
	default:
		mine = (n*local + len(endpoints)/2) / len(endpoints)
	}
	seed := hash(plane)
	type lot struct {
		high uint64
		at   int
	}
	lots := make([]lot, len(endpoints))
	for i, e := range endpoints {
		lots[i] = lot{mix(seed ^ e.key), i}
	}
	slices.SortFunc(lots, func(a, b lot) int {
		return cmp.Or(cmp.Compare(b.high, a.high), cmp.Compare(endpoints[a.at].ID, endpoints[b.at].ID))
	})
	others := n - mine
	taken := make([]bool, len(endpoints))
	for _, l := range lots {
		left := &others
		if local > 0 && endpoints[l.at].Zone == zone {
			left = &mine
		}
		if *left > 0 {
			*left--
			taken[l.at] = true
		}
	}
	out := make([]*Endpoint, 0, n)
	for i, e := range endpoints {
		if taken[i] {
			out = append(out, e)
		}
	}
	return out
}
