package balance

import (
	"math/rand/v2"
	"sync/atomic"

	"swell/internal/plug"
)

// p2c takes the better of two endpoints that chance names: "the power of two
// choices" (Mitzenmacher, IEEE TPDS 12(10), 2001), which is nearly as good as the
// best of all and, unlike that, doesn't send everybody to the same one. Better is
// the lower of latency × (requests in flight ÷ relative weight + 1), where latency is the
// peak EWMA that Finagle (twitter.github.io/finagle, "P2C + Peak EWMA") and
// Linkerd use: it notices a slow endpoint within one answer. One that doesn't answer
// at all is noticed without: its latency is at least as long as it has been silent
// with a request to answer. Chance names endpoints as often as their weights say, so
// that these are kept to where little is in flight, too.
//
// Where much is in flight, latency tells what was, and requests in flight what is.
// Then the rule is that of Prequal (Wydrowski, Kleinberg, Rumble, Archer: Load is not
// what you should balance, NSDI 2024): endpoints with more in flight than a quantile
// of all are hot, and a cold one is better than a hot one; of two hot ones the one
// with less in flight, of two cold ones the one with the lower latency, taken for
// what it has in flight. Prequal's probes are spared: a data plane knows what it has
// in flight itself.
type p2c struct {
	set atomic.Pointer[alias]
	hot atomic.Int64 // quantile of requests in flight by weight, in 1 ÷ hotUnit
}

const (
	// hotQuantile is Prequal's Q_RIF: its paper finds anything between 0.6 and 0.9
	// good, and 2^-0.25 its default.
	hotQuantile = 0.84
	hotUnit     = 256
	// sinkhole is how many times the load of a hot endpoint a cold one may have and
	// still be better: one that fails or hangs has nothing in flight either (the
	// paper calls that sinkholing).
	sinkhole = 8
	// noise is how much more the load of the one that chance named first may be: with
	// less between them, that they are named by weight is worth more.
	noise = 1.05
	// hotFrom is how much must be in flight for it to say more than chance does.
	hotFrom = 4 * hotUnit
)

func p2cEntry() plug.Entry[Maker] {
	return plug.Named("p2c", "The better of two random endpoints, by recent latency and requests in flight.",
		struct{}{}, func(struct{}) (Maker, error) { return func() Balancer { return new(p2c) }, nil })
}

func (p *p2c) Update(endpoints []*Endpoint) { p.set.Store(newAlias(endpoints)) }

func (p *p2c) Pick(r *Request) *Endpoint {
	set := p.set.Load()
	if set == nil {
		return nil
	}
	eps := set.endpoints
	n := uint32(len(eps))
	if n == 0 {
		return nil
	}
	if n == 1 {
		if r.usable(eps[0]) {
			return eps[0]
		}
		return nil
	}
	for range 3 {
		word := rand.Uint64()
		a, b := set.two(word)
		switch useA, useB := r.takes(a), r.takes(b); {
		case useA && useB:
			return p.better(r, set, a, b, word)
		case useA:
			return a
		case useB:
			return b
		}
	}
	// Chance named only endpoints that can't be used: look at all, from anywhere.
	var best *Endpoint
	var least float32
	at := rand.Uint32N(n)
	for range eps {
		e := eps[at]
		if at++; at == n {
			at = 0
		}
		if r.usable(e) {
			if l := r.load(e, set.mean); best == nil || l < least {
				best, least = e, l
			}
		}
	}
	return best
}

// two names two different endpoints, of which there are at least two.
func (a *alias) two(word uint64) (x, y *Endpoint) {
	if a.cells == nil {
		n := uint64(len(a.endpoints))
		i := uint64(uint32(word)) * n >> 32
		j := (word >> 32) * (n - 1) >> 32
		if j >= i {
			j++
		}
		return a.endpoints[i], a.endpoints[j]
	}
	x = a.draw(word)
	for range 3 {
		if y = a.draw(rand.Uint64()); y != x {
			return x, y
		}
	}
	// One of them weighs more than all others: any of those.
	i := rand.IntN(len(a.endpoints))
	if y = a.endpoints[i]; y == x {
		y = a.endpoints[(i+1)%len(a.endpoints)]
	}
	return x, y
}

// better chooses between two.
func (p *p2c) better(r *Request, set *alias, a, b *Endpoint, word uint64) *Endpoint {
	flightA, flightB := int64(r.flight(a, set.mean)*hotUnit), int64(r.flight(b, set.mean)*hotUnit)
	hot := p.hot.Load()
	if word&7 == 0 || flightA > 2*hot+hotUnit {
		p.learn(hot, flightA, flightB)
	}
	loadA, loadB := r.load(a, set.mean), r.load(b, set.mean)
	if hot >= hotFrom {
		switch hotA, hotB := flightA > hot, flightB > hot; {
		case hotA && hotB && flightA != flightB:
			if flightB < flightA {
				return b
			}
			return a
		case hotA && !hotB && loadB < sinkhole*loadA:
			return b
		case hotB && !hotA && loadA < sinkhole*loadB:
			return a
		}
	}
	if loadB*noise < loadA {
		return b
	}
	return a
}

// learn moves the quantile: up by a step times q for each that is above it, down by
// a step times 1 - q for each that is not, so that it rests where a share of q is
// below (Robbins and Monro, Annals of Mathematical Statistics 22(3), 1951). Two that
// learn at once may lose one's step; that matters as little as a step does.
func (p *p2c) learn(hot, a, b int64) {
	step := 8 + hot/16
	for _, flight := range [2]int64{a, b} {
		if flight > hot {
			hot += int64(float64(step) * hotQuantile)
		} else {
			hot -= int64(float64(step) * (1 - hotQuantile))
		}
	}
	p.hot.Store(max(0, hot))
}

// flight is what e has in flight for its weight, relative to the mean weight.
func (r *Request) flight(e *Endpoint, mean float32) float32 {
	return r.busy(e) * mean / float32(e.Weight)
}

// load is what an endpoint's next request would have to wait for, in a manner of
// speaking. An endpoint that has never answered gets one request to show itself:
// its load is the lowest while it has none, and the highest while it has.
func (r *Request) load(e *Endpoint, mean float32) float32 {
	flight := r.flight(e, mean)
	latency := e.Latency(r.Now)
	if latency == 0 {
		if flight == 0 {
			return 0
		}
		latency = unproven
	}
	latency = max(latency, e.silent(r.Now))
	return latency * (flight + 1)
}

// unproven is the latency, in microseconds, that an endpoint without an answer so
// far is taken to have.
const unproven = 1_000_000
