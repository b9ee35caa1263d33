// Package plan turns what people want, what policies decided and what drivers
// saw into workloads for runtimes and one snapshot for data planes. It is pure:
// the same state gives the same plan, and nothing else is looked at.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"swell"
)

// State is all that a plan is made of.
type State struct {
	App       swell.App
	Decisions []swell.Decision // at most one a service
	Instances []swell.Instance
	Edges     []swell.EdgeAddr // an address for every edge of Edges(App)
	Previous  []swell.Workload // of the plan before this one; empty at first
}

// Plan is what is to be true. Snapshot.Version is left 0 for the caller.
type Plan struct {
	Workloads []swell.Workload // sorted by service, then revision
	Snapshot  swell.Snapshot
}

// Edges returns the edges that the app declares, sorted by caller and callee.
func Edges(app swell.App) []swell.Edge {
	var out []swell.Edge
	for _, s := range app.Services {
		for _, callee := range s.Uses {
			out = append(out, swell.Edge{Caller: s.Name, Callee: callee})
		}
	}
	slices.SortFunc(out, func(a, b swell.Edge) int {
		return cmp.Or(cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Callee, b.Callee))
	})
	return out
}

// Make plans. It fails if an edge has no address or a reference in a service's
// environment can't be resolved.
func Make(s State) (Plan, error) {
	p := Plan{Snapshot: swell.Snapshot{App: s.App.Name, Gateway: s.App.Gateway, Edges: s.Edges}}
	for _, svc := range s.App.Services {
		seen := of(s.Instances, svc.Name)
		if len(svc.Address) == 0 {
			ws, err := workloads(s, svc, seen)
			if err != nil {
				return Plan{}, err
			}
			p.Workloads = append(p.Workloads, ws...)
		}
		p.Snapshot.Upstreams = append(p.Snapshot.Upstreams, upstream(svc, seen))
	}
	return p, nil
}

// Replicas returns how many instances of the service are wanted now: what was
// decided, within the service's bounds.
func Replicas(svc swell.Service, decisions []swell.Decision) int {
	n := svc.Scale.Min
	for _, d := range decisions {
		if d.Service == svc.Name {
			n = d.Replicas
		}
	}
	return min(max(n, svc.Scale.Min), svc.Scale.Max)
}

// workloads plans one service: one workload in the steady state; while its Run
// changes, the new revision and what is still needed of the old ones. The new
// grows by a quarter of the replica count at a time (at least one), and an old
// instance goes only when a new one is ready for it.
func workloads(s State, svc swell.Service, seen []swell.Instance) ([]swell.Workload, error) {
	run, err := resolve(svc, s.Edges)
	if err != nil {
		return nil, err
	}
	now := swell.Workload{
		Service: svc.Name, Revision: Revision(run), Run: run, Health: svc.Health, Stop: svc.Stop,
	}
	want := Replicas(svc, s.Decisions)
	ready := func(revision string) (n int) {
		for _, i := range seen {
			if i.Revision == revision && i.State == swell.Ready {
				n++
			}
		}
		return n
	}

	var out []swell.Workload
	missing := max(0, want-ready(now.Revision)) // what old revisions still have to carry
	kept := 0
	for _, old := range slices.Backward(s.Previous) {
		if old.Service != svc.Name || old.Revision == now.Revision {
			continue
		}
		// An old instance that is not ready carries nothing: it needn't stay.
		old.Replicas = min(missing-kept, ready(old.Revision))
		if old.Replicas > 0 {
			kept += old.Replicas
			out = append(out, old)
		}
	}
	now.Replicas = want
	if kept > 0 {
		surge := max(1, (want+3)/4)
		now.Replicas = min(want, want-kept+surge)
	}
	if now.Replicas > 0 {
		out = append(out, now)
	}
	slices.SortFunc(out, func(a, b swell.Workload) int { return cmp.Compare(a.Revision, b.Revision) })
	return out, nil
}

// upstream tells data planes where the service is: its ready instances, of
// whatever revision, or the addresses that were given.
func upstream(svc swell.Service, seen []swell.Instance) swell.Upstream {
	u := swell.Upstream{
		Service: svc.Name, Protocol: svc.Protocol, TLS: svc.TLS, Proxy: svc.Proxy,
		Balance: svc.Balance, Spread: svc.Spread, Outliers: svc.Outliers, Pool: svc.Pool, Use: svc.Use,
		Health: svc.Health, Hold: svc.Scale.Hold,
	}
	for _, a := range svc.Address {
		u.Endpoints = append(u.Endpoints, swell.Endpoint{ID: svc.Name + "@" + a.Addr, Addr: a.Addr, Weight: max(1, a.Weight), Zone: a.Zone})
	}
	for _, i := range seen {
		if i.State == swell.Ready {
			u.Endpoints = append(u.Endpoints, swell.Endpoint{
				ID: i.ID, Addr: i.Addr, Weight: 1, Revision: i.Revision,
			})
		}
	}
	slices.SortFunc(u.Endpoints, func(a, b swell.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return u
}

func of(instances []swell.Instance, service string) []swell.Instance {
	var out []swell.Instance
	for _, i := range instances {
		if i.Service == service {
			out = append(out, i)
		}
	}
	return out
}

// Revision names a Run: equal Runs have equal revisions. It is the start of the
// hash of its canonical JSON.
func Revision(run swell.Run) string {
	b, err := json.Marshal(run)
	if err != nil {
		panic(fmt.Sprintf("plan: a Run holds only strings: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:5])
}
