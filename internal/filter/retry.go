package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// RetryOptions are the options of retry. Every service has it, with the defaults
// unless it declares its own.
//
// Three attempts, also on 503 and 429 (whose Retry-After is waited for if it is
// short), and for POSTs that carry a key by which the service knows them again:
//
//	retry: {attempts: 3, on: [connect, reset, 503, 429], idempotency-key: true}
//
// For a gRPC service whose calls may all be repeated:
//
//	retry: {on: [connect, reset, unavailable, resource-exhausted]}
type RetryOptions struct {
	Attempts       int           `json:"attempts" doc:"How often a request is sent at most, the first attempt included; 1 is never again. Attempts that reached nobody are not counted while there are endpoints left."`
	On             []Condition   `json:"on" doc:"What is tried again: connect, reset, timeout (of an attempt), a status (429, or from 500 to 599), or a gRPC status by name (unavailable, resource-exhausted …), which says that calls answered so may be repeated."`
	Budget         unit.Percent  `json:"budget" doc:"Retries allowed, as a share of the requests; a service with few requests may retry once a second all the same."`
	Backoff        unit.Duration `json:"backoff" doc:"The longest pause before the second attempt; it doubles with each one, and chance shortens it."`
	IdempotencyKey bool          `json:"idempotency-key" doc:"Whether a POST or PATCH that has an Idempotency-Key field may be sent again as well."`
}

// Condition is what a retry is made on: a word, or a status.
type Condition string

// MarshalText writes the condition.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c), nil }

// UnmarshalText reads a condition; what it may be is checked later, with a suggestion.
func (c *Condition) UnmarshalText(b []byte) error { *c = Condition(b); return nil }

// UnmarshalJSON reads a string, or a status as a number.
func (c *Condition) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		if _, err := strconv.Atoi(string(bytes.TrimSpace(b))); err != nil {
			return fmt.Errorf("%s is neither a word nor a status", b)
		}
		*c = Condition(bytes.TrimSpace(b))
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*c = Condition(s)
	return nil
}

// Retry is the name of the filter that every service has, with its defaults if it
// declares none.
const Retry = "retry"

const (
	longestBackoff = time.Second
	longestAfter   = 3 * time.Second // of a Retry-After that is waited for
)

func retryEntry() plug.Entry[Maker] {
	return plug.Named(Retry, "Tries a request again, elsewhere if it can, when that can do no harm.",
		RetryOptions{Attempts: 3, On: []Condition{"connect", "reset"}, Budget: 0.2, Backoff: unit.Duration(25 * time.Millisecond)},
		func(o RetryOptions) (Maker, error) {
			on, err := conditions(o.On)
			if err != nil {
				return nil, err
			}
			if o.Attempts < 1 || o.Attempts > 20 {
				return nil, fmt.Errorf("attempts is %d; it is from 1 (never again) to 20", o.Attempts)
			}
			if o.Budget > 1 {
				return nil, errors.New("budget is over 100%: that is no limit; use at most 100%")
			}
			if time.Duration(o.Backoff) > longestBackoff {
				return nil, fmt.Errorf("backoff is over %v; a client would rather hear of the failure", longestBackoff)
			}
			return func(env Env) Filter { return newRetrier(o, on, env.complete()).filter }, nil
		})
}

// retryOn is a set of conditions.
type retryOn struct {
	connect, reset, timeout bool
	status                  [200]bool // 400 to 599
	grpc                    uint32    // bits of gRPC statuses
	any                     bool      // of status or grpc
}

func conditions(list []Condition) (on retryOn, err error) {
	words := append([]string{"connect", "reset", "timeout"}, grpcNames[1:]...)
	for _, c := range list {
		switch c {
		case "connect":
			on.connect = true
		case "reset":
			on.reset = true
		case "timeout":
			on.timeout = true
		default:
			if code := grpcCode(string(c)); code > 0 {
				on.grpc |= 1 << code
				on.any = true
				continue
			}
			n, err := strconv.Atoi(string(c))
			if err == nil && n != 429 && (n < 500 || n > 599) {
				return on, fmt.Errorf("status %d is not tried again; 429, or a status from 500 to 599 may be", n)
			}
			if err != nil {
				return on, fmt.Errorf("no condition is named %q%s, or a status: 429, or from 500 to 599", c, plug.Suggest(string(c), words))
			}
			on.status[n-400], on.any = true, true
		}
	}
	return on, nil
}

// retrier is the one mechanism of failover. Its rule: a request that no endpoint
// can have processed goes on to the next endpoint, whatever its method, as long as
// there is one that it has not been at; a request that may have been processed is
// sent again only if its method is idempotent, its body is still at hand, and the
// budget allows it. So a POST is never received twice.
type retrier struct {
	on       retryOn
	attempts int
	backoff  time.Duration
	budget   *budget
	keyed    bool // an Idempotency-Key makes a request repeatable
	env      Env

	again     [5]Counter // by Cause up to Gone, of which only three occur
	status    Counter
	exhausted Counter
}

func newRetrier(o RetryOptions, on retryOn, env Env) *retrier {
	r := &retrier{
		on: on, attempts: o.Attempts, backoff: time.Duration(o.Backoff), budget: newBudget(float64(o.Budget)), keyed: o.IdempotencyKey, env: env,
		status:    env.Count("swell_retries_total", "service", env.Service, "reason", "status"),
		exhausted: env.Count("swell_retries_refused_total", "service", env.Service, "reason", "budget"),
	}
	for c := range r.again {
		r.again[c] = env.Count("swell_retries_total", "service", env.Service, "reason", Cause(c).String())
	}
	return r
}

func (r *retrier) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		r.budget.request()
		if r.attempts == 1 {
			return next(x)
		}
		body := remember(x)
		err := next(x)
		if err == nil && !r.on.any {
			return nil // all is well, most of the time
		}
		var sent, lost int // attempts that may have been received, and those that can't
		for {
			if f := failure(err); f != nil && f.Safe {
				lost++
			} else {
				sent++
			}
			again, at := r.decide(x, err, body, sent, lost)
			if !again {
				return err
			}
			at.Add(1)
			x.Response.Drop()
			if body != nil {
				x.Request.Body = body // whatever the last attempt put around it
			}
			err = next(x)
		}
	}
}

// decide says whether the exchange is to be tried once more, and where that is
// counted. It waits as long as is to be waited.
func (r *retrier) decide(x *exchange.Exchange, err error, body *replay, sent, lost int) (bool, Counter) {
	if x.Response.Sent || x.Gone != nil && x.Gone() {
		return false, nil
	}
	if err == nil {
		return r.answered(x, body, sent), r.status
	}
	f := failure(err)
	if f == nil || int(f.Cause) >= len(r.again) || f.Cause == Gone {
		return false, nil
	}
	if f.Safe {
		// Nobody has seen it: another endpoint gets it at once and free of charge.
		if !r.on.connect || !f.More && lost >= r.attempts {
			return false, nil
		}
		if body != nil && !body.rewind() || !f.More && !r.pause(x, lost) {
			return false, nil
		}
		return true, r.again[f.Cause]
	}
	switch f.Cause {
	case Reset, Malformed:
		if !r.on.reset {
			return false, nil
		}
	case Timeout:
		// Only an attempt's: the request's own deadline has no after.
		if !r.on.timeout || !x.Deadline.IsZero() && !r.env.Now().Before(x.Deadline) {
			return false, nil
		}
	default:
		return false, nil
	}
	if !r.repeatable(x, sent) || body != nil && !body.rewind() || !r.affordable(x, sent, 0) {
		return false, nil
	}
	return true, r.again[f.Cause]
}

// answered is decide for an answer that is asked for once more by its status.
func (r *retrier) answered(x *exchange.Exchange, body *replay, sent int) bool {
	s := x.Response.Status
	called := false
	if s < 400 || s > 599 || !r.on.status[s-400] {
		if r.on.grpc == 0 || !isGRPC(x) {
			return false
		}
		code := grpcOutcome(&x.Response)
		if called = code > 0 && r.on.grpc&(1<<code) != 0; !called {
			return false
		}
	}
	// The upstream may have answered early and still be reading the body: only one
	// that it has read to its end can be taken back. Whoever names a gRPC status
	// says that the calls may be repeated: all of them are POSTs.
	if body != nil && !body.complete.Load() || !called && !r.repeatable(x, sent) || sent >= r.attempts {
		return false
	}
	wait := retryAfter(&x.Response, r.env.Now())
	if wait > longestAfter || !r.affordable(x, sent, wait) {
		return false
	}
	if body != nil {
		x.Response.Drop()
		body.rewind()
	}
	return true
}

// retryAfter returns how long the answer asks not to be asked again (RFC 9110,
// 10.2.3), 0 if it says nothing.
func retryAfter(r *exchange.Response, now time.Time) time.Duration {
	v := string(r.Header.Get(exchange.RetryAfter))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// repeatable reports whether a request that may have been processed may be sent again.
func (r *retrier) repeatable(x *exchange.Exchange, sent int) bool {
	if sent >= r.attempts || x.Request.Upgrade != nil {
		return false
	}
	if r.keyed && !Idempotent(x.Request.Method) {
		switch v, _ := x.Request.Header.Lookup("Idempotency-Key"); x.Request.Method {
		case "POST", "PATCH":
			return len(v) > 0
		}
	}
	return Idempotent(x.Request.Method)
}

// affordable takes a retry out of the budget and waits: at least for least.
func (r *retrier) affordable(x *exchange.Exchange, attempt int, least time.Duration) bool {
	if !x.Deadline.IsZero() && x.Deadline.Sub(r.env.Now()) <= least {
		return false
	}
	if !r.budget.retry(r.env.Now()) {
		r.exhausted.Add(1)
		return false
	}
	if least > 0 && !r.env.Pause(x, least) {
		return false
	}
	return r.pause(x, attempt)
}

// pause waits before the next attempt: exponential backoff with full jitter
// (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
func (r *retrier) pause(x *exchange.Exchange, attempt int) bool {
	d := min(r.backoff<<(attempt-1), longestBackoff)
	if d <= 0 {
		return true
	}
	return r.env.Pause(x, rand.N(d)+1)
}
