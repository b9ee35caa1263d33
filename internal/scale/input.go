package scale

import (
	"time"

	"swell"
)

// Input is everything that a decision about one service is made of, beside what
// was learned before.
type Input struct {
	Now       time.Time
	Service   swell.Service
	Instances []swell.Instance // of the service, in any order
	Load      Load
	CPU       []Usage // of its instances; old ones are ignored
	Floor     int     // a count that was asked for by hand; 0 is none
}

// Load is what the data planes measured of a service, all of them together.
type Load struct {
	At       time.Time     // of the newest measurement; zero: there never was one
	Window   time.Duration // that the means are of
	Rate     float64       // arrivals per second
	Done     float64       // requests that ended, per second
	Errors   float64       // of Done, those that failed
	Inflight float64       // requests at instances, mean
	Waiting  int           // requests held because there is no instance
	Latency  swell.Latency
	Calls    []swell.Calls // Rate by caller

	// Downstream is how many of Inflight are in fact at the services that this
	// one calls: a queue there is not cured by instances here.
	Downstream float64

	// Excess is how many of Rate come only because callers work off a backlog;
	// negative: how many more will come once callers keep up.
	Excess float64
}

// Usage is the CPU that one instance used.
type Usage struct {
	Instance string
	At       time.Time
	Cores    float64
}

// Times that a measurement is trusted for.
const (
	freshLoad = 5 * time.Second
	freshCPU  = 15 * time.Second
)

// meanReady returns how many instances were ready in the window of the load, on
// average: one that got ready in its middle counts half.
func meanReady(in *Input) (n float64) {
	w := in.Load.Window.Seconds()
	for i := range in.Instances {
		if x := &in.Instances[i]; x.State == swell.Ready {
			n += min(max(in.Load.At.Sub(x.ReadyAt).Seconds()/w, 0), 1)
		}
	}
	return n
}

// counts are the instances of a service by what they can be hoped to carry.
type counts struct {
	ready    int
	starting int
	failing  int       // of starting: ended before and were started again
	changed  time.Time // when an instance last became ready
}

func count(in *Input) counts {
	var c counts
	for i := range in.Instances {
		switch x := &in.Instances[i]; x.State {
		case swell.Ready:
			c.ready++
			if x.ReadyAt.After(c.changed) {
				c.changed = x.ReadyAt
			}
		case swell.Starting:
			c.starting++
			if x.Restarts >= 2 {
				c.failing++
			}
		}
	}
	return c
}
