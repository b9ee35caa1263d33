package telemetry

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"
	"weak"

	"swell/internal/exchange"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a [Hub] is made of. The zero Options are ready to use.
type Options struct {
	Version   string       // of Swell, for swell_build_info
	Log       *slog.Logger // the few warnings of the hub; none if nil
	Now       func() int64 // the clock of the meters, ns; exchange.Now if nil
	Shards    int          // of each meter, a power of two up to 8; 0 chooses by the number of cores
	MaxSeries int          // meters, and counters, that are told apart; 0 is 4096
}

// Hub holds everything that is measured. Its methods may be called by anyone at
// any time, Run once.
type Hub struct {
	opt      Options
	epoch    int64
	poke     chan struct{} // somebody began to wait
	registry *prometheus.Registry

	mu       sync.Mutex
	meters   map[Key]*held[Meter]
	counters map[string]*held[Counter]
	services map[string]*service
	usage    map[string]*usage // by instance
	ticks    []int64           // the last readings of everything, ns after the epoch; oldest first
	warned   bool
	decided  map[string]int
	expiry   map[string]time.Time // of certificates, by name
	scratch  sum
}

// service is what the hub knows of one besides its meters.
type service struct {
	wait           *Wait // nil until it is asked for
	ready, desired int
	set            bool // of these two
	history        history
}

// held is a meter or a counter. What belongs to an instance that was
// idle for a while is held weakly: it lives on as long as a table of the data
// plane has it, and goes with the last one.
type held[T any] struct {
	strong *T
	weak   weak.Pointer[T]
	last   uint64 // a counter's value, and when it was first seen
	at     int64
}

// get returns nil if it is gone.
func (h *held[T]) get() *T {
	if h.strong != nil {
		return h.strong
	}
	return h.weak.Value()
}

// Bounds of what is kept.
const (
	maxMeters  = 4096
	idleAfter  = 5 * time.Minute // without a request an instance's series are let go
	otherLabel = "other"         // the name of what is not told apart any more
)

// New makes a hub; it starts nothing.
func New(opt Options) *Hub {
	if opt.Now == nil {
		opt.Now = exchange.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.MaxSeries <= 0 {
		opt.MaxSeries = maxMeters
	}
	if opt.Shards <= 0 {
		opt.Shards = 2 * runtime.GOMAXPROCS(0) // goroutines meet by chance: the more, the seldomer
	}
	shards := 1
	for shards < min(opt.Shards, maxShards) {
		shards *= 2
	}
	opt.Shards = shards
	h := &Hub{
		opt: opt, epoch: opt.Now() - epochLead, poke: make(chan struct{}, 1),
		meters: map[Key]*held[Meter]{}, counters: map[string]*held[Counter]{},
		services: map[string]*service{}, usage: map[string]*usage{}, decided: map[string]int{},
	}
	h.ticks = []int64{epochLead}
	h.registry = newRegistry(h)
	return h
}

// now returns the hub's time, ns after the epoch.
func (h *Hub) now() int64 { return h.opt.Now() - h.epoch }

// Meter returns the meter of a key, made at its first use. Ask for it when a table
// is compiled, never for each request, and keep it as long as the table: the
// meter of an idle instance goes when nobody has it any more. Beyond
// Options.MaxSeries meters, further callers, routes and instances share one,
// named "other", for each service.
func (h *Hub) Meter(k Key) *Meter {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.service(k.Service)
	if m := h.meter(k); m != nil {
		return m
	}
	if len(h.meters) >= h.opt.MaxSeries {
		h.full()
		switch {
		case k.Instance != "":
			k = Key{Service: k.Service, Instance: otherLabel}
		case k.Route != "":
			k = Key{Caller: k.Caller, Route: otherLabel, Service: k.Service}
		default:
			k = Key{Caller: otherLabel, Service: k.Service}
		}
		if m := h.meter(k); m != nil {
			return m
		}
	}
	m := &Meter{key: k, epoch: h.epoch, mask: uintptr(h.opt.Shards - 1)}
	m.past.at = h.now()
	m.past.used = m.past.at
	h.meters[k] = &held[Meter]{strong: m, weak: weak.Make(m)}
	return m
}

func (h *Hub) meter(k Key) *Meter {
	if e := h.meters[k]; e != nil {
		return e.get()
	}
	return nil
}

// full warns once that series are not told apart any more.
func (h *Hub) full() {
	if h.warned {
		return
	}
	h.warned = true
	h.opt.Log.Warn("there are too many metric series: further ones are counted together as \"other\"",
		"limit", h.opt.MaxSeries)
}

// service returns what is known of a service; nil for "", which is none.
func (h *Hub) service(name string) *service {
	if name == "" {
		return nil
	}
	s := h.services[name]
	if s == nil {
		s = &service{}
		h.services[name] = s
	}
	return s
}

// Count returns the counter of an event: its name ("swell_retries_total") and its
// labels, names and values in turn ("service", "catalog", "reason", "connect").
// The names are those of docs/metrics.md. As with [Hub.Meter], ask for it when a
// table is compiled; what happens seldom may ask each time. It panics if a label
// has no value.
func (h *Hub) Count(name string, labels ...string) *Counter {
	if len(labels)%2 != 0 {
		panic(fmt.Sprintf("telemetry: counter %s: label %q has no value", name, labels[len(labels)-1]))
	}
	return h.count(counterName(name), sortLabels(labels), false)
}

// Gauge returns what shows a value that goes up and down, by its Set; all else is
// as [Hub.Count] has it.
func (h *Hub) Gauge(name string, labels ...string) *Counter {
	if len(labels)%2 != 0 {
		panic(fmt.Sprintf("telemetry: gauge %s: label %q has no value", name, labels[len(labels)-1]))
	}
	return h.count(name, sortLabels(labels), true)
}

func (h *Hub) count(name string, labels []string, gauge bool) *Counter {
	id := counterID(name, labels)
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.counter(id); c != nil {
		return c
	}
	if len(h.counters) >= h.opt.MaxSeries {
		h.full()
		for i := 1; i < len(labels); i += 2 {
			labels[i] = otherLabel
		}
		id = counterID(name, labels)
		if c := h.counter(id); c != nil {
			return c
		}
	}
	c := &Counter{name: name, labels: labels, gauge: gauge}
	c.desc = c.describe()
	h.counters[id] = &held[Counter]{strong: c, weak: weak.Make(c), at: h.now()}
	return c
}

func (h *Hub) counter(id string) *Counter {
	if e := h.counters[id]; e != nil {
		return e.get()
	}
	return nil
}

// Wait returns the measure of a service's waiting room.
func (h *Hub) Wait(name string) *Wait {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.service(name)
	if s == nil {
		return newWait(name, h.wake)
	}
	if s.wait == nil {
		s.wait = newWait(name, h.wake)
	}
	return s.wait
}

func (h *Hub) wake() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// SetReplicas tells how many instances of a service are ready and wanted.
func (h *Hub) SetReplicas(name string, ready, desired int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.service(name); s != nil {
		s.ready, s.desired, s.set = ready, desired, true
	}
}

// SetCertificates tells when each certificate of the gateway expires, by its name:
// all of them. The map is not changed afterwards.
func (h *Hub) SetCertificates(expiry map[string]time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expiry = expiry
}

// Forget drops what is known of a service that is no more: its replicas, its
// waiting room, its history, and its meters once no table has them any more.
func (h *Hub) Forget(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.services, name)
	delete(h.decided, name)
}

// sweep lets go of what belongs to instances that were idle for a while, and to
// services that were forgotten.
func (h *Hub) sweep(now int64) {
	for k, e := range h.meters {
		m := e.get()
		switch {
		case m == nil:
			delete(h.meters, k)
		case k.Service != "" && h.services[k.Service] == nil:
			e.strong = nil
		case k.Instance == "" || k.Instance == otherLabel || now-m.past.used < int64(idleAfter):
			e.strong = m
		default:
			e.strong = nil
		}
	}
	for id, e := range h.counters {
		c := e.get()
		if c == nil {
			delete(h.counters, id)
			continue
		}
		if n := c.n.Load(); n != e.last {
			e.last, e.at = n, now
		}
		if c.ofInstance() && now-e.at >= int64(idleAfter) {
			e.strong = nil
		} else {
			e.strong = c
		}
	}
	for id, u := range h.usage {
		if now-u.at >= int64(keepUsage) {
			delete(h.usage, id)
		}
	}
}
