package filter_test

import (
	"errors"
	"fmt"
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

// service answers as it is told.
type service struct {
	calls  int
	status int
	err    error
	takes  time.Duration
}

func (s *service) round(x *exchange.Exchange) error {
	s.calls++
	time.Sleep(s.takes)
	if s.err != nil {
		return s.err
	}
	x.Reply(s.status, "")
	return nil
}

// ask sends n GETs and returns how the last one ended: a status, or a cause.
func ask(round filter.Round, n int) (outcome string) {
	for range n {
		x := filtertest.Exchange("GET", "/", "")
		outcome = fmt.Sprint(ending(x, round(x)))
		filtertest.End(x)
	}
	return outcome
}

func ending(x *exchange.Exchange, err error) any {
	var f *filter.Failure
	switch {
	case errors.As(err, &f):
		return f.Cause
	case err != nil:
		return err
	}
	return x.Response.Status
}

func TestCircuitBreakerOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		var lines []string
		env.Warn = func(text string, args ...any) {
			lines = append(lines, fmt.Sprint(append([]any{text, " "}, args...)...))
		}
		s := &service{status: 200}
		round := build(t, "circuit-breaker", `{"errors":"50%","requests":20,"window":"10s","open":"5s","probes":2}`)(env)(s.round)
		is := func(want string, n int) {
			t.Helper()
			if got := ask(round, n); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		is("200", 10)
		s.status = 500
		is("500", 9) // 19 requests: too few
		is("500", 1) // the 20th, the half of them failed
		calls := s.calls
		is("circuit-open", 5)
		if s.calls != calls || counts.of("swell_circuit_refused_total") != 5 || counts.of("swell_circuit_state") != 1 {
			t.Errorf("%d calls while open; state %d", s.calls-calls, counts.of("swell_circuit_state"))
		}
		x := filtertest.Exchange("GET", "/", "")
		var f *filter.Failure
		if !errors.As(round(x), &f) || f.After != 5*time.Second || f.Status() != 503 {
			t.Errorf("%+v", f)
		}
		time.Sleep(5 * time.Second)
		is("500", 1) // a probe, in vain
		time.Sleep(9 * time.Second)
		is("circuit-open", 1) // twice as long this time
		time.Sleep(time.Second)
		s.status = 200
		is("200", 1)
		if counts.of("swell_circuit_state") != 2 {
			t.Errorf("state %d after one of two probes", counts.of("swell_circuit_state"))
		}
		is("200", 1)
		if counts.of("swell_circuit_state") != 0 {
			t.Errorf("state %d after both probes", counts.of("swell_circuit_state"))
		}
		s.status = 500
		is("500", 19) // what was before is forgotten
		is("500", 1)
		time.Sleep(5*time.Second - 1)
		is("circuit-open", 1) // and the pause is the first one again
		time.Sleep(time.Nanosecond)
		is("500", 1)
		if len(lines) == 0 || !strings.Contains(lines[0], "10 of 20 requests failed") {
			t.Errorf("log %q", lines)
		}
	})
}

func TestCircuitBreakerLooksBackAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{status: 500}
		round := build(t, "circuit-breaker", `{"errors":"50%","requests":20,"window":"10s"}`)(filter.Env{})(s.round)
		for range 10 {
			ask(round, 9)
			time.Sleep(11 * time.Second)
		}
		if got := ask(round, 1); got != "500" {
			t.Errorf("it opened for failures long ago: %s", got)
		}
	})
}

func TestCircuitBreakerOpensOnSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{status: 200, takes: 20 * time.Millisecond}
		round := build(t, "circuit-breaker", `{"errors":"0%","slow":{"over":"10ms","share":"80%"},"requests":10,"window":"10s"}`)(filter.Env{})(s.round)
		ask(round, 10)
		if got := ask(round, 1); got != "circuit-open" {
			t.Error(got)
		}
		time.Sleep(5 * time.Second)
		if got := ask(round, 1) + ask(round, 1); got != "200circuit-open" { // a slow probe
			t.Error(got)
		}
	})
}

func TestWhatSaysNothingOfAService(t *testing.T) {
	for _, c := range []filter.Cause{filter.Gone, filter.Request, filter.Full, filter.Open, filter.Limit, filter.Large} {
		s := &service{err: fail(c)}
		round := build(t, "circuit-breaker", `{"requests":1}`)(filter.Env{})(s.round)
		if got := ask(round, 50); got != c.String() {
			t.Errorf("%s after 50 times %s", got, c)
		}
	}
	for _, c := range []filter.Cause{filter.Connect, filter.Reset, filter.Malformed, filter.Timeout, filter.Nobody} {
		s := &service{err: fail(c)}
		round := build(t, "circuit-breaker", `{"requests":1}`)(filter.Env{})(s.round)
		if got := ask(round, 2); got != "circuit-open" {
			t.Errorf("%s after %s", got, c)
		}
	}
}

func TestProbesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, most atomic.Int64
		status := 500
		round := build(t, "circuit-breaker", `{"requests":1,"open":"1s","probes":3}`)(filter.Env{})(func(x *exchange.Exchange) error {
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			inside.Add(-1)
			x.Reply(status, "")
			return nil
		})
		ask(round, 1)
		time.Sleep(time.Second)
		status = 200
		most.Store(0)
		var wg sync.WaitGroup
		var refused atomic.Int64
		for range 20 {
			wg.Go(func() {
				if ask(round, 1) == "circuit-open" {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if most.Load() != 3 || refused.Load() != 17 {
			t.Errorf("%d probes at once, %d refused", most.Load(), refused.Load())
		}
		if got := ask(round, 1); got != "200" {
			t.Error(got)
		}
	})
}

// A probe that panics or whose client leaves is not lost.
func TestAProbeThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{status: 500}
		boom := false
		round := build(t, "circuit-breaker", `{"requests":1,"open":"1s","probes":1}`)(filter.Env{})(func(x *exchange.Exchange) error {
			if boom {
				panic("boom")
			}
			return s.round(x)
		})
		ask(round, 1)
		time.Sleep(time.Second)
		boom = true
		func() {
			defer func() { _ = recover() }()
			ask(round, 1)
		}()
		boom = false
		s.err = fail(filter.Gone)
		if got := ask(round, 1); got != "gone" {
			t.Errorf("after a probe that panicked: %s", got)
		}
		s.err, s.status = nil, 200
		if got := ask(round, 2); got != "200" {
			t.Error(got)
		}
	})
}

func BenchmarkCircuitBreaker(b *testing.B) {
	round := build(b, "circuit-breaker", `{}`)(filter.Env{})(func(x *exchange.Exchange) error { x.Response.Status = 200; return nil })
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		x := filtertest.Exchange("GET", "/", "")
		for pb.Next() {
			round(x)
		}
	})
}
