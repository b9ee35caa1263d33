package h1

import (
	"errors"
	"fmt"
	"syscall"
)

// Phase is how far an attempt to reach an upstream came.
type Phase uint8

// The phases of an attempt.
const (
	Dial  Phase = iota // no connection was made
	Write              // the request was being written
	Wait               // the request was written, wholly or as far as the upstream read it; no byte of the answer came
	Head               // the answer's head was being read
	Body               // the answer's body was being read: its Next's error
)

// String returns the phase's name in lower case.
func (p Phase) String() string {
	return [...]string{"dial", "write", "wait", "head", "body"}[p]
}

// What may be wrong with an attempt; errors.Is finds them in an [Error].
var (
	ErrTimeout      = errors.New("deadline passed")                          // the exchange's Deadline, or the pool's dial timeout
	ErrGone         = errors.New("client left")                              // while its answer was awaited
	ErrRequest      = errors.New("malformed or unfinished request body")     // the client's fault, noticed while it was forwarded
	ErrClosed       = errors.New("upstream closed the connection")           // before the answer was complete
	ErrMalformed    = errors.New("malformed upstream answer")                // not HTTP/1.1 as RFC 9112 has it
	ErrHeadTooLarge = errors.New("upstream answer's head is too large")      // over PoolOptions.MaxHead
	ErrPoolClosed   = errors.New("upstream pool is closed")                  // after Pool.Close
	ErrShort        = errors.New("body ended before its length was reached") // a filter's or an upstream's body
	errLong         = errors.New("body is longer than its length")
)

// Error says why an attempt failed and what that means for another one.
type Error struct {
	Addr  string // the upstream
	Phase Phase
	// Safe: no byte of the request can have been processed, and nothing of its
	// body was consumed. Any method may be tried again, anywhere.
	Safe bool
	// Reused: the connection had carried exchanges before, so that a Wait with
	// ErrClosed may only mean that the upstream was done with it. An idempotent
	// request may be tried again at once, even at the same upstream.
	Reused bool
	Err    error
}

// Error says what was tried and what happened.
func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Phase, e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Refused reports that nobody listens at the upstream's address.
func (e *Error) Refused() bool { return e.Phase == Dial && errors.Is(e.Err, syscall.ECONNREFUSED) }

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
