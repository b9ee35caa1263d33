package telemetry

import (
	"sync/atomic"
	"unsafe"
)

// Key names what a [Meter] measures.
type Key struct {
	Caller   string // who asked: a service, or swell.GatewayCaller; "" for attempts
	Route    string // the gateway's route; "" on edges and for attempts
	Service  string // who is asked
	Instance string // the instance that an attempt goes to; "" for requests
}

// A Meter measures the requests of one key. Its methods may be called from any
// goroutine; they do not lock, wait or allocate (but for a shard's first use).
type Meter struct {
	key    Key
	epoch  int64 // of the hub: see tally
	mask   uintptr
	shards [maxShards]atomic.Pointer[shard]
	past   past // what the hub's loop has read so far
}

// maxShards bounds the memory of a meter and the time to read it.
const maxShards = 8

// shard is a share of a meter's counts. A goroutine keeps to one shard mostly, so
// that cores seldom write to the same cache line.
type shard struct {
	started atomic.Uint64
	starts  tally
	_       [48]byte // starts and ends of one request are often on two cores

	ends   tally
	spent  atomic.Int64 // ns, durations of the requests that ended
	in     atomic.Int64 // bytes
	out    atomic.Int64 // bytes
	codes  [6]atomic.Pointer[[100]atomic.Uint64] // by status/100 and status%100; status 0 is [0][0]
	spread [buckets]atomic.Uint64
	_      [64]byte
}

// tally is a count and a sum of times in one word: each event adds tallyOne and
// its time in units of 1.024 µs since the hub's epoch. One word can't be read
// half written, so the reader never takes a request for started at the epoch.
// Count and sum of the events between two readings come apart by a division,
// since the reader knows when these were: see split.
type tally struct{ atomic.Uint64 }

const (
	tallyBits = 10      // nanoseconds to units
	tallyOne  = 1 << 43 // more than the events of a window can deviate from its begin, in sum
)

// epochLead is how long before its creation a hub's epoch is, so that no time
// that a meter is given can be before it.
const epochLead = int64(3600e9)

func (t *tally) add(ns int64) { t.Add(tallyOne + uint64(ns)>>tallyBits) }

// split takes a difference of two readings apart: how many events there were, and
// the sum of their times after from (units), which must be before all of them.
// It holds up to 2^19 events and 2^43 units of sum between two readings, for
// nearly a year after the epoch, and half of that for each doubling.
func split(diff, from uint64) (n, sum uint64) {
	n = diff / (tallyOne + from)
	return n, diff - n*(tallyOne+from)
}

func newMeter(k Key, epoch int64, shards int) *Meter {
	return &Meter{key: k, epoch: epoch, mask: uintptr(shards - 1)}
}

// shard returns the calling goroutine's shard. Stacks are at different places:
// the address of a local tells goroutines apart for a nanosecond's work.
func (m *Meter) shard() *shard {
	var here byte
	i := (uintptr(unsafe.Pointer(&here)) >> 11) * 0x9E3779B97F4A7C15 >> 56 & m.mask
	if s := m.shards[i].Load(); s != nil {
		return s
	}
	return m.open(i)
}

// open makes a shard at its first use: most meters of a large application are
// idle, and an idle one costs little.
func (m *Meter) open(i uintptr) *shard {
	s := new(shard)
	if m.shards[i].CompareAndSwap(nil, s) {
		return s
	}
	return m.shards[i].Load()
}

// Start counts one more request, begun at now (ns of exchange.Now), which is in
// flight until End.
func (m *Meter) Start(now int64) {
	s := m.shard()
	s.started.Add(1)
	s.starts.add(now - m.epoch)
}

// End counts the end, at now, of a request that began at start, the time that
// Start was given. status is the answer's; 0 says that the exchange broke, 499
// that the client left. in and out are the bytes of its bodies.
func (m *Meter) End(start, now int64, status int, in, out int64) {
	s := m.shard()
	if uint(status) >= 600 || status < 100 {
		status = 0
	}
	page := s.codes[status/100].Load()
	if page == nil {
		page = s.page(status / 100)
	}
	page[status%100].Add(1)
	s.spread[bucketOf(now-start)].Add(1)
	s.spent.Add(now - start)
	if in != 0 {
		s.in.Add(in)
	}
	if out != 0 {
		s.out.Add(out)
	}
	s.ends.add(now - m.epoch)
}

func (s *shard) page(class int) *[100]atomic.Uint64 {
	p := new([100]atomic.Uint64)
	if s.codes[class].CompareAndSwap(nil, p) {
		return p
	}
	return s.codes[class].Load()
}
