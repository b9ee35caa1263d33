package balance

import "slices"

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
func Subset(endpoints []*Endpoint, n int, plane string) []*Endpoint {
	if n <= 0 || n >= len(endpoints) {
		return endpoints
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
		if a.high > b.high {
			return -1
		}
		if a.high < b.high {
			return 1
		}
		return a.at - b.at
	})
	lots = lots[:n]
	slices.SortFunc(lots, func(a, b lot) int { return a.at - b.at })
	out := make([]*Endpoint, n)
	for i, l := range lots {
		out[i] = endpoints[l.at]
	}
	return out
}
