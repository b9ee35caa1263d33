package exchange

import (
	"errors"
	"fmt"
	"syscall"
)

// Phase is how far an attempt to reach an upstream came.
type Phase uint8

// The phases of an attempt.
const (
	PhaseDial  Phase = iota // no connection was made
	PhaseWrite              // the request was being written
	PhaseWait               // the request was written, wholly or as far as the upstream read it; no byte of the answer came
	PhaseHead               // the answer's head was being read
	PhaseBody               // the answer's body was being read: its Next's error
)

// String returns the phase's name in lower case.
func (p Phase) String() string {
	return [...]string{"dial", "write", "wait", "head", "body"}[p]
}

// What may be wrong with an attempt; errors.Is finds them in an [AttemptError].
var (
	ErrTimeout      = errors.New("deadline passed")                          // the exchange's Deadline, or the pool's dial timeout
	ErrGone         = errors.New("client left")                              // while its answer was awaited
	ErrRequest      = errors.New("malformed or unfinished request body")     // the client's fault, noticed while it was forwarded
	ErrClosed       = errors.New("upstream closed the connection")           // before the answer was complete
	ErrMalformed    = errors.New("malformed upstream answer")                // not HTTP as its RFC has it
	ErrHeadTooLarge = errors.New("upstream answer's head is too large")      // over the pool's bound
	ErrPoolClosed   = errors.New("upstream pool is closed")                  // after Pool.Close
	ErrBusy         = errors.New("too many connections to the upstream")     // and too many wait for one, or none came in time
	ErrUnsupported  = errors.New("upstream does not support what is asked")  // nothing is wrong with it
	ErrShort        = errors.New("body ended before its length was reached") // a filter's or an upstream's body
	ErrLong         = errors.New("body is longer than its length")           // likewise
)

// AttemptError says why an attempt failed and what that means for another one.
type AttemptError struct {
	Addr  string // the upstream
	Phase Phase
	// Safe: no byte of the request can have been processed, and nothing of its
	// body was consumed. Any method may be tried again, anywhere.
	Safe bool
	// Reused: the connection had carried exchanges before, so that a PhaseWait with
	// ErrClosed may only mean that the upstream was done with it. An idempotent
	// request may be tried again at once, even at the same upstream.
	Reused bool
	Err    error
}

// Error says what was tried and what happened.
func (e *AttemptError) Error() string { return fmt.Sprintf("%s %s: %v", e.Phase, e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *AttemptError) Unwrap() error { return e.Err }

// Refused reports that nobody listens at the upstream's address.
func (e *AttemptError) Refused() bool {
	return e.Phase == PhaseDial && errors.Is(e.Err, syscall.ECONNREFUSED)
}

// Status is the answer that an error of RoundTrip makes by itself: 504 for a
// timeout, 499 for a client that left (it is logged, nobody reads it), 400 for a
// malformed request body, else 502.
func Status(err error) int {
	switch {
	case errors.Is(err, ErrGone):
		return 499
	case errors.Is(err, ErrTimeout):
		return 504
	case errors.Is(err, ErrRequest):
		return 400
	}
	return 502
}
