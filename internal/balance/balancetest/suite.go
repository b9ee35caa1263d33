// Package balancetest holds the contract that every balancer keeps.
package balancetest

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"swell/internal/balance"
)

// Suite says what to test.
type Suite struct {
	Make balance.Maker
	// Clients: a client stays at its endpoint as long as that is there.
	Clients bool
}

// Endpoints makes endpoints with these weights, IDs "e0", "e1", …
func Endpoints(weights ...int) []*balance.Endpoint {
	var out []*balance.Endpoint
	for i, w := range weights {
		out = append(out, balance.NewEndpoint(fmt.Sprintf("e%d", i), w))
	}
	return out
}

// Client is the i-th client's address.
func Client(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// Run tests the contract.
func (s Suite) Run(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		b := s.Make()
		if e := b.Pick(&balance.Request{}); e != nil {
			t.Fatalf("before any update: picked %s", e.ID)
		}
		b.Update(nil)
		if e := b.Pick(&balance.Request{}); e != nil {
			t.Fatalf("without endpoints: picked %s", e.ID)
		}
	})
	t.Run("equal weights share equally", func(t *testing.T) { s.shares(t, 48, 1, 1, 1, 1) })
	t.Run("weights are kept to", func(t *testing.T) { s.shares(t, 48, 1, 2, 5) })
	t.Run("weights are kept to at rest", func(t *testing.T) { s.shares(t, 1, 1, 2, 5) })
	t.Run("one that weighs most", func(t *testing.T) { s.shares(t, 20, 1, 9) })
	t.Run("out and tried are skipped", s.skips)
	t.Run("endpoints change", s.changes)
	t.Run("the cold get less and never nothing", s.warms)
	t.Run("picks and updates at once", s.race)
	t.Run("no allocation", func(t *testing.T) {
		b := s.Make()
		b.Update(Endpoints(1, 2, 3))
		r := balance.Request{Client: Client(1)}
		if n := testing.AllocsPerRun(1000, func() { r.Now++; b.Pick(&r) }); n != 0 {
			t.Errorf("a pick allocates %v times", n)
		}
	})
}

// shares loads endpoints in a closed loop of so many requests at a time that all take
// the same time, and compares how many each got with its weight.
func (s Suite) shares(t *testing.T, width int, weights ...int) {
	b := s.Make()
	eps := Endpoints(weights...)
	b.Update(eps)
	sum := 0
	for _, w := range weights {
		sum += w
	}
	const total = 16000
	got := map[*balance.Endpoint]int{}
	var flight []*balance.Endpoint
	for i := range total {
		now := int64(i) * 1e6
		e := b.Pick(&balance.Request{Now: now, Client: Client(i)})
		if e == nil {
			t.Fatal("nothing picked")
		}
		got[e]++
		e.Begin(now)
		flight = append(flight, e)
		if len(flight) == width {
			flight[0].Observe(now, 5e6, true)
			flight[0].End()
			flight = flight[1:]
		}
	}
	for i, e := range eps {
		want := float64(total) * float64(weights[i]) / float64(sum)
		if f := float64(got[e]); f < want*0.85 || f > want*1.15 {
			t.Errorf("%s (weight %d of %d) got %d, want about %.0f", e.ID, weights[i], sum, got[e], want)
		}
	}
}

func (s Suite) skips(t *testing.T) {
	b := s.Make()
	eps := Endpoints(1, 1, 1, 9)
	b.Update(eps)
	eps[0].SetOut(true)
	for i := range 500 {
		r := balance.Request{Client: Client(i), Tried: eps[3:4]}
		if e := b.Pick(&r); e == nil || e == eps[0] || e == eps[3] {
			t.Fatalf("picked %v, which is out, tried or none", e)
		}
	}
	for i := range 100 {
		r := balance.Request{Client: Client(i), Tried: eps[1:]}
		if e := b.Pick(&r); e != nil {
			t.Fatalf("all are out or tried: picked %s", e.ID)
		}
	}
	// One of many that is left is found.
	many := Endpoints(make([]int, 100)...)
	for _, e := range many[:99] {
		e.SetOut(true)
	}
	b.Update(many)
	for i := range 100 {
		if e := b.Pick(&balance.Request{Client: Client(i)}); e != many[99] {
			t.Fatalf("the only one that is in was not found: %v", e)
		}
	}
	if !eps[0].SetOut(false) || eps[0].SetOut(false) {
		t.Error("SetOut doesn't tell changes")
	}
	b.Update(eps)
	seen := false
	for i := range 500 {
		e := b.Pick(&balance.Request{Client: Client(i)})
		e.Begin(0) // never ends: who goes by load must come around to it
		seen = seen || e == eps[0]
	}
	if !seen {
		t.Error("an endpoint that is in again is never picked")
	}
}

func (s Suite) changes(t *testing.T) {
	b := s.Make()
	eps := Endpoints(1, 1, 1)
	b.Update(eps)
	before := map[int]*balance.Endpoint{}
	for i := range 300 {
		before[i] = b.Pick(&balance.Request{Client: Client(i)})
	}
	left := []*balance.Endpoint{eps[0], eps[2]}
	b.Update(left)
	for i := range 300 {
		e := b.Pick(&balance.Request{Client: Client(i)})
		if e != eps[0] && e != eps[2] {
			t.Fatalf("picked %v after it was removed", e)
		}
		if s.Clients && before[i] != eps[1] && e != before[i] {
			t.Fatalf("client %d moved from %s to %s, both of which stayed", i, before[i].ID, e.ID)
		}
	}
}

// warms loads three warm endpoints and one that gets warm in a minute, and compares
// what that got with its share, in the middle of each third.
func (s Suite) warms(t *testing.T) {
	b := s.Make()
	eps := Endpoints(1, 1, 1, 1)
	eps[3].Warm(0, 60e9)
	b.Update(eps)
	var got, cold [3]float64
	var flight []*balance.Endpoint
	for i := range 24_000 {
		now := int64(i) * 2_500_000
		e := b.Pick(&balance.Request{Now: now, Client: Client(i)})
		third := i / 8_000
		got[third]++
		if e == eps[3] {
			cold[third]++
		}
		e.Begin(now)
		if flight = append(flight, e); len(flight) == 40 {
			flight[0].Observe(now, 40e6, true)
			flight[0].End()
			flight = flight[1:]
		}
	}
	for i, want := range []float64{1. / 6, 1. / 2, 5. / 6} { // of a warm one's share
		warm := (got[i] - cold[i]) / 3
		if is := cold[i] / warm; is < want*0.5 || is > want*1.35 {
			t.Errorf("in third %d of its time the cold one gets %.2f of what a warm one gets, want about %.2f", i+1, is, want)
		}
	}
	// Alone, it gets all.
	b.Update(eps[3:])
	for i := range 100 {
		if e := b.Pick(&balance.Request{Client: Client(i)}); e != eps[3] {
			t.Fatal("an endpoint is not picked as it is cold, though it is the only one")
		}
	}
}

func (s Suite) race(t *testing.T) {
	b := s.Make()
	eps := Endpoints(1, 2, 3, 4)
	b.Update(append([]*balance.Endpoint(nil), eps[:1]...))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				e := b.Pick(&balance.Request{Now: int64(i), Client: Client(g*5000 + i)})
				if e == nil {
					t.Error("nothing picked though one is always in")
					return
				}
				e.Begin(int64(i) * 1000)
				e.Observe(int64(i)*1000, 1e6, i%9 != 0)
				e.End()
			}
		})
	}
	for i := range 100 {
		b.Update(append([]*balance.Endpoint(nil), eps[:1+i%4]...))
	}
	wg.Wait()
	for _, e := range eps {
		if e.Inflight() != 0 {
			t.Errorf("%s: %d in flight after all ended", e.ID, e.Inflight())
		}
	}
}
