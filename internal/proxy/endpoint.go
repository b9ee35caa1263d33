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
	tally      tally        // since the last judgement; only counted where rates are judged

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
	failing           // it answers, badly, several times in a row; better than nothing
	unlucky           // likewise, more often than the others do
	slow              // likewise, much later than the others do
	outCauses
)

// String says why in words.
func (c outCause) String() string {
	return [...]string{"in", "it refuses connections", "it fails", "it fails more often than the others", "it is much slower than the others"}[c]
}

// label is the cause's name in metrics.
func (c outCause) label() string {
	return [...]string{"", "refusing", "failing", "success-rate", "latency"}[c]
}

func newEndpoint(s *service, spec swell.Endpoint) *endpoint {
	e := &endpoint{spec: spec, service: s, done: make(chan struct{})}
	e.Init(spec.ID, spec.Weight)
	e.Owner, e.Zone = e, spec.Zone
	e.meter = s.plane.opt.Hub.Meter(telemetry.Key{Service: s.name, Instance: spec.ID})
	return e
}

// unpick takes a choice back.
func (e *endpoint) unpick() {
	e.Waive()
	e.end()
}

// release ends a use of the endpoint.
func (e *endpoint) release() {
	e.end()
	if e.service.room.waiting.Load() > 0 {
		e.service.admit() // a place at the endpoint became free
	}
}

func (e *endpoint) end() {
	if e.End() == 0 && e.gone.Load() {
		e.once.Do(func() { close(e.done) })
	}
}

// Observe tells how an attempt ended, to the balancer and to those who judge. It
// takes the place of the embedded endpoint's.
func (e *endpoint) Observe(now, took int64, ok bool) {
	e.Endpoint.Observe(now, took, ok)
	if e.service.rules.Load().rates() {
		e.tally.add(took, ok)
		e.service.startJudge()
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

// drop takes the endpoint out of use for good, and ends what watches it. service.mu is
// held.
func (e *endpoint) drop() {
	if e.stop != nil {
		e.stop()
	}
	if e.checks != nil {
		e.checks()
	}
	e.leave()
}

const (
	probeFirst     = 50 * time.Millisecond
	probeLongest   = 5 * time.Second
	probeTime      = time.Second
	admitsInFlight = 64 // let in from the waiting room and unanswered, at one endpoint
)
