package proxy

import (
	"errors"
	"syscall"
	"time"

	"swell/internal/balance"
	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/telemetry"
)

// state is what the data plane keeps of an exchange. It is pooled; nothing of it
// outlives the exchange.
type state struct {
	x     *exchange.Exchange
	route *route
	meter *telemetry.Meter // of the request; nil if no route took it
	to    *serviceRound

	ep     *endpoint // of the attempt under way, or whose answer is being sent
	begun  int64     // when that attempt began
	status int       // what it was answered
	head   int64     // when the head of that answer came
	open   bool      // whether that answer is a failure is in its trailer, which is still to come
	pick   balance.Request
	wait   waiter

	kin    *kin // nil unless the exchange was forked, or is a fork
	family kin  // of its own forks
	forked bool // it is a fork's: search is the parent's memory
	depth  int  // how many services were called for one another
	calls  []called

	search search
	raw    []byte // the target as it came, while it is rewritten
	target []byte // memory of a rewritten one
	text   []byte // memory of header values
}

// forward is the innermost round of a service: it chooses an endpoint, or waits
// for one, and makes one attempt there.
func (s *service) forward(x *exchange.Exchange) error {
	st := x.Plane.(*state)
	if st.ep != nil { // the last attempt's answer is not wanted
		st.pick.Tried = append(st.pick.Tried, &st.ep.Endpoint)
		st.endAttempt(x, exchange.Now(), st.status)
		x.Response.Drop()
	}
	if x.BodyLimit > 0 && x.Request.Length > x.BodyLimit {
		return filter.TooLarge(x)
	}
	if st.kin != nil {
		st.kin.avoid(&st.pick)
	}
	st.pick.Now, st.pick.Client, st.pick.X = x.Start, x.Peer.Addr(), x
	var e *endpoint
	admitted := false
	if s.room.waiting.Load() == 0 {
		if e = s.pick(&st.pick); e == nil {
			e = s.again(&st.pick)
		}
	}
	now := x.Start // of the first attempt; the clock need not be read again
	if e == nil {
		var f *filter.Failure
		if e, f = s.enter(x, st); f != nil {
			return f
		}
		admitted = st.wait.ep == e
		if admitted {
			x.Wrote = wrote
		}
		now = exchange.Now()
	} else if x.Attempt > 0 {
		now = exchange.Now()
	}
	st.ep, st.begun = e, now
	if st.kin != nil {
		st.kin.note(&e.Endpoint)
	}
	x.Attempt++
	x.Endpoint = e.ID
	e.meter.Start(now)

	deadline := x.Deadline
	if x.AttemptTimeout > 0 {
		if d := time.Now().Add(x.AttemptTimeout); deadline.IsZero() || d.Before(deadline) {
			x.Deadline = d
		}
	}
	grpcDepart(x)
	err := s.transport.Load().RoundTrip(x, e.spec.Addr)
	x.Deadline = deadline
	if admitted {
		x.Wrote = nil
		e.unanswered.Add(-1)
		if err == nil {
			s.room.answered()
		}
		s.room.written(&st.wait)
		s.admit()
	}
	now = exchange.Now()
	if err != nil {
		return s.failed(x, st, e, err, now)
	}
	st.head = now
	status, whole := grpcOutcome(x)
	st.status, st.open = status, !whole
	ok := st.status < 500
	e.Observe(now, now-st.begun, ok)
	if whole {
		s.judge(e, status)
	} else {
		grpcGuard(x)
	}
	return nil
}

// judge counts the status of an answer of e's.
func (s *service) judge(e *endpoint, status int) {
	if status >= 500 {
		s.failing(e)
	} else if e.fails.Load() != 0 {
		e.fails.Store(0)
	}
}

// wrote lets the next one of the waiting room in.
func wrote(x *exchange.Exchange) {
	st := x.Plane.(*state)
	st.ep.service.room.written(&st.wait)
}

// took is how long something took that began at start and ends now: until the
// answer's head, if what follows lasts as long as its parties like.
func (st *state) took(x *exchange.Exchange, start, now int64) int64 {
	if st.head > start && (x.Response.Tunnel != nil || string(x.Response.Header.Get(exchange.ContentType)) == "text/event-stream") {
		return st.head - start
	}
	return now - start
}

// endAttempt counts the end of the attempt under way.
func (st *state) endAttempt(x *exchange.Exchange, now int64, status int) {
	e := st.ep
	st.ep = nil
	e.meter.EndStream(st.begun, now, st.took(x, st.begun, now), status, x.Request.Bytes, x.Response.Bytes)
	e.release()
}

// failed sorts out why an attempt has no answer, and what that says of the endpoint.
func (s *service) failed(x *exchange.Exchange, st *state, e *endpoint, err error, now int64) error {
	f := &filter.Failure{Service: s.name, Cause: filter.Reset, Err: err}
	var he *exchange.AttemptError
	if !errors.As(err, &he) {
		he = &exchange.AttemptError{Phase: exchange.PhaseWait, Err: err}
	}
	f.Safe = he.Safe || he.Phase == exchange.PhaseDial
	switch {
	case errors.Is(err, exchange.ErrGone):
		f.Cause, f.Safe = filter.Gone, false
	case errors.Is(err, exchange.ErrRequest):
		f.Cause, f.Safe = filter.Request, false
	case errors.Is(err, exchange.ErrTimeout):
		f.Cause = filter.Timeout
		if he.Phase == exchange.PhaseDial && (x.Deadline.IsZero() || time.Until(x.Deadline) > 0) && x.AttemptTimeout == 0 {
			f.Cause = filter.Connect
		} else {
			f.Safe = false // its time is over, wherever it has been
		}
	case errors.Is(err, exchange.ErrBusy): // too many connections to it, of ours
		f.Cause = filter.Limit
	case he.Phase == exchange.PhaseDial:
		f.Cause = filter.Connect
	case errors.Is(err, exchange.ErrMalformed), errors.Is(err, exchange.ErrHeadTooLarge):
		f.Cause = filter.Malformed
	}
	status := 0
	if f.Cause == filter.Gone {
		status = 499
	}
	switch f.Cause {
	case filter.Gone:
		if st.forked { // another attempt was faster: this one would have taken longer still
			e.Observe(now, now-st.begun, true)
		} else {
			e.Waive()
		}
	case filter.Request, filter.Large, filter.Limit: // not the endpoint's doing
		e.Waive()
	case filter.Connect:
		if !ours(err) {
			e.Observe(now, now-st.begun, false)
			if he.Phase == exchange.PhaseDial {
				s.refused(e)
			}
		} else {
			e.Waive()
		}
	default:
		if errors.Is(err, exchange.ErrUnsupported) {
			e.Waive()
			break
		}
		e.Observe(now, now-st.begun, false)
		// A connection that was idle may just have been at its end.
		if !(he.Reused && he.Phase == exchange.PhaseWait && errors.Is(err, exchange.ErrClosed)) {
			s.failing(e)
		}
	}
	x.Response.Drop()
	st.pick.Tried = append(st.pick.Tried, &e.Endpoint)
	st.endAttempt(x, now, status)
	if f.Safe {
		st.pick.Now = now
		f.More = s.more(&st.pick)
	}
	x.Note("failed", f.Cause.String())
	return f
}

// ours reports whether a connection could not be made for a reason of our own side:
// that says nothing of the endpoint.
func ours(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, exchange.ErrPoolClosed)
}
