package proxy

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
)

// reason is the field that says, of an answer of our own, which service it is about
// and what went wrong: "catalog; connect".
const reason = "X-Swell-Reason"

var sentences = map[filter.Cause]string{
	filter.Connect:   "can't be reached",
	filter.Reset:     "broke the connection before it answered",
	filter.Malformed: "gave an answer that is not HTTP",
	filter.Timeout:   "did not answer in time",
	filter.Gone:      "was not waited for",
	filter.Request:   "could not be sent the request: its body is malformed or was cut short",
	filter.Nobody:    "has no instance, and none came in time",
	filter.Full:      "has no instance, and too many requests wait for one",
	filter.Open:      "fails too often and is not asked for a while",
	filter.Limit:     "has as many requests in flight as it may",
	filter.Large:     "does not take a request body of that size",
}

// answer makes a response of a round's error. It names the service and the kind of
// failure; addresses and causes are for logs.
func (p *Plane) answer(x *exchange.Exchange, err error) {
	var f *filter.Failure
	if !errors.As(err, &f) {
		p.opt.Log.Error("a filter failed", "route", x.Route, "service", x.Service, "error", err)
		x.Reply(500, "the data plane failed")
		x.Response.Header.AddName(reason, x.Service+"; internal")
		grpcAnswer(x, grpcInternal, "the data plane failed")
		return
	}
	text := "service " + f.Service + " " + sentences[f.Cause]
	x.Reply(f.Status(), text)
	grpcAnswer(x, grpcCauses[f.Cause], text)
	x.Response.Header.AddName(reason, f.Service+"; "+f.Cause.String())
	if f.After > 0 {
		x.Response.Header.Set(exchange.RetryAfter, strconv.Itoa(int((f.After+time.Second-1)/time.Second)))
	} else if f.Cause == filter.Full {
		x.Response.Header.Set(exchange.RetryAfter, "1")
	}
}

// unrouted answers a request that no route takes.
func (p *Plane) unrouted(x *exchange.Exchange, t *table, s *search) {
	if !s.method {
		x.Reply(404, "no route takes this request")
		x.Response.Header.AddName(reason, "no-route")
		grpcAnswer(x, grpcUnimplemented, "no route takes this call")
		return
	}
	allow := strings.Join(t.router.allowed(&x.Request, s), ", ")
	x.Reply(405, "the routes of this path take other methods: "+allow)
	x.Response.Header.AddName("Allow", allow)
	x.Response.Header.AddName(reason, "no-route")
	grpcAnswer(x, grpcUnimplemented, "no route takes this call")
}
