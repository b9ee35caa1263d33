package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// Endpoint is what balancers know of an instance. Its methods may be called from
// any goroutine. It must not be copied.
type Endpoint struct {
	ID     string
	Weight int // relative share, at least 1
	// Owner is whatever the user of the balancer keeps with the endpoint.
	Owner any

	key      uint64 // hash of ID
	inflight atomic.Int64
	out      atomic.Bool
	cost     atomic.Uint64 // see observe
}

// NewEndpoint makes an endpoint that is in. A weight below 1 is 1.
func NewEndpoint(id string, weight int) *Endpoint {
	e := new(Endpoint)
	e.Init(id, weight)
	return e
}

// Init is NewEndpoint for an Endpoint that is part of something larger.
func (e *Endpoint) Init(id string, weight int) {
	e.ID, e.Weight, e.key = id, max(1, weight), hash(id)
}

// Begin counts a request that goes to the endpoint.
func (e *Endpoint) Begin() { e.inflight.Add(1) }

// End takes back a Begin, and returns how many requests are left.
func (e *Endpoint) End() int64 { return e.inflight.Add(-1) }

// Inflight returns the number of requests at the endpoint.
func (e *Endpoint) Inflight() int64 { return e.inflight.Load() }

// Out reports whether the endpoint is taken out.
func (e *Endpoint) Out() bool { return e.out.Load() }

// SetOut takes the endpoint out or in again, and reports whether that changed
// anything.
func (e *Endpoint) SetOut(out bool) bool { return e.out.CompareAndSwap(!out, out) }

// The cost of an endpoint is one word, so that it is read and replaced as one:
// in the upper half the moving average of its latency in microseconds as a
// float32, in the lower the time of the last observation in units of 2^16 ns.
// The time wraps after three days; an endpoint that nobody asked for so long is
// then taken for recent, which the next observation puts right.
const (
	unitShift = 16
	// tau is how fast old latencies are forgotten: to 1/e in that time.
	tau = float64(10*time.Second) / (1 << unitShift)
	// failed is the least latency, in microseconds, that a failure counts as: an
	// endpoint that fails fast must not look like a fast one.
	failed = 100_000
)

// Observe tells how long an attempt took until its answer's head was there, and
// whether it succeeded. The average jumps up at once and comes down slowly: "peak
// EWMA", as Finagle's p2c has it.
func (e *Endpoint) Observe(now, took int64, ok bool) {
	us := float32(took) / 1e3
	if !ok {
		us = max(us, failed)
	}
	at := uint32(now >> unitShift)
	for {
		old := e.cost.Load()
		avg := decayed(old, at)
		if us < avg {
			w := decay(old, at)
			avg = math.Float32frombits(uint32(old>>32))*w + us*(1-w)
		} else {
			avg = us
		}
		if old != 0 && at == uint32(old) && us < avg {
			return // a second observation in 65 µs weighs nothing
		}
		if e.cost.CompareAndSwap(old, uint64(math.Float32bits(avg))<<32|uint64(at)) {
			return
		}
	}
}

// Latency returns the moving average at now, in microseconds: without news it
// falls, so that an endpoint that was slow once is asked again some day. 0 means
// that nothing was ever observed.
func (e *Endpoint) Latency(now int64) float32 { return decayed(e.cost.Load(), uint32(now>>unitShift)) }

func decayed(cost uint64, at uint32) float32 {
	avg := math.Float32frombits(uint32(cost >> 32))
	if at == uint32(cost) {
		return avg
	}
	return avg * decay(cost, at)
}

func decay(cost uint64, at uint32) float32 {
	dt := int32(at - uint32(cost))
	if dt <= 0 {
		return 1 // another core's clock reading was later
	}
	// 1/(1+x+x²/2) is within 10 % of e^-x where it matters, for a fifth of the price.
	x := float32(float64(dt) / tau)
	return 1 / (1 + x + x*x/2)
}

// hash is FNV-1a with the finalizer of SplitMix64, as short IDs differ in few bits.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
