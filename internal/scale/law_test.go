package scale

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swell"
)

// fleet makes instances: ready since an hour, starting since a second.
func fleet(ready, starting, failing int) (out []swell.Instance) {
	for i := range ready + starting + failing {
		x := swell.Instance{ID: fmt.Sprint("i", i), Service: "s", State: swell.Ready,
			Created: epoch.Add(-time.Hour), ReadyAt: epoch.Add(-time.Hour + 2*time.Second)}
		if i >= ready {
			x.State, x.Created, x.ReadyAt = swell.Starting, epoch.Add(-time.Second), time.Time{}
		}
		if i >= ready+starting {
			x.Restarts = 5
		}
		out = append(out, x)
	}
	return out
}

func TestLaw(t *testing.T) {
	ms := time.Millisecond
	steady := func(rate float64, latency time.Duration) Load {
		return Load{Window: time.Second, Rate: rate, Done: rate, Inflight: rate * latency.Seconds(),
			Latency: swell.Latency{Count: int64(rate), Mean: latency, P50: latency, P95: latency, P99: latency}}
	}
	rps100 := swell.Scale{Min: 1, Max: 20, Targets: swell.Targets{RPS: 100}}
	with := func(s swell.Scale, change func(*swell.Scale)) swell.Scale { change(&s); return s }
	for _, k := range []struct {
		name     string
		scale    swell.Scale
		load     Load
		ready    int
		starting int
		failing  int
		cores    float64 // of each ready instance
		floor    int
		want     int
		by       string
	}{
		{name: "rps", scale: rps100, load: steady(450, 10*ms), ready: 5, want: 5, by: "rps"},
		{name: "rps wants more", scale: rps100, load: steady(730, 10*ms), ready: 2, want: 8, by: "rps"},
		{name: "a little too much is no reason", scale: rps100, load: steady(215, 10*ms), ready: 2, want: 2, by: "rps"},
		{name: "starting ones count", scale: rps100, load: steady(730, 10*ms), ready: 2, starting: 6, want: 8, by: "rps"},
		{name: "at most max", scale: rps100, load: steady(9000, 10*ms), ready: 5, want: 20, by: "bounds"},
		{name: "at least min", scale: with(rps100, func(s *swell.Scale) { s.Min = 3 }), load: steady(20, 10*ms), ready: 3, want: 3, by: "bounds"},
		{name: "concurrency", scale: swell.Scale{Min: 1, Max: 20, Targets: swell.Targets{Concurrency: 10}}, load: steady(300, 200*ms), ready: 5, want: 6, by: "concurrency"},
		{name: "cpu", scale: swell.Scale{Min: 1, Max: 20, CPU: 0.5, Targets: swell.Targets{CPU: 0.5}}, load: steady(100, 10*ms), ready: 4, cores: 0.4, want: 7, by: "cpu"},
		{name: "cpu not measured", scale: swell.Scale{Min: 1, Max: 20, Targets: swell.Targets{CPU: 0.5}}, load: steady(100, 10*ms), ready: 4, want: 4, by: "cpu"},
		{name: "the most demanding target", scale: with(rps100, func(s *swell.Scale) { s.Targets.Concurrency = 5 }), load: steady(200, 100*ms), ready: 4, want: 4, by: "concurrency"},
		{name: "no instance that fails helps", scale: rps100, load: steady(900, 10*ms), ready: 1, failing: 2, want: 3, by: "hold"},
		{name: "floor by hand", scale: rps100, load: steady(50, 10*ms), ready: 1, floor: 4, want: 4, by: "manual"},
		{name: "floor within max", scale: rps100, load: steady(50, 10*ms), ready: 1, floor: 40, want: 20, by: "manual"},
		{name: "idle at zero", scale: with(rps100, func(s *swell.Scale) { s.Min = 0 }), load: steady(0, 0), want: 0, by: "zero"},
		{name: "one waits at zero", scale: with(rps100, func(s *swell.Scale) { s.Min = 0 }), load: Load{Window: time.Second, Rate: 1, Waiting: 1}, want: 1, by: "zero"},
		{name: "many wait at zero", scale: with(rps100, func(s *swell.Scale) { s.Min = 0 }), load: Load{Window: time.Second, Rate: 1000, Waiting: 1000}, want: 12, by: "zero"},
		{name: "many wait, nothing known", scale: swell.Scale{Max: 50}, load: Load{Window: time.Second, Rate: 1000, Waiting: 1000}, want: 4, by: "zero"},
		{name: "one waits, told at once", scale: swell.Scale{Max: 50}, load: Load{Window: time.Millisecond, Waiting: 1}, want: 1, by: "zero"},
		{name: "in flight keeps the last one", scale: swell.Scale{Max: 5}, load: Load{Window: time.Second, Inflight: 1}, ready: 1, want: 1, by: "capacity"},
	} {
		t.Run(k.name, func(t *testing.T) {
			var st State
			in := Input{Service: swell.Service{Name: "s", Scale: k.scale}, Instances: fleet(k.ready, k.starting, k.failing), Load: k.load, Floor: k.floor}
			var d swell.Decision
			for i := range 12 {
				in.Now = epoch.Add(time.Duration(i) * time.Second)
				in.Load.At = in.Now
				if k.cores > 0 {
					in.CPU = nil
					for _, x := range in.Instances {
						in.CPU = append(in.CPU, Usage{x.ID, in.Now, k.cores})
					}
				}
				d = Decide(in, &st)
				if st.current > k.ready+k.starting+k.failing {
					break // more would be there by the next time
				}
			}
			if d.Replicas != k.want || d.By != k.by {
				t.Errorf("%d by %q, want %d by %q\n%s", d.Replicas, d.By, k.want, k.by, Sentence(d))
			}
			last := d.Steps[len(d.Steps)-1]
			if d.Steps[0].Name != "signal" || last.Name != "result" || last.Value != float64(d.Replicas) {
				t.Errorf("the steps do not lead from signal to result: %+v", d.Steps)
			}
			if d.Reason == "" || strings.Contains(d.Reason, "NaN") || strings.Contains(d.Reason, "Inf") {
				t.Errorf("reason %q", d.Reason)
			}
		})
	}
}

// Equal histories give equal decisions, word for word.
func TestDecisionsRepeat(t *testing.T) {
	history := func() []second {
		p := pool(func(x float64) float64 { return 100 + 300*float64(int(x)/100%2) })
		p.run(400)
		return p.hist
	}
	a, b := history(), history()
	for i := range a {
		if x, y := Sentence(a[i].decision), Sentence(b[i].decision); x != y {
			t.Fatalf("at %g:\n%s\n%s", a[i].t, x, y)
		}
	}
}

func TestLimits(t *testing.T) {
	type ask struct{ at, want, get int } // seconds, counts
	for _, k := range []struct {
		name  string
		scale swell.Scale
		from  int
		asks  []ask
	}{
		{"none", swell.Scale{Max: 100}, 5, []ask{{0, 50, 50}, {1, 1, 1}}},
		{"down waits for its window", swell.Scale{Max: 100, Down: swell.Behavior{Stabilization: 10 * time.Second}}, 5,
			[]ask{{0, 2, 5}, {5, 3, 5}, {10, 2, 3}, {14, 2, 3}, {15, 2, 2}}},
		{"up waits for its window", swell.Scale{Max: 100, Up: swell.Behavior{Stabilization: 3 * time.Second}}, 1,
			[]ask{{0, 1, 1}, {1, 9, 1}, {2, 7, 1}, {3, 9, 7}, {5, 9, 9}}},
		{"up by pods", swell.Scale{Max: 100, Up: swell.Behavior{Pods: 4, Period: 10 * time.Second}}, 2,
			[]ask{{0, 50, 6}, {5, 50, 6}, {10, 50, 10}}},
		{"up by the larger", swell.Scale{Max: 100, Up: swell.Behavior{Pods: 4, Percent: 100, Period: 10 * time.Second}}, 10,
			[]ask{{0, 50, 20}, {9, 50, 20}, {10, 50, 40}}},
		{"up by percent alone", swell.Scale{Max: 100, Up: swell.Behavior{Percent: 50, Period: 10 * time.Second}}, 3,
			[]ask{{0, 50, 5}, {10, 50, 8}}},
		{"down by percent", swell.Scale{Max: 100, Down: swell.Behavior{Percent: 50, Period: 10 * time.Second}}, 9,
			[]ask{{0, 1, 4}, {9, 1, 4}, {10, 1, 2}, {20, 1, 1}}},
		{"down by the larger", swell.Scale{Max: 100, Down: swell.Behavior{Percent: 10, Pods: 3, Period: 10 * time.Second}}, 9,
			[]ask{{0, 1, 6}, {10, 1, 3}}},
		{"from zero at once", swell.Scale{Max: 100, Up: swell.Behavior{Pods: 1, Period: time.Minute}}, 0, []ask{{0, 3, 3}}},
	} {
		t.Run(k.name, func(t *testing.T) {
			var l limits
			current := k.from
			for _, a := range k.asks {
				now := epoch.Add(time.Duration(a.at) * time.Second)
				l.window(now, &k.scale, current)
				n, _ := l.stabilise(now, a.want, current, &k.scale)
				n, _ = l.behave(now, n, current, &k.scale)
				if n != current {
					l.changed(now, n-current)
				}
				if n != a.get {
					t.Fatalf("after %d s: %d of %d, want %d", a.at, n, a.want, a.get)
				}
				current = n
			}
		})
	}
}

func TestStartupsP95(t *testing.T) {
	var s startups
	if d, ok := s.typical(); ok || d != startupGuess {
		t.Errorf("%s, %v before any start", d, ok)
	}
	for i := range 100 {
		ready := epoch.Add(time.Duration(i) * time.Minute)
		s.see([]swell.Instance{{State: swell.Ready, Created: ready.Add(-time.Duration(1+i%20) * time.Second), ReadyAt: ready}})
		s.see([]swell.Instance{{State: swell.Ready, Created: ready.Add(-time.Hour), ReadyAt: ready}}) // seen
	}
	if d, ok := s.typical(); !ok || d < 18*time.Second || d > 20*time.Second {
		t.Errorf("p95 of 1 s to 20 s is %s", d)
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, set := range goals() {
		b.Run(name, func(b *testing.B) {
			p := pool(func(x float64) float64 { return 400 })
			set(&p.service.Scale, p)
			p.run(300)
			in := Input{Service: p.service, Load: p.last, Instances: fleet(8, 1, 0)}
			for _, x := range in.Instances {
				in.CPU = append(in.CPU, Usage{x.ID, p.last.At, 0.6})
			}
			now := p.last.At
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				in.Now, in.Load.At = now, now
				Decide(in, &p.state)
			}
		})
	}
}
