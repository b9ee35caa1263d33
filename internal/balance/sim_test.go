package balance_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"swell/internal/balance"
	"swell/internal/balance/balancetest"
)

// sim is a service in virtual time: requests come at random (Poisson), each endpoint
// works on so many at a time and queues the rest, and the work of each is
// exponentially distributed.
type sim struct {
	endpoints int
	workers   int           // of each endpoint
	work      time.Duration // mean, of one request
	load      float64       // of what all endpoints could do were none slow
	slow      float64       // how much longer the first endpoint takes; 0 is never answering
	timeout   time.Duration // of a request; 0 is none
	requests  int
	cold      time.Duration // slow start of the first endpoint
}

type result struct {
	p50, p99 time.Duration
	failed   int
	shares   []float64 // of requests, by endpoint
	early    []float64 // of the first tenth
}

type event struct {
	at    int64
	begun int64
	to    int // the endpoint whose request ends; -1 is an arrival, -2-n the timeout of a request at n
}

type events []event

func (h events) Len() int           { return len(h) }
func (h events) Less(i, j int) bool { return h[i].at < h[j].at }
func (h events) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)        { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// run plays it through. The arrivals and the work are the same for every balancer.
func (s sim) run(t testing.TB, name string) result {
	t.Helper()
	eps := balancetest.Endpoints(make([]int, s.endpoints)...)
	if s.cold > 0 {
		eps[0].Warm(0, int64(s.cold))
	}
	b := make1(t, name)()
	b.Update(eps)
	at := map[*balance.Endpoint]int{}
	for i, e := range eps {
		at[e] = i
	}
	arrivals, work := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4))
	every := float64(s.work) / float64(s.workers*s.endpoints) / s.load
	busy := make([]int, s.endpoints)
	queue := make([][]int64, s.endpoints) // when they began
	counts, early := make([]float64, s.endpoints), make([]float64, s.endpoints)
	var took []time.Duration
	var res result
	todo := events{{at: 0, to: -1}}
	start := func(now, begun int64, i int) {
		d := work.ExpFloat64() * float64(s.work)
		if i == 0 {
			d *= s.slow
		}
		heap.Push(&todo, event{at: now + int64(d), begun: begun, to: i})
	}
	for n := 0; len(todo) > 0; {
		ev := heap.Pop(&todo).(event)
		switch {
		case ev.to == -1:
			if n++; n < s.requests {
				heap.Push(&todo, event{at: ev.at + int64(arrivals.ExpFloat64()*every), to: -1})
			}
			r := balance.Request{Now: ev.at, Client: balancetest.Client(n)}
			e := b.Pick(&r)
			e.Begin(ev.at)
			i := at[e]
			counts[i]++
			if n <= s.requests/10 {
				early[i]++
			}
			switch {
			case i == 0 && s.slow == 0:
				heap.Push(&todo, event{at: ev.at + int64(s.timeout), to: -2 - i})
			case busy[i] < s.workers:
				busy[i]++
				start(ev.at, ev.at, i)
			default:
				queue[i] = append(queue[i], ev.at)
			}
		case ev.to < -1:
			e := eps[-2-ev.to]
			e.Observe(ev.at, int64(s.timeout), false)
			e.End()
			res.failed++
		default:
			i := ev.to
			eps[i].Observe(ev.at, ev.at-ev.begun, true)
			eps[i].End()
			took = append(took, time.Duration(ev.at-ev.begun))
			if len(queue[i]) > 0 {
				start(ev.at, queue[i][0], i)
				queue[i] = queue[i][1:]
			} else {
				busy[i]--
			}
		}
	}
	slices.Sort(took)
	res.p50, res.p99 = took[len(took)/2], took[len(took)*99/100]
	for i := range counts {
		res.shares = append(res.shares, counts[i]/float64(s.requests))
		res.early = append(res.early, early[i]/float64(s.requests/10))
	}
	return res
}

// With one slow endpoint, those who look at load leave round-robin far behind.
func TestOneSlowEndpoint(t *testing.T) {
	for _, c := range []struct {
		name string
		sim  sim
		most float64 // p99 as a share of round-robin's
	}{
		{"3, one 3 times as slow, little load", sim{endpoints: 3, workers: 8, work: 10 * time.Millisecond, load: 0.25, slow: 3, requests: 30_000}, 0.9},
		{"10, one 10 times as slow, half load", sim{endpoints: 10, workers: 4, work: 10 * time.Millisecond, load: 0.5, slow: 10, requests: 30_000}, 0.2},
		{"10, one 3 times as slow, high load", sim{endpoints: 10, workers: 4, work: 10 * time.Millisecond, load: 0.75, slow: 3, requests: 30_000}, 0.2},
		{"100, one 10 times as slow, high load", sim{endpoints: 100, workers: 4, work: 10 * time.Millisecond, load: 0.8, slow: 10, requests: 60_000}, 0.6},
	} {
		t.Run(c.name, func(t *testing.T) {
			rr := c.sim.run(t, "round-robin")
			t.Logf("%-18s p50 %8v p99 %8v, the slow one gets %.2f %%", "round-robin", rr.p50.Round(10*time.Microsecond), rr.p99.Round(10*time.Microsecond), 100*rr.shares[0])
			for _, name := range []string{"p2c", "least-connections", "random"} {
				r := c.sim.run(t, name)
				t.Logf("%-18s p50 %8v p99 %8v, the slow one gets %.2f %%", name, r.p50.Round(10*time.Microsecond), r.p99.Round(10*time.Microsecond), 100*r.shares[0])
				if name != "random" && float64(r.p99) > c.most*float64(rr.p99) {
					t.Errorf("%s: p99 %v, round-robin's %v", name, r.p99, rr.p99)
				}
			}
		})
	}
}

// An endpoint that answers nothing at all is avoided before any of its requests has
// timed out, and goes on to be.
func TestAHangingEndpoint(t *testing.T) {
	s := sim{endpoints: 3, workers: 16, work: 2 * time.Millisecond, load: 0.3, slow: 0, timeout: time.Second, requests: 50_000}
	for name, most := range map[string]int{"p2c": 40, "least-connections": 500} {
		if r := s.run(t, name); r.failed > most {
			t.Errorf("%s: %d of %d requests hung, want at most %d", name, r.failed, s.requests, most)
		} else {
			t.Logf("%s: %d of %d requests hung", name, r.failed, s.requests)
		}
	}
	if r := s.run(t, "round-robin"); r.failed < s.requests/4 {
		t.Errorf("round-robin: %d hung: is the simulation right?", r.failed)
	}
}
