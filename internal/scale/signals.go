package scale

import (
	"time"

	"swell"
)

// signals holds the newest signal of each source, service and instance.
type signals struct {
	series map[key]swell.Signal
}

type key struct{ source, service, instance string }

// Bounds of what is kept: signals come from outside.
const (
	maxSeries  = 100_000
	keepSignal = 2 * time.Minute
)

// put takes a signal; older ones than the newest, and new series when there are
// too many, are dropped.
func (s *signals) put(x swell.Signal) {
	if s.series == nil {
		s.series = map[key]swell.Signal{}
	}
	k := key{x.Source, x.Service, x.Instance}
	old, ok := s.series[k]
	if !ok && len(s.series) >= maxSeries || ok && x.At.Before(old.At) {
		return
	}
	s.series[k] = x
}

// prune drops what is old, of services that are gone, or of instances that are.
func (s *signals) prune(now time.Time, services, instances map[string]bool) {
	for k, x := range s.series {
		if now.Sub(x.At) > keepSignal || !services[k.service] ||
			k.instance != "" && instances != nil && !instances[k.instance] && now.Sub(x.At) > freshCPU {
			delete(s.series, k)
		}
	}
}

// loads merges the data planes' signals by service, and the drivers' CPU.
func (s *signals) loads(now time.Time) (map[string]Load, map[string][]Usage) {
	loads, cpu := map[string]Load{}, map[string][]Usage{}
	for k, x := range s.series {
		if k.instance != "" {
			if x.Source == "driver" || x.CPU > 0 {
				cpu[k.service] = append(cpu[k.service], Usage{x.Instance, x.At, x.CPU})
			}
			continue
		}
		l, ok := loads[k.service]
		// Of a source that fell silent nothing is known: it counts neither as load
		// nor as none. The newest tells whether any is heard.
		if now.Sub(x.At) > freshLoad {
			if !ok || x.At.After(l.At) && now.Sub(l.At) > freshLoad {
				loads[k.service] = asLoad(x)
			}
			continue
		}
		if !ok || now.Sub(l.At) > freshLoad {
			loads[k.service] = asLoad(x)
			continue
		}
		loads[k.service] = merge(l, asLoad(x))
	}
	return loads, cpu
}

func asLoad(x swell.Signal) Load {
	return Load{At: x.At, Window: x.Window, Rate: x.Rate, Done: x.Done, Errors: x.Errors,
		Inflight: x.Inflight, Waiting: x.Waiting, Latency: x.Latency, Calls: x.Calls}
}

// merge adds two data planes' loads up. Quantiles can't be merged from
// quantiles: weighted by requests they come near where the planes see the same
// instances, as they do.
func merge(a, b Load) Load {
	n := a.Latency.Count + b.Latency.Count
	mix := func(x, y time.Duration) time.Duration {
		if n == 0 {
			return 0
		}
		return time.Duration((float64(x)*float64(a.Latency.Count) + float64(y)*float64(b.Latency.Count)) / float64(n))
	}
	out := Load{
		At: a.At, Window: max(a.Window, b.Window), Rate: a.Rate + b.Rate, Done: a.Done + b.Done,
		Errors: a.Errors + b.Errors, Inflight: a.Inflight + b.Inflight, Waiting: a.Waiting + b.Waiting,
		Latency: swell.Latency{Count: n, Mean: mix(a.Latency.Mean, b.Latency.Mean), P50: mix(a.Latency.P50, b.Latency.P50),
			P95: mix(a.Latency.P95, b.Latency.P95), P99: mix(a.Latency.P99, b.Latency.P99)},
	}
	out.Calls = append(append(out.Calls, a.Calls...), b.Calls...) // one more entry for a caller does no harm
	if b.At.After(out.At) {
		out.At = b.At
	}
	return out
}

// downstream fills in how many of a service's requests in flight are at the
// services that it calls. A callee's requests are shared among its callers as
// their rates are; what its callers can't have caused came by the gateway.
func downstream(app *swell.App, loads map[string]Load) {
	callers := map[string]float64{}
	for i := range app.Services {
		for _, callee := range app.Services[i].Uses {
			callers[callee] += loads[app.Services[i].Name].Rate
		}
	}
	for i := range app.Services {
		s := &app.Services[i]
		l, ok := loads[s.Name]
		if !ok || len(s.Uses) == 0 {
			continue
		}
		for _, callee := range s.Uses {
			to, ok := loads[callee]
			if total := max(callers[callee], to.Rate); ok && total > 0 {
				l.Downstream += (to.Inflight + float64(to.Waiting)) * l.Rate / total
			}
		}
		l.Downstream = min(l.Downstream, l.Inflight)
		loads[s.Name] = l
	}
}
