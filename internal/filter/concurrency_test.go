package filter_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

func TestConcurrencyLetsInInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		var mu sync.Mutex
		var order []string
		inside, most := 0, 0
		round := build(t, "concurrency", `{"limit":2,"queue":3,"wait":"10s"}`)(env)(func(x *exchange.Exchange) error {
			mu.Lock()
			order = append(order, string(x.Request.Target))
			mu.Unlock()
			x.Reply(200, "")
			return nil
		})
		got := map[string]string{}
		for i := range 7 {
			go func() {
				x := filtertest.Exchange("GET", fmt.Sprint("/", i), "")
				out := fmt.Sprint(ending(x, round(x)))
				mu.Lock()
				got[string(x.Request.Target)] = out
				if out == "200" {
					inside++
					most = max(most, inside)
				}
				mu.Unlock()
				time.Sleep(time.Second) // the answer is sent
				mu.Lock()
				if out == "200" {
					inside--
				}
				mu.Unlock()
				filtertest.End(x)
			}()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []string{"/0", "/1", "/2", "/3", "/4"}; !slices.Equal(order, want) || most > 2 {
			t.Errorf("in came %v, %d at a time", order, most)
		}
		if got["/5"] != "limit" || got["/6"] != "limit" || counts.of("swell_concurrency_refused_total/full") != 2 || counts.of("swell_concurrency_queued_total") != 3 {
			t.Errorf("%v", got)
		}
	})
}

func TestConcurrencyWaitsNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		round := build(t, "concurrency", `{"limit":1,"queue":9,"wait":"5s"}`)(env)(func(x *exchange.Exchange) error { x.Reply(200, ""); return nil })
		first := filtertest.Exchange("GET", "/", "")
		round(first)
		wait := func(change func(*exchange.Exchange), want string, took time.Duration) {
			t.Helper()
			x := filtertest.Exchange("GET", "/", "")
			var l exchange.Leash
			x.Leash, x.Gone = &l, l.Gone
			change(x)
			begun := time.Now()
			if got := fmt.Sprint(ending(x, round(x))); got != want || time.Since(begun) != took {
				t.Errorf("%s after %v, want %s after %v", got, time.Since(begun), want, took)
			}
			if l.Held() {
				t.Error("the leash is held still")
			}
			filtertest.End(x)
		}
		wait(func(*exchange.Exchange) {}, "limit", 5*time.Second)
		wait(func(x *exchange.Exchange) { x.Deadline = time.Now().Add(time.Second) }, "limit", time.Second)
		wait(func(x *exchange.Exchange) { x.Deadline = time.Now().Add(-1) }, "limit", 0)
		wait(func(x *exchange.Exchange) { time.AfterFunc(1234*time.Millisecond, x.Leash.Leave) }, "gone", 1234*time.Millisecond)
		wait(func(x *exchange.Exchange) { x.Leash.Leave() }, "gone", 0)
		if counts.of("swell_concurrency_refused_total/timeout") != 3 || counts.of("swell_concurrency_refused_total/gone") != 2 {
			t.Errorf("%v", counts.n)
		}
		wait(func(x *exchange.Exchange) { time.AfterFunc(777*time.Millisecond, func() { filtertest.End(first) }) }, "200", 777*time.Millisecond)
		wait(func(*exchange.Exchange) {}, "200", 0)
	})
}

// A retry around it comes again with the place that the request has.
func TestConcurrencyIsPassedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []any{fail(filter.Reset), 503, 200}}
		round := filter.Chain(s.round, build(t, "retry", `{"on":["reset",503]}`)(filter.Env{}), build(t, "concurrency", `{"limit":1,"queue":0}`)(filter.Env{}))
		for range 3 {
			x := filtertest.Exchange("GET", "/", "")
			if got := ending(x, round(x)); got != 200 {
				t.Error(got)
			}
			filtertest.End(x)
		}
	})
}

func TestConcurrencyUnderLoad(t *testing.T) {
	var inside, most, served, refused atomic.Int64
	round := build(t, "concurrency", `{"limit":3,"queue":8,"wait":"2ms"}`)(filter.Env{})(func(x *exchange.Exchange) error {
		if n := inside.Add(1); n > most.Load() {
			most.Store(n)
		}
		x.Ended = append(x.Ended, func(*exchange.Exchange) { inside.Add(-1) })
		x.Reply(200, "")
		return nil
	})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for j := range 300 {
				x := filtertest.Exchange("GET", strings.Repeat("x", i), "")
				var l exchange.Leash
				x.Leash, x.Gone = &l, l.Gone
				if j%5 == 0 {
					go l.Leave()
				}
				if err := round(x); err == nil {
					served.Add(1)
					if j%3 == 0 {
						time.Sleep(100 * time.Microsecond)
					}
				} else {
					refused.Add(1)
				}
				filtertest.End(x)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 || inside.Load() != 0 || served.Load() == 0 {
		t.Errorf("%d at a time, %d left inside, %d served, %d refused", most.Load(), inside.Load(), served.Load(), refused.Load())
	}
	// All places are free again.
	var xs []*exchange.Exchange
	for range 3 {
		x := filtertest.Exchange("GET", "/", "")
		if err := round(x); err != nil {
			t.Error(err)
		}
		xs = append(xs, x)
	}
	for _, x := range xs {
		filtertest.End(x)
	}
}

func BenchmarkConcurrency(b *testing.B) {
	round := build(b, "concurrency", `{}`)(filter.Env{})(func(x *exchange.Exchange) error { x.Response.Status = 200; return nil })
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		x := filtertest.Exchange("GET", "/", "")
		for pb.Next() {
			round(x)
			for _, f := range x.Ended {
				f(x)
			}
			x.Ended, x.Marks = x.Ended[:0], x.Marks[:0]
		}
	})
}
