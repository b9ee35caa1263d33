package balance

import (
	"errors"
	"sync/atomic"

	"swell/internal/unit"
)

// What maglev and ring-hash have in common: a circle of slots, each with the endpoint
// that owns it. A key's hash leads to a slot, and if its owner can't be used, to the
// next one around the circle, so that a key has not only a place but an order of
// places, the same for every data plane.

// Hashing are the options of balancers that hash a key.
type Hashing struct {
	By    Key          `json:"by" doc:"What is hashed: client (its address), path, header:NAME, cookie:NAME or query:NAME. A request without it goes to the better of two random instances, as with p2c."`
	Bound unit.Percent `json:"bound" doc:"How much of the mean load (requests in flight, by weight) an instance may have until its keys go on to the next one: 125% for instance. 0% is no bound."`
}

func (o Hashing) check() error {
	if o.Bound > 0 && o.Bound < 1.05 {
		return errors.New("bound is a share of the mean load, so it must be over 100%; use at least 105%, 125% for instance, or 0% for no bound")
	}
	if o.Bound > 100 {
		return errors.New("bound is over 10000%: that bounds nothing; use 0% for no bound")
	}
	return nil
}

// circle is the slots of one set of endpoints. It is immutable but for its census.
type circle struct {
	endpoints []*Endpoint
	owner     []uint32 // of each slot
	ring      *points  // where the slots lie; nil: they are of equal size
	census    *census  // nil: loads are not bounded
	bound     float64  // of the mean load
}

// slot returns the slot of a hash.
func (c *circle) slot(h uint64) int {
	if c.ring != nil {
		return c.ring.find(h)
	}
	return part(h, len(c.owner))
}

// consistent is a balancer of a circle.
type consistent struct {
	options Hashing
	build   func([]*Endpoint) *circle
	set     atomic.Pointer[circle]
	other   p2c // for requests without a key
}

func (b *consistent) Update(endpoints []*Endpoint) {
	var c *circle
	if len(endpoints) > 0 {
		c = b.build(endpoints)
		c.endpoints = endpoints
		if c.bound = float64(b.options.Bound); c.bound > 0 {
			c.census = newCensus(endpoints)
		}
	}
	b.set.Store(c)
	b.other.Update(endpoints)
}

// someSlots is how many slots are passed over until all endpoints are searched.
const someSlots = 64

func (b *consistent) Pick(r *Request) *Endpoint {
	key, ok := b.options.By.hash(r)
	if !ok {
		return b.other.Pick(r)
	}
	c := b.set.Load()
	if c == nil {
		return nil
	}
	if c.census != nil {
		c.census.count(c.endpoints)
	}
	at := c.slot(key)
	for range min(someSlots, len(c.owner)) {
		if e := c.endpoints[c.owner[at]]; r.takesKey(e, key) && c.room(e) {
			return e
		}
		if at++; at == len(c.owner) {
			at = 0
		}
	}
	// Nearly all are out, full or of one owner. Rendezvous keeps what can be kept.
	if e := rendezvous(r, c.endpoints, key, c.room); e != nil {
		return e
	}
	return rendezvous(r, c.endpoints, key, nil)
}

// die returns a number for r in [0, 1) that is always the same for the same key.
func (b *consistent) die(r *Request) (float64, bool) {
	key, ok := b.options.By.hash(r)
	return float64(mix(key^0x6a09e667f3bcc909)>>11) / (1 << 53), ok
}

// room reports whether e may have one request more: consistent hashing with bounded
// loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018). With m requests in flight, this
// one included, and a bound of c, an endpoint may have ⌈c · m · w ÷ W⌉ for its share w
// of all weights W. So there is always one with room, and it is found soon.
func (c *circle) room(e *Endpoint) bool {
	s := c.census
	return s == nil || float64(e.Inflight())*float64(s.weights) < c.bound*float64(s.total.Load()+1)*float64(e.Weight)
}

// census knows how many requests are in flight at all endpoints. To add them up for
// every choice would cost as much as there are endpoints, and one counter for all
// would be fought for. So every choice looks at a few, in turn, and puts right what is
// known of them: the sum is exact for few endpoints, and for many as old as some of
// the latest choices.
type census struct {
	weights int64
	next    atomic.Uint32
	total   atomic.Int64
	seen    []atomic.Int64
}

// looks is at how many endpoints each choice looks.
const looks = 8

func newCensus(endpoints []*Endpoint) *census {
	s := &census{seen: make([]atomic.Int64, len(endpoints))}
	for i, e := range endpoints {
		s.weights += int64(e.Weight)
		s.look(i, e)
	}
	return s
}

func (s *census) count(endpoints []*Endpoint) {
	n := uint32(len(endpoints))
	some := min(n, looks)
	at := (s.next.Add(some) - some) % n
	for range some {
		s.look(int(at), endpoints[at])
		if at++; at == n {
			at = 0
		}
	}
}

func (s *census) look(i int, e *Endpoint) {
	now := e.Inflight()
	if s.seen[i].Load() != now {
		s.total.Add(now - s.seen[i].Swap(now))
	}
}
