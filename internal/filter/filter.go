// Package filter holds what can be done to an exchange on its way, one filter to
// a file.
//
// A filter is a round trip, not a writer: it gets the next round and returns one
// of its own. The response is a value before a byte of it is sent, so a filter
// may look at it, change it, throw it away and ask again.
package filter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
)

// Round brings an exchange to its response. It fails with a [*Failure] if there is
// no response; the caller that gives up answers as the failure says.
type Round func(*exchange.Exchange) error

// Filter wraps a round. It is called once for each place where the filter is used;
// the round that it returns serves any number of exchanges at a time.
type Filter func(next Round) Round

// Maker makes a filter for one place.
type Maker func(Env) Filter

// Counter counts events.
type Counter interface{ Add(n uint64) }

// Gauge shows a value that goes up and down.
type Gauge interface{ Set(n uint64) }

// Env is what the data plane gives to the filters of one place. The zero Env works.
type Env struct {
	Service string // whose calls are filtered; "" at a route or the gateway
	Route   string // whose requests are filtered; "" elsewhere
	Now     func() time.Time
	// Pause waits for d, shorter if the exchange's deadline comes sooner or its
	// client leaves; then it reports false.
	Pause func(x *exchange.Exchange, d time.Duration) bool
	// Count returns the counter of an event with labels, names and values alternating.
	Count func(event string, labels ...string) Counter
	// Gauge returns the gauge of that name and those labels.
	Gauge func(name string, labels ...string) Gauge
	// Warn writes a line to the program's log, with names and values alternating.
	Warn func(text string, args ...any)
	// Call returns the round of another service, all its filters included, for the
	// filters of a place. The exchange that it is called with goes to that service
	// then. It fails with Nobody if there is no such service, or if too many were
	// called for one another.
	Call func(place Env, service string) Round
	// Spawn runs a task in the background, whose ctx ends when the data plane does; it
	// waits for the task. False: it is not run, as the data plane is ending.
	Spawn func(task func(ctx context.Context)) bool
	// Fork readies f, which has begun, for rounds of its own; Join makes the answer that
	// f got the one of x for the data plane, before f.Join; Quit ends what Fork began,
	// before f.End. The one who forks calls them, on the goroutine that has x, or once
	// nobody else uses f.
	Fork func(x *exchange.Exchange, f *exchange.Fork)
	Join func(x *exchange.Exchange, f *exchange.Fork)
	Quit func(f *exchange.Fork)
	// Log returns what writes the line of an access log in a format, "json" or
	// "common", when an exchange has ended.
	Log func(format string) func(*exchange.Exchange)
}

func (e Env) complete() Env {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Pause == nil {
		e.Pause = func(x *exchange.Exchange, d time.Duration) bool {
			if !x.Deadline.IsZero() && e.Now().Add(d).After(x.Deadline) {
				return false
			}
			t := time.NewTimer(d)
			defer t.Stop()
			<-t.C
			return x.Gone == nil || !x.Gone()
		}
	}
	if e.Count == nil {
		e.Count = func(string, ...string) Counter { return nobody{} }
	}
	if e.Gauge == nil {
		e.Gauge = func(string, ...string) Gauge { return nobody{} }
	}
	if e.Warn == nil {
		e.Warn = func(string, ...any) {}
	}
	if e.Call == nil {
		e.Call = func(_ Env, service string) Round {
			return func(*exchange.Exchange) error { return &Failure{Service: service, Cause: Nobody} }
		}
	}
	if e.Spawn == nil {
		e.Spawn = func(func(context.Context)) bool { return false }
	}
	if e.Fork == nil {
		e.Fork = func(*exchange.Exchange, *exchange.Fork) {}
	}
	if e.Join == nil {
		e.Join = func(*exchange.Exchange, *exchange.Fork) {}
	}
	if e.Quit == nil {
		e.Quit = func(*exchange.Fork) {}
	}
	if e.Log == nil {
		e.Log = func(string) func(*exchange.Exchange) { return func(*exchange.Exchange) {} }
	}
	return e
}

type nobody struct{}

func (nobody) Add(uint64) {}
func (nobody) Set(uint64) {}

// counter returns the counter of an event at this place.
func (e Env) counter(event string, labels ...string) Counter {
	return e.Count(event, append([]string{"service", e.Service, "route", e.Route}, labels...)...)
}

// place names where the filters of e are, for people: the service, or the route.
func (e Env) place() string { return cmp.Or(e.Service, e.Route, "gateway") }

// Kind returns the filters that can be named.
func Kind() *plug.Kind[Maker] {
	return plug.NewKind("filter", timeoutEntry(), retryEntry(), accessLogEntry(), headersEntry(),
		affinityEntry(), bodyLimitEntry(), circuitBreakerEntry(), concurrencyEntry(), fallbackEntry(),
		faultEntry(), grpcWebEntry(), hedgeEntry(), mirrorEntry())
}

// Chain wraps round in filters, the first outermost.
func Chain(round Round, filters ...Filter) Round {
	for i := len(filters) - 1; i >= 0; i-- {
		round = filters[i](round)
	}
	return round
}

// Cause is the kind of a failure.
type Cause uint8

// The causes of failures.
const (
	Connect   Cause = iota // no connection to an endpoint was made
	Reset                  // the connection broke before the head of the answer was there
	Malformed              // the answer was not HTTP
	Timeout                // the deadline passed, or an attempt's
	Gone                   // the client left
	Request                // the request's body was malformed or cut short by the client
	Nobody                 // there is no endpoint, and none came in the time to wait
	Full                   // there is no endpoint, and too many wait for one
	Open                   // the circuit breaker lets nothing through
	Limit                  // too many are in flight, and none ended in the time to wait
	Large                  // the request's body is larger than may be
)

// String returns the cause in a word.
func (c Cause) String() string {
	return [...]string{"connect", "reset", "malformed", "timeout", "gone", "request", "no-endpoint", "full", "circuit-open", "limit", "body-limit"}[c]
}

// Failure is why a round has no response.
type Failure struct {
	Service string
	Cause   Cause
	// Safe: no byte of the request can have been processed, so that it may be sent
	// again whatever its method, as long as its body is at hand.
	Safe bool
	// More: there is an endpoint that this request has not been at.
	More bool
	// After is when asking again may help; 0 is unknown.
	After time.Duration
	Err   error // for logs, not for clients
}

// Error says what failed.
func (f *Failure) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("call %s: %s", f.Service, f.Cause)
	}
	return fmt.Sprintf("call %s: %s: %v", f.Service, f.Cause, f.Err)
}

// Unwrap returns the cause's error.
func (f *Failure) Unwrap() error { return f.Err }

// Status is what a client is answered.
func (f *Failure) Status() int {
	switch f.Cause {
	case Timeout, Nobody:
		return 504
	case Gone:
		return 499
	case Request:
		return 400
	case Full, Open, Limit:
		return 503
	case Large:
		return 413
	}
	return 502
}

// failure finds the failure in an error; nil if there is none.
func failure(err error) *Failure {
	if f, ok := err.(*Failure); ok {
		return f
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// Idempotent reports whether sending a request of that method twice is as good as
// once (RFC 9110, 9.2.2).
func Idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
