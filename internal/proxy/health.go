package proxy

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"swell/internal/exchange"
)

// refused takes an endpoint out at once: nobody listens there.
func (s *service) refused(e *endpoint) { s.eject(e, refusing) }

// failing counts a failed attempt, and takes the endpoint out if there were many in
// a row and the others do better.
func (s *service) failing(e *endpoint) {
	most := s.rules.Load().Consecutive
	if most > 0 && int(e.fails.Add(1)) >= most {
		s.eject(e, failing)
	}
}

// eject takes e out, until its time is over and a probe succeeds.
func (s *service) eject(e *endpoint, why outCause) {
	if why != refusing && e.Out() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.gone.Load() || e.cause == why || e.cause != in && why != refusing {
		return
	}
	rules := s.rules.Load()
	if why != refusing && !s.spare(e, why, rules) {
		e.fails.Store(0) // counted again from the start
		return
	}
	prober := e.cause == in
	e.cause = why
	now := exchange.Now()
	if now-e.ejected > 2*int64(rules.Longest) {
		e.ejections = 0 // it did well for long
	}
	e.ejections++
	e.ejected = now
	e.SetOut(true)
	s.ejected[why].Add(1)
	s.plane.opt.Log.Warn("an endpoint is out", "service", s.name, "endpoint", e.ID, "addr", e.spec.Addr, "reason", why.String())
	if prober {
		e.stop = s.plane.spawn(func(ctx context.Context) { s.probe(ctx, e) })
	}
	if s.lastOnes() {
		s.regroup()
	} else {
		s.regroupSoon()
	}
}

// lastOnes reports whether nobody is in. s.mu is held.
func (s *service) lastOnes() bool {
	for _, e := range s.endpoints {
		if !e.Out() {
			return false
		}
	}
	return true
}

// spare reports whether the service can do without e, which does badly: somebody else
// is in, no more than the rules allow are out for doing badly, and of those that
// would stay most do better. s.mu is held.
func (s *service) spare(e *endpoint, why outCause, rules *rules) bool {
	left, well, bad := 0, 0, 1
	for _, o := range s.endpoints {
		switch {
		case o == e:
		case o.cause == in:
			left++
			if why != failing || int(o.fails.Load()) < (rules.Consecutive+1)/2 {
				well++
			}
		case o.cause != refusing:
			bad++
		}
	}
	return left > 0 && well*2 > left && bad <= max(1, int(rules.MaxEjected*float64(len(s.endpoints))))
}

// readmit takes e in again. s.mu is held.
func (s *service) readmit(e *endpoint) {
	if e.cause == in || e.gone.Load() {
		return
	}
	e.fails.Store(0)
	if rules := s.rules.Load(); e.cause == failing && rules.Consecutive > 1 {
		// That it can be connected to proves little: if its first answer is bad again,
		// it has had its chance.
		e.fails.Store(int32(rules.Consecutive - 1))
	}
	e.cause = in
	e.tally.take()
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
	now := exchange.Now()
	if s.spread.SlowStart > 0 && slices.ContainsFunc(s.endpoints, func(o *endpoint) bool { return o != e && o.cause == in && o.Share(now) == 1 }) {
		e.Warm(now, now+int64(s.spread.SlowStart))
	}
	s.admitted.Add(1)
	s.plane.opt.Log.Info("an endpoint is in again", "service", s.name, "endpoint", e.ID, "addr", e.spec.Addr)
	s.regroup()
	s.admit()
}

// probe asks e now and then whether it serves again, first soon, then less and less
// often, until it does or ctx ends.
func (s *service) probe(ctx context.Context, e *endpoint) {
	s.mu.Lock()
	pause := probeFirst
	if e.cause != refusing {
		pause = s.rules.Load().term(e.ejections)
	}
	s.mu.Unlock()
	t := time.NewTimer(pause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if s.check(ctx, e) == nil {
			s.mu.Lock()
			if ctx.Err() == nil {
				s.readmit(e)
			}
			s.mu.Unlock()
			return
		}
		pause = min(pause*2, probeLongest)
		t.Reset(pause)
	}
}

// watch starts the active checks of an endpoint that no driver checks: one that
// Swell does not run has no revision. s.mu is held.
func (s *service) watch(e *endpoint) {
	if e.checks != nil || s.health.Interval <= 0 || e.spec.Revision != "" {
		return
	}
	h := s.health
	e.checks = s.plane.spawn(func(ctx context.Context) {
		t := time.NewTimer(rand.N(h.Interval)) // lest all are checked at once
		defer t.Stop()
		for failures := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			t.Reset(h.Interval)
			if s.check(ctx, e) == nil {
				failures = 0
				continue
			}
			if failures++; failures >= max(1, h.Failures) && ctx.Err() == nil {
				s.refused(e)
			}
		}
	})
}
