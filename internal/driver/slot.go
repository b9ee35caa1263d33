package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"swell"
)

// group is the slots of one workload. The driver's mu guards it.
type group struct {
	workload swell.Workload
	slots    map[int]*slot // those that are not retired
	age      uint64        // grows with each workload that wants more; the newest gets a fixed port
	yielded  bool          // it gave its fixed port to a newer revision: nothing new starts
}

// slot is one replica: a row of instances, one after the other.
type slot struct {
	group  *group
	number int
	retire chan struct{} // closed when the slot is to end
	id     string        // of the newest instance; guarded by mu

	// Its goroutine's own, which others read while it is parked.
	adopted *adopted  // where it goes on, if it was handed over
	pause   backoff   // before restarts
	due     time.Time // when the newest instance is started, if run is nil
	run     Running   // the newest instance, once started
	in      *freeze   // that it parked in last
}

// reconcile starts and retires slots until each workload has its replica count.
// Missing slots get the lowest free numbers; of too many, those without a ready
// instance go first, then the highest.
func (d *Driver) reconcile() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen != nil && !d.stopped {
		return
	}
	for k, g := range d.groups {
		for n := 0; len(g.slots) < g.workload.Replicas && !g.yielded; n++ {
			if g.slots[n] == nil {
				s := &slot{group: g, number: n, retire: make(chan struct{})}
				g.slots[n] = s
				d.tasks.Go(func() { d.keep(s) })
			}
		}
		for _, s := range d.surplus(g) {
			d.retire(s)
		}
		if g.workload.Replicas == 0 && g.age == 0 {
			delete(d.groups, k)
		}
	}
}

func (d *Driver) surplus(g *group) []*slot {
	n := len(g.slots) - g.workload.Replicas
	if n <= 0 {
		return nil
	}
	all := make([]*slot, 0, len(g.slots))
	for _, s := range g.slots {
		all = append(all, s)
	}
	ready := func(s *slot) int {
		if r := d.instances[s.id]; r != nil && r.State == swell.Ready {
			return 1
		}
		return 0
	}
	slices.SortFunc(all, func(a, b *slot) int {
		return cmp.Or(cmp.Compare(ready(a), ready(b)), cmp.Compare(b.number, a.number))
	})
	return all[:n]
}

// retire ends a slot. The caller holds mu.
func (d *Driver) retire(s *slot) {
	delete(s.group.slots, s.number)
	close(s.retire)
}

// workload returns the newest form of the slot's workload: health and stop may
// change without a new revision.
func (d *Driver) workload(s *slot) swell.Workload {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.group.workload
}

// keep runs one instance after the other until the slot is retired, or handed to
// another process.
func (d *Driver) keep(s *slot) {
	var (
		wait     time.Duration
		reason   string
		restarts int
		a        = s.adopted
	)
	if s.adopted = nil; a != nil {
		s.pause = backoff{failures: a.Failures, last: a.Pause}
		wait, reason, restarts = a.Wait, a.Instance.Reason, a.Instance.Restarts
	}
	for ; ; restarts++ {
		select {
		case <-s.retire:
			if a == nil {
				return
			}
		default:
		}
		var end ended
		on := false
		if a != nil {
			end, on = d.goOn(s, a)
		}
		if !on {
			id := ""
			if a != nil {
				id = a.Instance.ID
			} else {
				id = d.place(s, restarts, wait, reason)
			}
			if !d.pause(s, wait) {
				if !d.left() {
					d.gone(id, "it was not needed any more")
				}
				return
			}
			end = d.live(s, id)
		}
		a = nil
		if end.retired {
			return
		}
		wait = s.pause.next(end.ready)
		reason = end.reason
		w := d.workload(s)
		if s.pause.failures > 1 {
			reason = fmt.Sprintf("crash loop, %d times in a row: %s", s.pause.failures, end.reason)
		}
		d.o.Log.Warn("an instance ended by itself", "service", w.Service, "instance", s.id, "reason", end.reason, "again in", wait)
	}
}

// place makes the slot's next instance, not yet started.
func (d *Driver) place(s *slot, restarts int, wait time.Duration, reason string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := s.group.workload
	id := newID(w.Service, s.number)
	for d.instances[id] != nil {
		id = newID(w.Service, s.number)
	}
	if wait > 0 {
		reason = fmt.Sprintf("%s; next start in %v", reason, wait)
	}
	s.id = id
	d.instances[id] = &record{Instance: swell.Instance{
		ID: id, Service: w.Service, Revision: w.Revision, Slot: s.number, Created: time.Now(),
		Restarts: restarts, Reason: reason,
	}}
	d.publish()
	return id
}

// pause waits, and reports false if the slot is retired, handed to another process,
// or all is killed before.
func (d *Driver) pause(s *slot, wait time.Duration) bool {
	s.due = time.Now().Add(wait)
	t := time.NewTimer(wait)
	defer t.Stop()
	passed := false
	for {
		cold := d.coldness()
		select {
		case <-s.retire:
			return false
		case <-d.kill:
			return false
		case <-cold:
			if !d.park(s) {
				return false
			}
			continue
		default:
		}
		if passed {
			return true
		}
		select {
		case <-s.retire:
		case <-d.kill:
		case <-cold:
		case <-t.C:
			passed = true
		}
	}
}

func (d *Driver) gone(id, reason string) {
	d.change(id, func(i *swell.Instance) { i.State, i.Reason = swell.Gone, reason })
}

// say adds what the driver has to say of an instance to its output.
func (d *Driver) say(service, id, format string, args ...any) {
	d.out.add(service, id, "swell", fmt.Appendf(nil, format, args...))
}

// ended is how live came to its end.
type ended struct {
	retired bool          // the slot is to end; the instance has
	reason  string        // else: why the instance failed
	ready   time.Duration // how long it was ready
}

// verdict is the outcome of one health check.
type verdict struct{ err error }

// live runs one instance from its start until it has ended, or is taken for dead
// and ends in the background.
func (d *Driver) live(s *slot, id string) ended {
	w := d.workload(s)
	run, err := d.start(s, id, w)
	if err != nil {
		if run == nil && errors.Is(err, errRetired) {
			if !d.left() {
				d.gone(id, "it was not needed any more")
			}
			return ended{retired: true}
		}
		d.say(w.Service, id, "%s", err)
		d.gone(id, err.Error())
		return ended{reason: err.Error()}
	}
	return d.attend(s, id, w, run, time.Now(), time.Time{})
}

// attend watches over a running instance that was started then, and ready since
// readyAt if that isn't zero, until it has ended, or ends in the background.
func (d *Driver) attend(s *slot, id string, w swell.Workload, run Running, started, readyAt time.Time) ended {
	s.run = run
	defer func() { s.run = nil }()
	ctx, cancel := context.WithCancel(context.Background())
	var (
		failures int
		abort    context.CancelFunc // the check under way
		result   = make(chan verdict, 1)
		probing  bool
		next     = time.NewTimer(0)
		late     <-chan time.Time
		lastErr  error
	)
	if w.Health.Start > 0 && readyAt.IsZero() {
		t := time.NewTimer(w.Health.Start - time.Since(started))
		defer t.Stop()
		late = t.C
	}
	defer func() {
		cancel()
		next.Stop()
		if probing {
			<-result
		}
	}()
	served := func() time.Duration {
		if readyAt.IsZero() {
			return 0
		}
		return time.Since(readyAt)
	}
	for {
		cold := d.coldness()
		select {
		case <-cold:
			if probing {
				abort()
				<-result
				probing = false
			}
			if !d.park(s) {
				return ended{retired: true}
			}
			next.Reset(0)
		case e := <-run.Exited():
			reason := e.Reason
			if readyAt.IsZero() {
				reason += " before it was ready"
			}
			d.say(w.Service, id, "%s", reason)
			if e.Last != "" {
				reason += ": " + e.Last
			}
			d.gone(id, reason)
			return ended{reason: reason, ready: served()}
		case <-s.retire:
			d.end(s, id, run, !readyAt.IsZero(), "")
			return ended{retired: true}
		case <-d.kill:
			d.end(s, id, run, false, "")
			return ended{retired: true}
		case <-late:
			reason := fmt.Sprintf("it did not get ready within %v", w.Health.Start)
			if lastErr != nil {
				reason += ": " + lastErr.Error()
			}
			d.say(w.Service, id, "%s", reason)
			d.end(s, id, run, false, reason)
			return ended{reason: reason}
		case <-next.C:
			w = d.workload(s)
			probing = true
			c, stop := context.WithTimeout(ctx, cmp.Or(w.Health.Timeout, time.Second))
			abort = stop
			go func() {
				defer stop()
				result <- verdict{run.Probe(c, w.Health)}
			}()
		case v := <-result:
			probing = false
			err := v.err
			interval := cmp.Or(w.Health.Interval, time.Second)
			switch {
			case err == nil && readyAt.IsZero():
				readyAt, late, failures = time.Now(), nil, 0
				d.say(w.Service, id, "ready after %v", readyAt.Sub(started).Round(time.Millisecond))
				d.change(id, func(i *swell.Instance) { i.State, i.ReadyAt, i.Reason = swell.Ready, readyAt, "" })
				next.Reset(interval)
			case err == nil:
				failures = 0
				next.Reset(interval)
			case readyAt.IsZero():
				lastErr = err
				next.Reset(eager(time.Since(started), interval))
			default:
				failures++
				if failures < max(1, w.Health.Failures) {
					next.Reset(interval)
					continue
				}
				reason := fmt.Sprintf("it failed %d health checks in a row: %v", failures, err)
				d.say(w.Service, id, "%s", reason)
				d.change(id, func(i *swell.Instance) { i.State, i.Reason = swell.Draining, reason })
				d.tasks.Go(func() { d.end(s, id, run, true, reason) })
				return ended{reason: reason, ready: served()}
			}
		}
	}
}

// eager is the pause between two readiness checks of an instance that started so
// long ago: a thirtieth of it, so that readiness is noticed within 3 % of the
// start-up time, but neither below 5 ms nor above the interval.
func eager(since, interval time.Duration) time.Duration {
	return min(max(5*time.Millisecond, since/30), max(interval, 5*time.Millisecond))
}

var errRetired = errors.New("retired")

// start starts the instance. While another instance holds its fixed port, it
// waits and says so; one of an older revision of the service is asked to go.
func (d *Driver) start(s *slot, id string, w swell.Workload) (Running, error) {
	for wait := firstPause; ; wait = min(2*wait, time.Second) {
		run, place, err := d.rt.Start(id, s.number, w, voice{d.out, w.Service, id})
		if err == nil {
			process := ""
			if place.PID != 0 {
				process = fmt.Sprintf(", process %d", place.PID)
			}
			d.say(w.Service, id, "started on %s%s", place.Addr, process)
			d.change(id, func(i *swell.Instance) {
				i.Addr, i.PID, i.Created = place.Addr, place.PID, time.Now()
			})
			return run, nil
		}
		var held *PortHeld
		if !errors.As(err, &held) {
			return nil, err
		}
		d.change(id, func(i *swell.Instance) { i.Reason = err.Error() })
		d.replace(s, held.By)
		if !d.pause(s, wait) {
			return nil, errRetired
		}
	}
}

// replace retires the holder of a fixed port if it is of an older revision of the
// slot's service: no new one could ever get ready beside it.
func (d *Driver) replace(s *slot, holder string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen != nil {
		return
	}
	for _, g := range d.groups {
		if g == s.group || g.workload.Service != s.group.workload.Service || g.age > s.group.age {
			continue
		}
		for _, old := range g.slots {
			if old.id == holder {
				g.yielded = true
				d.retire(old)
				return
			}
		}
	}
}

// unkillable is how long a killed instance is waited for.
const unkillable = 10 * time.Second

// end ends an instance: out of the endpoints, quiet, asked, killed.
func (d *Driver) end(s *slot, id string, run Running, served bool, reason string) {
	w := d.workload(s)
	d.change(id, func(i *swell.Instance) {
		i.State = swell.Draining
		if reason != "" {
			i.Reason = reason
		}
	})
	exited, ok := Exit{}, false
	if served && d.o.Quiet != nil && w.Stop.Drain > 0 {
		exited, ok = d.quiet(id, run, w.Stop.Drain)
	}
	if !ok {
		run.End(false)
		exited, ok = d.await(run, w.Stop.Grace, d.kill)
	}
	if !ok {
		run.End(true)
		exited, ok = d.await(run, unkillable, nil)
	}
	if !ok {
		exited.Reason = fmt.Sprintf("it was killed, but did not end within %v", unkillable)
		d.o.Log.Error("an instance can't be ended", "service", w.Service, "instance", id)
	}
	d.say(w.Service, id, "ended: %s", exited.Reason)
	if reason == "" {
		reason = "ended as planned: " + exited.Reason
	}
	d.gone(id, reason)
}

// quiet waits until nothing is in flight to the instance; true if it exited.
func (d *Driver) quiet(id string, run Running, drain time.Duration) (Exit, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.o.Quiet(ctx, id) // its only error is that the time is over
	}()
	defer func() { cancel(); <-done }()
	select {
	case e := <-run.Exited():
		return e, true
	case <-done:
	case <-d.kill:
	}
	return Exit{}, false
}

// await waits for the instance's exit, for at most so long and until stop.
func (d *Driver) await(run Running, most time.Duration, stop <-chan struct{}) (Exit, bool) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case e := <-run.Exited():
		return e, true
	case <-t.C:
	case <-stop:
	}
	return Exit{}, false
}
