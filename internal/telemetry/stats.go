package telemetry

import (
	"cmp"
	"slices"
	"time"
)

// Traffic is what requests looked like over a window. Rates are per second,
// durations in seconds.
type Traffic struct {
	Rate     float64 `json:"rate"`     // requests that arrived
	Done     float64 `json:"done"`     // requests that ended
	Errors   float64 `json:"errors"`   // of those, answers of 5xx and broken exchanges
	Mean     float64 `json:"mean"`     // latency; 0 if no request ended
	P50      float64 `json:"p50"`      // latency
	P95      float64 `json:"p95"`      // latency
	P99      float64 `json:"p99"`      // latency
	Inflight float64 `json:"inflight"` // mean of the requests at work
	In       float64 `json:"in"`       // bytes of request bodies
	Out      float64 `json:"out"`      // bytes of response bodies
}

// ServiceStat is the traffic of a service over the last ten seconds, from all
// callers. Inflight counts the attempts at its instances, not the waiting ones.
type ServiceStat struct {
	Service string `json:"service"`
	Traffic
	Waiting int `json:"waiting"` // requests held for an instance, now
	Ready   int `json:"ready"`
	Desired int `json:"desired"`
}

// EdgeStat is the traffic from a caller to a callee over the last ten seconds.
type EdgeStat struct {
	Caller string `json:"caller"`
	Callee string `json:"callee"`
	Traffic
}

// RouteStat is the traffic of one of the gateway's routes over the last ten
// seconds, to all its services.
type RouteStat struct {
	Route string `json:"route"`
	Traffic
}

// InstanceStat is the traffic of attempts at one instance over the last ten
// seconds, and what it uses.
type InstanceStat struct {
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Traffic
	CPU    float64 `json:"cpu"`    // cores; 0 if unknown
	Memory int64   `json:"memory"` // bytes; 0 if unknown
}

// Point is one second of a service.
type Point struct {
	At time.Time `json:"at"` // its end
	Traffic
	Waiting int `json:"waiting"` // at its end
	Ready   int `json:"ready"`
	Desired int `json:"desired"`
}

// group sums the meters up by what of returns for their key ("" leaves one out),
// over the last ten seconds, and calls give for each group with its key.
func (h *Hub) group(of func(Key) Key, give func(Key, Traffic)) {
	groups := map[Key][]*Meter{}
	for k, e := range h.meters {
		if g := of(k); g != (Key{}) {
			if m := e.get(); m != nil {
				groups[g] = append(groups[g], m)
			}
		}
	}
	from, to := h.ticks[0], h.ticks[len(h.ticks)-1]
	w := float64(to-from) / 1e9
	for k, meters := range groups {
		h.scratch.reset()
		for _, m := range meters {
			h.scratch.add(m, from, to)
		}
		if w <= 0 {
			give(k, Traffic{})
			continue
		}
		give(k, h.scratch.traffic(w, h.scratch.inflight(w)))
	}
}

// Services returns the traffic of each service, sorted by name.
func (h *Hub) Services() []ServiceStat {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := map[string]*ServiceStat{}
	for name, s := range h.services {
		x := &ServiceStat{Service: name, Ready: s.ready, Desired: s.desired}
		if s.wait != nil {
			x.Waiting = s.wait.Waiting()
		}
		at[name] = x
	}
	h.group(func(k Key) Key {
		if k.Instance != "" {
			return Key{Service: k.Service, Instance: "*"}
		}
		return Key{Service: k.Service}
	}, func(k Key, t Traffic) {
		x := at[k.Service]
		if x == nil {
			return
		}
		if k.Instance != "" {
			x.Inflight = t.Inflight
			return
		}
		t.Inflight = x.Inflight
		x.Traffic = t
	})
	out := make([]ServiceStat, 0, len(at))
	for _, x := range at {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b ServiceStat) int { return cmp.Compare(a.Service, b.Service) })
	return out
}

// Edges returns the traffic of each edge, sorted by caller, then callee. Inflight
// includes what waits for an instance.
func (h *Hub) Edges() []EdgeStat {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []EdgeStat{}
	h.group(func(k Key) Key {
		if k.Instance != "" || k.Service == "" {
			return Key{}
		}
		return Key{Caller: k.Caller, Service: k.Service}
	}, func(k Key, t Traffic) { out = append(out, EdgeStat{k.Caller, k.Service, t}) })
	slices.SortFunc(out, func(a, b EdgeStat) int {
		return cmp.Or(cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Callee, b.Callee))
	})
	return out
}

// Routes returns the traffic of each route, sorted by name. Inflight includes what
// waits for an instance.
func (h *Hub) Routes() []RouteStat {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []RouteStat{}
	h.group(func(k Key) Key { return Key{Route: k.Route} },
		func(k Key, t Traffic) { out = append(out, RouteStat{k.Route, t}) })
	slices.SortFunc(out, func(a, b RouteStat) int { return cmp.Compare(a.Route, b.Route) })
	return out
}

// Instances returns the traffic and the usage of each instance that is measured,
// sorted by service, then ID.
func (h *Hub) Instances() []InstanceStat {
	h.mu.Lock()
	defer h.mu.Unlock()
	type id struct{ service, instance string }
	at := map[id]*InstanceStat{}
	for name, u := range h.usage {
		at[id{u.service, name}] = &InstanceStat{Service: u.service, Instance: name, CPU: u.cpu, Memory: u.memory}
	}
	h.group(func(k Key) Key {
		if k.Instance == "" {
			return Key{}
		}
		return Key{Service: k.Service, Instance: k.Instance}
	}, func(k Key, t Traffic) {
		x := at[id{k.Service, k.Instance}]
		if x == nil {
			x = &InstanceStat{Service: k.Service, Instance: k.Instance}
			at[id{k.Service, k.Instance}] = x
		}
		x.Traffic = t
	})
	out := make([]InstanceStat, 0, len(at))
	for _, x := range at {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b InstanceStat) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// History returns the last ten minutes of a service, a point a second, oldest
// first; none if the service is not known.
func (h *Hub) History(name string) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.services[name]
	if s == nil {
		return nil
	}
	return s.history.points()
}
