// Package driver makes workloads true on a runtime and tells what it sees.
//
// A [Runtime] starts and ends single instances; [Driver], the supervisor, makes
// of any such runtime a [swell.Driver] that keeps replica counts, finds out
// readiness, restarts what crashed, ends gracefully, and reports usage. There are
// two runtimes: processes on this machine ([NewProcess]) and a simulation in
// memory ([NewSimulated]), which obeys the virtual time of testing/synctest.
//
// # The life of an instance
//
// A slot is one of a workload's replicas. It always has one instance that is not
// ending: first Starting, probed every few milliseconds, then Ready, probed at
// the workload's interval. An instance that exits is Gone, and the slot gets
// another, with a new ID: at once if it had been ready for a while, else after a
// back-off that doubles from 100 ms to 30 s. While it backs off, the next
// instance is there already, Starting and without an address, and its Reason says
// what happened. An instance that is ready and fails its checks is Draining at
// once, and ends beside the new one's start. An instance that ends on purpose is
// Draining first, then its exchanges may end, then it is asked to end, then
// killed.
package driver

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"swell"
	"swell/internal/latest"
)

// Options are what the supervisor needs beside a runtime. All are optional.
type Options struct {
	// Quiet returns once no exchange is in flight to the instance and none will
	// come; it ends early, with ctx's error, when ctx does. It is asked after the
	// instance was seen Draining, for at most Stop.Drain.
	Quiet func(ctx context.Context, instance string) error
	Sink  swell.Sink    // gets CPU and memory of each instance, every second
	Log   *slog.Logger  // what operators should know
	Logs  string        // the folder for output files; "" keeps output in memory alone
	Limit OutputLimits  // zero fields are defaults
	Every time.Duration // between measurements of usage; 0 is a second
}

// Driver keeps workloads true on a runtime. Run does the work.
type Driver struct {
	o    Options
	rt   Runtime
	out  *output
	seen latest.Cell[[]swell.Instance]
	wake chan struct{} // holds one: reconcile
	kill chan struct{} // closed by Kill

	mu        sync.Mutex
	groups    map[key]*group
	instances map[string]*record
	ages      uint64 // the newest group's age
	stopped   bool
	killed    bool
	frozen    *freeze        // nil: all goes on
	cold      chan struct{}  // closed while frozen
	handed    []*slot        // that were handed over, until Run
	tasks     sync.WaitGroup // of Run: slots, and instances that end beside their slot
}

var _ swell.Driver = (*Driver)(nil)

type key struct{ service, revision string }

// record is an instance as it is published, and when it may be forgotten.
type record struct {
	swell.Instance
	gone time.Time
}

// lingers is how long an instance that is Gone stays in what Watch shows, so that
// a reader that looks now and then sees it too.
const lingers = time.Second

// New makes a driver of a runtime.
func New(rt Runtime, o Options) *Driver {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	d := &Driver{
		o: o, rt: rt,
		out:       newOutput(o.Limit),
		wake:      make(chan struct{}, 1),
		kill:      make(chan struct{}),
		cold:      make(chan struct{}),
		groups:    map[key]*group{},
		instances: map[string]*record{},
	}
	d.seen.Set([]swell.Instance{})
	return d
}

// ErrStopped is the error of an Apply after the driver's end.
var ErrStopped = errors.New("the driver has stopped")

// Apply implements [swell.Driver]. A workload that the runtime's Check refuses is
// named in the error, and is tried again with back-off: the program may come.
func (d *Driver) Apply(_ context.Context, want []swell.Workload) error {
	var errs []error
	next := make(map[key]swell.Workload, len(want))
	for _, w := range want {
		k := key{w.Service, w.Revision}
		_, twice := next[k]
		switch {
		case w.Service == "" || w.Revision == "":
			errs = append(errs, fmt.Errorf("workload %q, revision %q: it needs both names", w.Service, w.Revision))
		case twice:
			errs = append(errs, fmt.Errorf("service %s: revision %s is there twice", w.Service, w.Revision))
		case w.Replicas < 0:
			errs = append(errs, fmt.Errorf("service %s: %d replicas; the least is 0", w.Service, w.Replicas))
		default:
			next[k] = w
			if w.Replicas == 0 {
				continue
			}
			if err := d.rt.Check(w); err != nil {
				errs = append(errs, err)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return ErrStopped
	}
	for k, g := range d.groups {
		if _, ok := next[k]; !ok {
			g.workload.Replicas = 0
			g.age = 0
		}
	}
	for k, w := range next {
		g := d.groups[k]
		if g == nil {
			g = &group{slots: map[int]*slot{}}
			d.groups[k] = g
		}
		if w.Replicas > g.workload.Replicas {
			d.ages++
			g.age, g.yielded = d.ages, false
		}
		g.workload = w
	}
	d.poke()
	return errors.Join(errs...)
}

// Watch implements [swell.Driver]. An instance that is Gone is shown for a second.
func (d *Driver) Watch(ctx context.Context, seen func([]swell.Instance) error) error {
	return d.seen.Follow(ctx, seen)
}

// Run keeps what was applied true until ctx ends, then ends all instances, in
// parallel and gracefully, and returns nil when all are gone. It is called once.
// Its error tells why the runtime can't be used.
func (d *Driver) Run(ctx context.Context) error {
	shut, err := d.rt.Open()
	if err != nil {
		d.mu.Lock()
		d.stopped = true
		d.mu.Unlock()
		return err
	}
	d.takeOver()
	writer, stopWriter := d.spawn(func(ctx context.Context) { d.out.write(ctx, d.o.Logs, d.o.Log) })
	usage := time.NewTicker(d.o.Every)
	defer usage.Stop()
	for ctx.Err() == nil && !d.isKilled() {
		d.reconcile()
		select {
		case <-ctx.Done():
		case <-d.kill:
		case <-d.wake:
		case <-usage.C:
			d.sweep(time.Now())
			d.report(ctx)
		}
	}
	d.mu.Lock()
	d.stopped = true
	for _, g := range d.groups {
		g.workload.Replicas = 0
	}
	d.mu.Unlock()
	d.reconcile()
	d.tasks.Wait()
	shut()
	stopWriter()
	<-writer
	return nil
}

// spawn runs f with a context of its own; the channel is closed when f has ended.
func (d *Driver) spawn(f func(context.Context)) (<-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return done, cancel
}

// Kill ends all instances without grace, now or while Run drains, and makes Run
// return. It may be called often.
func (d *Driver) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.killed {
		d.killed = true
		close(d.kill)
	}
}

// Tail returns the newest n lines that the service's instances wrote, oldest
// first; "" is all services.
func (d *Driver) Tail(service string, n int) []swell.Line { return d.out.tail(service, n) }

// Follow calls use with the lines after since that are still held, then with each
// new batch, until ctx ends or use fails, whose error it returns. A reader that is
// slower than the writers misses lines: the gap shows in Seq.
func (d *Driver) Follow(ctx context.Context, since uint64, use func([]swell.Line) error) error {
	return d.out.follow(ctx, since, use)
}

func (d *Driver) isKilled() bool {
	select {
	case <-d.kill:
		return true
	default:
		return false
	}
}

// poke makes Run reconcile.
func (d *Driver) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// publish shows what is known. The caller holds mu.
func (d *Driver) publish() {
	all := make([]swell.Instance, 0, len(d.instances))
	for _, r := range d.instances {
		all = append(all, r.Instance)
	}
	slices.SortFunc(all, func(a, b swell.Instance) int { return cmp.Compare(a.ID, b.ID) })
	d.seen.Set(all)
}

// change changes an instance and publishes.
func (d *Driver) change(id string, f func(*swell.Instance)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.instances[id]
	f(&r.Instance)
	if r.State == swell.Gone && r.gone.IsZero() {
		r.gone = time.Now()
	}
	d.publish()
}

// sweep forgets what is Gone for long enough. At the driver's end nothing is
// forgotten: readers learn the end of the last ones too.
func (d *Driver) sweep(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.instances, func(_ string, r *record) bool {
		return r.State == swell.Gone && now.Sub(r.gone) >= lingers
	})
	d.publish()
}

// report measures and tells the sink.
func (d *Driver) report(ctx context.Context) {
	if d.o.Sink == nil {
		return
	}
	used := d.rt.Usage()
	now := time.Now()
	signals := make([]swell.Signal, 0, len(used))
	d.mu.Lock()
	for _, u := range used {
		r := d.instances[u.ID]
		if r == nil || r.State == swell.Gone {
			continue
		}
		signals = append(signals, swell.Signal{
			Service: r.Service, Instance: u.ID, Source: "driver", At: now, Window: u.Window,
			CPU: u.CPU, Memory: u.Memory,
		})
	}
	d.mu.Unlock()
	if len(signals) == 0 {
		return
	}
	slices.SortFunc(signals, func(a, b swell.Signal) int { return cmp.Compare(a.Instance, b.Instance) })
	ctx, cancel := context.WithTimeout(ctx, d.o.Every)
	defer cancel()
	if err := d.o.Sink.Report(ctx, signals); err != nil && ctx.Err() == nil {
		d.o.Log.Warn("usage could not be reported", "error", err)
	}
}

// newID names an instance. The last part is random, so that no other run of Swell
// ever used the name.
func newID(service string, slot int) string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32, none that look alike
	var b [7]byte
	_, _ = rand.Read(b[:]) // it never fails
	for i, c := range b {
		b[i] = letters[c%32]
	}
	return fmt.Sprintf("%s-%d-%s", service, slot, b)
}
