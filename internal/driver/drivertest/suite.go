// Package drivertest is the contract of drivers as a test suite: what every
// implementation of [swell.Driver] must do, whatever its runtime. An adapter's
// test is one constructor:
//
//	func TestContract(t *testing.T) {
//		drivertest.Run(t, synctest.Test, func(t *testing.T) drivertest.Subject { … })
//	}
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"swell"
)

// Driver is a driver with its loop: Run blocks until ctx has ended and all
// instances are gone.
type Driver interface {
	swell.Driver
	Run(ctx context.Context) error
}

// Subject is a driver under test, fresh, and what the suite needs to test it.
type Subject struct {
	Driver Driver
	// Workload is one whose instances get ready soon and stay so. The suite varies
	// its service, revision and replica count.
	Workload swell.Workload
	// Broken is one that Apply must refuse.
	Broken swell.Workload
	// Crash ends a ready instance without the driver's doing.
	Crash func(swell.Instance)
	// Within bounds each step; 0 is 30 s.
	Within time.Duration
}

// Run runs the suite, each test with a fresh subject. in runs one test: a plain
// call of it, or synctest.Test for a driver that keeps to virtual time.
func Run(t *testing.T, in func(*testing.T, func(*testing.T)), fresh func(*testing.T) Subject) {
	for _, c := range []struct {
		name string
		test func(*story)
	}{
		{"WatchTellsAtOnce", watchTellsAtOnce},
		{"WatchReturnsTheReadersError", watchReturnsTheReadersError},
		{"StartsWhatIsWanted", startsWhatIsWanted},
		{"ApplyIsIdempotent", applyIsIdempotent},
		{"ScalesOutAndIn", scalesOutAndIn},
		{"EndsWhatIsNotWanted", endsWhatIsNotWanted},
		{"TwoRevisionsSideBySide", twoRevisionsSideBySide},
		{"ReplacesWhatCrashed", replacesWhatCrashed},
		{"RefusesOneTakesTheOthers", refusesOneTakesTheOthers},
		{"ChangesItsMind", changesItsMind},
		{"EndsAllWithItsContext", endsAllWithItsContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				s := begin(t, fresh(t))
				defer s.finish()
				c.test(s)
			})
		})
	}
}

// story is one test: a driver that runs, and all that was seen of it.
type story struct {
	*testing.T
	Subject
	stop    context.CancelFunc
	done    chan error
	watched chan error
	unwatch context.CancelFunc

	mu      sync.Mutex
	now     []swell.Instance
	ever    map[string]swell.Instance // the newest of each ID that was seen
	changed chan struct{}
}

func begin(t *testing.T, sub Subject) *story {
	if sub.Within == 0 {
		sub.Within = 30 * time.Second
	}
	s := &story{T: t, Subject: sub, done: make(chan error, 1), watched: make(chan error, 1),
		ever: map[string]swell.Instance{}, changed: make(chan struct{})}
	var ctx, wctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	wctx, s.unwatch = context.WithCancel(context.Background())
	go func() { s.done <- s.Driver.Run(ctx) }()
	go func() { s.watched <- s.Driver.Watch(wctx, s.see) }()
	return s
}

// see checks what every view of the instances must be.
func (s *story) see(all []swell.Instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := map[string]string{}
	for n, i := range all {
		if n > 0 && all[n-1].ID >= i.ID {
			s.Errorf("instances are not sorted by ID: %s before %s", all[n-1].ID, i.ID)
		}
		if i.ID == "" || i.Service == "" || i.Revision == "" {
			s.Errorf("an instance without a name: %+v", i)
		}
		if old, ok := s.ever[i.ID]; ok {
			if i.State < old.State {
				s.Errorf("%s went from state %d back to %d", i.ID, old.State, i.State)
			}
			if i.Service != old.Service || i.Revision != old.Revision || i.Slot != old.Slot {
				s.Errorf("%s became another instance: %+v, was %+v", i.ID, i, old)
			}
		}
		if i.State == swell.Ready {
			if i.Addr == "" || i.ReadyAt.IsZero() || i.ReadyAt.Before(i.Created) {
				s.Errorf("ready, but address %q, created %v, ready at %v: %s", i.Addr, i.Created, i.ReadyAt, i.ID)
			}
			if other, ok := addrs[i.Addr]; ok {
				s.Errorf("%s and %s are both ready at %s", other, i.ID, i.Addr)
			}
			addrs[i.Addr] = i.ID
		}
		s.ever[i.ID] = i
	}
	s.now = all
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// await returns the instances once they are as wanted.
func (s *story) await(what string, ok func([]swell.Instance) bool) []swell.Instance {
	s.Helper()
	t := time.NewTimer(s.Within)
	defer t.Stop()
	for {
		s.mu.Lock()
		now, changed := s.now, s.changed
		s.mu.Unlock()
		if ok(now) {
			return now
		}
		select {
		case <-changed:
		case <-t.C:
			s.Fatalf("waited %v in vain for %s; instances:\n%s", s.Within, what, text(now))
		}
	}
}

func text(all []swell.Instance) string {
	var b strings.Builder
	for _, i := range all {
		fmt.Fprintf(&b, "%s revision %s state %d addr %s restarts %d: %s\n", i.ID, i.Revision, i.State, i.Addr, i.Restarts, i.Reason)
	}
	return b.String()
}

func (s *story) finish() {
	s.stop()
	t := time.NewTimer(s.Within)
	defer t.Stop()
	select {
	case err := <-s.done:
		if err != nil {
			s.Errorf("Run: %v", err)
		}
	case <-t.C:
		s.Errorf("Run did not end within %v", s.Within)
	}
	s.unwatch()
	if err := <-s.watched; !errors.Is(err, context.Canceled) {
		s.Errorf("Watch ended with %v, want its context's error", err)
	}
}

// want applies copies of the subject's workload.
func (s *story) want(ws ...swell.Workload) {
	s.Helper()
	if err := s.Driver.Apply(context.Background(), ws); err != nil {
		s.Fatalf("Apply: %v", err)
	}
}

func (s *story) workload(service, revision string, replicas int) swell.Workload {
	w := s.Workload
	w.Service, w.Revision, w.Replicas = service, revision, replicas
	return w
}

// settled is n ready instances of the service and no other that lives.
func settled(service string, n int) func([]swell.Instance) bool {
	return func(all []swell.Instance) bool {
		return len(ready(all, service)) == n && len(alive(all, service)) == n
	}
}

func ready(all []swell.Instance, service string) []swell.Instance {
	return where(all, func(i swell.Instance) bool { return i.Service == service && i.State == swell.Ready })
}

func alive(all []swell.Instance, service string) []swell.Instance {
	return where(all, func(i swell.Instance) bool { return i.Service == service && i.State != swell.Gone })
}

func where(all []swell.Instance, ok func(swell.Instance) bool) []swell.Instance {
	var out []swell.Instance
	for _, i := range all {
		if ok(i) {
			out = append(out, i)
		}
	}
	return out
}

func slots(all []swell.Instance) []int {
	out := make([]int, 0, len(all))
	for _, i := range all {
		out = append(out, i.Slot)
	}
	slices.Sort(out)
	return out
}

func ids(all []swell.Instance) []string {
	out := make([]string, 0, len(all))
	for _, i := range all {
		out = append(out, i.ID)
	}
	return out
}

func watchTellsAtOnce(s *story) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Within)
	defer cancel()
	told := errors.New("told")
	err := s.Driver.Watch(ctx, func(all []swell.Instance) error {
		if len(all) != 0 {
			s.Errorf("instances before anything was applied:\n%s", text(all))
		}
		return told
	})
	if !errors.Is(err, told) {
		s.Errorf("Watch without instances: %v, want to be told at once", err)
	}
}

func watchReturnsTheReadersError(s *story) {
	s.want(s.workload("a", "r1", 1))
	ctx, cancel := context.WithTimeout(context.Background(), s.Within)
	defer cancel()
	enough := errors.New("enough")
	err := s.Driver.Watch(ctx, func(all []swell.Instance) error {
		if len(ready(all, "a")) == 1 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		s.Errorf("Watch: %v, want the reader's error", err)
	}
}

func startsWhatIsWanted(s *story) {
	s.want(s.workload("a", "r1", 3), s.workload("b", "r1", 1))
	s.await("three of a", settled("a", 3))
	all := s.await("one of b", settled("b", 1))
	if got := slots(ready(all, "a")); !slices.Equal(got, []int{0, 1, 2}) {
		s.Errorf("slots of a are %v, want 0, 1, 2", got)
	}
}

func applyIsIdempotent(s *story) {
	w := s.workload("a", "r1", 2)
	s.want(w)
	before := s.await("two of a", settled("a", 2))
	for range 5 {
		s.want(w)
	}
	// The last Apply has been seen once what it adds is there.
	s.want(w, s.workload("b", "r1", 1))
	s.await("one of b", settled("b", 1))
	after := s.await("two of a", settled("a", 2))
	if !slices.Equal(ids(alive(before, "a")), ids(alive(after, "a"))) {
		s.Errorf("the same again changed instances from\n%sto\n%s", text(before), text(after))
	}
}

func scalesOutAndIn(s *story) {
	s.want(s.workload("a", "r1", 1))
	first := s.await("one of a", settled("a", 1))
	s.want(s.workload("a", "r1", 4))
	s.await("four of a", settled("a", 4))
	s.want(s.workload("a", "r1", 2))
	all := s.await("two of a", settled("a", 2))
	if got := slots(ready(all, "a")); !slices.Equal(got, []int{0, 1}) {
		s.Errorf("slots left are %v: of ready ones the highest go first", got)
	}
	if !slices.Contains(ids(ready(all, "a")), ready(first, "a")[0].ID) {
		s.Errorf("the first instance was replaced:\n%s", text(all))
	}
	s.want(s.workload("a", "r1", 0))
	s.await("none of a", settled("a", 0))
	s.want(s.workload("a", "r1", 1))
	again := s.await("one of a", settled("a", 1))
	if ready(again, "a")[0].ID == ready(first, "a")[0].ID {
		s.Errorf("the ID %s was used twice", ready(again, "a")[0].ID)
	}
}

func endsWhatIsNotWanted(s *story) {
	s.want(s.workload("a", "r1", 2), s.workload("b", "r1", 1))
	s.await("two of a", settled("a", 2))
	s.await("one of b", settled("b", 1))
	s.want(s.workload("b", "r1", 1))
	s.await("no a", settled("a", 0))
	s.await("one of b", settled("b", 1))
}

func twoRevisionsSideBySide(s *story) {
	s.want(s.workload("a", "r1", 2))
	s.await("two of the old", settled("a", 2))
	s.want(s.workload("a", "r1", 2), s.workload("a", "r2", 1))
	s.await("the new beside the old", settled("a", 3))
	s.want(s.workload("a", "r1", 1), s.workload("a", "r2", 2))
	s.await("one old, two new", func(all []swell.Instance) bool {
		n := map[string]int{}
		for _, i := range ready(all, "a") {
			n[i.Revision]++
		}
		return maps.Equal(n, map[string]int{"r1": 1, "r2": 2}) && len(alive(all, "a")) == 3
	})
	s.want(s.workload("a", "r2", 2))
	all := s.await("two of the new", settled("a", 2))
	for _, i := range ready(all, "a") {
		if i.Revision != "r2" {
			s.Errorf("%s is of revision %s", i.ID, i.Revision)
		}
	}
}

func replacesWhatCrashed(s *story) {
	s.want(s.workload("a", "r1", 2))
	all := s.await("two of a", settled("a", 2))
	victim := ready(all, "a")[0]
	s.Crash(victim)
	all = s.await("another in its place", func(all []swell.Instance) bool {
		return settled("a", 2)(all) && !slices.Contains(ids(ready(all, "a")), victim.ID)
	})
	for _, i := range ready(all, "a") {
		if i.Slot == victim.Slot && i.Restarts != victim.Restarts+1 {
			s.Errorf("the slot's next instance has %d restarts before it, want %d", i.Restarts, victim.Restarts+1)
		}
	}
	s.mu.Lock()
	last := s.ever[victim.ID]
	s.mu.Unlock()
	if last.State != swell.Gone && last.State != swell.Ready { // steps in between may be missed
		s.Errorf("the crashed instance was last seen in state %d", last.State)
	}
	if last.State == swell.Gone && last.Reason == "" {
		s.Errorf("the crashed instance has no reason")
	}
}

func refusesOneTakesTheOthers(s *story) {
	broken := s.Broken
	broken.Service, broken.Revision, broken.Replicas = "broken", "r1", 1
	err := s.Driver.Apply(context.Background(), []swell.Workload{s.workload("a", "r1", 1), broken, s.workload("c", "r1", 1)})
	if err == nil || !strings.Contains(err.Error(), "broken") {
		s.Errorf("Apply of a broken workload: %v, want an error that names it", err)
	}
	s.await("the others", func(all []swell.Instance) bool { return settled("a", 1)(all) && settled("c", 1)(all) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(ready(s.now, "broken")); n != 0 {
		s.Errorf("%d of the broken are ready", n)
	}
}

func changesItsMind(s *story) {
	for n := range 10 {
		s.want(s.workload("a", "r1", 1+n%4), s.workload("a", fmt.Sprint("s", n%3), 1))
	}
	s.want(s.workload("a", "r1", 2))
	s.await("two of a", settled("a", 2))
}

func endsAllWithItsContext(s *story) {
	s.want(s.workload("a", "r1", 3), s.workload("b", "r1", 2))
	s.await("three of a", settled("a", 3))
	s.await("two of b", settled("b", 2))
	s.stop()
	s.await("nobody", func(all []swell.Instance) bool {
		return len(alive(all, "a")) == 0 && len(alive(all, "b")) == 0
	})
	err := <-s.done
	s.done <- err // for finish
	if err := s.Driver.Apply(context.Background(), nil); err == nil {
		s.Errorf("Apply after the end was accepted")
	}
}
