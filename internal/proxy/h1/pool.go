package h1

import (
	"context"
	"errors"
	"net"
	"time"

	"swell/internal/exchange"
)

// PoolOptions configure a Pool. Zero fields mean the defaults named.
type PoolOptions struct {
	// Dial connects to an upstream; TCP with net.Dialer if nil. TLS is its matter.
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	DialTime time.Duration // bounds Dial; 5 s, less if the exchange's Deadline comes sooner

	Idle     int           // idle connections kept for one address; 256
	IdleTime time.Duration // how long; 4 s, as many runtimes close after 5
	Head     int           // bytes of an answer's head; 64 KiB, at least 4 KiB, at most 1 MiB
	Fields   int           // fields of a head, and of a trailer; 256

	// ExpectTime is how long the upstream may leave "Expect: 100-continue"
	// unanswered before the body is sent all the same; 1 s.
	ExpectTime time.Duration
}

// Pool holds connections to upstreams. It is safe for concurrent use.
type Pool struct {
	o PoolOptions
}

// NewPool makes a pool.
func NewPool(o PoolOptions) *Pool { return &Pool{o: o} }

// RoundTrip sends x.Request to addr and returns once the head of the answer is in
// x.Response, whose body (or Tunnel) streams; interim answers go to x.Inform.
// x.Response must be empty (Drop). It obeys x.Deadline, for the answer's body
// too. It never sends a request twice. The error is an [*Error].
//
// The request's body may still be read after it returned, by another goroutine,
// when the upstream answers early: until the response's body was closed or gave
// an error (io.EOF included), nobody else may touch x.Request.Body and Trailer.
func (p *Pool) RoundTrip(x *exchange.Exchange, addr string) error {
	return &Error{Addr: addr, Phase: Dial, Safe: true, Err: errors.New("not built yet")}
}

// Keep closes the idle connections to all other addresses than addrs; those in
// use close when their exchange ends, unless their address is kept again by then.
func (p *Pool) Keep(addrs []string) {}

// Close closes the idle connections, and the others when their exchange ends.
// RoundTrip fails afterwards.
func (p *Pool) Close() {}
