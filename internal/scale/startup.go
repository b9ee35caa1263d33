package scale

import (
	"slices"
	"time"

	"swell"
)

// startups measures how long instances take from their start until they are
// ready. The zero value knows nothing.
type startups struct {
	recent [32]time.Duration
	n      int       // ever measured
	newest time.Time // ReadyAt of the newest that was measured
	p95    time.Duration
}

// startupGuess stands in for the start-up time while none was measured.
const startupGuess = 2 * time.Second

// see measures the instances that became ready since it was last called.
func (s *startups) see(instances []swell.Instance) {
	newest, fresh := s.newest, false
	for i := range instances {
		x := &instances[i]
		if x.State != swell.Ready || !x.ReadyAt.After(s.newest) || x.Created.IsZero() {
			continue
		}
		if d := x.ReadyAt.Sub(x.Created); d >= 0 {
			s.recent[s.n%len(s.recent)] = d
			s.n++
			fresh = true
		}
		if x.ReadyAt.After(newest) {
			newest = x.ReadyAt
		}
	}
	s.newest = newest
	if !fresh {
		return
	}
	sorted := slices.Clone(s.recent[:min(s.n, len(s.recent))])
	slices.Sort(sorted)
	s.p95 = sorted[(len(sorted)*95+99)/100-1]
}

// typical returns the 95th percentile of the recent start-up times, and false if
// it is only a guess.
func (s *startups) typical() (time.Duration, bool) {
	if s.n == 0 {
		return startupGuess, false
	}
	return s.p95, true
}
