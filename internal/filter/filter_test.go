package filter_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

func build(t testing.TB, name, options string) filter.Maker {
	t.Helper()
	m, err := filter.Kind().Build(name, json.RawMessage(options))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var ordinary = map[string]string{
	"timeout":    `{"request":"2s","attempt":"800ms"}`,
	"retry":      ``,
	"access-log": ``,

	"affinity":        `{"cookie":"sticky","secret":"0123456789abcdef"}`,
	"body-limit":      `{"max":"1Mi"}`,
	"circuit-breaker": `{"errors":"50%","slow":{"over":"1s","share":"80%"}}`,
	"concurrency":     `{"limit":100,"queue":50,"wait":"1s"}`,
	"fallback":        `{"status":200,"body":"[]","on":["no-endpoint",404]}`,
	"fault":           `{"delay":{"time":"200ms","share":"10%"},"abort":{"status":503,"share":"5%"},"header":"X-Fault"}`,
	"grpc-web":        ``,
	"hedge":           `{"after":"10s"}`,
	"mirror":          `{"to":"next","share":"1%"}`,
	"headers":         `{"request":{"set":{"X-A":"1"},"remove":["x-b"]},"response":{"add":{"x-c":"2"}}}`,
}

func TestContract(t *testing.T) {
	for _, name := range filter.Kind().Names() {
		o, ok := ordinary[name]
		if !ok {
			t.Errorf("%s has no ordinary options here", name)
		}
		t.Run(name, func(t *testing.T) { filtertest.Run(t, build(t, name, o)) })
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct{ name, options, want string }{
		{"timeout", `{}`, "neither request nor attempt nor idle"},
		{"timeout", `{"request":"1s","attempt":"2s"}`, "longer than request"},
		{"retry", `{"attempts":0}`, "attempts is 0"},
		{"retry", `{"attempts":99}`, "attempts is 99"},
		{"retry", `{"on":["conect"]}`, `did you mean "connect"`},
		{"retry", `{"on":[404]}`, "status 404"},
		{"retry", `{"on":["unavailble"]}`, `did you mean "unavailable"`},
		{"timeout", `{"request":"1s","idle":"2s"}`, "idle is longer"},
		{"affinity", `{"cookie":"a b"}`, "can't be in it"},
		{"affinity", `{"cookie":""}`, "cookie is empty"},
		{"affinity", `{"secret":"short"}`, "16 bytes"},
		{"affinity", `{"ttl":"0s"}`, "ttl is under"},
		{"body-limit", `{"max":"0"}`, "max is 0"},
		{"circuit-breaker", `{"errors":"0%"}`, "never open"},
		{"circuit-breaker", `{"errors":"150%"}`, "over 100%"},
		{"circuit-breaker", `{"window":"1ms"}`, "window is out of bounds"},
		{"circuit-breaker", `{"requests":0}`, "requests is 0"},
		{"circuit-breaker", `{"open":"0s"}`, "open is 0s"},
		{"circuit-breaker", `{"probes":0}`, "probes is 0"},
		{"concurrency", `{"limit":0}`, "limit is 0"},
		{"concurrency", `{"limit":"adaptive"}`, "not in this version"},
		{"concurrency", `{"limit":"many"}`, "not a number of requests"},
		{"concurrency", `{"queue":-1}`, "queue is -1"},
		{"concurrency", `{"wait":"0s"}`, "nobody could use the queue"},
		{"fallback", `{}`, "nothing to answer with"},
		{"fallback", `{"status":99}`, "status is 99"},
		{"fallback", `{"service":"b","body":"x"}`, "without a status"},
		{"fallback", `{"status":200,"on":["conect"]}`, `did you mean "connect"`},
		{"fallback", `{"status":200,"on":[301]}`, "status 301"},
		{"fallback", `{"status":200,"headers":{"a b":"c"}}`, "is not the name"},
		{"fallback", `{"last-good":{"for":"1m","entries":0}}`, "can't keep anything"},
		{"fault", `{}`, "neither delay nor abort"},
		{"fault", `{"delay":{"time":"1s"}}`, "both time and share"},
		{"fault", `{"delay":{"time":"1h","share":"1%"}}`, "delay.time is over"},
		{"fault", `{"abort":{"status":200,"share":"1%"}}`, "abort.status is 200"},
		{"fault", `{"abort":{"grpc":"unavailble","share":"1%"}}`, `did you mean "unavailable"`},
		{"fault", `{"abort":{"status":503,"share":"1%"},"header":"a b"}`, "is not the name"},
		{"hedge", `{"after":"0s"}`, "after is out of bounds"},
		{"hedge", `{"after":"p10"}`, "not a quantile"},
		{"hedge", `{"after":"soon"}`, "neither a time nor a quantile"},
		{"hedge", `{"attempts":1}`, "attempts is 1"},
		{"hedge", `{"budget":"0%"}`, "budget is out of bounds"},
		{"mirror", `{}`, "to is not given"},
		{"mirror", `{"to":"a","share":"0%"}`, "share is out of bounds"},
		{"mirror", `{"to":"a","body":"1Gi"}`, "over 64Mi"},
		{"mirror", `{"to":"a","in-flight":0}`, "in-flight is 0"},
		{"retry", `{"budget":"200%"}`, "over 100%"},
		{"retry", `{"backoff":"1m"}`, "backoff is over"},
		{"access-log", `{"format":"jso"}`, `did you mean "json"`},
		{"headers", `{"request":{"set":{"a b":"1"}}}`, `"a b" is not the name`},
		{"headers", `{"request":{"set":{"a":"1\r\nb: 2"}}}`, "control character"},
		{"headers", `{"response":{"set":{"Content-Length":"1"}}}`, "can't be changed"},
		{"headers", `{"request":{"set":{"host":"a"}}}`, "rewrite"},
		{"headers", `{"request":{"add":{"a":" x"}}}`, "space"},
	} {
		_, err := filter.Kind().Build(c.name, json.RawMessage(c.options))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want something with %q", c.name, c.options, err, c.want)
		}
	}
	if _, err := filter.Kind().Build("retry", json.RawMessage(`{"on":["connect",502,"503"]}`)); err != nil {
		t.Errorf("statuses as numbers and as text: %v", err)
	}
}

func TestTimeoutNeverWidens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		round := build(t, "timeout", `{"request":"2s","attempt":"800ms"}`)(filter.Env{})(func(*exchange.Exchange) error { return nil })
		x := filtertest.Exchange("GET", "/", "")
		round(x)
		if d := time.Until(x.Deadline); d != 2*time.Second || x.AttemptTimeout != 800*time.Millisecond {
			t.Errorf("deadline in %v, attempt %v", d, x.AttemptTimeout)
		}
		sooner := time.Now().Add(time.Second)
		x.Deadline, x.AttemptTimeout = sooner, time.Millisecond
		round(x)
		if !x.Deadline.Equal(sooner) || x.AttemptTimeout != time.Millisecond {
			t.Error("a tighter bound was widened")
		}
	})
}

func TestHeaders(t *testing.T) {
	m := build(t, "headers", `{"request":{"set":{"x-a":"new","User-Agent":"swell"},"add":{"x-m":"2"},"remove":["Cookie","x-gone"]},"response":{"set":{"Server":"s"},"remove":["X-Powered-By"]}}`)
	round := m(filter.Env{})(func(x *exchange.Exchange) error {
		x.Response.Status = 200
		x.Response.Header.AddName("x-powered-by", "magic")
		return nil
	})
	x := filtertest.Exchange("GET", "/", "")
	for _, f := range [][2]string{{"X-A", "old"}, {"cookie", "1"}, {"X-Gone", "1"}, {"X-M", "1"}, {"x-a", "older"}} {
		x.Request.Header.AddName(f[0], f[1])
	}
	if err := round(x); err != nil {
		t.Fatal(err)
	}
	if got, want := dump(&x.Request.Header), "X-M=1 User-Agent=swell X-A=new X-M=2"; got != want {
		t.Errorf("request %s, want %s", got, want)
	}
	if got, want := dump(&x.Response.Header), "Server=s"; got != want {
		t.Errorf("response %s, want %s", got, want)
	}
}

func dump(h *exchange.Header) string {
	var out []string
	for _, f := range h.Fields() {
		out = append(out, string(f.Name)+"="+string(f.Value))
	}
	return strings.Join(out, " ")
}

func TestAccessLogWritesWhenTheExchangeEnded(t *testing.T) {
	lines := 0
	env := filter.Env{Log: func(format string) func(*exchange.Exchange) {
		if format != "common" {
			t.Errorf("format %s", format)
		}
		return func(x *exchange.Exchange) { lines++ }
	}}
	round := build(t, "access-log", `{"format":"common"}`)(env)(func(*exchange.Exchange) error { return errors.New("no") })
	x := filtertest.Exchange("GET", "/", "")
	round(x)
	if lines != 0 {
		t.Error("a line before the end")
	}
	filtertest.End(x)
	if lines != 1 {
		t.Errorf("%d lines", lines)
	}
}

// script answers attempts one after another.
type script struct {
	answers []any // a status, or an error
	bodies  []string
	partial bool // reads one piece of the body only
}

func (s *script) round(x *exchange.Exchange) error {
	a := s.answers[min(len(s.bodies), len(s.answers)-1)]
	if f, ok := a.(*filter.Failure); ok && f.Safe {
		s.bodies = append(s.bodies, "")
		return f
	}
	body := ""
	if s.partial {
		b, _ := x.Request.Body.Next()
		body = string(b)
	} else {
		body, _ = filtertest.ReadAll(x.Request.Body)
	}
	s.bodies = append(s.bodies, body)
	if status, ok := a.(int); ok {
		x.Reply(status, "")
		return nil
	}
	return a.(error)
}

func fail(c filter.Cause) *filter.Failure { return &filter.Failure{Service: "s", Cause: c} }
func safe(more bool) *filter.Failure {
	return &filter.Failure{Service: "s", Cause: filter.Connect, Safe: true, More: more}
}

func TestRetry(t *testing.T) {
	for _, c := range []struct {
		name, options, method, body string
		answers                     []any
		calls, status               int // status 0: the failure goes up
	}{
		{"nothing wrong", ``, "GET", "", []any{200}, 1, 200},
		{"connect, GET", ``, "GET", "", []any{safe(true), 200}, 2, 200},
		{"connect, POST with a body", ``, "POST", "data", []any{safe(true), 200}, 2, 200},
		{"connect at seven endpoints, then a live one", ``, "POST", "data", []any{safe(true), safe(true), safe(true), safe(true), safe(true), safe(true), safe(true), 200}, 8, 200},
		{"connect everywhere", ``, "GET", "", []any{safe(true), safe(true), safe(true), safe(false)}, 4, 0},
		{"one endpoint, connect", ``, "GET", "", []any{safe(false)}, 3, 0},
		{"reset, GET", ``, "GET", "", []any{fail(filter.Reset), 200}, 2, 200},
		{"reset, PUT with a small body", ``, "PUT", "data", []any{fail(filter.Reset), 200}, 2, 200},
		{"reset, PUT with a large body", ``, "PUT", strings.Repeat("x", 70<<10), []any{fail(filter.Reset), 200}, 1, 0},
		{"reset, POST", ``, "POST", "data", []any{fail(filter.Reset), 200}, 1, 0},
		{"reset forever", ``, "GET", "", []any{fail(filter.Reset)}, 3, 0},
		{"one attempt is one", `{"attempts":1}`, "GET", "", []any{safe(true), 200}, 1, 0},
		{"nothing to retry on", `{"on":[]}`, "GET", "", []any{safe(true), 200}, 1, 0},
		{"timeout isn't by default", ``, "GET", "", []any{fail(filter.Timeout), 200}, 1, 0},
		{"timeout of an attempt", `{"on":["timeout"]}`, "GET", "", []any{fail(filter.Timeout), 200}, 2, 200},
		{"no endpoint came", ``, "GET", "", []any{fail(filter.Nobody)}, 1, 0},
		{"the client left", ``, "GET", "", []any{fail(filter.Gone)}, 1, 0},
		{"503 isn't by default", ``, "GET", "", []any{503, 200}, 1, 503},
		{"503, GET", `{"on":[503]}`, "GET", "", []any{503, 503, 200}, 3, 200},
		{"503 forever", `{"on":[503]}`, "GET", "", []any{503}, 3, 503},
		{"503, PUT", `{"on":[503]}`, "PUT", "data", []any{503, 200}, 2, 200},
		{"503, POST", `{"on":[503]}`, "POST", "data", []any{503, 200}, 1, 503},
		{"502 is not 503", `{"on":[503]}`, "GET", "", []any{502, 200}, 1, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				round := build(t, "retry", c.options)(filter.Env{Service: "s"})(s.round)
				x := filtertest.Exchange(c.method, "/", c.body)
				err := round(x)
				if len(s.bodies) != c.calls || x.Response.Status != c.status && err == nil || (err != nil) != (c.status == 0) {
					t.Errorf("%d attempts, status %d, error %v; want %d attempts, status %d", len(s.bodies), x.Response.Status, err, c.calls, c.status)
				}
				if got := s.bodies[len(s.bodies)-1]; err == nil && got != c.body {
					t.Errorf("the last attempt got %d bytes of the body, want %d", len(got), len(c.body))
				}
				filtertest.End(x)
			})
		})
	}
}

// pieces is a body that comes in pieces.
type pieces struct{ left []string }

func (p *pieces) Next() ([]byte, error) {
	if len(p.left) == 0 {
		return nil, io.EOF
	}
	b := p.left[0]
	p.left = p.left[1:]
	return []byte(b), nil
}
func (p *pieces) Ready() bool { return false }
func (p *pieces) Close()      { p.left = nil }

func TestABodyThatWasReadInPartIsReadAgainFromItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []any{fail(filter.Reset), 200}, partial: true}
		round := build(t, "retry", ``)(filter.Env{})(func(x *exchange.Exchange) error {
			err := s.round(x)
			s.partial = false
			return err
		})
		x := filtertest.Exchange("PUT", "/", "")
		x.Request.Body, x.Request.Length = &pieces{[]string{"one ", "two ", "three"}}, -1
		if err := round(x); err != nil {
			t.Fatal(err)
		}
		if s.bodies[0] != "one " || s.bodies[1] != "one two three" {
			t.Errorf("attempts got %q", s.bodies)
		}
	})
}

func TestTwoRetriesInEachOtherKeepTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []any{fail(filter.Reset), fail(filter.Reset), fail(filter.Reset), 200}}
		m := build(t, "retry", `{"attempts":2}`)
		round := filter.Chain(s.round, m(filter.Env{}), m(filter.Env{}))
		x := filtertest.Exchange("PUT", "/", "data")
		if err := round(x); err != nil {
			t.Fatal(err)
		}
		for i, b := range s.bodies {
			if b != "data" {
				t.Errorf("attempt %d got %q", i+1, b)
			}
		}
		filtertest.End(x)
	})
}

func TestRetriesKeepToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		round := build(t, "retry", `{"backoff":"0s"}`)(filter.Env{})(func(*exchange.Exchange) error { calls++; return fail(filter.Reset) })
		const n = 5000
		for range n {
			x := filtertest.Exchange("GET", "/", "")
			round(x)
			filtertest.End(x)
		}
		if most := n*12/10 + 1; calls > most || calls < n*11/10 {
			t.Errorf("%d calls for %d requests that all fail, want at most %d", calls, n, most)
		}
		// With nothing but the clock, the reserve comes back, and no more than it.
		time.Sleep(time.Hour)
		before := calls
		for range 50 {
			x := filtertest.Exchange("GET", "/", "")
			round(x)
			filtertest.End(x)
		}
		if extra := calls - before - 50; extra < 10 || extra > 21 {
			t.Errorf("after an hour %d retries for 50 requests", extra)
		}
	})
}

func TestNoRetryAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []any{fail(filter.Reset)}}
		round := build(t, "retry", `{"backoff":"1s","attempts":20,"budget":"100%"}`)(filter.Env{})(s.round)
		x := filtertest.Exchange("GET", "/", "")
		start := time.Now()
		x.Deadline = start.Add(2 * time.Second)
		if err := round(x); err == nil || time.Since(start) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func BenchmarkRetryOnASuccess(b *testing.B) {
	round := build(b, "retry", ``)(filter.Env{})(func(x *exchange.Exchange) error { x.Response.Status = 200; return nil })
	x := filtertest.Exchange("GET", "/", "")
	b.ReportAllocs()
	for b.Loop() {
		round(x)
	}
}
