package sim

import (
	"math"
	"time"
)

// Score is what a policy made of a load.
//
// A second is bad when more arrived in the last five, on average, than nine tenths of
// what the ready instances can serve, or when the backlog is more than they serve in
// 0.2 s; all requests that arrive in it are bad. The ideal is, at every moment, the
// fewest instances that the load keeps at most nine tenths busy. θ, τ, instability and
// jitter are the SPEC Research Group's elasticity metrics (Herbst et al. 2013 and 2018),
// with the ideal as demand and the ready instances as supply.
type Score struct {
	Policy        string  `json:"policy"`
	Target        float64 `json:"target,omitempty"` // of the capacity; 0 is the policy's own
	Trace         string  `json:"trace"`
	Startup       string  `json:"startup"`
	Days          float64 `json:"days"`
	Requests      float64 `json:"requests"`
	Bad           float64 `json:"bad_percent"`           // requests in bad seconds
	Violation     float64 `json:"violation_minutes_day"` // minutes with more than 1 % bad requests
	Dropped       float64 `json:"dropped_percent"`
	InstanceHours float64 `json:"instance_hours"`
	IdealHours    float64 `json:"ideal_hours"`
	Cost          float64 `json:"cost"` // instance-hours over the ideal's
	ThetaU        float64 `json:"theta_u"`
	ThetaO        float64 `json:"theta_o"`
	TauU          float64 `json:"tau_u"`
	TauO          float64 `json:"tau_o"`
	Instability   float64 `json:"instability"`
	Jitter        float64 `json:"jitter_hour"` // supply changes over demand changes, per hour
	Actions       float64 `json:"actions_day"`
	Reversals     float64 `json:"reversals_day"` // actions against the direction of the one before
	Peak          int     `json:"peak_instances"`
	Series        *Series `json:"series,omitempty"`

	o         *Options
	warmup    int
	recent    [5]float64
	sum       float64 // of recent
	lastDem   int
	lastSup   int
	seconds   int
	bad       float64
	dropped   float64
	ideal     float64 // instance-seconds
	instances float64
	underSum  float64
	overSum   float64
	under     int
	over      int
	unstable  int
	supplied  int // changes
	demanded  int
	minute    struct{ all, bad float64 }
	violated  int
	actions   int
	reversals int
	direction int
}

// Series is the course of a simulation: means over equal steps.
type Series struct {
	Start    time.Time `json:"start"`
	Step     float64   `json:"step"`     // seconds
	Load     []float64 `json:"load"`     // requests a second
	Capacity []float64 `json:"capacity"` // requests a second that the ready instances serve
	Started  []float64 `json:"started"`  // instances, those that start or drain too
	Bad      []float64 `json:"bad"`      // share of the requests that are bad

	size           int
	arrived, worse float64
	n              int
	capacity       float64
	started        float64
}

func newScore(o *Options, p Spec) *Score {
	s := &Score{Policy: p.String(), Target: p.Target, Trace: o.Arrivals.Load.Name, Startup: o.Startup.String(), o: o, warmup: int(o.Warmup.Seconds())}
	if o.Points > 0 {
		size := max(1, (len(o.Arrivals.N)-s.warmup+o.Points-1)/o.Points)
		s.Series = &Series{Start: o.Arrivals.Load.Start.Add(time.Duration(s.warmup) * time.Second), Step: float64(size), size: size}
	}
	return s
}

// busyMost is how busy the ideal keeps its instances.
const busyMost = 0.9

func (s *Score) second(t int, arrived, dropped, capacity float64, r *run) {
	i := t % len(s.recent)
	s.sum += arrived - s.recent[i]
	s.recent[i] = arrived
	f := &r.fleet
	rate := float64(s.o.Arrivals.Rate[t])
	demand := max(int(math.Ceil(rate/(busyMost*s.o.Capacity)-1e-9)), r.service.Scale.Min)
	supply := f.ready
	first := s.seconds == 0
	dd, ds := demand-s.lastDem, supply-s.lastSup
	s.lastDem, s.lastSup = demand, supply
	if t < s.warmup {
		return
	}
	s.seconds++
	n := float64(min(t+1, len(s.recent)))
	bad := s.sum/n > busyMost*capacity+1e-9 || r.backlog > 0.2*capacity
	all := len(f.all) + len(f.draining)
	s.Requests += arrived
	s.dropped += dropped
	s.ideal += float64(demand)
	s.instances += float64(all)
	s.Peak = max(s.Peak, all)
	s.minute.all += arrived
	if bad {
		s.bad += arrived
		s.minute.bad += arrived
	}
	if s.seconds%60 == 0 {
		if s.minute.bad > 0.01*s.minute.all {
			s.violated++
		}
		s.minute.all, s.minute.bad = 0, 0
	}
	if demand > 0 {
		if gap := float64(demand-supply) / float64(demand); gap > 0 {
			s.underSum += gap
			s.under++
		} else if gap < 0 {
			s.overSum -= gap
			s.over++
		}
	}
	if !first {
		if sign(dd) != sign(ds) {
			s.unstable++
		}
		if dd != 0 {
			s.demanded++
		}
		if ds != 0 {
			s.supplied++
		}
	}
	if s.Series != nil {
		s.Series.add(arrived, capacity, float64(all), bad)
	}
}

func sign(n int) int {
	switch {
	case n > 0:
		return 1
	case n < 0:
		return -1
	}
	return 0
}

func (s *Score) acted(t, by int) {
	if d := sign(by); t >= s.warmup {
		s.actions++
		if d != s.direction && s.direction != 0 {
			s.reversals++
		}
		s.direction = d
	} else {
		s.direction = d
	}
}

func (x *Series) add(arrived, capacity, started float64, bad bool) {
	x.n++
	x.arrived += arrived
	x.capacity += capacity
	x.started += started
	if bad {
		x.worse += arrived
	}
	if x.n == x.size {
		x.flush()
	}
}

func (x *Series) flush() {
	if x.n == 0 {
		return
	}
	n := float64(x.n)
	x.Load = append(x.Load, x.arrived/n)
	x.Capacity = append(x.Capacity, x.capacity/n)
	x.Started = append(x.Started, x.started/n)
	x.Bad = append(x.Bad, share(x.worse, x.arrived))
	x.n, x.arrived, x.capacity, x.started, x.worse = 0, 0, 0, 0, 0
}

// share is a part of a whole, 0 of nothing.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return part / whole
}

func (s *Score) finish() {
	t := float64(s.seconds)
	s.Days = t / 86400
	s.Bad = 100 * share(s.bad, s.Requests)
	s.Dropped = 100 * share(s.dropped, s.Requests)
	s.Violation = float64(s.violated) / s.Days
	s.InstanceHours, s.IdealHours = s.instances/3600, s.ideal/3600
	s.Cost = share(s.instances, s.ideal)
	s.ThetaU, s.ThetaO = 100*s.underSum/t, 100*s.overSum/t
	s.TauU, s.TauO = 100*float64(s.under)/t, 100*float64(s.over)/t
	s.Instability = 100 * float64(s.unstable) / t
	s.Jitter = float64(s.supplied-s.demanded) / (t / 3600)
	s.Actions, s.Reversals = float64(s.actions)/s.Days, float64(s.reversals)/s.Days
	if s.Series != nil {
		s.Series.flush()
	}
	s.o = nil
}
