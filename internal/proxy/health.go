package proxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"swell"
	"swell/internal/exchange"
)

// refused takes an endpoint out at once: nobody listens there.
func (s *service) refused(e *endpoint) { s.eject(e, refusing) }

// failing counts a failed attempt, and takes the endpoint out if there were many in
// a row and the others do better.
func (s *service) failing(e *endpoint) {
	if e.fails.Add(1) >= failsInRow {
		s.eject(e, failing)
	}
}

// eject takes e out, until a probe succeeds.
func (s *service) eject(e *endpoint, why outCause) {
	if e.Out() && why == failing {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.gone.Load() || e.cause == refusing || e.cause == why {
		return
	}
	if why == failing && !s.spare(e) {
		e.fails.Store(0) // counted again from the start
		return
	}
	prober := e.cause == in
	e.cause = why
	now := exchange.Now()
	if now-e.ejected > int64(2*failedLongest) {
		e.ejections = 0 // it did well for long
	}
	e.ejections++
	e.ejected = now
	e.SetOut(true)
	s.ejected[why].Add(1)
	s.plane.opt.Log.Warn("an endpoint is out", "service", s.name, "endpoint", e.ID, "addr", e.spec.Addr, "reason", why.String())
	s.rebalance(s.balancer.Load())
	if prober {
		e.stop = s.plane.spawn(func(ctx context.Context) { s.probe(ctx, e) })
	}
	s.panicIn()
}

// String says why in words.
func (c outCause) String() string {
	return [...]string{"in", "it refuses connections", "it fails"}[c]
}

// spare reports whether the service can do without e: somebody else is in, at least
// half would stay, and most of those do better. s.mu is held.
func (s *service) spare(e *endpoint) bool {
	left, well := 0, 0
	for _, o := range s.endpoints {
		if o != e && !o.Out() {
			left++
			if o.fails.Load() < failsInRow/2 {
				well++
			}
		}
	}
	return left > 0 && left*2 >= len(s.endpoints)-1 && well*2 > left
}

// panicIn takes the failing in again if there is nobody else: bad answers are
// better than none. s.mu is held.
func (s *service) panicIn() {
	for _, e := range s.endpoints {
		if !e.Out() {
			return
		}
	}
	for _, e := range s.endpoints {
		if e.cause == failing {
			s.readmit(e)
		}
	}
}

// readmit takes e in again. s.mu is held.
func (s *service) readmit(e *endpoint) {
	if e.cause == in || e.gone.Load() {
		return
	}
	e.cause = in
	e.fails.Store(0)
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
	e.SetOut(false)
	s.admitted.Add(1)
	s.plane.opt.Log.Info("an endpoint is in again", "service", s.name, "endpoint", e.ID, "addr", e.spec.Addr)
	s.rebalance(s.balancer.Load())
	s.admit()
}

// probe asks e now and then whether it serves again, first soon, then less and less
// often, until it does or ctx ends.
func (s *service) probe(ctx context.Context, e *endpoint) {
	s.mu.Lock()
	pause := probeFirst
	if e.cause == failing {
		pause = min(failedFor<<min(e.ejections-1, 5), failedLongest)
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
		t := time.NewTicker(h.Interval)
		defer t.Stop()
		for failures := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
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

// check asks once: a connection, and where the service has an HTTP health path an
// answer of 2xx or 3xx to it.
func (s *service) check(ctx context.Context, e *endpoint) error {
	s.mu.Lock()
	h := s.health
	s.mu.Unlock()
	limit := h.Timeout
	if limit <= 0 {
		limit = probeTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := s.plane.opt.Dial(ctx, e.spec.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if h.Kind != "http" || h.Path == "" {
		return nil
	}
	return ask(ctx, c, e.spec.Addr, h)
}

func ask(ctx context.Context, c net.Conn, addr string, h swell.Health) error {
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: swell-health\r\nConnection: close\r\n\r\n", h.Path, addr); err != nil {
		return fmt.Errorf("ask %s: %w", h.Path, err)
	}
	line, err := bufio.NewReaderSize(c, 1024).ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("ask %s: %w", h.Path, err)
	}
	parts := strings.SplitN(string(line), " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return fmt.Errorf("ask %s: the answer is not HTTP", h.Path)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(parts[1])); err != nil || n < 200 || n > 399 {
		return fmt.Errorf("ask %s: status %s", h.Path, strings.TrimSpace(parts[1]))
	}
	return nil
}
