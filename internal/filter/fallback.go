package filter

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// FallbackOptions are the options of fallback. What is given is tried in this order:
// the last good answer, another service, an answer of its own.
//
// An empty list rather than an error:
//
//	fallback: {status: 200, body: '[]', headers: {Content-Type: application/json}}
//
// What was answered last, up to ten minutes ago, and else what another service says:
//
//	fallback: {last-good: {for: 10m}, service: catalog-static, on: [connect, timeout, 5xx, circuit-open]}
type FallbackOptions struct {
	On       []Condition       `json:"on" doc:"What it stands in for: connect, reset, malformed, timeout, no-endpoint, full, circuit-open, limit, 4xx, 5xx, or a status from 400 to 599."`
	LastGood LastGood          `json:"last-good" doc:"The last good answer to the same GET, from memory."`
	Service  string            `json:"service" doc:"Another service that is asked instead. A request that may have been received is only sent there if it may be repeated."`
	Status   int               `json:"status" doc:"The status of an answer of its own; 0 is none."`
	Body     string            `json:"body" doc:"Its body."`
	Headers  map[string]string `json:"headers,omitempty" doc:"Its header fields; Content-Type is text/plain if it is not among them."`
}

// LastGood is which answers are kept to be given again.
type LastGood struct {
	For     unit.Duration `json:"for" doc:"How long an answer may be given again; 0s keeps none."`
	Size    unit.Bytes    `json:"size" doc:"Larger answers are not kept."`
	Entries int           `json:"entries" doc:"How many answers are kept at most; the one that was not used for longest goes first."`
	Memory  unit.Bytes    `json:"memory" doc:"How much memory all of them may take."`
}

// Services names the services that the options need.
func (o FallbackOptions) Services() []string {
	if o.Service == "" {
		return nil
	}
	return []string{o.Service}
}

func fallbackEntry() plug.Entry[Maker] {
	return plug.Named("fallback", "Answers in another way when there is no good answer: with the last good one, by another service, or with one that is written down.",
		FallbackOptions{
			On:       []Condition{"connect", "reset", "malformed", "timeout", "no-endpoint", "full", "circuit-open", "limit", "5xx"},
			LastGood: LastGood{Size: 1 << 20, Entries: 1000, Memory: 64 << 20},
		}, func(o FallbackOptions) (Maker, error) {
			on, err := fallbackConditions(o.On)
			if err != nil {
				return nil, err
			}
			switch g := o.LastGood; {
			case o.Status == 0 && o.Service == "" && g.For == 0:
				return nil, errors.New("it has nothing to answer with; give status and body, or service, or last-good: {for: 10m}")
			case o.Status != 0 && (o.Status < 200 || o.Status > 599):
				return nil, fmt.Errorf("status is %d; it is from 200 to 599", o.Status)
			case o.Status == 0 && (o.Body != "" || len(o.Headers) > 0):
				return nil, errors.New("body or headers are given without a status; write status: 200")
			case g.For > 0 && (g.Size < 1 || g.Entries < 1 || g.Memory < g.Size):
				return nil, errors.New("last-good can't keep anything: size and entries are at least 1, and memory at least size")
			}
			var fields []headerStep
			for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
				if err := checkField(name, o.Headers[name]); err != nil {
					return nil, fmt.Errorf("headers: %w", err)
				}
				fields = append(fields, headerStep{'=', exchange.Identify([]byte(name)), http.CanonicalHeaderKey(name), o.Headers[name]})
			}
			return func(env Env) Filter { return newFallback(o, on, fields, env.complete()).filter }, nil
		})
}

// fallbackOn is a set of conditions.
type fallbackOn struct {
	causes uint32    // bits of Cause
	status [200]bool // 400 to 599
}

func fallbackConditions(list []Condition) (on fallbackOn, err error) {
	causes := []Cause{Connect, Reset, Malformed, Timeout, Nobody, Full, Open, Limit}
	words := []string{"4xx", "5xx"}
	for _, c := range causes {
		words = append(words, c.String())
	}
next:
	for _, c := range list {
		for _, cause := range causes {
			if string(c) == cause.String() {
				on.causes |= 1 << cause
				continue next
			}
		}
		switch c {
		case "4xx", "5xx":
			for i := range 100 {
				on.status[int(c[0]-'4')*100+i] = true
			}
			continue
		}
		n, err := strconv.Atoi(string(c))
		if err != nil {
			return on, fmt.Errorf("no condition is named %q%s, or a status from 400 to 599", c, plug.Suggest(string(c), words))
		}
		if n < 400 || n > 599 {
			return on, fmt.Errorf("status %d needs nothing to stand in for it; a status from 400 to 599 may", n)
		}
		on.status[n-400] = true
	}
	return on, nil
}

type fallback struct {
	o      FallbackOptions
	on     fallbackOn
	fields []headerStep
	body   []byte
	other  Round
	kept   *lastGood // nil if none are
	env    Env

	again, called, own Counter
}

func newFallback(o FallbackOptions, on fallbackOn, fields []headerStep, env Env) *fallback {
	f := &fallback{o: o, on: on, fields: fields, body: []byte(o.Body), env: env,
		again:  env.counter("swell_fallbacks_total", "kind", "last-good"),
		called: env.counter("swell_fallbacks_total", "kind", "service"),
		own:    env.counter("swell_fallbacks_total", "kind", "status"),
	}
	if o.Service != "" {
		f.other = env.Call(env, o.Service)
	}
	if o.LastGood.For > 0 {
		f.kept = newLastGood(o.LastGood, env.Now)
	}
	return f
}

func (f *fallback) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		var body *replay
		if f.other != nil {
			body = remember(x)
		}
		err := next(x)
		if !f.wanted(x, err) {
			if err == nil && f.kept != nil {
				f.kept.keep(x)
			}
			return err
		}
		if f.kept != nil && f.kept.answer(x) {
			f.again.Add(1)
			x.Note("fallback", "last-good")
			return nil
		}
		if f.other != nil && repeats(x, err, body) {
			x.Response.Drop()
			if body != nil {
				body.rewind()
				x.Request.Body = body
			}
			other := f.other(x)
			if other == nil {
				f.called.Add(1)
				x.Note("fallback", f.o.Service)
				x.Response.Header.SetName(fallbackField, "service")
				return nil
			}
			if err == nil {
				err = other // what it stood in for was dropped
			}
			if g := failure(other); g != nil && g.Cause == Gone {
				return other
			}
		}
		if f.o.Status == 0 {
			return err
		}
		f.own.Add(1)
		x.Note("fallback", "status")
		f.reply(x)
		return nil
	}
}

const fallbackField = "X-Swell-Fallback"

// wanted reports whether the outcome is one to stand in for.
func (f *fallback) wanted(x *exchange.Exchange, err error) bool {
	if err == nil {
		s := x.Response.Status
		return s >= 400 && s <= 599 && f.on.status[s-400]
	}
	g := failure(err)
	return g != nil && f.on.causes&(1<<g.Cause) != 0
}

// repeats reports whether the request may go to another service after that outcome:
// nobody can have received it, or it may be repeated; and its body is at hand.
func repeats(x *exchange.Exchange, err error, body *replay) bool {
	if x.Request.Upgrade != nil || x.Gone != nil && x.Gone() {
		return false
	}
	unseen := false
	if g := failure(err); g != nil {
		switch g.Cause {
		case Nobody, Full, Open, Limit:
			unseen = true
		}
		unseen = unseen || g.Safe
	}
	if !unseen && !Idempotent(x.Request.Method) {
		return false
	}
	switch {
	case body == nil:
		return true
	case err == nil: // it may still be read
		return body.complete.Load()
	}
	return body.rewind()
}

// reply answers with what is written down.
func (f *fallback) reply(x *exchange.Exchange) {
	x.Reply(f.o.Status, "")
	r := &x.Response
	change(&r.Header, f.fields)
	r.Header.SetName(fallbackField, "status")
	if len(f.body) > 0 && f.o.Status != 204 && f.o.Status != 304 {
		r.Length, r.Body = int64(len(f.body)), exchange.Bytes(f.body)
	}
	if r.Body == nil && len(f.o.Headers) == 0 {
		r.Header.Del(exchange.ContentType)
	}
}

// lastGoodFresh is how old a kept answer must be before another one is kept in its
// place: copying each one would cost more than it is worth.
const lastGoodFresh = time.Second
