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
	past   past // what the hub has read so far; under its lock
}

// maxShards bounds the memory of a meter and the time to read it.
const maxShards = 8

// shard is a share of a meter's counts. A goroutine keeps to one shard mostly, so
// that cores seldom write to the same cache line. Readers go from ends by starts,
// codes and spread to started, against the order of the writers: so no end is seen
// without its start or its latency, and no error without its request.
type shard struct {
	started atomic.Uint64
	starts  tally
	_       [48]byte // starts and ends of one request are often on two cores

	ends   tally
	spent  atomic.Int64                          // ns, durations of the requests that ended
	in     atomic.Int64                          // bytes
	out    atomic.Int64                          // bytes
	codes  [6]atomic.Pointer[[100]atomic.Uint64] // by status/100 and status%100; status 0 is [0][0]
	spread [buckets]atomic.Uint64
	_      [64]byte
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
	m.EndStream(start, now, now-start, status, in, out)
}

// EndStream is End for what lasts as long as its parties like, a tunnel or a stream
// of events: it was in flight all the time, but its latency is took, in ns, until it
// began to flow.
func (m *Meter) EndStream(start, now, took int64, status int, in, out int64) {
	s := m.shard()
	if uint(status) >= 600 || status < 100 {
		status = 0
	}
	took = max(took, 0)
	s.spread[bucketOf(took)].Add(1)
	s.spent.Add(took)
	page := s.codes[status/100].Load()
	if page == nil {
		page = s.page(status / 100)
	}
	page[status%100].Add(1)
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
