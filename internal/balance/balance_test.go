package balance_test

import (
	"fmt"
	"slices"
	"testing"

	"swell/internal/balance"
	"swell/internal/balance/balancetest"
)

func make1(t testing.TB, name string) balance.Maker {
	t.Helper()
	m, err := balance.Kind().Build(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestContract(t *testing.T) {
	for _, name := range balance.Kind().Names() {
		t.Run(name, func(t *testing.T) {
			balancetest.Suite{Make: make1(t, name), Clients: name == "ip-hash" || name == "ring-hash"}.Run(t)
		})
	}
}

func TestTheDefaultExists(t *testing.T) { make1(t, balance.Default) }

func TestSmooth(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    []uint16
	}{
		{nil, nil},
		{[]int{0, 0}, nil},
		{[]int{3}, []uint16{0}},
		{[]int{5, 1, 1}, []uint16{0, 0, 1, 0, 2, 0, 0}}, // the example in nginx's commit message
		{[]int{50, 10, 10}, []uint16{0, 0, 1, 0, 2, 0, 0}},
		{[]int{0, 2}, []uint16{1}},
		{[]int{95, 5}, nil},
	} {
		got := balance.Smooth(c.weights)
		if c.want != nil && !slices.Equal(got, c.want) || c.want == nil && len(c.weights) == 2 && c.weights[0] == 0 && got != nil {
			t.Errorf("Smooth(%v) = %v, want %v", c.weights, got, c.want)
		}
	}
	if n := len(balance.Smooth([]int{1_000_003, 7})); n > 5000 {
		t.Errorf("an order of %d steps", n)
	}
	counts := [2]int{}
	for _, i := range balance.Smooth([]int{95, 5}) {
		counts[i]++
	}
	if counts != [2]int{19, 1} {
		t.Errorf("95:5 gives %v", counts)
	}
}

// A slow endpoint gets little, and comes back when it is fast again.
func TestP2CAvoidsTheSlow(t *testing.T) {
	b := make1(t, "p2c")()
	eps := balancetest.Endpoints(1, 1, 1)
	b.Update(eps)
	var now int64
	run := func(n int, slow int64) (share float64) {
		hits := 0
		for range n {
			now += 1e6
			e := b.Pick(&balance.Request{Now: now})
			took := int64(2e6)
			if e == eps[0] {
				hits++
				took = slow
			}
			e.Begin(now)
			e.Observe(now, took, true)
			e.End()
		}
		return float64(hits) / float64(n)
	}
	if s := run(3000, 200e6); s > 0.05 {
		t.Errorf("an endpoint 100 times as slow gets %.0f %% of the requests", s*100)
	}
	run(200_000, 2e6) // long enough to forget
	if s := run(3000, 2e6); s < 0.2 {
		t.Errorf("after it became fast again it gets %.0f %%", s*100)
	}
}

func TestObserve(t *testing.T) {
	e := balance.NewEndpoint("a", 0)
	if e.Weight != 1 {
		t.Errorf("weight %d", e.Weight)
	}
	e.Observe(1e9, 10e6, true)
	if l := e.Latency(1e9); l != 10_000 {
		t.Errorf("the first observation counts whole: %v µs", l)
	}
	e.Observe(2e9, 50e6, true)
	if l := e.Latency(2e9); l != 50_000 {
		t.Errorf("a peak counts whole: %v µs", l)
	}
	if l := e.Latency(12e9); l < 10_000 || l > 25_000 {
		t.Errorf("after one time constant of silence: %v µs", l)
	}
	e.Observe(12e9, 1e6, false)
	if l := e.Latency(12e9); l < 100_000 {
		t.Errorf("a fast failure makes it look fast: %v µs", l)
	}
}

// BenchmarkPick is what a request costs a balancer: the choice, and the counting in
// and out.
func BenchmarkPick(b *testing.B) {
	for _, name := range balance.Kind().Names() {
		for _, n := range []int{1, 3, 100, 5000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				lb := make1(b, name)()
				weights := make([]int, n)
				for i := range weights {
					weights[i] = 1 + i%3
				}
				lb.Update(balancetest.Endpoints(weights...))
				b.ReportAllocs()
				r := balance.Request{}
				for i := 0; b.Loop(); i++ {
					r.Client = balancetest.Client(i)
					r.Now += 10_000
					e := lb.Pick(&r)
					e.Begin(r.Now)
					e.Observe(r.Now, 1e6, true)
					e.End()
				}
			})
		}
	}
}

// BenchmarkUpdate is what a change of the endpoints costs.
func BenchmarkUpdate(b *testing.B) {
	for _, name := range balance.Kind().Names() {
		for _, n := range []int{3, 5000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				lb := make1(b, name)()
				weights := make([]int, n)
				for i := range weights {
					weights[i] = 1 + i%3
				}
				eps := balancetest.Endpoints(weights...)
				for b.Loop() {
					lb.Update(eps)
				}
			})
		}
	}
}
