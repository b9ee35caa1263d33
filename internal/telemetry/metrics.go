package telemetry

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// le are the upper bounds of the classic histograms at /metrics, in seconds.
var le = []float64{
	.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
}

func newRegistry(h *Hub) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{h})
	return r
}

// Handler serves /metrics in the format that the client asks for.
func (h *Hub) Handler() http.Handler {
	return promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(h.opt.Log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
		EnableOpenMetrics:   true,
	})
}

// Registerer lets others show metrics of their own beside the hub's.
func (h *Hub) Registerer() prometheus.Registerer { return h.registry }

// collector reads the hub when /metrics is asked for. It describes nothing ahead:
// which events are counted is known only as they are.
type collector struct{ h *Hub }

func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	h := c.h
	s := sender{out, h.opt.Log}
	var meters []*Meter
	h.mu.Lock()
	for _, e := range h.meters {
		if m := e.get(); m != nil {
			meters = append(meters, m)
		}
	}
	s.gauge(series, float64(len(h.meters)), "meter")
	s.gauge(series, float64(len(h.counters)), "counter")
	for _, e := range h.counters {
		if x := e.get(); x != nil {
			kind := prometheus.CounterValue
			if x.gauge {
				kind = prometheus.GaugeValue
			}
			s.send(prometheus.NewConstMetric(x.desc, kind, float64(x.Value()), x.values()...))
		}
	}
	for name, x := range h.services {
		if x.set {
			s.gauge(replicas, float64(x.ready), name, "ready")
			s.gauge(replicas, float64(x.desired), name, "desired")
		}
		if x.wait != nil {
			s.wait(x.wait)
		}
	}
	for name, at := range h.expiry {
		s.gauge(certificateExpiry, float64(at.Unix()), name)
	}
	for name, u := range h.usage {
		s.gauge(instanceCPU, u.cpu, u.service, name)
		s.gauge(instanceMemory, float64(u.memory), u.service, name)
	}
	h.mu.Unlock()
	s.gauge(buildInfo, 1, h.opt.Version, runtime.Version())
	s.meters(meters)
}

// sender makes metrics and sends them.
type sender struct {
	out chan<- prometheus.Metric
	log *slog.Logger
}

func (s sender) send(m prometheus.Metric, err error) {
	if err != nil {
		s.log.Warn("a metric was left out", "error", err)
		return
	}
	s.out <- m
}

func (s sender) gauge(m *metric, v float64, labels ...string) {
	s.send(prometheus.NewConstMetric(m.desc, prometheus.GaugeValue, v, utf8s(labels)...))
}

func (s sender) counter(m *metric, v float64, labels ...string) {
	s.send(prometheus.NewConstMetric(m.desc, prometheus.CounterValue, v, utf8s(labels)...))
}

func (s sender) histogram(m *metric, h *histogram, seconds float64, labels ...string) {
	s.send(prometheus.NewConstHistogram(m.desc, h.count, seconds, h.classic(), utf8s(labels)...))
}

func utf8s(labels []string) []string {
	for i := range labels {
		labels[i] = clean(labels[i])
	}
	return labels
}

func (s sender) wait(w *Wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.gauge(heldRequests, float64(w.Waiting()), w.service)
	s.histogram(holdSeconds, &w.spread, float64(w.spent)/1e9, w.service)
	for outcome, n := range w.outcomes {
		s.counter(holds, float64(n), w.service, outcome)
	}
}

// meters sends what the meters count, each summed up by edge, route and instance.
func (s sender) meters(meters []*Meter) {
	groups := map[Key][]*Meter{}
	for _, m := range meters {
		k := m.key
		switch {
		case k.Instance != "":
			k.Caller, k.Route = "", ""
			groups[k] = append(groups[k], m)
		default:
			if k.Route != "" {
				g := Key{Route: k.Route, Service: k.Service}
				groups[g] = append(groups[g], m)
			}
			g := Key{Caller: k.Caller, Service: k.Service}
			groups[g] = append(groups[g], m)
		}
	}
	total := &tallied{}
	for k, meters := range groups {
		total.reset()
		for _, m := range meters {
			total.add(m)
		}
		switch {
		case k.Instance != "":
			s.red(total, instanceRequests, instanceSeconds, instanceInflight, k.Service, k.Instance)
		case k.Route != "":
			s.red(total, routeRequests, routeSeconds, routeInflight, k.Route, k.Service)
		default:
			s.red(total, requests, requestSeconds, requestInflight, k.Caller, k.Service)
			s.counter(requestBytes, total.in, k.Caller, k.Service)
			s.counter(responseBytes, total.out, k.Caller, k.Service)
		}
	}
}

// red sends rate, errors and duration of a series, and what is in flight.
func (s sender) red(t *tallied, count, seconds, inflight *metric, a, b string) {
	for code, n := range t.codes {
		s.counter(count, float64(n), a, b, strconv.Itoa(code))
	}
	s.histogram(seconds, &t.spread, t.spent, a, b)
	s.gauge(inflight, float64(max(t.started, t.spread.count)-t.spread.count), a, b)
}

// classic returns the counts up to each bound of le. Where a bound is within one
// of our buckets, that one's requests are taken to be spread evenly: the counts
// never fall, and are off by a sixteenth of the bound at most.
func (h *histogram) classic() map[float64]uint64 {
	out := make(map[float64]uint64, len(le))
	var below uint64
	i := 0
	for _, bound := range le {
		ns := int64(bound * 1e9)
		for i < buckets {
			if _, hi := bounds(i); hi > ns {
				break
			}
			below += h.n[i]
			i++
		}
		part := uint64(0)
		if i < buckets {
			lo, hi := bounds(i)
			part = uint64(float64(h.n[i]) * float64(ns-lo) / float64(hi-lo))
		}
		out[bound] = below + part
	}
	return out
}

// tallied are the sums of one series' meters since they were made.
type tallied struct {
	codes   map[int]uint64
	spread  histogram
	spent   float64 // seconds
	in, out float64
	started uint64
}

func (t *tallied) reset() { *t = tallied{codes: map[int]uint64{}} }

func (t *tallied) add(m *Meter) {
	for i := range m.shards {
		s := m.shards[i].Load()
		if s == nil {
			continue
		}
		for class := range s.codes {
			page := s.codes[class].Load()
			if page == nil {
				continue
			}
			for j := range page {
				if n := page[j].Load(); n > 0 {
					t.codes[class*100+j] += n
				}
			}
		}
		for b := range s.spread {
			t.spread.add(b, s.spread[b].Load())
		}
		t.spent += float64(s.spent.Load()) / 1e9
		t.in += float64(s.in.Load())
		t.out += float64(s.out.Load())
		t.started += s.started.Load()
	}
}
