package filter_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

func TestFallbackToAnAnswerOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		options string
		outcome any
		want    string
	}{
		{`{"status":200,"body":"[]"}`, 200, "200 "},
		{`{"status":200,"body":"[]"}`, 404, "404 "},
		{`{"status":200,"body":"[]"}`, 500, "200 []"},
		{`{"status":200,"body":"[]"}`, fail(filter.Connect), "200 []"},
		{`{"status":200,"body":"[]"}`, fail(filter.Open), "200 []"},
		{`{"status":200,"body":"[]"}`, fail(filter.Limit), "200 []"},
		{`{"status":200,"body":"[]"}`, fail(filter.Nobody), "200 []"},
		{`{"status":200,"body":"[]"}`, fail(filter.Gone), "gone "},
		{`{"status":200,"body":"[]"}`, fail(filter.Request), "request "},
		{`{"status":200,"body":"[]","on":["timeout",404]}`, 404, "200 []"},
		{`{"status":200,"body":"[]","on":["timeout",404]}`, 500, "500 "},
		{`{"status":200,"body":"[]","on":["timeout","4xx"]}`, 418, "200 []"},
		{`{"status":200,"body":"[]","on":["timeout",404]}`, fail(filter.Connect), "connect "},
		{`{"status":204}`, 500, "204 "},
	} {
		round := build(t, "fallback", c.options)(filter.Env{})(func(x *exchange.Exchange) error {
			if s, ok := c.outcome.(int); ok {
				x.Reply(s, "")
				return nil
			}
			return c.outcome.(error)
		})
		x := filtertest.Exchange("GET", "/", "")
		got := fmt.Sprint(ending(x, round(x)))
		text, _ := filtertest.ReadAll(x.Response.Body)
		if got += " " + text; got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.options, c.outcome, got, c.want)
		}
	}
	round := build(t, "fallback", `{"status":200,"body":"[]","headers":{"Content-Type":"application/json","X-A":"1"}}`)(filter.Env{})((&service{status: 500}).round)
	x := filtertest.Exchange("GET", "/", "")
	round(x)
	if got := dump(&x.Response.Header); got != "Content-Type=application/json X-A=1 X-Swell-Fallback=status" || x.Response.Length != 2 {
		t.Errorf("%s, length %d", got, x.Response.Length)
	}
}

func TestFallbackToAnotherService(t *testing.T) {
	for _, c := range []struct {
		name, method, body string
		outcome            any // of the service itself
		reads              bool
		want, got          string // how it ends, and what the other service gets
	}{
		{"GET", "GET", "", 500, true, "200", "-"},
		{"PUT", "PUT", "data", fail(filter.Reset), true, "200", "data"},
		{"PUT, answered before it was read", "PUT", "data", 500, false, "500", ""},
		{"POST, seen", "POST", "data", fail(filter.Reset), true, "reset", ""},
		{"POST, unseen", "POST", "data", safe(false), false, "200", "data"},
		{"POST, refused by a breaker", "POST", "data", fail(filter.Open), false, "200", "data"},
		{"a large PUT", "PUT", strings.Repeat("x", 100<<10), fail(filter.Reset), true, "reset", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			env := filter.Env{Service: "s", Call: func(place filter.Env, service string) filter.Round {
				if service != "b" || place.Service != "s" {
					t.Errorf("%s calls %s", place.Service, service)
				}
				return func(x *exchange.Exchange) error {
					got, _ = filtertest.ReadAll(x.Request.Body)
					if got == "" {
						got = "-"
					}
					x.Reply(200, "instead")
					return nil
				}
			}}
			round := build(t, "fallback", `{"service":"b"}`)(env)(func(x *exchange.Exchange) error {
				if c.reads {
					filtertest.ReadAll(x.Request.Body)
				}
				if s, ok := c.outcome.(int); ok {
					x.Reply(s, "")
					return nil
				}
				return c.outcome.(error)
			})
			x := filtertest.Exchange(c.method, "/", c.body)
			if c.body != "" {
				x.Request.Body = &pieces{[]string{c.body}}
			}
			if out := fmt.Sprint(ending(x, round(x))); out != c.want || got != c.got {
				t.Errorf("%s, and the other service got %q", out, got)
			}
			filtertest.End(x)
		})
	}
}

// Of several, the next one is for when the one before has nothing.
func TestFallbacksInOrder(t *testing.T) {
	calls := 0
	env := filter.Env{Call: func(filter.Env, string) filter.Round {
		return func(x *exchange.Exchange) error {
			if calls++; calls > 1 {
				return fail(filter.Nobody)
			}
			x.Reply(203, "")
			return nil
		}
	}}
	up := &service{err: fail(filter.Connect)}
	round := build(t, "fallback", `{"service":"b","status":202,"last-good":{"for":"1m"}}`)(env)(up.round)
	if got := ask(round, 1) + ask(round, 1); got != "203202" {
		t.Error(got)
	}
	up.err, up.status = nil, 200
	ask(round, 1)
	up.err = fail(filter.Connect)
	if got := ask(round, 1); got != "200" {
		t.Error(got)
	}
}

func TestLastGood(t *testing.T) {
	type fields map[string]string
	for _, c := range []struct {
		name             string
		method           string
		request, answer  fields
		status           int
		broken           bool
		kept             bool
		again            fields // what the later request has instead
		later            time.Duration
		body             string
		options, another string
	}{
		{name: "plain", kept: true},
		{name: "a POST", method: "POST"},
		{name: "404", status: 404},
		{name: "a cookie is set", answer: fields{"Set-Cookie": "a=b"}},
		{name: "private", answer: fields{"Cache-Control": "max-age=3, Private"}},
		{name: "no-store", answer: fields{"Cache-Control": "no-store"}},
		{name: "no-cache may be given when there is nothing else", answer: fields{"Cache-Control": "no-cache"}, kept: true},
		{name: "with credentials", request: fields{"Authorization": "Basic x"}},
		{name: "with a cookie", request: fields{"Cookie": "x"}},
		{name: "public, with credentials", request: fields{"Cookie": "x"}, answer: fields{"Cache-Control": "public"}, kept: true},
		{name: "not for somebody with credentials", again: fields{"Cookie": "x"}},
		{name: "varies", answer: fields{"Vary": "Accept-Language"}},
		{name: "varies by encoding", answer: fields{"Vary": "accept-encoding"}, kept: true},
		{name: "another encoding", again: fields{"Accept-Encoding": "br"}},
		{name: "a part", request: fields{"Range": "bytes=0-1"}},
		{name: "a stream of events", answer: fields{"Content-Type": "text/event-stream"}},
		{name: "cut short", broken: true},
		{name: "still good", later: 9 * time.Minute, kept: true},
		{name: "too old", later: 11 * time.Minute},
		{name: "too large", body: strings.Repeat("x", 2000), options: `,"size":"1Ki"`},
		{name: "another target", another: "/other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := c.body
				if body == "" {
					body = "what there is"
				}
				up := true
				round := build(t, "fallback", `{"last-good":{"for":"10m"`+c.options+`}}`)(filter.Env{})(func(x *exchange.Exchange) error {
					if !up {
						return fail(filter.Connect)
					}
					x.Response.Status = 200
					if c.status != 0 {
						x.Response.Status = c.status
					}
					for n, v := range c.answer {
						x.Response.Header.AddName(n, v)
					}
					x.Response.Header.AddName("X-Own", "1")
					x.Response.Header.Set(exchange.Age, "5")
					p := &pieces{[]string{body[:5], body[5:]}}
					x.Response.Body, x.Response.Length = p, int64(len(body))
					if c.broken {
						x.Response.Body = &breaking{left: 1}
					}
					return nil
				})
				send := func(more fields, target string) string {
					m := c.method
					if m == "" {
						m = "GET"
					}
					x := filtertest.Exchange(m, target, "")
					for n, v := range more {
						x.Request.Header.AddName(n, v)
					}
					out := fmt.Sprint(ending(x, round(x)))
					text, _ := filtertest.ReadAll(x.Response.Body)
					if out == "200" && !up {
						if v, _ := x.Response.Header.Lookup("X-Swell-Fallback"); string(v) != "last-good" {
							t.Errorf("it says %q", v)
						}
						if want := fmt.Sprint(5 + int((c.later+time.Second)/time.Second)); string(x.Response.Header.Get(exchange.Age)) != want {
							t.Errorf("age %s, want %s", x.Response.Header.Get(exchange.Age), want)
						}
						if v, _ := x.Response.Header.Lookup("X-Own"); string(v) != "1" || text != body || x.Response.Length != int64(len(body)) {
							t.Errorf("%q %q", v, text)
						}
					}
					filtertest.End(x)
					return out
				}
				send(c.request, "/a?b")
				up = false
				time.Sleep(c.later + time.Second)
				again, target := c.request, "/a?b"
				if c.again != nil {
					again = c.again
				}
				if c.another != "" {
					target = c.another
				}
				if got := send(again, target); (got == "200") != c.kept {
					t.Errorf("later it is answered %s", got)
				}
			})
		})
	}
}

// breaking is a body that breaks off after some pieces.
type breaking struct{ left int }

func (b *breaking) Next() ([]byte, error) {
	if b.left--; b.left < 0 {
		return nil, exchange.ErrClosed
	}
	return []byte("piece"), nil
}
func (b *breaking) Ready() bool { return false }
func (b *breaking) Close()      {}

func TestLastGoodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := true
		round := build(t, "fallback", `{"last-good":{"for":"10m","entries":10,"size":"1Ki","memory":"8Ki"}}`)(filter.Env{})(func(x *exchange.Exchange) error {
			if !up {
				return fail(filter.Connect)
			}
			x.Reply(200, strings.Repeat("x", len(x.Request.Target)*10))
			return nil
		})
		kept := func(target string) bool {
			x := filtertest.Exchange("GET", target, "")
			defer filtertest.End(x)
			err := round(x)
			filtertest.ReadAll(x.Response.Body)
			return err == nil
		}
		left := func(name func(int) string) (n int, newest bool) {
			for i := range 50 {
				if kept(name(i)) {
					n++
					newest = i == 49
				}
			}
			return n, newest
		}
		small := func(i int) string { return fmt.Sprint("/", i) }
		for i := range 50 {
			kept(small(i))
		}
		up = false
		if n, newest := left(small); n != 10 || !newest {
			t.Errorf("%d of ten small ones are kept", n)
		}
		up = true
		large := func(i int) string { return fmt.Sprint("/", strings.Repeat("y", 80), i) }
		for i := range 50 {
			kept(large(i))
		}
		up = false
		if n, newest := left(large); n < 4 || n > 8 || !newest {
			t.Errorf("%d large ones are kept in 8 KiB", n)
		}
	})
}
