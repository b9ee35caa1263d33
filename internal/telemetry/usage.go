package telemetry

import (
	"context"
	"time"

	"swell"
)

// usage is what a driver last said of an instance.
type usage struct {
	service string
	cpu     float64
	memory  int64
	at      int64 // ns after the epoch
}

const (
	keepUsage = 30 * time.Second // of an instance of which nothing is heard
	maxUsage  = 100_000          // instances
)

// Observe takes the signals of instances from drivers: their CPU and memory.
// Others are ignored.
func (h *Hub) Observe(signals []swell.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range signals {
		x := &signals[i]
		if x.Instance == "" || x.Source == "proxy" {
			continue
		}
		u := h.usage[x.Instance]
		if u == nil {
			if len(h.usage) >= maxUsage {
				continue
			}
			u = &usage{}
			h.usage[x.Instance] = u
		}
		*u = usage{service: x.Service, cpu: x.CPU, memory: x.Memory, at: h.now()}
	}
}

// Report implements [swell.Sink] by [Hub.Observe], so that a hub can stand among
// the sinks that drivers report to.
func (h *Hub) Report(_ context.Context, signals []swell.Signal) error {
	h.Observe(signals)
	return nil
}

var _ swell.Sink = (*Hub)(nil)

// Decided counts the changes of replica counts in a complete set of decisions
// against the set before.
func (h *Hub) Decided(decisions []swell.Decision) {
	type change struct{ service, by, direction string }
	var changes []change
	h.mu.Lock()
	for i := range decisions {
		d := &decisions[i]
		before, ok := h.decided[d.Service]
		h.decided[d.Service] = d.Replicas
		switch {
		case !ok || before == d.Replicas:
		case before < d.Replicas:
			changes = append(changes, change{d.Service, d.By, "up"})
		default:
			changes = append(changes, change{d.Service, d.By, "down"})
		}
	}
	h.mu.Unlock()
	for _, c := range changes {
		h.Count("swell_scaling_decisions_total", "service", c.service, "by", c.by, "direction", c.direction).Add(1)
	}
}
