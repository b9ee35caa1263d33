package scale

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"swell"
	"swell/internal/latest"
)

// Options are what a Scaler is made of. Apps, Instances and Out are needed.
type Options struct {
	Apps      *latest.Cell[swell.App]
	Instances *latest.Cell[[]swell.Instance]
	Out       *latest.Cell[[]swell.Decision] // written by the Scaler alone; one a service, sorted
	Every     time.Duration                  // between evaluations; 1 s if 0
	Log       *slog.Logger                   // changes of counts; none if nil
}

// Scaler is the loop that decides on every service of the app, once a second and
// at once when requests wait for a service that has no instance. It is a
// swell.Sink: data planes and drivers report their signals to it. All methods
// may be called at any time, by anyone.
type Scaler struct {
	opt  Options
	poke chan struct{}

	mu       sync.Mutex
	signals  signals
	ratios   ratios
	services map[string]*service
}

type service struct {
	state      State
	record     record
	floor      int
	floorUntil time.Time
}

// New makes a Scaler; Run runs it.
func New(opt Options) *Scaler {
	if opt.Every <= 0 {
		opt.Every = time.Second
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	return &Scaler{opt: opt, poke: make(chan struct{}, 1), services: map[string]*service{}}
}

// Run decides until ctx ends, and returns its error.
func (s *Scaler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opt.Every)
	defer tick.Stop()
	for {
		_, _, changed := s.opt.Apps.Next()
		s.evaluate(time.Now())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-s.poke:
			tick.Reset(s.opt.Every) // ticks are for when no data plane is heard
		case <-changed:
		}
	}
}

// Report takes signals; newer ones of the same source, service and instance
// replace older ones. What a data plane reports in turn, and requests that wait
// for a service at zero, are decided on at once.
func (s *Scaler) Report(_ context.Context, in []swell.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wake := false
	for _, x := range in {
		sv := s.services[x.Service]
		if sv == nil && len(s.services) > 0 {
			continue // of no service that there is
		}
		s.signals.put(x)
		wake = wake || x.Waiting > 0 && sv != nil && sv.state.current == 0
		// What a data plane tells in turn is decided on at once, not at the next tick.
		wake = wake || x.Instance == "" && x.Window >= s.opt.Every/2
	}
	if wake {
		s.wake()
	}
	return nil
}

func (s *Scaler) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Floor asks for at least n instances of the service until then, within its
// bounds; n of 0 takes it back. A service that is not there is ignored.
func (s *Scaler) Floor(name string, n int, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sv := s.services[name]; sv != nil {
		sv.floor, sv.floorUntil = n, until
		s.wake()
	}
}

// Decisions returns the last hundred decisions of a service that changed
// something, oldest first.
func (s *Scaler) Decisions(name string) []swell.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sv := s.services[name]; sv != nil {
		return slices.Clone(sv.record.changes)
	}
	return nil
}

// Latest returns the newest evaluation of a service, which most often changed
// nothing, and false if there is none.
func (s *Scaler) Latest(name string) (swell.Decision, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sv := s.services[name]
	if sv == nil || sv.record.newest.At.IsZero() {
		return swell.Decision{}, false
	}
	return sv.record.newest, true
}

// Learned is what was learned of one instance of a service.
type Learned struct {
	PerSecond  float64       // requests that it can do; 0 while unknown
	Confidence float64       // in [0, 1]
	From       string        // "saturation" or "latency"
	Startup    time.Duration // 95th percentile; 0 while none was measured
}

// Learned returns what was learned of a service, and false if there is none of
// that name.
func (s *Scaler) Learned(name string) (Learned, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sv := s.services[name]
	if sv == nil {
		return Learned{}, false
	}
	var l Learned
	l.PerSecond, l.Confidence, l.From = sv.state.capacity.Estimate()
	if d, ok := sv.state.startups.typical(); ok {
		l.Startup = d
	}
	return l, true
}

// full tells of a service whether it can't get more instances than it has.
func (s *Scaler) full(app *swell.App) func(string) bool {
	most := make(map[string]int, len(app.Services))
	for i := range app.Services {
		most[app.Services[i].Name] = app.Services[i].Scale.Max
	}
	return func(name string) bool {
		sv := s.services[name]
		return sv == nil || sv.state.current >= most[name]
	}
}

// evaluate decides on every service and publishes if anything changed.
func (s *Scaler) evaluate(now time.Time) {
	app, ok := s.opt.Apps.Get()
	if !ok {
		return
	}
	instances, _ := s.opt.Instances.Get()
	s.mu.Lock()
	defer s.mu.Unlock()

	byService := map[string][]swell.Instance{}
	ids := make(map[string]bool, len(instances))
	for _, x := range instances {
		byService[x.Service] = append(byService[x.Service], x)
		ids[x.ID] = true
	}
	names := make(map[string]bool, len(app.Services))
	for i := range app.Services {
		names[app.Services[i].Name] = true
	}
	s.signals.prune(now, names, ids)
	loads, cpu := s.signals.loads(now)
	downstream(&app, loads)
	s.ratios.chain(&app, loads, s.full(&app))

	out := make([]swell.Decision, 0, len(app.Services))
	changed := false
	for i := range app.Services {
		svc := app.Services[i]
		if len(svc.Address) > 0 {
			delete(names, svc.Name) // not ours to run
			continue
		}
		sv := s.services[svc.Name]
		if sv == nil {
			sv = &service{}
			s.services[svc.Name] = sv
		}
		if !sv.floorUntil.After(now) {
			sv.floor = 0
		}
		before := sv.record.public.Replicas
		d := Decide(Input{Now: now, Service: svc, Instances: byService[svc.Name],
			Load: loads[svc.Name], CPU: cpu[svc.Name], Floor: sv.floor}, &sv.state)
		if sv.record.add(d) {
			changed = true
			if d.Replicas != before { // another reason for the same count is no news
				s.opt.Log.Info("scale", "service", d.Service, "from", before, "to", d.Replicas, "by", d.By, "reason", d.Reason)
			}
		}
		out = append(out, sv.record.public)
	}
	for name := range s.services {
		if !names[name] {
			delete(s.services, name)
			changed = true
		}
	}
	slices.SortFunc(out, func(a, b swell.Decision) int { return cmp.Compare(a.Service, b.Service) })
	if _, set := s.opt.Out.Get(); changed || !set {
		s.opt.Out.Set(out)
	}
}
