package telemetry

import (
	"context"
	"slices"
	"strings"
	"time"

	"swell"
)

// Times of the loop.
const (
	every     = time.Second
	span      = 10 * time.Second       // of the statistics for pages
	minWindow = 100 * time.Millisecond // of a signal, and between two out of turn of one service
)

// Run reports a signal for each service to sink every second, and of a service at
// once when somebody begins to wait for it, until ctx ends, whose error it
// returns. A signal out of turn covers the time since the last one in turn (or,
// if that was just now, the second before it too), and the next one in turn
// covers it again: the windows of those in turn follow one another without gap.
func (h *Hub) Run(ctx context.Context, sink swell.Sink) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	again := time.NewTimer(time.Hour)
	again.Stop()
	defer again.Stop()
	h.begin()
	failing := false
	for {
		var signals []swell.Signal
		select {
		case <-ctx.Done():
			return ctx.Err()
		case at := <-tick.C:
			signals = h.tick(at)
		case <-h.poke:
			signals = h.waiting(time.Now(), again)
		case at := <-again.C:
			signals = h.waiting(at, again)
		}
		if len(signals) == 0 {
			continue
		}
		err := sink.Report(ctx, signals)
		switch {
		case err == nil:
			failing = false
		case ctx.Err() == nil && !failing:
			failing = true
			h.opt.Log.Warn("signals were not taken; the next ones are tried as ever", "signals", len(signals), "error", err)
		}
	}
}

// begin makes what happened before Run nobody's window.
func (h *Hub) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, e := range h.meters {
		if m := e.get(); m != nil {
			m.read(now, now)
			m.past.steps = nil
		}
	}
	h.ticks = []int64{now}
}

// tick reads everything and returns a signal for each service, sorted.
func (h *Hub) tick(at time.Time) []swell.Signal {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, last := h.now(), h.ticks[len(h.ticks)-1]
	if now <= last {
		return nil
	}
	h.ticks = append(h.ticks, now)
	for len(h.ticks) > 2 && now-h.ticks[1] >= int64(span) {
		h.ticks = h.ticks[1:]
	}
	byService := map[string][]*Meter{}
	for k, e := range h.meters {
		if m := e.get(); m != nil {
			m.read(now, h.ticks[0])
			if len(m.past.steps) > 0 {
				byService[k.Service] = append(byService[k.Service], m)
			}
		}
	}
	signals := make([]swell.Signal, 0, len(h.services))
	for name, s := range h.services {
		x := h.signal(name, s, byService[name], at, last, now)
		s.history.add(Point{At: at, Traffic: h.scratch.traffic(x.Window.Seconds(), x.Inflight), Waiting: x.Waiting, Ready: s.ready, Desired: s.desired})
		signals = append(signals, x)
	}
	h.sweep(now)
	slices.SortFunc(signals, bySignalService)
	return signals
}

// waiting reads the services for which somebody began to wait and returns their
// signals, sorted. Those that were reported a moment ago are left for later, and
// the timer is set to then.
func (h *Hub) waiting(at time.Time, later *time.Timer) (signals []swell.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	wait := int64(0)
	for name, s := range h.services {
		w := s.wait
		if w == nil || !w.begun.Load() {
			continue
		}
		if left := w.told + int64(minWindow) - now; w.told > 0 && left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		w.begun.Store(false)
		w.told = now
		var meters []*Meter
		for k, e := range h.meters {
			if m := e.get(); m != nil && k.Service == name {
				m.read(now, h.ticks[0])
				meters = append(meters, m)
			}
		}
		from := h.ticks[len(h.ticks)-1]
		if now-from < int64(minWindow) && len(h.ticks) > 1 {
			from = h.ticks[len(h.ticks)-2]
		}
		if now > from {
			signals = append(signals, h.signal(name, s, meters, at, from, now))
		}
	}
	if wait > 0 {
		later.Reset(time.Duration(wait))
	}
	slices.SortFunc(signals, bySignalService)
	return signals
}

func bySignalService(a, b swell.Signal) int { return strings.Compare(a.Service, b.Service) }

// signal is that of a service over the window between two readings of its meters.
// It leaves the sum over the service's callers in h.scratch.
func (h *Hub) signal(name string, s *service, meters []*Meter, at time.Time, from, to int64) swell.Signal {
	sum := &h.scratch
	sum.reset()
	inflight := 0.0
	w := float64(to-from) / 1e9
	var calls []swell.Calls
	for _, m := range meters {
		if m.key.Instance == "" {
			before := sum.started
			sum.add(m, from, to)
			calls = addCalls(calls, m.key.Caller, float64(sum.started-before)/w)
			continue
		}
		for i := range m.past.steps {
			if x := &m.past.steps[i]; x.end > from && x.end <= to {
				inflight += x.area
			}
		}
	}
	x := swell.Signal{
		Service: name, Source: "proxy", At: at, Window: time.Duration(to - from),
		Rate: float64(sum.started) / w, Done: float64(sum.ended) / w, Errors: float64(sum.errors) / w,
		Inflight: max(inflight/(float64(to-from)/(1<<unitNanos)), 0), Calls: calls,
	}
	if s.wait != nil {
		x.Waiting = s.wait.Waiting()
	}
	x.Latency = sum.latency()
	return x
}

// addCalls adds to a caller's rate, in a list that stays sorted.
func addCalls(calls []swell.Calls, caller string, rate float64) []swell.Calls {
	i, found := slices.BinarySearchFunc(calls, caller, func(c swell.Calls, name string) int { return strings.Compare(c.Caller, name) })
	if !found {
		calls = slices.Insert(calls, i, swell.Calls{Caller: caller})
	}
	calls[i].Rate += rate
	return calls
}
