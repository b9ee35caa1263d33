package telemetry

import (
	"time"

	"swell"
)

// past is what was read of a meter so far: the sums at the last reading, and what
// was added in each window of the last ten seconds. The hub's lock guards it.
type past struct {
	at     int64 // of the last reading, ns after the epoch
	used   int64 // of the last reading that found something, ns after the epoch
	active int64 // in flight at the last reading, by the tallies
	shards [maxShards]sums
	spread *[buckets]uint64 // over all shards; nil before the first end
	steps  []step           // oldest first
	spare  []cell           // memory of a step that went
}

// sums are what was counted in a shard since it was made.
type sums struct {
	starts, ends           uint64 // tallies
	started, ended, errors uint64
	spent, in, out         int64 // ns, bytes, bytes
}

// step is what happened to a meter between two readings.
type step struct {
	end                    int64 // ns after the epoch
	started, ended, errors uint64
	spent, in, out         int64   // ns, bytes, bytes
	area                   float64 // integral of the requests in flight, units
	cells                  []cell  // their latencies, ascending
}

// cell is a bucket that isn't empty.
type cell struct {
	bucket uint16
	n      uint32
}

// errors counts the answers that are a failure of the service: 5xx and broken
// exchanges (0). Of a client that left (499) the service is not guilty.
func (s *shard) errors() (n uint64) {
	for _, class := range [...]int{0, 5} {
		if page := s.codes[class].Load(); page != nil {
			for i := range page {
				n += page[i].Load()
			}
		}
	}
	return n
}

// read takes the counts of the meter at now (ns after the epoch) and keeps the
// difference to the last reading as a step, if there is any. Steps that ended at
// or before keep are forgotten.
func (m *Meter) read(now, keep int64) {
	p := &m.past
	p.forget(keep)
	if now <= p.at {
		return
	}
	begin, to := uint64(p.at)>>unitNanos, uint64(now)>>unitNanos
	s := step{end: now, area: float64(p.active) * float64(to-begin)}
	// The tallies first, all in one go: what happens between reading some and
	// others counts in the wrong window.
	var shards [maxShards]*shard
	var starts, ends [maxShards]uint64
	for i := range m.shards {
		if shards[i] = m.shards[i].Load(); shards[i] != nil {
			ends[i] = shards[i].ends.Load()
		}
	}
	for i, sh := range shards {
		if sh != nil {
			starts[i] = sh.starts.Load()
		}
	}
	for i, sh := range shards {
		if sh == nil {
			continue
		}
		was := &p.shards[i]
		if ends := ends[i]; ends != was.ends {
			is := *was
			is.ends, is.errors, is.ended = ends, sh.errors(), 0
			for b := range sh.spread {
				is.ended += sh.spread[b].Load()
			}
			is.spent, is.in, is.out = sh.spent.Load(), sh.in.Load(), sh.out.Load()
			n, sum := since(is.ends, was.ends, is.ended-was.ended, begin, to)
			p.active -= int64(n)
			s.area -= sum
			s.ended += is.ended - was.ended
			s.errors += is.errors - was.errors
			s.spent += is.spent - was.spent
			s.in += is.in - was.in
			s.out += is.out - was.out
			*was = is
		}
		if starts := starts[i]; starts != was.starts {
			started := sh.started.Load()
			n, sum := since(starts, was.starts, started-was.started, begin, to)
			p.active += int64(n)
			s.area += sum
			s.started += started - was.started
			was.starts, was.started = starts, started
		}
	}
	p.at = now
	if s.ended > 0 {
		s.cells = m.newCells()
	}
	if s.started > 0 || s.ended > 0 || s.area != 0 || p.active != 0 {
		p.used = now
		p.steps = append(p.steps, s)
	}
}

// newCells returns what was added to the latencies since the last reading.
func (m *Meter) newCells() []cell {
	p := &m.past
	if p.spread == nil {
		p.spread = new([buckets]uint64)
	}
	cells := p.spare
	p.spare = nil
	for b := range buckets {
		var n uint64
		for i := range m.shards {
			if sh := m.shards[i].Load(); sh != nil {
				n += sh.spread[b].Load()
			}
		}
		if d := n - p.spread[b]; d != 0 {
			cells = append(cells, cell{uint16(b), uint32(min(d, 1<<32-1))})
			p.spread[b] = n
		}
	}
	return cells
}

// forget drops the steps that ended at or before keep.
func (p *past) forget(keep int64) {
	n := 0
	for n < len(p.steps) && p.steps[n].end <= keep {
		if c := p.steps[n].cells; cap(c) > cap(p.spare) {
			p.spare = c[:0]
		}
		n++
	}
	if n > 0 {
		rest := copy(p.steps, p.steps[n:])
		clear(p.steps[rest:])
		p.steps = p.steps[:rest]
	}
}

// sum adds the steps of many meters up.
type sum struct {
	started, ended, errors uint64
	spent, in, out         int64
	area                   float64
	spread                 histogram
}

// add takes the steps of m that ended after from, up to to.
func (s *sum) add(m *Meter, from, to int64) {
	for i := range m.past.steps {
		x := &m.past.steps[i]
		if x.end <= from || x.end > to {
			continue
		}
		s.started += x.started
		s.ended += x.ended
		s.errors += x.errors
		s.spent += x.spent
		s.in += x.in
		s.out += x.out
		s.area += x.area
		for _, c := range x.cells {
			s.spread.add(int(c.bucket), uint64(c.n))
		}
	}
}

func (s *sum) reset() { *s = sum{} }

// inflight is the mean of the requests in flight over a window of w seconds.
func (s *sum) inflight(w float64) float64 {
	return max(s.area*(1<<unitNanos)/1e9/w, 0)
}

var reported = []float64{0.5, 0.95, 0.99}

// latency describes the requests that ended.
func (s *sum) latency() (l swell.Latency) {
	if s.spread.count == 0 {
		return l
	}
	var q [3]time.Duration
	s.spread.quantiles(reported, q[:])
	l.Count = int64(s.spread.count)
	l.Mean = time.Duration(s.spent / l.Count)
	l.P50, l.P95, l.P99 = q[0], q[1], q[2]
	return l
}

// traffic is what pages show of a window of w seconds.
func (s *sum) traffic(w, inflight float64) Traffic {
	l := s.latency()
	return Traffic{
		Rate: float64(s.started) / w, Done: float64(s.ended) / w, Errors: float64(s.errors) / w,
		Mean: l.Mean.Seconds(), P50: l.P50.Seconds(), P95: l.P95.Seconds(), P99: l.P99.Seconds(),
		Inflight: inflight, In: float64(s.in) / w, Out: float64(s.out) / w,
	}
}
