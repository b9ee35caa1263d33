package proxy

import (
	"cmp"
	"context"
	"errors"
	"time"

	"swell"
	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/telemetry"
)

// newEnv makes what every filter of the plane is given; its place is filled in when
// a table is compiled.
func (p *Plane) newEnv() filter.Env {
	hub := p.opt.Hub
	return filter.Env{
		Now:   time.Now,
		Pause: pause,
		Count: func(event string, labels ...string) filter.Counter { return hub.Count(event, labels...) },
		Gauge: func(name string, labels ...string) filter.Gauge { return hub.Gauge(name, labels...) },
		Log:   p.accessLog,
		Warn:  p.opt.Log.Warn,
		Call:  p.call,
		Spawn: p.background,
		Fork:  p.fork,
		Join:  p.join,
		Quit:  p.quit,
	}
}

// depthMost bounds the services that one request is handed on to, one instead of the
// other, so that two that stand in for each other do not do so for ever.
const depthMost = 3

var errCircle = errors.New("too many services stand in for each other")

// called is a request to a service that a filter made instead of, or besides, the
// one that the exchange is about.
type called struct {
	meter *telemetry.Meter
	begun int64
}

// call returns the round of another service, for the filters of a place. The service
// is looked up when it is called, as the table may have become another by then.
func (p *Plane) call(place filter.Env, service string) filter.Round {
	meter := p.opt.Hub.Meter(telemetry.Key{Caller: cmp.Or(place.Service, swell.GatewayCaller), Service: service})
	return func(x *exchange.Exchange) error {
		st, ok := x.Plane.(*state)
		t := p.table.Load()
		if !ok || t == nil || t.services[service] == nil {
			return &filter.Failure{Service: service, Cause: filter.Nobody}
		}
		if st.depth >= depthMost {
			return &filter.Failure{Service: service, Cause: filter.Nobody, Err: errCircle}
		}
		if st.ep != nil { // of the service that was asked before
			x.Response.Drop()
			st.endAttempt(x, exchange.Now(), st.status)
		}
		to, name := st.to, x.Service
		st.to, x.Service = t.services[service], service
		tried := st.pick.Tried
		st.pick.Tried = st.pick.Tried[len(tried):]
		now := exchange.Now()
		meter.Start(now)
		st.depth++
		err := st.to.round(x)
		st.depth--
		st.pick.Tried = tried
		if err != nil {
			st.to, x.Service = to, name
			meter.End(now, exchange.Now(), 0, 0, 0)
			return err
		}
		st.calls = append(st.calls, called{meter, now})
		return nil
	}
}

// endCalls counts the ends of what filters called.
func (st *state) endCalls(x *exchange.Exchange, now int64, status int) {
	for i := range st.calls {
		c := &st.calls[i]
		c.meter.EndStream(c.begun, now, st.took(x, c.begun, now), status, x.Request.Bytes, x.Response.Bytes)
	}
	clear(st.calls)
	st.calls = st.calls[:0]
}

// background runs a task beside the exchanges; the plane waits for it at its end,
// when ctx ends. It returns false, and runs nothing, if the end has come.
func (p *Plane) background(task func(ctx context.Context)) bool {
	p.tasks.Lock()
	defer p.tasks.Unlock()
	if p.running == nil {
		return false
	}
	ctx := p.running
	p.wg.Go(func() { task(ctx) })
	return true
}

// sleeper is somebody who sleeps for a client.
type sleeper chan struct{}

// Cut wakes it.
func (s sleeper) Cut() { close(s) }

// pause is a filter's: it waits for d unless the exchange has no time or no client
// for it.
func pause(x *exchange.Exchange, d time.Duration) bool {
	if !x.Deadline.IsZero() && time.Until(x.Deadline) < d {
		return false
	}
	var s sleeper
	if x.Leash != nil {
		s = make(sleeper)
		if !x.Leash.Hold(s) {
			return false
		}
		defer x.Leash.Release()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s:
		return false
	}
	return x.Gone == nil || !x.Gone()
}
