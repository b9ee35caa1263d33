// Package control plans and applies after every change: of the app, of the
// decisions, of what the driver sees.
package control

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"

	"swell"
	"swell/internal/latest"
	"swell/internal/plan"
)

// Addresses tells where a caller reaches a callee: the data plane's listener for
// that edge, opened on the first call and kept.
type Addresses interface {
	Address(swell.Edge) (string, error)
}

// Loop is the control loop. It is the only writer of Instances and Snapshots.
type Loop struct {
	App       *latest.Cell[swell.App]
	Decisions *latest.Cell[[]swell.Decision]
	Instances *latest.Cell[[]swell.Instance]
	Snapshots *latest.Cell[*swell.Snapshot]
	Trouble   *latest.Cell[string] // why the last plan could not be made true; "" if it could
	Driver    swell.Driver
	Edges     Addresses
	Log       *slog.Logger

	// Previous and Version are where another process's loop was that this one goes on
	// for: the workloads of its last plan, and the version of its last snapshot.
	Previous []swell.Workload
	Version  uint64

	// Replicas, if set, is told the ready and the wanted count of each service
	// after every round.
	Replicas func(service string, ready, desired int)
}

// Watch brings what the driver sees into Instances, until ctx ends.
func (l *Loop) Watch(ctx context.Context) error {
	return l.Driver.Watch(ctx, func(seen []swell.Instance) error {
		l.Instances.Set(seen)
		return nil
	})
}

// Run plans once there is an app, and again after every change, until ctx ends.
// A plan that can't be made, or that the driver refuses in part, is logged and
// kept in Trouble; what was true before goes on.
func (l *Loop) Run(ctx context.Context) error {
	var (
		previous = l.Previous
		sent     swell.Snapshot
		version  = l.Version
		first    = true
	)
	for {
		app, ok, appChanged := l.App.Next()
		decisions, _, decided := l.Decisions.Next()
		instances, _, seen := l.Instances.Next()
		if ok {
			p, err := l.plan(app, decisions, instances, previous)
			if err == nil && (first || !reflect.DeepEqual(p.Snapshot, sent)) {
				version++
				first = false
				sent = p.Snapshot
				out := p.Snapshot
				out.Version = version
				l.Snapshots.Set(&out)
			}
			switch {
			case err != nil:
				l.tell(err)
			case previous == nil || !reflect.DeepEqual(p.Workloads, previous):
				l.tell(l.Driver.Apply(ctx, p.Workloads))
				previous = append([]swell.Workload{}, p.Workloads...)
			}
			l.count(app, decisions, instances)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-appChanged:
		case <-decided:
		case <-seen:
		}
	}
}

func (l *Loop) plan(app swell.App, decisions []swell.Decision, instances []swell.Instance, previous []swell.Workload) (plan.Plan, error) {
	s := plan.State{App: app, Decisions: decisions, Instances: instances, Previous: previous}
	for _, e := range plan.Edges(app) {
		addr, err := l.Edges.Address(e)
		if err != nil {
			return plan.Plan{}, fmt.Errorf("listen for %s's calls to %s: %w", e.Caller, e.Callee, err)
		}
		s.Edges = append(s.Edges, swell.EdgeAddr{Edge: e, Addr: addr})
	}
	return plan.Make(s)
}

func (l *Loop) tell(err error) {
	if err == nil {
		l.Trouble.Set("")
	} else if l.Trouble.Set(err.Error()) {
		l.Log.Error("the plan could not be made true", "error", err)
	}
}

func (l *Loop) count(app swell.App, decisions []swell.Decision, instances []swell.Instance) {
	if l.Replicas == nil {
		return
	}
	ready := map[string]int{}
	for _, i := range instances {
		if i.State == swell.Ready {
			ready[i.Service]++
		}
	}
	for _, s := range app.Services {
		if len(s.Address) == 0 {
			l.Replicas(s.Name, ready[s.Name], plan.Replicas(s, decisions))
		}
	}
}
