package scale

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"swell"
)

// goals are the kinds of targets, each equivalent to about three quarters of
// what an instance of pool can do.
func goals() map[string]func(s *swell.Scale, p *plant) {
	all := map[string]func(s *swell.Scale, p *plant){
		"concurrency": func(s *swell.Scale, p *plant) { s.Targets.Concurrency = 0.75 * float64(p.workers) },
		"rps":         func(s *swell.Scale, p *plant) { s.Targets.RPS = 0.75 * p.capacity() },
		"cpu":         func(s *swell.Scale, p *plant) { s.Targets.CPU = 0.75; p.cpu = 1 / p.capacity(); p.burn = 0.5 },
		"latency": func(s *swell.Scale, p *plant) {
			s.SLO = swell.SLO{Quantile: 0.95, Latency: time.Duration(4 * p.takes * 1e9)}
		},
		"none": func(*swell.Scale, *plant) {},
	}
	if raced {
		maps.DeleteFunc(all, func(name string, _ func(*swell.Scale, *plant)) bool { return name != "none" })
	}
	return all
}

func pool(load func(float64) float64) *plant {
	p := &plant{load: load, workers: 4, takes: 0.04, startup: 2}
	p.service.Scale = swell.Scale{Min: 1, Max: 100, Down: swell.Behavior{Stabilization: time.Minute}}
	return p
}

func TestStepTenfold(t *testing.T) {
	for name, set := range goals() {
		for _, startup := range []float64{0.5, 2, 30} {
			for _, known := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/startup=%g/known=%v", name, startup, known), func(t *testing.T) {
					step := 500.4
					p := pool(nil)
					high := 10.0 * 60
					p.load = func(x float64) float64 {
						switch {
						case known && x >= 120 && x < 150:
							return 250 // an earlier overload, from which capacity is known
						case x >= step && x < step+200:
							return high
						}
						return high / 10
					}
					p.startup = startup
					set(&p.service.Scale, p)
					p.run(1000)
					check := p.between(step, step+200)
					needed := math.Ceil(high / (0.75 * p.capacity()))
					var decided, enough float64
					for _, s := range check {
						if decided == 0 && s.want > p.between(step-2, step)[0].want {
							decided = s.t - step
						}
						if enough == 0 && float64(s.ready)*p.capacity() >= high {
							enough = s.t - step
						}
					}
					pk := peak(check)
					_, rev := actions(p.between(step-5, 1000))
					end := p.hist[len(p.hist)-1].want
					t.Logf("decided %.1f s, enough %.1f s, peak %d of %g, reversals %d, end %d, learned %.0f", decided, enough, pk, needed, rev, end, p.hist[len(p.hist)-1].learned)
					if decided == 0 || decided > 2 || enough == 0 || enough > 1.1*startup+3 || float64(pk) > 1.5*needed || rev > 1 || end != 1 {
						t.Errorf("missed\n%s", p.chart(step-3, step+60))
						t.Log(p.chart(step+195, 1000))
					}
				})
			}
		}
	}
}
