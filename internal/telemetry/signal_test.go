package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swell"
)

// tape is a sink that keeps what it gets.
type tape struct {
	mu  sync.Mutex
	got []swell.Signal
	err error
}

func (s *tape) Report(_ context.Context, in []swell.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, in...)
	return s.err
}

// take returns what came since the last take.
func (s *tape) take() []swell.Signal {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.got
	s.got = nil
	return out
}

// fail makes what is reported from now on fail; nil ends that.
func (s *tape) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// live runs f with a hub that runs in virtual time.
func live(t *testing.T, opt Options, f func(t *testing.T, h *Hub, sink *tape)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		opt.Now = func() int64 { return int64(time.Since(begun)) }
		h := New(opt)
		sink := &tape{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx, sink) }()
		synctest.Wait()
		defer func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		}()
		f(t, h, sink)
	})
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*max(1, math.Abs(b)) }

func TestSignals(t *testing.T) {
	live(t, Options{}, func(t *testing.T, h *Hub, sink *tape) {
		gw := h.Meter(Key{Caller: "gateway", Route: "api", Service: "catalog"})
		web := h.Meter(Key{Caller: "web", Service: "catalog"})
		one := h.Meter(Key{Service: "catalog", Instance: "catalog-1"})
		h.Meter(Key{Caller: "catalog", Service: "pricing"})
		h.SetReplicas("catalog", 1, 2)

		// A second of eight requests of 250 ms, one after the other, from two callers.
		for i := range 4 {
			m, status := gw, 200
			if i == 3 {
				m, status = web, 503
			}
			for range 2 {
				now := h.opt.Now()
				m.Start(now)
				one.Start(now)
			}
			start := h.opt.Now()
			time.Sleep(249 * time.Millisecond)
			for range 2 {
				now := h.opt.Now()
				one.End(start, now, status, 10, 100)
				m.End(start, now, status, 10, 100)
			}
			if i < 3 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(2 * time.Millisecond) // 1.001 s
		got := sink.take()
		if len(got) != 2 || got[0].Service != "catalog" || got[1].Service != "pricing" {
			t.Fatalf("signals %+v", got)
		}
		x := got[0]
		if x.Window != time.Second || x.Source != "proxy" || x.Instance != "" || !near(x.Rate, 8) || !near(x.Done, 8) || !near(x.Errors, 2) ||
			!near(x.Inflight, 2*0.996) || x.Waiting != 0 || x.Latency.Count != 8 || x.Latency.Mean != 249*time.Millisecond {
			t.Errorf("signal %+v", x)
		}
		if d := x.Latency.P95 - 249*time.Millisecond; d.Abs() > 249*time.Millisecond/16 {
			t.Errorf("p95 %v", x.Latency.P95)
		}
		if y := got[1]; y.Rate != 0 || y.Inflight != 0 || y.Latency != (swell.Latency{}) {
			t.Errorf("an idle service: %+v", y)
		}

		// The statistics say the same, over the time that there is.
		s := h.Services()
		if len(s) != 2 || s[0].Service != "catalog" || !near(s[0].Rate, 8) || !near(s[0].Inflight, 1.992) || s[0].Ready != 1 || s[0].Desired != 2 {
			t.Errorf("services %+v", s)
		}
		e := h.Edges()
		if len(e) != 3 || e[0].Caller != "catalog" || e[1].Caller != "gateway" || !near(e[1].Rate, 6) || !near(e[2].Errors, 2) || !near(e[2].Out, 200) {
			t.Errorf("edges %+v", e)
		}
		r := h.Routes()
		if len(r) != 1 || r[0].Route != "api" || !near(r[0].Done, 6) {
			t.Errorf("routes %+v", r)
		}
		i := h.Instances()
		if len(i) != 1 || i[0].Instance != "catalog-1" || !near(i[0].Rate, 8) {
			t.Errorf("instances %+v", i)
		}
		p := h.History("catalog")
		if len(p) != 1 || !near(p[0].Rate, 8) || p[0].Ready != 1 || p[0].Desired != 2 || !p[0].At.Equal(x.At) {
			t.Errorf("history %+v", p)
		}
		if h.History("nothing") != nil {
			t.Error("a history of nothing")
		}

		// Ten seconds on, that second is out of the statistics, and in the history.
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := h.Services(); s[0].Rate != 0 || s[0].P95 != 0 {
			t.Errorf("services %+v", s)
		}
		if p := h.History("catalog"); len(p) != 11 || p[10].Rate != 0 || p[0].Rate != 8 {
			t.Errorf("history %+v", p)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		p = h.History("catalog")
		if len(p) != historyLen || p[599].At.Sub(p[0].At) != 599*time.Second {
			t.Errorf("%d points from %v to %v", len(p), p[0].At, p[len(p)-1].At)
		}
	})
}

func TestSignalsSpanWindows(t *testing.T) {
	live(t, Options{}, func(t *testing.T, h *Hub, sink *tape) {
		m := h.Meter(Key{Service: "catalog", Instance: "catalog-1"})
		time.Sleep(500 * time.Millisecond)
		start := h.opt.Now()
		m.Start(start)
		for k, want := range []float64{0.5, 1, 1, 1, 0.75} {
			time.Sleep(250 * time.Millisecond)
			if k == 4 {
				m.End(start, h.opt.Now(), 200, 0, 0)
			}
			time.Sleep(750 * time.Millisecond)
			got := sink.take()
			if len(got) != 1 || !near(got[0].Inflight, want) {
				t.Errorf("second %d: %+v, want %v in flight", k, got, want)
			}
		}
	})
}

func TestBeginningToWaitIsToldAtOnce(t *testing.T) {
	live(t, Options{}, func(t *testing.T, h *Hub, sink *tape) {
		m := h.Meter(Key{Caller: "gateway", Service: "catalog"})
		w := h.Wait("catalog")
		h.Wait("pricing")
		time.Sleep(1400 * time.Millisecond)
		if got := sink.take(); len(got) != 2 {
			t.Fatalf("%+v", got)
		}
		m.Start(h.opt.Now())
		w.Enter()
		got := sink.take()
		w.Enter()
		if more := sink.take(); len(more) != 0 {
			t.Errorf("the second one that waits is news: %+v", more)
		}
		if len(got) != 1 || got[0].Service != "catalog" || got[0].Waiting != 1 || got[0].Window != 400*time.Millisecond || !near(got[0].Rate, 2.5) {
			t.Fatalf("at once: %+v", got)
		}
		// Who comes and goes quickly is not told of more often than ten times a second.
		w.Leave(1, "gone")
		w.Leave(1, "gone")
		for range 50 {
			w.Enter()
			w.Leave(1, "served")
			synctest.Wait()
		}
		w.Enter()
		if got := sink.take(); len(got) != 0 {
			t.Errorf("again at once: %+v", got)
		}
		time.Sleep(100 * time.Millisecond)
		if got := sink.take(); len(got) != 1 || got[0].Waiting != 1 {
			t.Errorf("after a moment: %+v", got)
		}
		time.Sleep(500 * time.Millisecond)
		got = sink.take()
		if len(got) != 2 || got[0].Window != time.Second || !near(got[0].Rate, 1) || got[0].Waiting != 1 {
			t.Errorf("in turn: %+v", got)
		}
		// Just after a tick, the window reaches back over the second before.
		w.Leave(1, "served")
		w.Enter()
		got = sink.take()
		if len(got) != 1 || got[0].Window < minWindow || got[0].Waiting != 1 {
			t.Errorf("just after a tick: %+v", got)
		}
	})
}

func TestASinkThatFailsIsTriedAgain(t *testing.T) {
	var talk bytes.Buffer
	live(t, Options{Log: slog.New(slog.NewTextHandler(&talk, nil))}, func(t *testing.T, h *Hub, sink *tape) {
		h.Wait("catalog")
		sink.fail(errors.New("nobody listens"))
		time.Sleep(3500 * time.Millisecond)
		if n := len(sink.take()); n != 3 {
			t.Errorf("%d signals", n)
		}
		sink.fail(nil)
	})
	if n := strings.Count(talk.String(), "nobody listens"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &talk)
	}
}

func TestInstancesThatAreGoneAreDropped(t *testing.T) {
	live(t, Options{}, func(t *testing.T, h *Hub, sink *tape) {
		kept := h.Meter(Key{Service: "catalog", Instance: "kept"})
		counted := h.Count("resets", "service", "catalog", "instance", "kept")
		func() {
			h.Meter(Key{Service: "catalog", Instance: "gone"}).Start(0)
			h.Meter(Key{Service: "catalog", Instance: "gone"}).End(0, 1, 200, 0, 0)
			h.Count("resets", "service", "catalog", "instance", "gone").Add(1)
		}()
		h.Meter(Key{Caller: "gateway", Service: "catalog"})
		h.Observe([]swell.Signal{{Service: "catalog", Instance: "kept", Source: "driver", CPU: 0.5, Memory: 1 << 20},
			{Service: "catalog", Source: "proxy", Rate: 5}})
		if i := h.Instances(); len(i) != 2 || i[1].CPU != 0.5 || i[1].Memory != 1<<20 {
			t.Errorf("instances %+v", i)
		}
		time.Sleep(idleAfter + 2*time.Second)
		synctest.Wait()
		for range 2 {
			runtime.GC()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if i := h.Instances(); len(i) != 1 || i[0].Instance != "kept" || i[0].CPU != 0 {
			t.Errorf("instances %+v", i)
		}
		if len(h.counters) != 1 || len(h.meters) != 2 || len(h.usage) != 0 {
			t.Errorf("%d counters, %d meters, %d usages", len(h.counters), len(h.meters), len(h.usage))
		}
		// Who has the meter of an idle instance still counts on it.
		kept.Start(h.opt.Now())
		kept.End(0, h.opt.Now(), 200, 0, 0)
		counted.Add(1)
		if h.Meter(Key{Service: "catalog", Instance: "kept"}) != kept {
			t.Error("another meter of the same key")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if i := h.Instances(); len(i) != 1 || i[0].Rate == 0 {
			t.Errorf("instances %+v", i)
		}
	})
}

func TestSeriesAreBounded(t *testing.T) {
	var talk bytes.Buffer
	h := New(Options{MaxSeries: 3, Log: slog.New(slog.NewTextHandler(&talk, nil))})
	for _, id := range strings.Fields("a b c d e f g") {
		m := h.Meter(Key{Service: "catalog", Instance: id})
		if other := id > "c"; other != (m.key.Instance == "other") {
			t.Errorf("%s is measured as %+v", id, m.key)
		}
		if c := h.Count("retries", "service", id); (c.labels[1] == "other") != (id > "c") {
			t.Errorf("%s is counted as %v", id, c.labels)
		}
	}
	if k := h.Meter(Key{Caller: "x", Service: "pricing"}).key; k != (Key{Caller: "other", Service: "pricing"}) {
		t.Errorf("a caller is measured as %+v", k)
	}
	if k := h.Meter(Key{Caller: "gateway", Route: "r", Service: "pricing"}).key; k != (Key{Caller: "gateway", Route: "other", Service: "pricing"}) {
		t.Errorf("a route is measured as %+v", k)
	}
	if strings.Count(talk.String(), "\n") != 1 || !strings.Contains(talk.String(), "too many metric series") {
		t.Errorf("said %q", talk.String())
	}
}

func TestForget(t *testing.T) {
	live(t, Options{}, func(t *testing.T, h *Hub, sink *tape) {
		h.SetReplicas("old", 1, 1)
		h.Wait("old")
		h.Meter(Key{Caller: "gateway", Service: "old"})
		h.Forget("old")
		time.Sleep(1100 * time.Millisecond)
		if got := sink.take(); len(got) != 0 || len(h.Services()) != 0 {
			t.Errorf("signals %+v, services %+v", got, h.Services())
		}
		runtime.GC()
		time.Sleep(time.Second)
		synctest.Wait()
		if e := h.Edges(); len(e) != 0 {
			t.Errorf("edges %+v", e)
		}
		h.Meter(Key{Caller: "gateway", Service: "old"}) // it comes again
		time.Sleep(time.Second)
		if got := sink.take(); len(got) != 1 || got[0].Service != "old" {
			t.Errorf("signals %+v", got)
		}
	})
}

// TestEverybodyAtOnce is for the race detector.
func TestEverybodyAtOnce(t *testing.T) {
	h := New(Options{Shards: 2})
	ctx, cancel := context.WithCancel(t.Context())
	var wg, loop sync.WaitGroup
	loop.Go(func() {
		if err := h.Run(ctx, h); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				m := h.Meter(Key{Service: "catalog", Instance: string(rune('a' + j%3))})
				now := h.opt.Now()
				m.Start(now)
				w := h.Wait("catalog")
				w.Enter()
				w.Leave(5, "served")
				h.Count("retries", "service", "catalog", "reason", "connect").Add(1)
				m.End(now, h.opt.Now(), 200, 1, 1)
				if j%50 != 0 {
					continue
				}
				h.SetReplicas("catalog", i, j)
				h.Observe([]swell.Signal{{Service: "catalog", Instance: "a", Source: "driver", CPU: 1}})
				h.tick(time.Now())
				h.Services()
				h.Edges()
				h.Routes()
				h.Instances()
				h.History("catalog")
				scrape(t, h)
			}
		})
	}
	wg.Wait()
	cancel()
	loop.Wait()
	if text := scrape(t, h); !strings.Contains(text, `swell_retries_total{reason="connect",service="catalog"} 800`) {
		t.Error("retries were lost")
	}
}

// BenchmarkTick is what the hub's loop costs a second: a service of 20 instances
// with traffic, and 30 idle meters.
func BenchmarkTick(b *testing.B) {
	c := &clock{}
	h := New(Options{Now: c.now})
	var busy []*Meter
	for i := range 50 {
		m := h.Meter(Key{Service: "catalog", Instance: string(rune('a' + i))})
		if i < 20 {
			busy = append(busy, m)
		}
	}
	at := time.Now()
	for b.Loop() {
		for i, m := range busy {
			m.Start(c.ns)
			m.End(c.ns, c.ns+int64(i)*1e6, 200, 0, 512)
		}
		c.ns += 1e9
		at = at.Add(time.Second)
		h.tick(at)
	}
}

func TestDecided(t *testing.T) {
	h := New(Options{})
	for _, n := range []int{1, 1, 3, 3, 2} {
		h.Decided([]swell.Decision{{Service: "catalog", Replicas: n, By: "latency"}})
	}
	for direction, want := range map[string]uint64{"up": 1, "down": 1} {
		if n := h.Count("scaling_decisions", "direction", direction, "by", "latency", "service", "catalog").Value(); n != want {
			t.Errorf("%s: %d, want %d", direction, n, want)
		}
	}
}

func TestHistoryKeepsShortNumbers(t *testing.T) {
	var h history
	h.add(Point{Traffic: Traffic{Rate: 0.1, P50: 1.5e-5, Out: 123456}})
	p := h.points()[0]
	if !slices.Equal([]float64{p.Rate, p.P50, p.Out, p.Mean}, []float64{0.1, 1.5e-5, 123456, 0}) {
		t.Errorf("%+v", p)
	}
}
