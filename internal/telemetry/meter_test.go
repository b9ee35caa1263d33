package telemetry

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// clock is a hub's time that tests set.
type clock struct{ ns int64 }

func (c *clock) now() int64 { return c.ns }

func testMeter(t testing.TB, shards int) (*Hub, *clock, *Meter) {
	t.Helper()
	c := &clock{}
	h := New(Options{Now: c.now, Shards: shards})
	return h, c, h.Meter(Key{Caller: "gateway", Service: "catalog"})
}

// TestInflightIsExact compares the integral of the requests in flight with brute
// force, over windows of many lengths, with requests that span several of them.
func TestInflightIsExact(t *testing.T) {
	type request struct{ start, end int64 }
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		h, c, m := testMeter(t, 1+r.IntN(8))
		c.ns = r.Int64N(1e15) // it may have run for days
		m.past.at = h.now()
		var windows []int64
		at := c.ns
		for range 20 {
			at += 1e6 + r.Int64N(2e9)
			windows = append(windows, at)
		}
		begin := c.ns
		var all []request
		type event struct {
			at  int64
			req int // index; -1-index for an end
		}
		var events []event
		for i := range 1 + r.IntN(400) {
			s := begin + r.Int64N(at-begin)
			e := s + int64(math.Exp(17+3*r.NormFloat64()))
			all = append(all, request{s, e})
			events = append(events, event{s, i}, event{e, -1 - i})
		}
		sortBy(events, func(a, b event) bool { return a.at < b.at || a.at == b.at && a.req > b.req })
		from, next := begin, 0
		for _, to := range windows {
			for next < len(events) && events[next].at <= to {
				if e := events[next]; e.req >= 0 {
					m.Start(e.at)
				} else {
					q := all[-1-e.req]
					m.End(q.start, q.end, 200, 0, 0)
				}
				next++
			}
			c.ns = to
			m.read(h.now(), 0)
			exact := 0.0
			for _, q := range all {
				if lo, hi := max(q.start, from), min(q.end, to); hi > lo {
					exact += float64(hi - lo)
				}
			}
			got := 0.0
			for _, s := range m.past.steps {
				if s.end == h.now() {
					got += s.area * (1 << unitNanos)
				}
			}
			// Each time is cut to 1.024 µs.
			if math.Abs(got-exact) > float64(2*len(all)+2)*1024 {
				t.Fatalf("seed %d: %v request·ns in flight, exactly %v", seed, got, exact)
			}
			from = to
		}
	}
}

func sortBy[T any](s []T, less func(a, b T) bool) {
	for i := 1; i < len(s); i++ {
		for j := i; j > 0 && less(s[j], s[j-1]); j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

// TestTallyBeyondItsBounds reads a shard after so many requests that the times
// can't be told from the counts any more.
func TestTallyBeyondItsBounds(t *testing.T) {
	h, c, m := testMeter(t, 1)
	c.ns = int64(300 * 24 * time.Hour)
	m.past.at = h.now()
	const n = 1_200_000
	for range n {
		m.Start(c.ns)
		m.End(c.ns, c.ns, 200, 0, 0)
	}
	m.Start(c.ns)
	c.ns += 1e9
	m.read(h.now(), 0)
	s := m.past.steps[0]
	if s.started != n+1 || s.ended != n || m.past.active != 1 {
		t.Errorf("started %d, ended %d, active %d", s.started, s.ended, m.past.active)
	}
	if mean := s.area * (1 << unitNanos) / 1e9; mean < 0 || mean > 2 {
		t.Errorf("%v in flight", mean)
	}
	c.ns += 1e9
	m.read(h.now(), 0)
	if mean := m.past.steps[1].area * (1 << unitNanos) / 1e9; math.Abs(mean-1) > 1e-5 {
		t.Errorf("then %v in flight, want 1", mean)
	}
}

// TestReadWhileWritten adds from many goroutines while the meter is read: nothing
// is lost, and no reading shows what can't be.
func TestReadWhileWritten(t *testing.T) {
	h := New(Options{Shards: 4})
	m := h.Meter(Key{Caller: "gateway", Service: "catalog"})
	const workers, each = 8, 4000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				start := h.opt.Now()
				m.Start(start)
				if i%64 == 0 {
					runtime.Gosched()
				}
				status := 200
				if i%10 == 0 {
					status = 503
				}
				m.End(start, h.opt.Now(), status, 1, int64(w))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for end := false; !end; {
		select {
		case <-done:
			end = true
		default:
		}
		m.read(h.now(), 0)
		runtime.Gosched()
	}
	var total sum
	total.add(m, 0, math.MaxInt64)
	for _, s := range m.past.steps {
		if s.errors > s.ended {
			t.Errorf("a window with %d errors of %d", s.errors, s.ended)
		}
	}
	if total.started != workers*each || total.ended != workers*each || total.errors != workers*each/10 ||
		total.in != workers*each || total.spread.count != workers*each || m.past.active != 0 {
		t.Errorf("started %d, ended %d, errors %d, in %d, spread %d, active %d",
			total.started, total.ended, total.errors, total.in, total.spread.count, m.past.active)
	}
	// The requests took about as long as they were in flight.
	if area := total.area * (1 << unitNanos); math.Abs(area-float64(total.spent)) > workers*each*2*1024+1e5 {
		t.Errorf("in flight for %v, spent %v", time.Duration(area), time.Duration(total.spent))
	}
}

func TestMeterDoesNotAllocate(t *testing.T) {
	h := New(Options{})
	m := h.Meter(Key{Service: "catalog", Instance: "catalog-1"})
	w := h.Wait("catalog")
	c := h.Count("swell_retries_total", "service", "catalog", "reason", "connect")
	n := testing.AllocsPerRun(1000, func() {
		m.Start(1)
		m.End(1, 1000, 200, 10, 20)
		w.Enter()
		w.Leave(5, "served")
		c.Add(1)
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOddStatuses(t *testing.T) {
	h, c, m := testMeter(t, 1)
	for _, status := range []int{0, -1, 99, 100, 200, 499, 500, 599, 600, 1 << 40} {
		m.Start(c.ns)
		m.End(c.ns, c.ns, status, 0, 0)
	}
	var got tallied
	got.reset()
	got.add(m)
	want := map[int]uint64{0: 5, 100: 1, 200: 1, 499: 1, 500: 1, 599: 1}
	if len(got.codes) != len(want) {
		t.Errorf("codes %v", got.codes)
	}
	for code, n := range want {
		if got.codes[code] != n {
			t.Errorf("code %d: %d, want %d", code, got.codes[code], n)
		}
	}
	c.ns += 1e9
	m.read(h.now(), 0)
	if e := m.past.steps[0].errors; e != 7 {
		t.Errorf("%d errors, want 7: 0, 500 and 599", e)
	}
}

func BenchmarkMeter(b *testing.B) {
	h := New(Options{})
	m := h.Meter(Key{Service: "catalog", Instance: "catalog-1"})
	now := h.opt.Now()
	b.ReportAllocs()
	for b.Loop() {
		m.Start(now)
		m.End(now, now+1_500_000, 200, 0, 512)
		now += 1000
	}
}

func BenchmarkMeterParallel(b *testing.B) {
	h := New(Options{})
	m := h.Meter(Key{Service: "catalog", Instance: "catalog-1"})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		now := h.opt.Now()
		for p.Next() {
			m.Start(now)
			m.End(now, now+1_500_000, 200, 0, 512)
			now += 1000
		}
	})
}

// BenchmarkRead is what a busy meter costs each second.
func BenchmarkRead(b *testing.B) {
	h, c, m := testMeter(b, 4)
	for b.Loop() {
		m.Start(c.ns)
		m.End(c.ns, c.ns+1e6, 200, 0, 512)
		c.ns += 1e9
		m.read(h.now(), h.now()-int64(span))
	}
}
