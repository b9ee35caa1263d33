package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"swell"
)

// SimulatedOptions are the options of [NewSimulated]. The funcs may be nil, and
// may be called from several goroutines.
type SimulatedOptions struct {
	Quiet func(ctx context.Context, instance string) error // see Options
	Sink  swell.Sink                                       // see Options
	Log   *slog.Logger                                     // see Options

	// Startup is how long an instance takes to be ready; nil is 0.
	Startup func(w swell.Workload, slot int) time.Duration
	// Crash is how long after its start the n-th instance of a slot (from 0)
	// crashes; 0 or less, and nil, is never.
	Crash func(w swell.Workload, slot, n int) time.Duration
	// Hang is how long after its start it stops to answer health checks; as Crash.
	Hang func(w swell.Workload, slot, n int) time.Duration
	// Stopping is how long it takes to end once it was asked; nil is 0.
	Stopping func(w swell.Workload, slot int) time.Duration
	// Addr is where an instance serves; nil gives each an address of its own in
	// 198.18.0.0/15, the network for benchmarks.
	Addr func(w swell.Workload, slot int, id string) string
	// Up is called when an instance can serve, just before its first check passes;
	// down, which it returns and which may be nil, when it can't any more.
	Up func(i swell.Instance) (down func())
	// Usage is what an instance uses now; nil is nothing.
	Usage func(i swell.Instance) (cpu float64, memory int64)
}

// Simulated is a driver whose instances are but entries in a table. It keeps to
// the time of package time, which in a bubble of testing/synctest is virtual.
type Simulated struct {
	*Driver
	rt *simulation
}

// NewSimulated makes a simulated driver.
func NewSimulated(o SimulatedOptions) *Simulated {
	rt := &simulation{o: o, running: map[string]*simulated{}, starts: map[simulatedSlot]int{}}
	return &Simulated{rt: rt, Driver: New(rt, Options{Quiet: o.Quiet, Sink: o.Sink, Log: o.Log})}
}

// Crash ends an instance as if it had crashed now. It reports whether the
// instance was running.
func (s *Simulated) Crash(id string) bool {
	r := s.rt.get(id)
	if r == nil {
		return false
	}
	r.finish(Exit{Reason: "crashed", Last: "simulated crash"})
	return true
}

// Hang makes an instance fail its health checks from now on. It reports whether
// the instance was running.
func (s *Simulated) Hang(id string) bool {
	r := s.rt.get(id)
	if r == nil {
		return false
	}
	r.hang()
	return true
}

// simulation is the runtime of simulated instances.
type simulation struct {
	o SimulatedOptions

	mu      sync.Mutex
	running map[string]*simulated
	starts  map[simulatedSlot]int
	next    uint32 // of addresses
	last    time.Time
}

type simulatedSlot struct {
	key
	slot int
}

// simulated is one instance. Its times are those of its timers.
type simulated struct {
	rt       *simulation
	instance swell.Instance
	stopping time.Duration
	exited   chan Exit

	mu     sync.Mutex
	timers []*time.Timer
	up     bool
	hung   bool
	over   bool
	asked  bool
	down   func()
}

func (s *simulation) get(id string) *simulated {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[id]
}

// Open implements [Runtime].
func (s *simulation) Open() (func(), error) { return func() {}, nil }

// Check implements [Runtime]. A simulated program is there if its name is.
func (s *simulation) Check(w swell.Workload) error {
	if len(w.Run.Command) == 0 {
		return fmt.Errorf("service %s: it has no command", w.Service)
	}
	return nil
}

// Start implements [Runtime].
func (s *simulation) Start(id string, slot int, w swell.Workload, out Output) (Running, Place, error) {
	if err := s.Check(w); err != nil {
		return nil, Place{}, err
	}
	k := simulatedSlot{key{w.Service, w.Revision}, slot}
	s.mu.Lock()
	n := s.starts[k]
	s.starts[k]++
	s.next++
	addr := net.JoinHostPort(fmt.Sprintf("198.18.%d.%d", s.next>>8&255, s.next&255), strconv.Itoa(cmp.Or(w.Run.Port, 80)))
	s.mu.Unlock()
	if s.o.Addr != nil {
		addr = s.o.Addr(w, slot, id)
	}
	r := &simulated{
		rt: s, exited: make(chan Exit, 1),
		instance: swell.Instance{
			ID: id, Service: w.Service, Revision: w.Revision, Slot: slot, Addr: addr, Created: time.Now(),
		},
	}
	if s.o.Stopping != nil {
		r.stopping = s.o.Stopping(w, slot)
	}
	var startup time.Duration
	if s.o.Startup != nil {
		startup = s.o.Startup(w, slot)
	}
	s.mu.Lock()
	s.running[id] = r
	s.mu.Unlock()
	out.Line("stdout", fmt.Appendf(nil, "simulated, ready in %v", startup))
	if startup > 0 {
		r.after(startup, r.serve)
	} else {
		r.serve()
	}
	if s.o.Crash != nil {
		if t := s.o.Crash(w, slot, n); t > 0 {
			r.after(t, func() { r.finish(Exit{Reason: "crashed", Last: "simulated crash"}) })
		}
	}
	if s.o.Hang != nil {
		if t := s.o.Hang(w, slot, n); t > 0 {
			r.after(t, r.hang)
		}
	}
	return r, Place{Addr: addr}, nil
}

// Usage implements [Runtime].
func (s *simulation) Usage() []Usage {
	now := time.Now()
	s.mu.Lock()
	window := now.Sub(s.last)
	first := s.last.IsZero()
	s.last = now
	all := make([]*simulated, 0, len(s.running))
	for _, r := range s.running {
		all = append(all, r)
	}
	s.mu.Unlock()
	if s.o.Usage == nil || first || window <= 0 {
		return nil
	}
	out := make([]Usage, 0, len(all))
	for _, r := range all {
		cpu, memory := s.o.Usage(r.instance)
		out = append(out, Usage{ID: r.instance.ID, Window: window, CPU: cpu, Memory: memory})
	}
	slices.SortFunc(out, func(a, b Usage) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// after runs f later, unless the instance has ended by then.
func (r *simulated) after(t time.Duration, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.timers = append(r.timers, time.AfterFunc(t, f))
	}
}

func (r *simulated) serve() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if r.rt.o.Up != nil {
		r.down = r.rt.o.Up(r.instance)
	}
	r.up = true
}

func (r *simulated) hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hung = true
}

// finish ends the instance, once.
func (r *simulated) finish(e Exit) {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	r.over = true
	for _, t := range r.timers {
		t.Stop()
	}
	down := r.down
	r.mu.Unlock()
	if down != nil {
		down()
	}
	r.rt.mu.Lock()
	delete(r.rt.running, r.instance.ID)
	r.rt.mu.Unlock()
	r.exited <- e
}

// Errors of simulated health checks.
var (
	errNotUp = errors.New("simulated: it is starting")
	errHangs = errors.New("simulated: it hangs")
)

// Probe implements [Running]. One that hangs lets the caller wait.
func (r *simulated) Probe(ctx context.Context, _ swell.Health) error {
	r.mu.Lock()
	up, hung := r.up, r.hung
	r.mu.Unlock()
	switch {
	case hung:
		<-ctx.Done()
		return errHangs
	case !up:
		return errNotUp
	}
	return nil
}

// End implements [Running].
func (r *simulated) End(kill bool) {
	if kill {
		r.finish(Exit{Reason: "killed"})
		return
	}
	r.mu.Lock()
	first := !r.asked
	r.asked = true
	r.mu.Unlock()
	switch {
	case !first:
	case r.stopping <= 0:
		r.finish(Exit{Reason: "ended"})
	default:
		r.after(r.stopping, func() { r.finish(Exit{Reason: "ended"}) })
	}
}

// Exited implements [Running].
func (r *simulated) Exited() <-chan Exit { return r.exited }
