package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"swell"
	"swell/internal/scale"
)

// Options say what is simulated.
type Options struct {
	Arrivals *Arrivals
	Service  swell.Service // its scale; see [DefaultService]
	Capacity float64       // requests a second that one instance serves
	Latency  time.Duration // that a request takes when nothing queues
	Startup  Startup
	Backlog  time.Duration // what the ready instances work off in it is kept; more is dropped
	Drain    time.Duration // that an instance takes to end
	Warmup   time.Duration // of the load, in which nothing is scored
	Seed     uint64        // of the start-up times
	Points   int           // of the series; 0 is no series
}

// Defaults of [Options].
const (
	DefaultCapacity = 50
	DefaultLatency  = 80 * time.Millisecond
	DefaultBacklog  = 5 * time.Second
)

// DefaultService is a service with no goal, bounds that bind nothing and the
// manifest's defaults.
func DefaultService() swell.Service {
	return swell.Service{Name: "service", Scale: swell.Scale{Min: 1, Max: 1000,
		Up:   swell.Behavior{Period: 15 * time.Second},
		Down: swell.Behavior{Stabilization: 5 * time.Minute, Period: 15 * time.Second},
		Idle: 5 * time.Minute, Hold: swell.Hold{Max: 10_000, Timeout: time.Minute}}}
}

// workers is how many requests an instance serves at a time.
func (o *Options) workers() float64 { return max(1, o.Capacity*o.Latency.Seconds()) }

func (o *Options) check() error {
	switch {
	case o.Arrivals == nil:
		return errors.New("there is no load to simulate")
	case !(o.Capacity > 0) || o.Capacity > 1e9:
		return fmt.Errorf("a capacity of %v/s can't be simulated; it must be more than 0/s", o.Capacity)
	case o.Latency <= 0 || o.Backlog <= 0 || o.Drain < 0:
		return errors.New("latency and backlog must be more than 0s, drain at least 0s")
	case o.Warmup < 0 || int(o.Warmup.Seconds()) > len(o.Arrivals.N)-60:
		return fmt.Errorf("a warm-up of %v leaves less than a minute of %v to score", o.Warmup, o.Arrivals.Load.Span())
	case o.Service.Scale.Max < 1 || o.Service.Scale.Max < o.Service.Scale.Min:
		return errors.New("the service can have no instance")
	}
	return nil
}

// Run simulates one policy.
func Run(ctx context.Context, o Options, p Spec) (*Score, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	policy, svc, err := p.make(&o)
	if err != nil {
		return nil, err
	}
	s := newScore(&o, p)
	r := &run{o: &o, service: svc, policy: policy, every: 1, hold: max(float64(svc.Scale.Hold.Max), 1), cores: svc.Scale.CPU,
		fleet: fleet{start: o.Arrivals.Load.Start, service: svc.Name, startup: o.Startup, drain: o.Drain.Seconds(), next: never,
			rnd: rand.New(rand.NewPCG(o.Seed, 0x57a7))}}
	if r.cores <= 0 {
		r.cores = 1
	}
	if paced, ok := policy.(scale.Paced); ok {
		r.every = max(1, int(paced.Every()/time.Second))
	}
	// Whoever looks each second reads CPU only for a target of it.
	r.cpu = r.every >= 5 || svc.Scale.Targets.CPU > 0
	r.begin()
	for t := range o.Arrivals.N {
		if t%65536 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.second(t, s)
	}
	s.finish()
	return s, nil
}

// run is a simulation under way.
type run struct {
	o       *Options
	service swell.Service
	policy  scale.Policy
	every   int // seconds between two decisions
	cpu     bool
	cores   float64
	hold    float64
	fleet   fleet
	backlog float64
	held    float64 // of backlog, since before an instance was ready

	used   float64 // sum of the utilisation of an instance over the seconds
	before float64 // the same at the decision before
	// Since the decision before:
	arrived, served, inflight, latency float64
	decided                            int
}

// begin starts as many instances as the load's first second needs, ready.
func (r *run) begin() {
	first := float64(r.o.Arrivals.Rate[0])
	n := int(math.Ceil(first / (UsualTarget * r.o.Capacity)))
	n = max(min(n, r.service.Scale.Max), r.service.Scale.Min)
	f := &r.fleet
	f.scale(0, n)
	for i := range f.all {
		x := &f.all[i]
		x.Created, x.ReadyAt, x.State = f.start.Add(-time.Duration(f.extra[i].ready*float64(time.Second))), f.start, swell.Ready
		f.extra[i].ready = 0
	}
	f.ready, f.next, r.decided = n, never, n
}

// second lets one second pass and asks the policy at its end, if it is time.
func (r *run) second(t int, s *Score) {
	o, f := r.o, &r.fleet
	f.step(float64(t), r.used)
	arrived := float64(o.Arrivals.N[t])
	capacity := float64(f.ready) * o.Capacity
	served := min(r.backlog+arrived, capacity)
	left := r.backlog + arrived - served
	bound := max(o.Backlog.Seconds()*capacity, r.held)
	if f.ready == 0 {
		bound = r.hold
	}
	dropped := max(0, left-bound)
	left -= dropped
	// What the waiting room held for the first instance is not dropped when that comes.
	if f.ready == 0 {
		r.held = left
	} else {
		r.held = min(r.held, left)
	}
	queue := (r.backlog + left) / 2 // mean over the second
	r.backlog = left

	latency := o.Latency.Seconds()
	if f.ready > 0 {
		busy := served / capacity
		r.used += busy
		latency += wait(busy, float64(f.ready)*o.workers(), latency) + queue/capacity
		r.inflight += served*latency + (queue - served*queue/capacity)
	}
	r.arrived += arrived
	r.served += served
	r.latency += served * latency
	s.second(t, arrived, dropped, capacity, r)
	if (t+1)%r.every == 0 {
		r.decide(t+1, s)
	}
}

// wait is how long a request waits on average in an M/M/c queue at a utilisation
// below 1 (Sakasegawa's approximation, 1977), when all of the c workers serve one
// queue. Beyond, the backlog says it.
func wait(busy, c, service float64) float64 {
	if busy < 0.3 || busy < 0.7 && c > 40 {
		return 0 // less than a thousandth
	}
	busy = min(busy, 0.99)
	return service * math.Pow(busy, math.Sqrt(2*(c+1))-1) / (c * (1 - busy))
}

// decide shows the policy what live code would measure, and does what it says.
func (r *run) decide(t int, s *Score) {
	f := &r.fleet
	now := f.clock(float64(t))
	w := float64(r.every)
	load := scale.Load{At: now, Window: time.Duration(r.every) * time.Second,
		Rate: r.arrived / w, Done: r.served / w, Inflight: r.inflight / w}
	if f.ready == 0 {
		load.Waiting = int(r.backlog)
	}
	if r.served > 0 {
		mean := r.latency / r.served
		d := func(part float64) time.Duration {
			// The shape of what a request takes beside its wait: half above the mean
			// at the 95th percentile, and twice at the 99th.
			return time.Duration((mean + (part-1)*r.o.Latency.Seconds()) * float64(time.Second))
		}
		load.Latency = swell.Latency{Count: int64(r.served + 0.5), Mean: d(1), P50: d(0.95), P95: d(1.5), P99: d(2)}
	}
	in := scale.Input{Now: now, Service: r.service, Instances: f.all, Load: load}
	if r.cpu {
		in.CPU = f.cpu(float64(t), w, r.used, r.before, r.cores)
	}
	r.before, r.arrived, r.served, r.inflight, r.latency = r.used, 0, 0, 0, 0
	d := r.policy.Decide(in)
	if d.Replicas != r.decided {
		s.acted(t, d.Replicas-r.decided)
		r.decided = d.Replicas
	}
	if d.Replicas != len(f.all) {
		f.scale(float64(t), d.Replicas)
	}
}
