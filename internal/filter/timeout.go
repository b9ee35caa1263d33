package filter

import (
	"errors"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// TimeoutOptions are the options of timeout. At least one is given.
//
// An answer within two seconds, whatever it takes; an instance that does not answer
// wholly within 800 ms is given up, so that retry (on: [timeout]) may ask another:
//
//	timeout: {request: 2s, attempt: 800ms}
//
// A stream may last as long as it likes, but not be silent for a minute:
//
//	timeout: {idle: 1m}
type TimeoutOptions struct {
	Request unit.Duration `json:"request" doc:"How long a request may take until the end of its answer, all attempts and waiting included; 0s is no limit. Streams end with it, so give those idle instead."`
	Attempt unit.Duration `json:"attempt" doc:"How long one attempt may take, from the choice of an instance until the end of its answer; 0s is no limit. Before the answer's head that is a failure which retry can catch (on: [timeout]); after it the answer breaks off."`
	Idle    unit.Duration `json:"idle" doc:"How long an instance may send nothing while something is awaited from it, before and within its answer, and in a tunnel both sides; 0s is no limit."`
}

func timeoutEntry() plug.Entry[Maker] {
	return plug.Named("timeout", "Bounds how long a request, and each attempt at it, may take or be silent; then the answer is 504.",
		TimeoutOptions{}, func(o TimeoutOptions) (Maker, error) {
			if o.Request == 0 && o.Attempt == 0 && o.Idle == 0 {
				return nil, errors.New("neither request nor attempt nor idle is given; write timeout: {request: 2s}")
			}
			if o.Request > 0 && o.Attempt > o.Request {
				return nil, errors.New("attempt is longer than request, so it would never end an attempt; make it shorter")
			}
			if longest := max(o.Request, o.Attempt); longest > 0 && o.Idle > longest {
				return nil, errors.New("idle is longer than the time that there is, so it would never end anything; make it shorter, or leave it out")
			}
			return func(env Env) Filter { return timeout(o, env.complete()) }, nil
		})
}

// timeout only says what the bounds are: codecs and the data plane keep them, so
// that no request needs a timer. Bounds that are there already are never widened.
func timeout(o TimeoutOptions, env Env) Filter {
	request, attempt, idle := time.Duration(o.Request), time.Duration(o.Attempt), time.Duration(o.Idle)
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
			if idle > 0 && (x.IdleTimeout == 0 || idle < x.IdleTimeout) {
				x.IdleTimeout = idle
			}
			return next(x)
		}
	}
}
