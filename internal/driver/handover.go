package driver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"swell"
)

// Handover is what another process needs to go on with the instances of a driver:
// a plain value. Open files that belong to it travel beside it.
type Handover struct {
	Workloads []swell.Workload // as they were applied last, the oldest revision of a service first
	Slots     []HandedSlot
}

// HandedSlot is one replica, with its newest instance.
type HandedSlot struct {
	Instance swell.Instance
	Failures int             // starts in a row that failed
	Pause    time.Duration   // that was told last before a restart
	Wait     time.Duration   // until the instance is started; only if Running is empty
	Running  json.RawMessage // the runtime's description of the instance; empty if it was not started
	Files    int             // how many of the files are its
}

// Mover is a runtime whose instances can go on in another process.
type Mover interface {
	Runtime
	// Lend stops what this process does with a running instance, above all reading
	// its output, and describes it for another process, with duplicates of the files
	// that it needs. The instance doesn't notice.
	Lend(Running) (json.RawMessage, []*os.File, error)
	// Resume takes Lend back.
	Resume(Running)
	// Release leaves a lent instance to the other process for good; Leave, after the
	// last of them, the folder.
	Release(Running)
	Leave()
	// Adopt goes on with an instance that another process lent. One that has ended
	// meanwhile is returned all the same, and its end told.
	Adopt(id string, slot int, w swell.Workload, lent json.RawMessage, files []*os.File, out Output) (Running, error)
	// Share returns what keeps other processes out of the runtime's folder, for the one
	// that is to come in; its error says why no instance can be lent. There it is given
	// to Stay, before Open.
	Share() (*os.File, error)
	Stay(*os.File)
}

// freeze is a time in which no slot does anything.
type freeze struct {
	thaw    chan struct{}
	release chan struct{}
	missing int           // slots that have not parked; the driver's mu guards it
	all     chan struct{} // closed once none is missing
	lent    []Running
}

// arrive counts one that parked. The caller holds the driver's mu.
func (f *freeze) arrive() {
	if f.missing--; f.missing == 0 {
		close(f.all)
	}
}

// Freeze stops everything that the driver does with its instances, which go on, and
// describes them. Until Thaw or Release nothing is started, ended, checked or read.
// Instances that are ending already are not part of it: they end here. The files are
// the caller's; the first one is the runtime's. The error says why these instances
// can't be handed over; nothing is frozen then.
func (d *Driver) Freeze(ctx context.Context) (Handover, []*os.File, error) {
	m, ok := d.rt.(Mover)
	if !ok {
		return Handover{}, nil, fmt.Errorf("hand over the instances: this runtime can't: %w", errors.ErrUnsupported)
	}
	shared, err := m.Share()
	if err != nil {
		return Handover{}, nil, fmt.Errorf("hand over the instances: %w", err)
	}
	d.mu.Lock()
	if d.stopped || d.frozen != nil {
		d.mu.Unlock()
		_ = shared.Close()
		return Handover{}, nil, errors.New("hand over the instances: the driver is ending, or handed them over already")
	}
	f := &freeze{thaw: make(chan struct{}), release: make(chan struct{}), all: make(chan struct{}), missing: 1}
	d.frozen = f
	var slots []*slot
	var h Handover
	for _, g := range d.groups {
		h.Workloads = append(h.Workloads, g.workload)
		for _, s := range g.slots {
			slots = append(slots, s)
			f.missing++
		}
	}
	ages := map[key]uint64{}
	for k, g := range d.groups {
		ages[k] = g.age
	}
	close(d.cold)
	f.arrive() // for the one that it began with
	d.mu.Unlock()
	slices.SortFunc(h.Workloads, func(a, b swell.Workload) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(ages[key{a.Service, a.Revision}], ages[key{b.Service, b.Revision}]))
	})

	files := []*os.File{shared}
	fail := func(err error) (Handover, []*os.File, error) {
		closeAll(files)
		d.Thaw()
		return Handover{}, nil, fmt.Errorf("hand over the instances: %w", err)
	}
	select {
	case <-f.all:
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	slices.SortFunc(slots, func(a, b *slot) int { return cmp.Compare(a.id, b.id) })
	now := time.Now()
	for _, s := range slots {
		d.mu.Lock()
		r := d.instances[s.id]
		x := HandedSlot{Failures: s.pause.failures, Pause: s.pause.last, Wait: max(0, s.due.Sub(now))}
		if r != nil {
			x.Instance = r.Instance
		}
		d.mu.Unlock()
		if x.Instance.ID == "" {
			continue
		}
		if s.run != nil {
			lent, more, err := m.Lend(s.run)
			if err != nil {
				return fail(fmt.Errorf("%s: %w", s.id, err))
			}
			f.lent = append(f.lent, s.run)
			files = append(files, more...)
			x.Running, x.Files = lent, len(more)
		}
		h.Slots = append(h.Slots, x)
	}
	return h, files, nil
}

// Thaw ends a Freeze: the driver goes on with its instances. It does nothing if
// there is none.
func (d *Driver) Thaw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.frozen
	if f == nil || isClosed(f.release) {
		return
	}
	for _, r := range f.lent {
		d.rt.(Mover).Resume(r)
	}
	d.frozen, d.cold = nil, make(chan struct{})
	close(f.thaw)
	d.poke()
}

// Release ends a Freeze in the other way: another process goes on with the
// instances. The driver forgets them, and never starts another. Watch isn't told:
// they are as they were, and a data plane that drains needs them.
func (d *Driver) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.frozen
	if f == nil || isClosed(f.release) {
		return
	}
	for _, r := range f.lent {
		d.rt.(Mover).Release(r)
	}
	for _, g := range d.groups {
		for _, s := range g.slots {
			delete(d.instances, s.id)
		}
		clear(g.slots)
	}
	clear(d.groups)
	d.rt.(Mover).Leave()
	close(f.release)
}

// Adopt has the driver go on with what another one's Freeze described, once Run is
// called; Watch shows the instances at once. It is called before Run. The files are
// the driver's from then on, even if it fails.
func (d *Driver) Adopt(h Handover, files []*os.File) (err error) {
	m, ok := d.rt.(Mover)
	if !ok || len(files) == 0 {
		closeAll(files)
		return fmt.Errorf("take over instances: this runtime can't: %w", errors.ErrUnsupported)
	}
	m.Stay(files[0])
	files = files[1:]
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range h.Workloads {
		d.ages++
		d.groups[key{w.Service, w.Revision}] = &group{workload: w, slots: map[int]*slot{}, age: d.ages}
	}
	for _, x := range h.Slots {
		if x.Files > len(files) || x.Files < 0 {
			closeAll(files)
			return fmt.Errorf("take over instance %s: its files are missing", x.Instance.ID)
		}
		mine := files[:x.Files]
		files = files[x.Files:]
		g := d.groups[key{x.Instance.Service, x.Instance.Revision}]
		if g == nil {
			closeAll(mine)
			continue
		}
		s := &slot{group: g, number: x.Instance.Slot, retire: make(chan struct{}), id: x.Instance.ID, adopted: &adopted{HandedSlot: x, files: mine}}
		g.slots[s.number] = s
		d.instances[s.id] = &record{Instance: x.Instance}
		d.handed = append(d.handed, s)
	}
	closeAll(files)
	d.publish()
	return nil
}

// adopted is where a slot that was handed over goes on.
type adopted struct {
	HandedSlot
	files []*os.File
}

// takeOver starts the slots that were handed over. Run calls it.
func (d *Driver) takeOver() {
	for _, s := range d.handed {
		d.tasks.Go(func() { d.keep(s) })
	}
	d.handed = nil
}

// goOn goes on with an instance that was handed over: its end, or that it was not
// started yet.
func (d *Driver) goOn(s *slot, a *adopted) (ended, bool) {
	id := a.Instance.ID
	if len(a.Running) == 0 {
		closeAll(a.files)
		return ended{}, false
	}
	w := d.workload(s)
	run, err := d.rt.(Mover).Adopt(id, s.number, w, a.Running, a.files, voice{d.out, w.Service, id})
	if err != nil {
		reason := "it could not be taken over: " + err.Error()
		d.say(w.Service, id, "%s", reason)
		d.gone(id, reason)
		return ended{reason: reason}, true
	}
	d.say(w.Service, id, "taken over from the process before")
	return d.attend(s, id, w, run, a.Instance.Created, a.Instance.ReadyAt), true
}

// park stays until a freeze is over. It reports whether the slot goes on here. The
// instance may end, or all be killed, meanwhile: then it goes on at once.
func (d *Driver) park(s *slot) bool {
	d.mu.Lock()
	f := d.frozen
	if f != nil && s.in != f {
		s.in = f
		f.arrive()
	}
	d.mu.Unlock()
	if f == nil {
		return true
	}
	select {
	case <-f.thaw:
	case <-s.retire:
	case <-d.kill:
	case <-f.release:
		return false
	}
	return !isClosed(f.release)
}

// left reports whether another process goes on with the instances.
func (d *Driver) left() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen != nil && isClosed(d.frozen.release)
}

// coldness returns a channel that is closed while the driver is frozen.
func (d *Driver) coldness() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cold
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
