package filter

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// BodyLimitOptions are the options of body-limit.
//
// At most 10 MiB for the uploads, whatever the gateway's limits say:
//
//	routes:
//	  - match: {path: /upload/**}
//	    to: files
//	    use: [{body-limit: {max: 10Mi}}]
type BodyLimitOptions struct {
	Max unit.Bytes `json:"max" doc:"The largest body that a request may have. Of several limits the innermost holds: a service's own before a route's before the gateway's."`
}

func bodyLimitEntry() plug.Entry[Maker] {
	return plug.Named("body-limit", "Answers 413 to a request whose body is too large: before anything is forwarded if its length is announced, else when it passes the limit.",
		BodyLimitOptions{Max: 1 << 20}, func(o BodyLimitOptions) (Maker, error) {
			if o.Max < 1 {
				return nil, errors.New("max is 0, which would refuse every body; give a size such as 1Mi")
			}
			return func(env Env) Filter {
				f := BodyLimit(int64(o.Max))
				env = env.complete()
				refused := env.counter("swell_body_limit_refused_total")
				return func(next Round) Round {
					round := f(next)
					return func(x *exchange.Exchange) error {
						err := round(x)
						if f, ok := err.(*Failure); ok && f.Cause == Large && x.Mark(bodyRefusals) {
							refused.Add(1)
							x.Note("body-limit", "refused")
						}
						return err
					}
				}
			}, nil
		})
}

// BodyLimit bounds the bytes of requests' bodies, unless a filter further in has
// another bound. What does not keep it fails with Large. An announced length is held
// against the bound by the data plane, when it is known which one is the innermost.
func BodyLimit(most int64) Filter {
	return func(next Round) Round {
		return func(x *exchange.Exchange) error {
			x.BodyLimit = most
			if x.Request.Body == nil || !x.Mark(bodyLimits) { // a filter further out counts
				return next(x)
			}
			b := limits.Get().(*limited)
			b.inner, b.x = x.Request.Body, x
			x.Request.Body = b
			x.Ended = append(x.Ended, unlimit)
			err := next(x)
			if err != nil && b.over.Load() {
				if f := failure(err); f == nil || f.Cause != Large {
					err = TooLarge(x)
				}
			}
			return err
		}
	}
}

// TooLarge returns the failure of a request whose body is over its limit.
func TooLarge(x *exchange.Exchange) *Failure {
	return &Failure{Service: x.Service, Cause: Large, Err: fmt.Errorf("%w of %d bytes", errLarge, x.BodyLimit)}
}

var (
	errLarge     = errors.New("the request's body is over its limit")
	bodyLimits   = new(int) // the mark of an exchange whose body is counted
	bodyRefusals = new(int) // and of one that was counted as refused
)

// limited is a body that breaks when it passes the exchange's limit.
type limited struct {
	inner exchange.Body
	x     *exchange.Exchange
	n     int64
	over  atomic.Bool
}

var limits = sync.Pool{New: func() any { return new(limited) }}

// unlimit takes the limit away. The exchange has ended: nobody reads.
func unlimit(x *exchange.Exchange) {
	b, ok := x.Request.Body.(*limited)
	if !ok {
		return // within another filter's body: it goes with the exchange
	}
	x.Request.Body = b.inner
	b.inner, b.x, b.n = nil, nil, 0
	b.over.Store(false)
	limits.Put(b)
}

func (b *limited) Next() ([]byte, error) {
	if b.over.Load() {
		return nil, errLarge
	}
	p, err := b.inner.Next()
	b.n += int64(len(p))
	if most := b.x.BodyLimit; most > 0 && b.n > most {
		b.over.Store(true)
		return nil, errLarge
	}
	return p, err
}

func (b *limited) Ready() bool { return b.over.Load() || b.inner.Ready() }
func (b *limited) Close()      { b.inner.Close() }
