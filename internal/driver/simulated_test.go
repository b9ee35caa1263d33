package driver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swell"
	"swell/internal/driver"
	"swell/internal/driver/drivertest"
)

func simulatedWorkload() swell.Workload {
	return swell.Workload{
		Service: "a", Revision: "r1", Replicas: 1,
		Run:    swell.Run{Command: []string{"a"}},
		Health: swell.Health{Kind: "http", Path: "/", Interval: time.Second, Timeout: 500 * time.Millisecond, Failures: 3, Start: 10 * time.Second},
		Stop:   swell.Stop{Drain: 5 * time.Second, Grace: 3 * time.Second},
	}
}

func TestContractOfSimulated(t *testing.T) {
	drivertest.Run(t, synctest.Test, func(t *testing.T) drivertest.Subject {
		d := driver.NewSimulated(driver.SimulatedOptions{
			Startup:  func(swell.Workload, int) time.Duration { return 300 * time.Millisecond },
			Stopping: func(swell.Workload, int) time.Duration { return 200 * time.Millisecond },
			Quiet:    func(context.Context, string) error { return nil },
		})
		return drivertest.Subject{
			Driver: d, Workload: simulatedWorkload(), Crash: func(i swell.Instance) { d.Crash(i.ID) },
		}
	})
}

// tape runs a simulated driver in a bubble and records every change of a state,
// with the virtual time since the start.
type tape struct {
	t       *testing.T
	d       *driver.Simulated
	start   time.Time
	stop    context.CancelFunc
	unwatch context.CancelFunc
	done    chan error
	watched chan error

	mu     sync.Mutex
	states map[string]swell.State
	events []string
	all    []swell.Instance
}

var stateNames = []string{"starting", "ready", "draining", "gone"}

func play(t *testing.T, o driver.SimulatedOptions) *tape {
	p := &tape{t: t, d: driver.NewSimulated(o), start: time.Now(), done: make(chan error, 1), watched: make(chan error, 1), states: map[string]swell.State{}}
	ctx, stop := context.WithCancel(t.Context())
	wctx, unwatch := context.WithCancel(context.Background())
	p.stop, p.unwatch = stop, unwatch
	go func() { p.done <- p.d.Run(ctx) }()
	go func() {
		p.watched <- p.d.Watch(wctx, func(all []swell.Instance) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.all = all
			for _, i := range all {
				if old, ok := p.states[i.ID]; !ok || old != i.State {
					p.states[i.ID] = i.State
					p.events = append(p.events, fmt.Sprintf("%v %s/%d #%d %s", time.Since(p.start), i.Service, i.Slot, i.Restarts, stateNames[i.State]))
				}
			}
			return nil
		})
	}()
	synctest.Wait()
	return p
}

var errOver = errors.New("over")

func (p *tape) end() {
	p.stop()
	if err := <-p.done; err != nil {
		p.t.Error(err)
	}
	synctest.Wait() // the last change was seen
	p.unwatch()
	if err := <-p.watched; !errors.Is(err, context.Canceled) {
		p.t.Error(err)
	}
}

func (p *tape) instances() []swell.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

func (p *tape) has(events ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if !slices.Contains(p.events, e) {
			p.t.Errorf("%q did not happen; this did:\n%s", e, strings.Join(p.events, "\n"))
		}
	}
}

func (p *tape) apply(ws ...swell.Workload) {
	p.t.Helper()
	if err := p.d.Apply(p.t.Context(), ws); err != nil {
		p.t.Error(err)
	}
	synctest.Wait()
}

func TestCrashLoopBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{
			Startup: func(swell.Workload, int) time.Duration { return time.Hour },
			Crash:   func(swell.Workload, int, int) time.Duration { return 50 * time.Millisecond },
		})
		defer p.end()
		p.apply(simulatedWorkload())
		time.Sleep(75 * time.Millisecond) // in the first pause
		synctest.Wait()
		for _, i := range p.instances() {
			if i.State == swell.Starting && !strings.Contains(i.Reason, "next start in 100ms") {
				t.Errorf("reason in the pause: %q", i.Reason)
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		p.has(
			"50ms a/0 #0 gone",
			"200ms a/0 #1 gone", // 50 + 100 + 50
			"450ms a/0 #2 gone", // 200 + 200 + 50
			"900ms a/0 #3 gone", // 450 + 400 + 50
			"1.75s a/0 #4 gone", // 900 + 800 + 50
		)
		if n := len(p.instances()); n == 0 || n > 2 {
			t.Errorf("%d instances are held in a crash loop", n)
		}
		i := p.instances()[len(p.instances())-1]
		if !strings.Contains(i.Reason, "crash loop") || !strings.Contains(i.Reason, "simulated crash") {
			t.Errorf("reason in the loop: %q", i.Reason)
		}
		if i.Restarts < 14 || i.Restarts > 20 { // 51 s to the longest pause, then one each 30 s
			t.Errorf("%d restarts in 5 minutes", i.Restarts)
		}
	})
}

func TestCrashOfLongReadyRestartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{Crash: func(_ swell.Workload, _, n int) time.Duration {
			if n == 0 {
				return time.Minute
			}
			return 0
		}})
		defer p.end()
		p.apply(simulatedWorkload())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		p.has("0s a/0 #0 ready", "1m0s a/0 #0 gone", "1m0s a/0 #1 ready")
	})
}

func TestReadinessIsSeenSoon(t *testing.T) {
	for _, startup := range []time.Duration{3 * time.Millisecond, 100 * time.Millisecond, 2 * time.Second, 9 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := play(t, driver.SimulatedOptions{Startup: func(swell.Workload, int) time.Duration { return startup }})
			defer p.end()
			p.apply(simulatedWorkload())
			time.Sleep(10 * time.Second)
			synctest.Wait()
			i := p.instances()[0]
			late := i.ReadyAt.Sub(i.Created) - startup
			if most := 10*time.Millisecond + startup/25; late < 0 || late > most {
				t.Errorf("up after %v, seen %v later, want at most %v", startup, late, most)
			}
		})
	}
}

func TestHangingInstanceIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{
			Hang: func(_ swell.Workload, _, n int) time.Duration {
				if n == 0 {
					return 10*time.Second + time.Millisecond
				}
				return 0
			},
			// Quiet never says so: what hangs has requests in flight for ever.
			Quiet: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() },
		})
		defer p.end()
		p.apply(simulatedWorkload())
		time.Sleep(30 * time.Second)
		synctest.Wait()
		// Checks at 11, 12.5 and 14 s fail after 500 ms each.
		p.has("14.5s a/0 #0 draining", "14.5s a/0 #1 ready", "19.5s a/0 #0 gone")
	})
}

func TestNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{
			Startup:  func(swell.Workload, int) time.Duration { return time.Hour },
			Stopping: func(swell.Workload, int) time.Duration { return time.Second },
		})
		defer p.end()
		p.apply(simulatedWorkload())
		time.Sleep(11*time.Second + 50*time.Millisecond)
		synctest.Wait()
		p.has("10s a/0 #0 draining", "11s a/0 #0 gone", "11s a/0 #1 starting")
		for _, i := range p.instances() {
			if i.Restarts == 1 && !strings.Contains(i.Reason, "did not get ready within 10s: simulated: it is starting") {
				t.Errorf("reason: %q", i.Reason)
			}
		}
	})
}

func TestGracefulEnd(t *testing.T) {
	for _, c := range []struct {
		name            string
		quiet, stopping time.Duration
		gone            string
		reason          string
	}{
		{"at its own pace", time.Second, 2 * time.Second, "3s", "ended as planned: ended"},
		{"quiet takes too long", time.Hour, 2 * time.Second, "7s", "ended as planned: ended"},
		{"does not end", time.Second, time.Hour, "4s", "ended as planned: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *tape
				p = play(t, driver.SimulatedOptions{
					Stopping: func(swell.Workload, int) time.Duration { return c.stopping },
					Quiet: func(ctx context.Context, id string) error {
						_ = p.d.Watch(ctx, func(all []swell.Instance) error {
							if all[0].ID != id || all[0].State != swell.Draining {
								t.Errorf("Quiet of %s, and Watch shows %+v: it must be Draining before", id, all)
							}
							return errOver
						})
						select {
						case <-time.After(c.quiet):
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					},
				})
				defer p.end()
				p.apply(simulatedWorkload())
				time.Sleep(time.Minute)
				p.start = time.Now()
				p.apply()
				time.Sleep(time.Minute)
				synctest.Wait()
				p.has("0s a/0 #0 draining", c.gone+" a/0 #0 gone")
			})
		})
	}
}

func TestScaleInTakesTheUnreadyFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{Startup: func(_ swell.Workload, slot int) time.Duration {
			if slot == 1 {
				return 9 * time.Second
			}
			return 0
		}})
		defer p.end()
		w := simulatedWorkload()
		w.Replicas = 4
		p.apply(w)
		time.Sleep(time.Second)
		w.Replicas = 2
		p.apply(w)
		p.has("1s a/1 #0 gone", "1s a/3 #0 gone")
		w.Replicas = 3
		p.apply(w)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(p.instances()); n != 3 {
			t.Errorf("%d instances, want 3", n)
		}
	})
}

func TestKillDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{
			Stopping: func(swell.Workload, int) time.Duration { return time.Hour },
			Quiet:    func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() },
		})
		w := simulatedWorkload()
		w.Replicas, w.Stop = 3, swell.Stop{Drain: time.Hour, Grace: time.Hour}
		p.apply(w)
		time.Sleep(time.Second)
		p.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		p.has("1s a/0 #0 draining")
		p.d.Kill()
		p.d.Kill()
		p.end()
		p.has("1m1s a/0 #0 gone", "1m1s a/1 #0 gone", "1m1s a/2 #0 gone")
	})
}

func TestAllDrainAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := play(t, driver.SimulatedOptions{Stopping: func(swell.Workload, int) time.Duration { return 2 * time.Second }})
		w := simulatedWorkload()
		w.Replicas = 20
		p.apply(w)
		time.Sleep(time.Second)
		p.end()
		p.has("3s a/0 #0 gone", "3s a/19 #0 gone")
	})
}

// sink collects signals.
type sink struct {
	mu  sync.Mutex
	got []swell.Signal
}

func (s *sink) Report(_ context.Context, signals []swell.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, signals...)
	return nil
}

func TestUsageOfSimulated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sink
		var mu sync.Mutex
		up := map[string]bool{}
		p := play(t, driver.SimulatedOptions{
			Sink:  &s,
			Usage: func(i swell.Instance) (float64, int64) { return 0.5 + float64(i.Slot), 1 << 20 },
			Up: func(i swell.Instance) func() {
				mu.Lock()
				defer mu.Unlock()
				up[i.ID] = true
				return func() { mu.Lock(); defer mu.Unlock(); delete(up, i.ID) }
			},
		})
		w := simulatedWorkload()
		w.Replicas = 2
		p.apply(w)
		time.Sleep(3500 * time.Millisecond)
		if len(up) != 2 {
			t.Errorf("up: %v", up)
		}
		p.end()
		if len(up) != 0 {
			t.Errorf("still up: %v", up)
		}
		if len(s.got) != 4 { // the first second has no window
			t.Fatalf("%d signals", len(s.got))
		}
		if g := s.got[3]; g.Service != "a" || g.Source != "driver" || g.CPU != 1.5 || g.Memory != 1<<20 || g.Window != time.Second || g.Instance == "" {
			t.Errorf("signal %+v", g)
		}
	})
}

func TestBadSets(t *testing.T) {
	d := driver.NewSimulated(driver.SimulatedOptions{})
	w := simulatedWorkload()
	negative, nameless := w, w
	negative.Service, negative.Replicas = "n", -1
	nameless.Service = ""
	for _, c := range []struct {
		set  []swell.Workload
		want string
	}{
		{[]swell.Workload{w, w}, "service a: revision r1 is there twice"},
		{[]swell.Workload{negative}, "service n: -1 replicas"},
		{[]swell.Workload{nameless}, "needs both names"},
	} {
		if err := d.Apply(t.Context(), c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
