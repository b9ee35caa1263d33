package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"swell"
)

// days makes a load with a daily wave between two rates, a row a minute.
func days(tb testing.TB, n int, low, high float64) *Load {
	tb.Helper()
	return shaped(tb, n*1440, func(minute int) float64 {
		return low + (high-low)*(1-math.Cos(2*math.Pi*float64(minute)/1440))/2
	})
}

func shaped(tb testing.TB, minutes int, rate func(minute int) float64) *Load {
	tb.Helper()
	at, rates := make([]float64, minutes), make([]float64, minutes)
	for i := range at {
		at[i], rates[i] = float64(60*i), rate(i)
	}
	l, err := newLoad("shape", 1_700_000_000, at, rates, float64(60*minutes))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// steps is a load that jumps from minute to minute.
func steps(tb testing.TB, minutes int, rate func(minute int) float64) *Load {
	l := shaped(tb, minutes, rate)
	l.flat = true
	for i := range l.at {
		l.at[i] = float64(60 * i)
	}
	return l
}

func options(tb testing.TB, l *Load, noise bool, startup string) Options {
	tb.Helper()
	a, err := l.Arrivals(noise, 1)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := ParseStartup(startup)
	if err != nil {
		tb.Fatal(err)
	}
	return Options{Arrivals: a, Service: DefaultService(), Capacity: DefaultCapacity, Latency: DefaultLatency,
		Startup: st, Backlog: DefaultBacklog}
}

func simulate(tb testing.TB, o Options, policy string) *Score {
	tb.Helper()
	p, err := ParseSpecs(policy)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := Run(context.Background(), o, p[0])
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func near(a, b, share float64) bool { return math.Abs(a-b) <= share*math.Abs(b)+1e-12 }

// TestFixed: a count that can't change, whose score is known.
func TestFixed(t *testing.T) {
	for _, c := range []struct {
		instances                    int
		bad, cost, dropped, tauU, uu float64
	}{
		// 100/s at 45/s each need 3. Two are wholly busy: all is bad, nothing lost.
		{2, 100, 2.0 / 3, 0, 100, 100.0 / 3},
		{3, 0, 1, 0, 0, 0},
		{6, 0, 2, 0, 0, 0},
		// One serves half of it; when its 250 are waiting the other half is dropped: from
		// the 5th of 3600 seconds on.
		{1, 100, 1.0 / 3, 50 * 3595.0 / 3600, 100, 200.0 / 3},
	} {
		o := options(t, shaped(t, 60, func(int) float64 { return 100 }), false, "30s")
		o.Service.Scale.Min, o.Service.Scale.Max = c.instances, c.instances
		s := simulate(t, o, "hpa")
		ideal := 3.0
		if c.instances > 3 {
			ideal = 6 // the minimum binds the ideal too
			c.cost = 1
		}
		if s.Bad != c.bad || !near(s.Cost, c.cost, 1e-9) || !near(s.Dropped, c.dropped, 1e-6) || s.TauU != c.tauU || !near(s.ThetaU, c.uu, 1e-9) || !near(s.IdealHours, ideal, 1e-9) {
			t.Errorf("%d instances: %+v", c.instances, s)
		}
		if s.Actions != 0 || s.Requests != 360000 {
			t.Errorf("%d instances: %v actions, %v requests", c.instances, s.Actions, s.Requests)
		}
	}
}

// TestStep: how long each policy takes until enough instances are ready after the load
// grows from 7 instances' worth to 28 or 70, and how far it overshoots. The figures are
// those of the algorithms: CPU saturates, so that hpa grows by 1/0.7 in a round; keda waits
// for the mean of a minute; kpa sees it at once and counts the backlog as concurrency.
func TestStep(t *testing.T) {
	for _, c := range []struct {
		policy, startup string
		factor          float64
		from, to        int // seconds
		peak            float64
	}{
		{"hpa@70%", "0s", 4, 60, 130, 1.6}, {"hpa@70%", "30s", 4, 150, 260, 1.6},
		{"keda@70%", "0s", 4, 35, 75, 1.4}, {"keda@70%", "30s", 10, 60, 110, 1.4},
		{"kpa@70%", "0s", 4, 0, 6, 10}, {"kpa@70%", "30s", 4, 30, 36, 40},
	} {
		l := steps(t, 60, func(m int) float64 {
			if m >= 20 {
				return c.factor * 7 * 0.7 * 50
			}
			return 7 * 0.7 * 50
		})
		o := options(t, l, false, c.startup)
		o.Points = 3600
		s := simulate(t, o, c.policy)
		needed := math.Ceil(l.rate[20] / 45)
		took := -1
		for i := 1200; i < len(s.Series.Capacity) && took < 0; i++ {
			if s.Series.Capacity[i] >= 50*needed {
				took = i - 1200
			}
		}
		t.Logf("%s, start-up %s, ×%v: %d s, peak %.1f times the need", c.policy, c.startup, c.factor, took, float64(s.Peak)/needed)
		if took < c.from || took > c.to || float64(s.Peak) > c.peak*needed {
			t.Errorf("%s, start-up %s, ×%v: %d s (%d to %d), peak %d of %v needed", c.policy, c.startup, c.factor, took, c.from, c.to, s.Peak, needed)
		}
	}
}

// TestDeterministic: the same seed gives the same scores, another one nearly the same.
func TestDeterministic(t *testing.T) {
	l := days(t, 2, 200, 3000)
	for _, policy := range []string{"auto", "hpa", "kpa", "keda", "week-max"} {
		o := options(t, l, true, "p50=20s,p95=60s")
		a, b := simulate(t, o, policy), simulate(t, o, policy)
		if *a != *b {
			t.Errorf("%s: %+v, then %+v", policy, a, b)
		}
		o.Arrivals, _ = l.Arrivals(true, 2)
		o.Seed = 2
		if c := simulate(t, o, policy); c.Bad == a.Bad && c.InstanceHours == a.InstanceHours || !near(c.Cost, a.Cost, 0.05) {
			t.Errorf("%s: another seed makes of %v, %v: %v, %v", policy, a.Bad, a.Cost, c.Bad, c.Cost)
		}
		if a.Cost < 1 || a.Cost > 2.2 || a.Bad > 8 {
			t.Errorf("%s: %+v", policy, a)
		}
	}
}

// TestToZero: a service that may, ends its last instance, and what waits for the first is
// served.
func TestToZero(t *testing.T) {
	l := steps(t, 180, func(m int) float64 {
		if m >= 60 && m < 120 {
			return 0
		}
		return 40
	})
	for _, policy := range []string{"auto@70%", "kpa", "keda"} {
		o := options(t, l, false, "10s")
		o.Service.Scale.Min, o.Points = 0, 180
		s := simulate(t, o, policy)
		if last := s.Series.Started[118]; last != 0 {
			t.Errorf("%s: %v instances after an hour without a request", policy, last)
		}
		if s.Series.Capacity[122] == 0 || s.Dropped > 0.1 {
			t.Errorf("%s: %v/s two minutes after the first; %v %% dropped", policy, s.Series.Capacity[122], s.Dropped)
		}
	}
}

// TestWarmup: what is not scored does not show.
func TestWarmup(t *testing.T) {
	l := shaped(t, 300, func(m int) float64 {
		if m < 60 {
			return 5000
		}
		return 100
	})
	o := options(t, l, false, "30s")
	o.Service.Scale.Max = 3
	o.Warmup = 2 * time.Hour
	s := simulate(t, o, "keda")
	if s.Bad != 0 || s.Dropped != 0 || s.Days != 0.125 {
		t.Errorf("%+v", s)
	}
	o.Warmup = 5 * time.Hour
	if _, err := Run(context.Background(), o, Spec{Name: "keda"}); err == nil {
		t.Error("a warm-up as long as the load was taken")
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := options(t, days(t, 1, 10, 20), false, "1s")
	if _, err := Compare(ctx, o, []Spec{{Name: "keda"}}, true); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}

func TestParseSpecs(t *testing.T) {
	got, err := ParseSpecs("auto, hpa@70%,kpa@0.5%x")
	if err == nil {
		t.Errorf("taken: %v", got)
	}
	got, err = ParseSpecs("auto, hpa@70%,keda@65")
	if err != nil || len(got) != 3 || got[0].String() != "auto" || got[1].String() != "hpa@70%" || got[2].Target != 0.65 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "hpaa", "hpa@", "hpa@120%", "hpa@0%"} {
		if got, err := ParseSpecs(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}

func TestParseStartup(t *testing.T) {
	for _, good := range []string{"30s", "0s", "20s-60s", "p50=20s,p95=60s", "2m"} {
		if s, err := ParseStartup(good); err != nil || s.String() != good {
			t.Errorf("%q: %v, %v", good, s, err)
		}
	}
	for _, bad := range []string{"", "30", "60s-20s", "p50=20s", "p50=60s,p95=20s", "p50=0s,p95=1s", "2d", "-1s"} {
		if s, err := ParseStartup(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, s)
		}
	}
}

// TestTargetsOfTheService: a manifest's targets steer the policies that can follow them.
func TestTargetsOfTheService(t *testing.T) {
	o := options(t, days(t, 1, 500, 500), false, "5s")
	o.Service.Scale.Targets = swell.Targets{RPS: 25}
	for _, policy := range []string{"auto", "keda", "hpa"} {
		if s := simulate(t, o, policy); s.Peak < 19 || s.Peak > 22 { // 500/25
			t.Errorf("%s: a peak of %d", policy, s.Peak)
		}
	}
	if s := simulate(t, o, "keda@50%"); s.Peak < 19 || s.Peak > 22 {
		t.Errorf("by its own target: a peak of %d", s.Peak)
	}
}

// TestReport: the page stands alone, and shows names as text.
func TestReport(t *testing.T) {
	o := options(t, days(t, 1, 100, 2000), true, "30s")
	o.Arrivals.Load.Name = "<b>.csv"
	o.Points = 200
	c, err := Compare(context.Background(), o, []Spec{{Name: "keda"}, {Name: "kpa"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Scores) != 2 || len(c.Sweep) != 2*len(SweepTargets) || len(c.Scores[0].Series.Load) < 190 {
		t.Fatalf("%d scores, %d of the sweep", len(c.Scores), len(c.Sweep))
	}
	var page bytes.Buffer
	if err := c.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	got := page.String()
	for _, bad := range []string{"<b>", "<script", "src=", "http", "NaN", "Inf"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if strings.Count(got, "<svg") != 3 || strings.Count(got, "<svg") != strings.Count(got, "</svg>") {
		t.Errorf("%d pictures", strings.Count(got, "<svg"))
	}
	b, err := json.Marshal(c)
	if err != nil || !bytes.Contains(b, []byte(`"bad_percent"`)) {
		t.Errorf("as JSON: %v", err)
	}
}

// TestScoresKnowQuiet: a load of nothing is no division by it.
func TestScoresKnowQuiet(t *testing.T) {
	o := options(t, shaped(t, 120, func(int) float64 { return 0 }), true, "1s")
	o.Points = 100
	o.Service.Scale.Min = 0
	c, err := Compare(context.Background(), o, []Spec{{Name: "auto"}, {Name: "keda"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
	var page bytes.Buffer
	if err := c.WriteHTML(&page); err != nil || strings.Contains(page.String(), "NaN") {
		t.Errorf("%v, or it holds NaN", err)
	}
}

// BenchmarkMonth is a month of one service with a peak of 60 instances, second by
// second.
func BenchmarkMonth(b *testing.B) {
	o := options(b, days(b, 30, 600, 3000), true, "30s")
	for _, name := range []string{"hpa", "kpa", "keda", "week-max", "auto"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Run(context.Background(), o, Spec{Name: name}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
