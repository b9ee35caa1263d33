package filter_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		name, value string
		date        time.Duration
		status      int
		deadline    time.Duration
		calls       int
		least, most time.Duration
	}{
		{name: "none", status: 503, calls: 2, most: 100 * time.Millisecond},
		{name: "short", value: "2", status: 503, calls: 2, least: 2 * time.Second, most: 2100 * time.Millisecond},
		{name: "of 429", value: "1", status: 429, calls: 2, least: time.Second, most: 1100 * time.Millisecond},
		{name: "as a date", date: 2 * time.Second, status: 503, calls: 2, least: 900 * time.Millisecond, most: 2100 * time.Millisecond},
		{name: "long", value: "60", status: 503, calls: 1},
		{name: "longer than there is time", value: "2", status: 503, deadline: time.Second, calls: 1},
		{name: "rubbish", value: "soon", status: 503, calls: 2, most: 100 * time.Millisecond},
		{name: "of a status that is not named", value: "1", status: 502, calls: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				round := build(t, "retry", `{"on":[503,429]}`)(filter.Env{})(func(x *exchange.Exchange) error {
					calls++
					x.Reply(c.status, "")
					v := c.value
					if c.date > 0 {
						v = time.Now().Add(c.date).UTC().Format(http.TimeFormat)
					}
					if v != "" {
						x.Response.Header.Set(exchange.RetryAfter, v)
					}
					if calls == 2 {
						x.Reply(200, "")
					}
					return nil
				})
				x := filtertest.Exchange("GET", "/", "")
				begun := time.Now()
				if c.deadline > 0 {
					x.Deadline = begun.Add(c.deadline)
				}
				if err := round(x); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); calls != c.calls || took < c.least || took > c.most {
					t.Errorf("%d calls in %v", calls, took)
				}
			})
		})
	}
}

func TestRetryOfWhatIsNotIdempotentByItsMethod(t *testing.T) {
	for _, c := range []struct {
		name, options, method string
		key                   string
		calls                 int
	}{
		{"a key, not asked for", `{}`, "POST", "k", 1},
		{"a key", `{"idempotency-key":true}`, "POST", "k", 2},
		{"a key, PATCH", `{"idempotency-key":true}`, "PATCH", "k", 2},
		{"no key", `{"idempotency-key":true}`, "POST", "", 1},
		{"another method", `{"idempotency-key":true}`, "LOCK", "k", 1},
		{"PUT needs none", `{"idempotency-key":true}`, "PUT", "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []any{fail(filter.Reset), 200}}
				round := build(t, "retry", c.options)(filter.Env{})(s.round)
				x := filtertest.Exchange(c.method, "/", "data")
				if c.key != "" {
					x.Request.Header.AddName("idempotency-key", c.key)
				}
				round(x)
				if len(s.bodies) != c.calls {
					t.Errorf("%d calls", len(s.bodies))
				}
				for _, b := range s.bodies {
					if b != "data" {
						t.Errorf("a call got %q", b)
					}
				}
				filtertest.End(x)
			})
		})
	}
}

func TestRetryOfGRPC(t *testing.T) {
	for _, c := range []struct {
		name, options, kind, status string
		calls                       int
	}{
		{"unavailable", `{"on":["unavailable"]}`, "application/grpc", "14", 2},
		{"with a codec's name", `{"on":["unavailable"]}`, "application/grpc+proto", "14", 2},
		{"another status", `{"on":["unavailable"]}`, "application/grpc", "5", 1},
		{"two statuses", `{"on":["unavailable","resource-exhausted"]}`, "application/grpc", "8", 2},
		{"well", `{"on":["unavailable"]}`, "application/grpc", "0", 1},
		{"not asked for", `{}`, "application/grpc", "14", 1},
		{"gRPC-Web is not gRPC", `{"on":["unavailable"]}`, "application/grpc-web", "14", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				round := build(t, "retry", c.options)(filter.Env{})(func(x *exchange.Exchange) error {
					calls++
					if got, _ := filtertest.ReadAll(x.Request.Body); got != "message" {
						t.Errorf("call %d got %q", calls, got)
					}
					x.Reply(200, "")
					if calls == 1 {
						x.Response.Header.AddName("grpc-status", c.status)
					}
					return nil
				})
				x := filtertest.Exchange("POST", "/pkg.Service/Method", "message")
				x.Request.Header.Set(exchange.ContentType, c.kind)
				if err := round(x); err != nil || calls != c.calls {
					t.Errorf("%d calls, %v", calls, err)
				}
				filtertest.End(x)
			})
		})
	}
}

// However many requests fail, and however they come, no more than 1.2 times as many
// attempts are made.
func TestAttemptsOfManyRequestsThatAllFail(t *testing.T) {
	for _, c := range []struct {
		name, options string
		every         time.Duration
		n             int
		outcome       any
	}{
		{"at once", `{}`, 0, 1000, fail(filter.Reset)},
		{"1000 a second", `{}`, time.Millisecond, 5000, fail(filter.Reset)},
		{"10 a second", `{}`, 100 * time.Millisecond, 2000, fail(filter.Reset)},
		{"503", `{"on":[503]}`, time.Millisecond, 3000, 503},
		{"five attempts each", `{"attempts":5}`, time.Millisecond, 3000, fail(filter.Malformed)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				round := build(t, "retry", c.options)(filter.Env{})(func(x *exchange.Exchange) error {
					calls++
					if s, ok := c.outcome.(int); ok {
						x.Reply(s, "")
						return nil
					}
					return c.outcome.(error)
				})
				for range c.n {
					x := filtertest.Exchange("GET", "/", "")
					round(x)
					filtertest.End(x)
					time.Sleep(c.every)
				}
				if calls > c.n*12/10+1 { // one may be lent when it ends
					t.Errorf("%d attempts for %d requests", calls, c.n)
				}
				if calls < c.n*11/10 {
					t.Errorf("only %d attempts for %d requests", calls, c.n)
				}
				t.Logf("%d requests, %d attempts: %.3f", c.n, calls, float64(calls)/float64(c.n))
			})
		})
	}
}
