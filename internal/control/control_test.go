package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"swell"
	"swell/internal/latest"
	"swell/internal/life"
)

// recorder is a driver that makes every workload true at once and keeps what it
// was asked.
type recorder struct {
	mu      sync.Mutex
	applied [][]swell.Workload
	fail    error
	seen    latest.Cell[[]swell.Instance]
}

func (r *recorder) Apply(_ context.Context, want []swell.Workload) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = append(r.applied, want)
	var seen []swell.Instance
	for _, w := range want {
		for slot := range w.Replicas {
			seen = append(seen, swell.Instance{
				ID: fmt.Sprint(w.Service, "-", w.Revision, "-", slot), Service: w.Service,
				Revision: w.Revision, Slot: slot, State: swell.Ready, Addr: fmt.Sprint("127.0.0.1:", 1000+slot),
			})
		}
	}
	r.seen.Set(seen)
	return r.fail
}

func (r *recorder) Watch(ctx context.Context, seen func([]swell.Instance) error) error {
	return r.seen.Follow(ctx, seen)
}

func (r *recorder) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.applied)
}

type noEdges struct{}

func (noEdges) Address(e swell.Edge) (string, error) { return "", errors.New("no port is free") }

func one(level string) swell.App {
	return swell.App{Name: "shop", Services: []swell.Service{{
		Name: "web", Run: swell.Run{Command: []string{"web"}, Env: []swell.Pair{{Name: "L", Value: level}}},
		Scale: swell.Scale{Min: 2, Max: 4},
	}}}
}

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := &recorder{}
		l := &Loop{
			App: new(latest.Cell[swell.App]), Decisions: new(latest.Cell[[]swell.Decision]),
			Instances: new(latest.Cell[[]swell.Instance]), Snapshots: new(latest.Cell[*swell.Snapshot]),
			Trouble: new(latest.Cell[string]), Driver: driver, Edges: noEdges{}, Log: slog.New(slog.DiscardHandler),
		}
		var ready, desired int
		l.Replicas = func(_ string, r, d int) { ready, desired = r, d }
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- life.Run(ctx, life.Layer{{Name: "control", Run: l.Run}, {Name: "watch", Run: l.Watch}})
		}()
		synctest.Wait()
		if n := driver.times(); n != 0 {
			t.Fatalf("without an app, %d plans were applied", n)
		}

		l.App.Set(one("info"))
		synctest.Wait()
		s, _ := l.Snapshots.Get()
		if n := len(s.Upstreams[0].Endpoints); n != 2 || ready != 2 || desired != 2 {
			t.Fatalf("%d endpoints, %d ready, %d desired; want 2 each", n, ready, desired)
		}
		before, version := driver.times(), s.Version

		l.App.Set(one("info")) // the same again
		l.Decisions.Set([]swell.Decision{{Service: "web", Replicas: 2, Reason: "as before"}})
		synctest.Wait()
		if s, _ := l.Snapshots.Get(); driver.times() != before || s.Version != version {
			t.Error("nothing changed, and yet it was applied or published")
		}

		l.Decisions.Set([]swell.Decision{{Service: "web", Replicas: 3}})
		synctest.Wait()
		if s, _ := l.Snapshots.Get(); len(s.Upstreams[0].Endpoints) != 3 || s.Version <= version {
			t.Errorf("after the decision: %d endpoints, version %d", len(s.Upstreams[0].Endpoints), s.Version)
		}

		l.App.Set(one("debug"))
		synctest.Wait()
		seen, _ := l.Instances.Get()
		revisions := map[string]bool{}
		for _, i := range seen {
			revisions[i.Revision] = true
		}
		if len(seen) != 3 || len(revisions) != 1 {
			t.Errorf("after the roll: %d instances of %d revisions", len(seen), len(revisions))
		}

		broken := one("debug")
		broken.Services[0].Uses = []string{"web2"}
		broken.Services = append(broken.Services, swell.Service{Name: "web2", Scale: swell.Scale{Max: 1}})
		l.App.Set(broken)
		synctest.Wait()
		if why, _ := l.Trouble.Get(); why != "listen for web's calls to web2: no port is free" {
			t.Errorf("trouble: %q", why)
		}
		if seen, _ := l.Instances.Get(); len(seen) != 3 {
			t.Errorf("an impossible plan changed what runs: %d instances", len(seen))
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
