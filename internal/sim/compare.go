package sim

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Comparison is what several policies made of one load, under the same conditions.
type Comparison struct {
	Trace    string    `json:"trace"`
	Start    time.Time `json:"start"`
	Days     float64   `json:"days"` // scored
	Warmup   float64   `json:"warmup_seconds"`
	Startup  string    `json:"startup"`
	Capacity float64   `json:"capacity"`        // requests a second of one instance
	Latency  float64   `json:"latency_seconds"` // of a request when nothing queues
	Peak     float64   `json:"peak"`            // of the load, requests a second
	Notes    []string  `json:"notes,omitempty"`
	Scores   []*Score  `json:"scores"`          // in the order of the policies
	Sweep    []*Score  `json:"sweep,omitempty"` // of each policy, by target
}

// SweepTargets are the targets of a sweep, shares of an instance's capacity.
var SweepTargets = []float64{0.4, 0.5, 0.6, 0.7, 0.8, 0.9}

// Compare simulates the policies, as many at a time as there are cores, and with sweep
// each of their names at every one of [SweepTargets].
func Compare(ctx context.Context, o Options, specs []Spec, sweep bool) (*Comparison, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	l := o.Arrivals.Load
	c := &Comparison{Trace: l.Name, Start: l.Start.Add(o.Warmup), Days: (l.Span() - o.Warmup).Hours() / 24,
		Warmup: o.Warmup.Seconds(), Startup: o.Startup.String(), Capacity: o.Capacity, Latency: o.Latency.Seconds(),
		Peak: l.Peak(), Notes: l.Notes, Scores: make([]*Score, len(specs))}
	jobs := specs
	if sweep {
		seen := map[string]bool{}
		jobs = append([]Spec(nil), specs...)
		for _, p := range specs {
			for _, target := range SweepTargets {
				if !seen[p.Name] {
					jobs = append(jobs, Spec{p.Name, target})
				}
			}
			seen[p.Name] = true
		}
		c.Sweep = make([]*Score, len(jobs)-len(specs))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				one := o
				if i >= len(specs) {
					one.Points = 0
				}
				s, err := Run(ctx, one, jobs[i])
				switch {
				case err != nil:
					cancel(err)
				case i < len(specs):
					c.Scores[i] = s
				default:
					c.Sweep[i-len(specs)] = s
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			err = context.Canceled
		}
		return nil, err
	}
	return c, nil
}
