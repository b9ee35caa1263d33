package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"swell"
	"swell/internal/balance"
	"swell/internal/telemetry"
)

// endpoint is one instance as this data plane sees it. It lives from the snapshot
// that brings it until the last exchange with it has ended.
type endpoint struct {
	balance.Endpoint
	spec    swell.Endpoint
	service *service
	meter   *telemetry.Meter

	// gone: it is in no table any more. Whoever picked it in that moment sees it
	// after Begin and lets go again.
	gone atomic.Bool
	once sync.Once
	done chan struct{} // closed once it is gone and nothing is in flight to it

	unanswered atomic.Int64 // requests let in from the waiting room without an answer yet
	fails      atomic.Int32 // attempts in a row that failed or were answered 5xx

	// Under service.mu:
	cause     outCause
	ejections int    // in a row, for the back-off
	ejected   int64  // when it was last
	stop      func() // ends its prober; nil if there is none
	checks    func() // ends its active check; nil if there is none
}

// outCause is why an endpoint is out.
type outCause int

const (
	in       outCause = iota
	refusing          // nobody listens, or its check fails: nothing is lost by taking it out
	failing           // it answers, badly; better than nothing
)

func newEndpoint(s *service, spec swell.Endpoint) *endpoint {
	e := &endpoint{spec: spec, service: s, done: make(chan struct{})}
	e.Init(spec.ID, spec.Weight)
	e.Owner = e
	e.meter = s.plane.opt.Hub.Meter(telemetry.Key{Service: s.name, Instance: spec.ID})
	return e
}

// unpick takes a choice back.
func (e *endpoint) unpick() {
	if e.End() == 0 && e.gone.Load() {
		e.once.Do(func() { close(e.done) })
	}
}

// release ends a use of the endpoint.
func (e *endpoint) release() {
	e.unpick()
	if e.service.room.waiting.Load() > 0 {
		e.service.admit() // a place at the endpoint became free
	}
}

// leave takes the endpoint out of use for good.
func (e *endpoint) leave() {
	e.gone.Store(true)
	e.SetOut(true)
	if e.Inflight() == 0 {
		e.once.Do(func() { close(e.done) })
	}
}

// Limits of ejection. An endpoint that fails is out for failedFor, doubled with
// each time in a row.
const (
	failsInRow     = 5
	failedFor      = time.Second
	failedLongest  = 30 * time.Second
	probeFirst     = 50 * time.Millisecond
	probeLongest   = 5 * time.Second
	probeTime      = time.Second
	admitsInFlight = 64 // let in from the waiting room and unanswered, at one endpoint
)
