package filter

import (
	"errors"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// TimeoutOptions are the options of timeout. At least one is given.
type TimeoutOptions struct {
	Request unit.Duration `json:"request" doc:"How long a request may take until the end of its answer, all attempts and waiting included; 0s is no limit."`
	Attempt unit.Duration `json:"attempt" doc:"How long one attempt may take until the end of its answer; 0s is no limit."`
}

func timeoutEntry() plug.Entry[Maker] {
	return plug.Named("timeout", "Bounds how long a request, and each attempt at it, may take; then the answer is 504.",
		TimeoutOptions{}, func(o TimeoutOptions) (Maker, error) {
			if o.Request == 0 && o.Attempt == 0 {
				return nil, errors.New("neither request nor attempt is given; write timeout: {request: 2s}")
			}
			if o.Request > 0 && o.Attempt > o.Request {
				return nil, errors.New("attempt is longer than request, so it would never end an attempt; make it shorter")
			}
			return func(env Env) Filter { return timeout(o, env.complete()) }, nil
		})
}

// timeout only says what the bounds are: codecs and the data plane keep them, so
// that no request needs a timer. Bounds that are there already are never widened.
func timeout(o TimeoutOptions, env Env) Filter {
	request, attempt := time.Duration(o.Request), time.Duration(o.Attempt)
	return func(next Round) Round {
		return func(x *exchange.Exchange) error {
			if request > 0 {
				if d := env.Now().Add(request); x.Deadline.IsZero() || d.Before(x.Deadline) {
					x.Deadline = d
				}
			}
			if attempt > 0 && (x.AttemptTimeout == 0 || attempt < x.AttemptTimeout) {
				x.AttemptTimeout = attempt
			}
			return next(x)
		}
	}
}
