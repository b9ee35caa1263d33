package scale

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swell"
	"swell/internal/latest"
)

type rig struct {
	*Scaler
	apps      latest.Cell[swell.App]
	instances latest.Cell[[]swell.Instance]
	out       latest.Cell[[]swell.Decision]
}

func app(services ...swell.Service) swell.App { return swell.App{Name: "a", Services: services} }

// with runs a story against a running Scaler in virtual time.
func with(t *testing.T, story func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.Scaler = New(Options{Apps: &r.apps, Instances: &r.instances, Out: &r.out})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("run: %v", err)
			}
		})
		synctest.Wait()
		story(t, r)
		cancel()
		wg.Wait()
	})
}

func (r *rig) decided() string {
	ds, _ := r.out.Get()
	s := ""
	for _, d := range ds {
		s += fmt.Sprintf("%s=%d ", d.Service, d.Replicas)
	}
	return s
}

func (r *rig) report(service string, rate float64, waiting int) {
	r.Report(context.Background(), []swell.Signal{{Service: service, Source: "proxy", At: time.Now(), Window: time.Second,
		Rate: rate, Done: rate, Inflight: rate / 100, Waiting: waiting,
		Latency: swell.Latency{Count: int64(rate), Mean: 10 * time.Millisecond, P50: 10 * time.Millisecond, P95: 10 * time.Millisecond, P99: 10 * time.Millisecond}}})
}

func TestLoop(t *testing.T) {
	rps := swell.Scale{Min: 1, Max: 10, Targets: swell.Targets{RPS: 100}}
	zero := swell.Scale{Min: 0, Max: 10, Idle: 30 * time.Second}

	t.Run("new services get their first count at once", func(t *testing.T) {
		with(t, func(t *testing.T, r *rig) {
			three := rps
			three.Min = 3
			r.apps.Set(app(swell.Service{Name: "a", Scale: rps}, swell.Service{Name: "b", Scale: zero},
				swell.Service{Name: "c", Scale: three}, swell.Service{Name: "far", Address: []swell.Address{{Addr: "x:1"}}}))
			synctest.Wait()
			if got := r.decided(); got != "a=1 b=0 c=3 " {
				t.Errorf("decided %q", got)
			}
			r.apps.Set(app(swell.Service{Name: "b", Scale: zero}))
			synctest.Wait()
			if got := r.decided(); got != "b=0 " {
				t.Errorf("decided %q after two are gone", got)
			}
			if r.Decisions("a") != nil {
				t.Error("the decisions of a service that is gone are kept")
			}
		})
	})

	t.Run("instances that are there are kept at the start", func(t *testing.T) {
		with(t, func(t *testing.T, r *rig) {
			var there []swell.Instance
			for i := range 4 {
				there = append(there, swell.Instance{ID: fmt.Sprint(i), Service: "a", State: swell.Ready})
			}
			r.instances.Set(there)
			r.apps.Set(app(swell.Service{Name: "a", Scale: rps}))
			time.Sleep(time.Minute)
			if got := r.decided(); got != "a=4 " {
				t.Errorf("decided %q without a measurement", got)
			}
		})
	})

	t.Run("at once when somebody waits at zero", func(t *testing.T) {
		with(t, func(t *testing.T, r *rig) {
			r.apps.Set(app(swell.Service{Name: "b", Scale: zero}))
			time.Sleep(10500 * time.Millisecond)
			r.report("b", 1, 1)
			synctest.Wait() // and no second passes
			if got := r.decided(); got != "b=1 " {
				t.Errorf("decided %q", got)
			}
			for range 29 {
				time.Sleep(time.Second)
				r.report("b", 0, 0)
			}
			if got := r.decided(); got != "b=1 " {
				t.Errorf("decided %q before Idle is over", got)
			}
			for range 4 {
				time.Sleep(time.Second)
				r.report("b", 0, 0)
			}
			if got := r.decided(); got != "b=0 " {
				d, _ := r.Latest("b")
				t.Errorf("decided %q after Idle: %s", got, Sentence(d))
			}
		})
	})

	t.Run("an equal count wakes nobody", func(t *testing.T) {
		with(t, func(t *testing.T, r *rig) {
			r.apps.Set(app(swell.Service{Name: "a", Scale: rps}))
			r.instances.Set([]swell.Instance{{ID: "1", Service: "a", State: swell.Ready}})
			for range 3 {
				r.report("a", 50, 0)
				time.Sleep(time.Second)
			}
			_, _, changed := r.out.Next()
			for i := range 60 {
				r.report("a", 50+float64(i%7), 0)
				time.Sleep(time.Second)
			}
			select {
			case <-changed:
				t.Error("published though nothing changed")
			default:
			}
			d, ok := r.Latest("a")
			if !ok || time.Since(d.At) > 2*time.Second {
				t.Errorf("the newest evaluation is of %s", d.At)
			}
			if n := len(r.Decisions("a")); n > 3 {
				t.Errorf("%d decisions recorded", n)
			}
		})
	})

	t.Run("a floor holds until it expires", func(t *testing.T) {
		with(t, func(t *testing.T, r *rig) {
			r.apps.Set(app(swell.Service{Name: "a", Scale: rps}))
			synctest.Wait()
			r.Floor("a", 5, time.Now().Add(20*time.Second))
			r.Floor("nobody", 5, time.Now().Add(time.Hour))
			synctest.Wait()
			if got := r.decided(); got != "a=5 " {
				t.Errorf("decided %q", got)
			}
			for range 22 {
				r.report("a", 10, 0)
				time.Sleep(time.Second)
			}
			if got := r.decided(); got != "a=1 " {
				t.Errorf("decided %q after it expired", got)
			}
		})
	})

	t.Run("the record is bounded", func(t *testing.T) {
		with(t, func(t *testing.T, r *rig) {
			r.apps.Set(app(swell.Service{Name: "a", Scale: rps}))
			synctest.Wait()
			for i := range 300 {
				r.Floor("a", 2+i%5, time.Now().Add(time.Hour))
				r.report("a", 10, 0)
				time.Sleep(time.Second)
			}
			ds := r.Decisions("a")
			if len(ds) != maxRecord {
				t.Errorf("%d decisions", len(ds))
			}
			if !slices.IsSortedFunc(ds, func(a, b swell.Decision) int { return a.At.Compare(b.At) }) {
				t.Error("not oldest first")
			}
		})
	})
}

func TestSignals(t *testing.T) {
	var s signals
	now := epoch
	put := func(source, service, instance string, age time.Duration, rate float64) {
		s.put(swell.Signal{Source: source, Service: service, Instance: instance, At: now.Add(-age), Window: time.Second,
			Rate: rate, Done: rate, Inflight: rate / 10, CPU: 0.5,
			Latency: swell.Latency{Count: int64(rate), Mean: time.Duration(rate) * time.Millisecond}})
	}
	put("p1", "a", "", time.Second, 10)
	put("p1", "a", "", 2*time.Second, 99) // older: dropped
	put("p2", "a", "", 2*time.Second, 30)
	put("p3", "a", "", time.Minute, 500) // silent
	put("p1", "b", "", time.Minute, 500) // all silent
	put("driver", "a", "a-1", time.Second, 0)
	put("driver", "a", "a-2", time.Minute, 0)
	put("driver", "gone", "g-1", time.Second, 0)

	loads, cpu := s.loads(now)
	a := loads["a"]
	if a.Rate != 40 || a.Inflight != 4 || !a.At.Equal(now.Add(-time.Second)) || a.Latency.Count != 40 || a.Latency.Mean != 25*time.Millisecond {
		t.Errorf("a: %+v", a)
	}
	if b := loads["b"]; !b.At.Equal(now.Add(-time.Minute)) {
		t.Errorf("b: %+v", b)
	}
	if len(cpu["a"]) != 2 {
		t.Errorf("cpu: %+v", cpu)
	}
	s.prune(now, map[string]bool{"a": true}, map[string]bool{"a-1": true})
	if len(s.series) != 4 { // p1, p2, p3 of a; a-1
		t.Errorf("%d series are left", len(s.series))
	}
	for i := range maxSeries + 10 {
		put("p1", fmt.Sprint("s", i), "", 0, 1)
	}
	if len(s.series) > maxSeries {
		t.Errorf("%d series", len(s.series))
	}
}

func TestDownstreamIsSharedByRate(t *testing.T) {
	a := app(swell.Service{Name: "cart", Uses: []string{"db"}}, swell.Service{Name: "db"},
		swell.Service{Name: "web", Uses: []string{"cart", "db"}})
	loads := map[string]Load{
		"web":  {Rate: 100, Inflight: 50},
		"cart": {Rate: 100, Inflight: 20},
		"db":   {Rate: 200, Inflight: 10, Waiting: 2},
	}
	downstream(&a, loads)
	if got := loads["web"].Downstream; got != 26 { // all of cart, half of db
		t.Errorf("web: %g", got)
	}
	if got := loads["cart"].Downstream; got != 6 {
		t.Errorf("cart: %g", got)
	}
	if got := loads["db"].Downstream; got != 0 {
		t.Errorf("db: %g", got)
	}
}
