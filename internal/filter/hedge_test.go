package filter_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

// counts is where an Env's counters count.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

type count struct {
	c    *counts
	name string
}

func (c count) Add(n uint64) { c.c.mu.Lock(); c.c.n[c.name] += int(n); c.c.mu.Unlock() }
func (c count) Set(n uint64) { c.c.mu.Lock(); c.c.n[c.name] = int(n); c.c.mu.Unlock() }

// of returns the count of an event, its label's value behind a slash.
func (c *counts) of(name string) int { c.mu.Lock(); defer c.mu.Unlock(); return c.n[name] }

// counted returns an Env that counts.
func counted() (filter.Env, *counts) {
	c := &counts{n: map[string]int{}}
	name := func(event string, labels []string) string {
		for i := 0; i+1 < len(labels); i += 2 {
			if labels[i] != "service" && labels[i] != "route" {
				event += "/" + labels[i+1]
			}
		}
		return event
	}
	return filter.Env{
		Service: "s",
		Count:   func(event string, labels ...string) filter.Counter { return count{c, name(event, labels)} },
		Gauge:   func(event string, labels ...string) filter.Gauge { return count{c, name(event, labels)} },
	}, c
}

// held is what is under way for an attempt, until it is cut.
type held chan struct{}

func (h held) Cut() { close(h) }

// act is what one attempt does: it takes some time, and answers with a status, or
// fails.
type act struct {
	takes  time.Duration
	status int
	err    error
}

// stage plays attempts, in the order in which they begin.
type stage struct {
	mu     sync.Mutex
	acts   []act
	begun  []time.Duration // since the start
	bodies []string
	cut    int
	start  time.Time
}

func (s *stage) round(x *exchange.Exchange) error {
	s.mu.Lock()
	n := len(s.begun)
	a := s.acts[min(n, len(s.acts)-1)]
	s.begun = append(s.begun, time.Since(s.start))
	s.mu.Unlock()
	x.Attempt++
	body, err := filtertest.ReadAll(x.Request.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.bodies = append(s.bodies, body)
	s.mu.Unlock()
	h := make(held)
	if !x.Leash.Hold(h) {
		return fail(filter.Gone)
	}
	defer x.Leash.Release()
	select {
	case <-time.After(a.takes):
	case <-h:
		s.mu.Lock()
		s.cut++
		s.mu.Unlock()
		return fail(filter.Gone)
	}
	if a.err != nil {
		return a.err
	}
	x.Reply(a.status, []string{"first", "second", "third"}[n])
	return nil
}

func TestHedge(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, c := range []struct {
		name, options string
		method, body  string
		acts          []act
		calls, cut    int
		status        int
		text          string
		took          time.Duration
	}{
		{name: "fast", acts: []act{{ms(10), 200, nil}}, calls: 1, status: 200, text: "first", took: ms(10)},
		{name: "slow", acts: []act{{ms(900), 200, nil}, {ms(10), 200, nil}}, calls: 2, cut: 1, status: 200, text: "second", took: ms(60)},
		{name: "both slow, the first wins", acts: []act{{ms(90), 200, nil}, {ms(900), 200, nil}}, calls: 2, cut: 1, status: 200, text: "first", took: ms(90)},
		{name: "three", options: `,"attempts":3`, acts: []act{{ms(900), 200, nil}, {ms(900), 200, nil}, {ms(10), 200, nil}}, calls: 3, cut: 2, status: 200, text: "third", took: ms(110)},
		{name: "two of three", acts: []act{{ms(900), 200, nil}, {ms(900), 200, nil}, {ms(10), 200, nil}}, calls: 2, cut: 1, status: 200, text: "first", took: ms(900)},
		{name: "an error at once is not hedged", acts: []act{{ms(10), 503, nil}}, calls: 1, status: 503, text: "first", took: ms(10)},
		{name: "an error is not the winner", acts: []act{{ms(60), 503, nil}, {ms(100), 200, nil}}, calls: 2, status: 200, text: "second", took: ms(150)},
		{name: "a failure is not the winner", acts: []act{{ms(900), 200, nil}, {ms(10), 0, fail(filter.Reset)}}, calls: 2, status: 200, text: "first", took: ms(900)},
		{name: "404 is an answer", acts: []act{{ms(900), 200, nil}, {ms(10), 404, nil}}, calls: 2, cut: 1, status: 404, text: "second", took: ms(60)},
		{name: "an error before a failure", acts: []act{{ms(60), 503, nil}, {ms(100), 0, fail(filter.Reset)}}, calls: 2, status: 503, text: "first", took: ms(150)},
		{name: "all fail", acts: []act{{ms(60), 0, fail(filter.Reset)}, {ms(100), 0, fail(filter.Reset)}}, calls: 2, took: ms(150)},
		{name: "a POST", method: "POST", body: "data", acts: []act{{ms(900), 200, nil}}, calls: 1, status: 200, text: "first", took: ms(900)},
		{name: "a PUT", method: "PUT", body: "data", acts: []act{{ms(900), 200, nil}, {ms(10), 200, nil}}, calls: 2, cut: 1, status: 200, text: "second", took: ms(60)},
		{name: "a large PUT", method: "PUT", body: strings.Repeat("x", 65<<10), acts: []act{{ms(900), 200, nil}}, calls: 1, status: 200, text: "first", took: ms(900)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env, counts := counted()
				s := &stage{acts: c.acts, start: time.Now()}
				round := build(t, "hedge", `{"after":"50ms"`+c.options+`}`)(env)(s.round)
				method := c.method
				if method == "" {
					method = "GET"
				}
				x := filtertest.Exchange(method, "/", c.body)
				var l exchange.Leash
				x.Leash, x.Gone = &l, l.Gone
				err := round(x)
				took := time.Since(s.start)
				text, _ := filtertest.ReadAll(x.Response.Body)
				if (err != nil) != (c.status == 0) || x.Response.Status != c.status || strings.TrimSpace(text) != c.text || took != c.took {
					t.Errorf("status %d, %q, %v after %v", x.Response.Status, text, err, took)
				}
				var f *filter.Failure
				if err != nil && (!errors.As(err, &f) || f.Safe) {
					t.Errorf("%v", err)
				}
				synctest.Wait()
				if len(s.begun) != c.calls || s.cut != c.cut {
					t.Errorf("attempts began at %v, %d were cut", s.begun, s.cut)
				}
				for _, b := range s.bodies {
					if b != c.body {
						t.Errorf("an attempt got %d bytes", len(b))
					}
				}
				filtertest.End(x)
				if l.Held() {
					t.Error("something is held after the end")
				}
				if got := counts.of("swell_hedges_total"); got != c.calls-1 {
					t.Errorf("%d hedges counted", got)
				}
			})
		})
	}
}

func TestAClientThatLeavesCutsAllAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{acts: []act{{takes: time.Hour}}, start: time.Now()}
		round := build(t, "hedge", `{"after":"50ms"}`)(filter.Env{})(s.round)
		x := filtertest.Exchange("GET", "/", "")
		var l exchange.Leash
		x.Leash, x.Gone = &l, l.Gone
		time.AfterFunc(time.Second, l.Leave)
		err := round(x)
		var f *filter.Failure
		if !errors.As(err, &f) || f.Cause != filter.Gone || time.Since(s.start) != time.Second || s.cut != 2 {
			t.Errorf("%v after %v, %d were cut", err, time.Since(s.start), s.cut)
		}
		if x.Attempt == 0 {
			t.Error("no attempt is counted")
		}
		filtertest.End(x)
		x = filtertest.Exchange("GET", "/", "")
		x.Leash = &l
		if err := round(x); !errors.As(err, &f) || f.Cause != filter.Gone || len(s.begun) != 2 {
			t.Errorf("for a client that had left: %v, attempts %v", err, s.begun)
		}
	})
}

func TestAClientThatLeavesDuringAHedgedAnswerCutsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := make(held)
		round := build(t, "hedge", `{"after":"50ms"}`)(filter.Env{})(func(x *exchange.Exchange) error {
			x.Response.Status = 200
			if !x.Leash.Hold(cut) {
				t.Error("gone")
			}
			return nil
		})
		x := filtertest.Exchange("GET", "/", "")
		var l exchange.Leash
		x.Leash, x.Gone = &l, l.Gone
		if err := round(x); err != nil || !l.Held() {
			t.Fatal(err)
		}
		l.Leave()
		<-cut
		filtertest.End(x)
	})
}

func TestHedgesKeepToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		calls := 0
		var mu sync.Mutex
		round := build(t, "hedge", `{"after":"50ms","budget":"10%"}`)(env)(func(x *exchange.Exchange) error {
			mu.Lock()
			calls++
			mu.Unlock()
			time.Sleep(60 * time.Millisecond)
			x.Reply(200, "")
			return nil
		})
		const n = 1000
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				x := filtertest.Exchange("GET", "/", "")
				if err := round(x); err != nil {
					t.Error(err)
				}
				filtertest.End(x)
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if calls > n*11/10 || calls < n*105/100 || counts.of("swell_hedges_refused_total") == 0 {
			t.Errorf("%d attempts for %d requests", calls, n)
		}
	})
}

// With p95, a place learns when to hedge, whatever its latencies are.
func TestHedgeLearnsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		var mu sync.Mutex
		n := 0
		scale := 1
		round := build(t, "hedge", `{"after":"p95","budget":"100%"}`)(env)(func(x *exchange.Exchange) error {
			mu.Lock()
			n++
			n := n
			mu.Unlock()
			d := time.Duration(10+n%20) * time.Millisecond * time.Duration(scale)
			if n%20 == 0 {
				d *= 10
			}
			h := make(held)
			x.Leash.Hold(h)
			defer x.Leash.Release()
			select {
			case <-time.After(d):
			case <-h:
				return fail(filter.Gone)
			}
			x.Reply(200, "")
			return nil
		})
		var l exchange.Leash
		run := func(k int) (hedges int) {
			before := counts.of("swell_hedges_total")
			for range k {
				x := filtertest.Exchange("GET", "/", "")
				x.Leash = &l
				if err := round(x); err != nil {
					t.Fatal(err)
				}
				filtertest.End(x)
				synctest.Wait()
			}
			return counts.of("swell_hedges_total") - before
		}
		if h := run(30); h != 0 {
			t.Errorf("%d hedges before anything was learned", h)
		}
		run(300)
		if h := run(1000); h < 20 || h > 120 {
			t.Errorf("%d of 1000 were hedged, want some 50", h)
		}
		scale = 8 // it learns anew
		run(500)
		if h := run(1000); h < 20 || h > 120 {
			t.Errorf("after a change, %d of 1000 were hedged, want some 50", h)
		}
	})
}

func TestAPanicOfAHedgedAttemptIsAnError(t *testing.T) {
	round := build(t, "hedge", `{"after":"50ms"}`)(filter.Env{})(func(x *exchange.Exchange) error { panic("oh") })
	x := filtertest.Exchange("GET", "/", "")
	if err := round(x); err == nil || !strings.Contains(err.Error(), "panic: oh") {
		t.Error(err)
	}
	filtertest.End(x)
}

// A retry around it may ask again; a filter within it sees each attempt begin and end.
func TestHedgeBetweenOtherFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		began, ended := 0, 0
		each := func(next filter.Round) filter.Round {
			return func(x *exchange.Exchange) error {
				mu.Lock()
				began++
				mu.Unlock()
				x.Ended = append(x.Ended, func(*exchange.Exchange) { mu.Lock(); ended++; mu.Unlock() })
				return next(x)
			}
		}
		s := &stage{acts: []act{{time.Millisecond, 503, nil}, {time.Hour, 200, nil}, {time.Millisecond, 200, nil}}, start: time.Now()}
		round := filter.Chain(s.round, build(t, "retry", `{"on":[503]}`)(filter.Env{}), build(t, "hedge", `{"after":"50ms"}`)(filter.Env{}), each)
		x := filtertest.Exchange("PUT", "/", "data")
		var l exchange.Leash
		x.Leash = &l
		if err := round(x); err != nil || x.Response.Status != 200 {
			t.Fatal(x.Response.Status, err)
		}
		synctest.Wait()
		if text, _ := filtertest.ReadAll(x.Response.Body); text != "third\n" || began != 3 {
			t.Errorf("%q; %d began", text, began)
		}
		if ended != 1 {
			t.Errorf("%d ended when the answer was there, want the one that was cut", ended)
		}
		filtertest.End(x)
		if ended != 3 {
			t.Errorf("%d of %d ended", ended, began)
		}
	})
}

func TestHedgesUnderLoad(t *testing.T) {
	env, _ := counted()
	var bad sync.Map
	round := build(t, "hedge", `{"after":"1ms","budget":"100%","attempts":3}`)(env)(func(x *exchange.Exchange) error {
		want := string(x.Request.Target)
		body, err := filtertest.ReadAll(x.Request.Body)
		if err != nil {
			return err
		}
		h := make(held)
		if !x.Leash.Hold(h) {
			return fail(filter.Gone)
		}
		defer x.Leash.Release()
		select {
		case <-time.After(time.Duration(len(want)%5) * time.Millisecond):
		case <-h:
			return fail(filter.Gone)
		}
		x.Reply(200, body)
		return nil
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 150 {
				body := strings.Repeat("x", i+j)
				x := filtertest.Exchange("PUT", "/"+body, body)
				var l exchange.Leash
				x.Leash, x.Gone = &l, l.Gone
				if j%3 == 0 {
					time.AfterFunc(time.Duration(j%7)*500*time.Microsecond, l.Leave)
				}
				err := round(x)
				if text, _ := filtertest.ReadAll(x.Response.Body); err == nil && strings.TrimSpace(text) != body {
					bad.Store(text, body)
				}
				filtertest.End(x)
			}
		})
	}
	wg.Wait()
	bad.Range(func(k, v any) bool { t.Errorf("got %q, want %q", k, v); return true })
}

func BenchmarkHedgeNothingHappens(b *testing.B) {
	round := build(b, "hedge", `{"after":"10s"}`)(filter.Env{})(func(x *exchange.Exchange) error { x.Response.Status = 200; return nil })
	x := filtertest.Exchange("GET", "/", "")
	b.ReportAllocs()
	for b.Loop() {
		x.Request.Method = "GET"
		round(x)
		filtertest.End(x)
	}
}
