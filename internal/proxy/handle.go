package proxy

import (
	"errors"

	"swell/internal/exchange"
)

// begin takes a state for an exchange.
func (p *Plane) begin(x *exchange.Exchange) *state {
	st := p.states.Get().(*state)
	st.x = x
	x.Plane = st
	return st
}

// handleGateway answers a request that came in by the gateway.
func (f *front) handleGateway(x *exchange.Exchange) {
	p := f.plane
	st := p.begin(x)
	t := p.table.Load()
	if t == nil {
		p.unready(x)
		return
	}
	t.arrive(st, x)
	grpcArrive(x)
	if err := st.search.path.parse(x.Request.Path()); err != nil {
		p.unmatched.Add(1)
		x.Reply(400, err.Error())
		return
	}
	rt := t.router.find(&x.Request, &st.search)
	if rt == nil {
		p.unmatched.Add(1)
		p.unrouted(x, t, &st.search)
		return
	}
	x.Route = rt.name
	st.route = rt
	if to := rt.target(); to != nil {
		st.to, st.meter = to.to, to.meter
		x.Service = to.to.service.name
		st.meter.Start(x.Start)
	} else if rt.meter != nil {
		st.meter = rt.meter
		st.meter.Start(x.Start)
	}
	for _, at := range rt.match.params {
		s := st.search.path.segments[at.at]
		x.Params = append(x.Params, exchange.Param{Name: at.name, Value: string(st.search.path.norm[s.from:s.to])})
	}
	if err := rt.round(x); err != nil {
		p.answer(x, err)
	}
}

// handleEdge answers a request that came from a service.
func (f *front) handleEdge(x *exchange.Exchange) {
	p := f.plane
	st := p.begin(x)
	r := f.round.Load()
	if r == nil {
		p.unready(x)
		return
	}
	st.mark(x, false)
	grpcArrive(x)
	st.to, st.meter = r.to, r.meter
	x.Service = r.to.service.name
	st.meter.Start(x.Start)
	if x.Request.Method == "CONNECT" && x.Request.Major > 0 && x.Request.Upgrade == nil {
		x.Reply(405, "an edge leads to a service, not through it: CONNECT is not taken")
		return
	}
	if err := r.to.round(x); err != nil {
		p.answer(x, err)
	}
}

func (p *Plane) unready(x *exchange.Exchange) {
	p.notReady.Add(1)
	x.Reply(503, "the data plane has no configuration yet")
	x.Response.Header.AddName(reason, "not-ready")
	grpcAnswer(x, grpcUnavailable, "the data plane has no configuration yet")
	x.Response.Header.Set(exchange.RetryAfter, "1")
}

// done counts the end of an exchange: its answer was sent, or broke with err.
func (p *Plane) done(x *exchange.Exchange, err error) {
	st, _ := x.Plane.(*state)
	if st == nil {
		return
	}
	now := exchange.Now()
	status, _ := grpcOutcome(x)
	if err != nil {
		status = 0
		if errors.Is(err, exchange.ErrGone) || x.Gone != nil && x.Gone() {
			status = 499
		} else if st.ep != nil && errors.As(err, new(*exchange.AttemptError)) {
			st.ep.service.failing(st.ep) // it cut its answer short
		}
	}
	if st.ep != nil {
		attempt := st.status // a filter may have answered with something else
		if err != nil {
			attempt = status
		} else if st.open { // it is known now
			attempt = status
			st.ep.service.judge(st.ep, attempt)
		}
		st.endAttempt(x, now, attempt)
	}
	if len(st.calls) > 0 {
		st.endCalls(x, now, status)
	}
	if st.meter != nil {
		st.meter.EndStream(x.Start, now, st.took(x, x.Start, now), status, x.Request.Bytes, x.Response.Bytes)
	}
	if len(x.Ended) > 0 {
		if err != nil {
			x.Response.Status = status
		}
		for i := len(x.Ended) - 1; i >= 0; i-- {
			x.Ended[i](x)
		}
	}
	x.Plane = nil
	st.reset()
	p.states.Put(st)
}

// reset empties the state and keeps its memory.
func (st *state) reset() {
	tried := st.pick.Tried
	clear(tried[:cap(tried)])
	st.x, st.route, st.meter, st.to, st.ep, st.raw = nil, nil, nil, nil, nil, nil
	st.head = 0
	st.forked, st.open, st.depth = false, false, 0
	if st.kin != nil {
		st.kin = nil
		st.family.reset()
	}
	st.pick.Tried, st.pick.X = tried[:0], nil
	st.wait.st, st.wait.ep = nil, nil
	s := &st.search
	s.path.norm, s.host, s.allow = nil, nil, nil
	clear(s.hits[:cap(s.hits)])
	if cap(st.target) > 8<<10 {
		st.target = nil
	}
	if cap(st.text) > 8<<10 {
		st.text = nil
	}
	if cap(s.path.buf) > 8<<10 {
		s.path.buf = nil
	}
	if cap(s.path.segments) > 256 {
		s.path.segments = nil
	}
}
