package filter

import (
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

// FaultOptions are the options of fault. It is for tests of how a system bears
// faults.
//
// One request in ten is 200 ms late and one in twenty fails, if the caller asks for it:
//
//	fault: {delay: {time: 200ms, share: 10%}, abort: {status: 503, share: 5%}, header: X-Fault}
type FaultOptions struct {
	Delay  FaultDelay `json:"delay" doc:"Requests that are made to wait before they go on."`
	Abort  FaultAbort `json:"abort" doc:"Requests that are answered at once, and never forwarded."`
	Header string     `json:"header" doc:"Only requests with this header field get faults; \"\" is all of them."`
}

// FaultDelay is a delay of some requests.
type FaultDelay struct {
	Time  unit.Duration `json:"time" doc:"For how long."`
	Share unit.Percent  `json:"share" doc:"Of the requests."`
}

// FaultAbort is a failure of some requests.
type FaultAbort struct {
	Status int          `json:"status" doc:"The status of the answer, from 400 to 599; 0 is none."`
	GRPC   string       `json:"grpc" doc:"The status of the answer to a gRPC call, by name: unavailable, internal …; \"\" answers those with status as well."`
	Share  unit.Percent `json:"share" doc:"Of the requests."`
}

const longestFault = time.Minute

func faultEntry() plug.Entry[Maker] {
	return plug.Named("fault", "Delays and aborts a share of the requests on purpose, to see how the rest bears it.",
		FaultOptions{}, func(o FaultOptions) (Maker, error) {
			d, a := o.Delay, o.Abort
			code := 0
			switch {
			case d.Share > 1 || a.Share > 1:
				return nil, errors.New("a share is over 100%; use at most 100%")
			case (d.Time > 0) != (d.Share > 0):
				return nil, errors.New("delay needs both time and share; write delay: {time: 200ms, share: 10%}")
			case time.Duration(d.Time) > longestFault:
				return nil, fmt.Errorf("delay.time is over %v; make it shorter", longestFault)
			case (a.Status != 0 || a.GRPC != "") != (a.Share > 0):
				return nil, errors.New("abort needs both a status and share; write abort: {status: 503, share: 5%}")
			case a.Status != 0 && (a.Status < 400 || a.Status > 599):
				return nil, fmt.Errorf("abort.status is %d; it is from 400 to 599", a.Status)
			case d.Share == 0 && a.Share == 0:
				return nil, errors.New("neither delay nor abort is given; write fault: {abort: {status: 503, share: 5%}}")
			case a.GRPC != "":
				if code = grpcCode(a.GRPC); code < 1 {
					return nil, fmt.Errorf("abort.grpc: no status is named %q%s", a.GRPC, plug.Suggest(a.GRPC, grpcNames[1:]))
				}
			}
			if o.Header != "" {
				if err := checkField(o.Header, ""); err != nil {
					return nil, fmt.Errorf("header: %w", err)
				}
				o.Header = http.CanonicalHeaderKey(o.Header)
			}
			return func(env Env) Filter { return fault(o, code, env.complete()) }, nil
		})
}

func fault(o FaultOptions, code int, env Env) Filter {
	delays := env.counter("swell_faults_total", "kind", "delay")
	aborts := env.counter("swell_faults_total", "kind", "abort")
	return func(next Round) Round {
		return func(x *exchange.Exchange) error {
			if o.Header != "" {
				if _, ok := x.Request.Header.Lookup(o.Header); !ok {
					return next(x)
				}
			}
			if chance(float64(o.Delay.Share)) {
				delays.Add(1)
				x.Note("fault", "delay")
				if !env.Pause(x, time.Duration(o.Delay.Time)) {
					if x.Gone != nil && x.Gone() {
						return &Failure{Service: x.Service, Cause: Gone}
					}
					return &Failure{Service: x.Service, Cause: Timeout}
				}
			}
			if !chance(float64(o.Abort.Share)) {
				return next(x)
			}
			grpc := isGRPC(x)
			if o.Abort.Status == 0 && !grpc {
				return next(x)
			}
			aborts.Add(1)
			x.Note("fault", "abort")
			if grpc && code > 0 {
				// A Trailers-Only answer, as gRPC over HTTP/2 has it.
				x.Reply(200, "")
				x.Response.Header.Set(exchange.ContentType, "application/grpc")
				x.Response.Header.AddName("Grpc-Status", strconv.Itoa(code))
				x.Response.Header.AddName("Grpc-Message", "a fault on purpose")
				return nil
			}
			x.Reply(o.Abort.Status, "a fault on purpose")
			x.Response.Header.AddName("X-Swell-Reason", x.Service+"; fault")
			return nil
		}
	}
}

// chance is true in that share of the cases.
func chance(share float64) bool { return share > 0 && (share >= 1 || rand.Float64() < share) }
