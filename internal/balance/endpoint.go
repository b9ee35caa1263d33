package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// Endpoint is what balancers know of an instance. Its methods may be called from
// any goroutine. It must not be copied.
type Endpoint struct {
	// What every choice reads comes first, to lie together.
	Weight int           // relative share, at least 1
	key    uint64        // hash of ID
	load   atomic.Uint64 // requests that await an answer << 32 | requests in flight
	cost   atomic.Uint64 // see Observe
	since  atomic.Int64  // when a request was begun while no other awaited an answer
	warm   atomic.Int64  // when it is warm, see Warm; 0 is always
	out    atomic.Bool

	cold atomic.Int64 // when it began to get warm

	ID   string
	Zone string // "" is unknown
	// Owner is whatever the user of the balancer keeps with the endpoint.
	Owner any
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

const awaited = 1 << 32 // one request that awaits its answer, in Endpoint.load

// Begin counts a request that goes to the endpoint now. It is in flight until End,
// and awaits an answer until Observe or Waive.
func (e *Endpoint) Begin(now int64) {
	if e.load.Add(awaited|1)>>32 == 1 {
		e.since.Store(now)
	}
}

// End takes back a Begin, and returns how many requests are left.
func (e *Endpoint) End() int64 {
	for {
		old := e.load.Load()
		left := uint64(uint32(old)) - 1
		// Whoever forgot Observe and Waive is forgiven once nobody is left.
		next := min(old>>32, left)<<32 | left
		if e.load.CompareAndSwap(old, next) {
			return int64(left)
		}
	}
}

// Waive ends the wait for the answer to a request of which nothing is to be
// observed: its client left, for one.
func (e *Endpoint) Waive() {
	for {
		old := e.load.Load()
		if old < awaited || e.load.CompareAndSwap(old, old-awaited) {
			return
		}
	}
}

// Inflight returns the number of requests at the endpoint.
func (e *Endpoint) Inflight() int64 { return int64(uint32(e.load.Load())) }

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
	e.Waive()
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

// silent returns for how long, in microseconds, the endpoint has owed answers without
// giving any: at least that old is one request that awaits its answer. 0 if none does.
func (e *Endpoint) silent(now int64) float32 {
	if e.load.Load() < awaited {
		return 0
	}
	quiet := now - e.since.Load()
	if cost := e.cost.Load(); cost != 0 {
		quiet = min(quiet, int64(int32(uint32(now>>unitShift)-uint32(cost)))<<unitShift)
	}
	return float32(max(0, quiet)) / 1e3
}

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
