package filter_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

// studio is a data plane's side of a mirror: it runs copies in the background.
type studio struct {
	mu     sync.Mutex
	copies []string
	open   int // forks
	closed bool
	wg     sync.WaitGroup
	ctx    context.Context
	takes  time.Duration
	err    error
	panics bool
}

func (s *studio) env(e filter.Env) filter.Env {
	e.Spawn = func(task func(context.Context)) bool {
		if s.closed {
			return false
		}
		s.wg.Go(func() { task(s.ctx) })
		return true
	}
	e.Fork = func(x *exchange.Exchange, f *exchange.Fork) {
		if !f.Detached() {
			panic("a copy shares its parent's memory")
		}
		s.mu.Lock()
		s.open++
		s.mu.Unlock()
	}
	e.Quit = func(*exchange.Fork) { s.mu.Lock(); s.open--; s.mu.Unlock() }
	e.Call = func(_ filter.Env, service string) filter.Round {
		return func(x *exchange.Exchange) error {
			if s.panics {
				panic("oh")
			}
			h := make(held)
			if !x.Leash.Hold(h) {
				return fail(filter.Gone)
			}
			defer x.Leash.Release()
			select {
			case <-time.After(s.takes):
			case <-h:
				return fail(filter.Gone)
			}
			body, err := filtertest.ReadAll(x.Request.Body)
			mark, _ := x.Request.Header.Lookup("x-swell-mirror")
			trailer, _ := x.Request.Trailer.Lookup("X-Sum")
			s.mu.Lock()
			s.copies = append(s.copies, strings.TrimSpace(x.Request.Method+" "+string(x.Request.Target)+" "+body+" "+string(mark)+string(trailer)))
			s.mu.Unlock()
			if err != nil || s.err != nil {
				return errors.Join(err, s.err)
			}
			x.Reply(200, "nobody reads it")
			return nil
		}
	}
	return e
}

func TestMirror(t *testing.T) {
	ok := func(x *exchange.Exchange) error {
		_, err := filtertest.ReadAll(x.Request.Body)
		x.Reply(200, "")
		return err
	}
	for _, c := range []struct {
		name    string
		options string
		studio  *studio
		ask     func(round filter.Round) // one request more or less
		service filter.Round
		want    []string // copies
		count   string
	}{
		{name: "a GET", service: ok, want: []string{"GET /a  1"}, count: "answered"},
		{name: "a PUT", service: ok, ask: func(r filter.Round) { put(r, "data", 4) }, want: []string{"PUT /a data 1"}, count: "answered"},
		{name: "chunks and a trailer", service: ok, ask: func(r filter.Round) { put(r, "data", -1) }, want: []string{"PUT /a data 1sum"}, count: "answered"},
		{name: "too large, announced", options: `,"body":"3"`, service: ok, ask: func(r filter.Round) { put(r, "data", 4) }, count: "body"},
		{name: "too large, not announced", options: `,"body":"3"`, service: ok, ask: func(r filter.Round) { put(r, "data", -1) }, count: "body"},
		{name: "never read", service: func(x *exchange.Exchange) error { x.Reply(200, ""); return nil }, ask: func(r filter.Round) { put(r, "data", 4) }, count: "body"},
		{name: "its failure is its own", service: ok, studio: &studio{err: fail(filter.Connect)}, want: []string{"GET /a  1"}, count: "failed"},
		{name: "its panic too", service: ok, studio: &studio{panics: true}, count: "failed"},
		{name: "the end of the data plane", service: ok, studio: &studio{closed: true}, count: "failed"},
		{name: "tried twice, copied once", service: func() filter.Round {
			n := 0
			return func(x *exchange.Exchange) error {
				if n++; n == 1 {
					return fail(filter.Reset)
				}
				return ok(x)
			}
		}(), ask: func(r filter.Round) {
			m, _ := filter.Kind().Build("retry", nil)
			put(m(filter.Env{})(r), "data", 4)
		}, count: "body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env, counts := counted()
				s := c.studio
				if s == nil {
					s = new(studio)
				}
				s.ctx = t.Context()
				round := build(t, "mirror", `{"to":"next"`+c.options+`}`)(s.env(env))(c.service)
				if c.ask == nil {
					c.ask = func(round filter.Round) {
						x := filtertest.Exchange("GET", "/a", "")
						if err := round(x); err != nil || x.Response.Status != 200 {
							t.Error(err)
						}
						filtertest.End(x)
					}
				}
				c.ask(round)
				s.wg.Wait()
				if strings.Join(s.copies, "|") != strings.Join(c.want, "|") || s.open != 0 {
					t.Errorf("copies %q, %d forks are open", s.copies, s.open)
				}
				if counts.of("swell_mirrored_total/"+c.count) != 1 {
					t.Errorf("%v", counts.n)
				}
			})
		})
	}
}

// put sends a PUT whose body comes in pieces.
func put(round filter.Round, body string, length int64) {
	x := filtertest.Exchange("PUT", "/a", body)
	x.Request.Body, x.Request.Length = &pieces{[]string{body[:1], body[1:]}}, length
	if length < 0 {
		x.Request.Trailer.AddName("X-Sum", "sum")
	}
	if err := round(x); err != nil {
		panic(err)
	}
	// What the codec's memory holds afterwards is another request.
	copy(x.Request.Target, "/zzzzzz")
	filtertest.End(x)
}

func TestCopiesInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, counts := counted()
		ctx, end := context.WithCancel(t.Context())
		s := &studio{takes: time.Hour, ctx: ctx}
		round := build(t, "mirror", `{"to":"next","in-flight":3}`)(s.env(env))((&service{status: 200}).round)
		begun := time.Now()
		if got := ask(round, 10); got != "200" || time.Since(begun) != 0 {
			t.Errorf("%s after %v", got, time.Since(begun))
		}
		synctest.Wait()
		if counts.of("swell_mirrored_total/full") != 7 {
			t.Errorf("%v", counts.n)
		}
		end() // the data plane ends: copies are cut
		s.wg.Wait()
		if time.Since(begun) != 0 || s.open != 0 || counts.of("swell_mirrored_total/failed") != 3 {
			t.Errorf("after %v; %v", time.Since(begun), counts.n)
		}
	})
}

func TestTheShareThatIsCopied(t *testing.T) {
	env, counts := counted()
	s := &studio{ctx: t.Context()}
	round := build(t, "mirror", `{"to":"next","share":"10%","in-flight":10000}`)(s.env(env))((&service{status: 200}).round)
	ask(round, 3000)
	s.wg.Wait()
	if n := counts.of("swell_mirrored_total/answered"); n < 200 || n > 400 {
		t.Errorf("%d of 3000", n)
	}
}

func TestServicesThatOptionsName(t *testing.T) {
	for _, c := range []struct {
		options interface{ Services() []string }
		want    string
	}{
		{filter.MirrorOptions{To: "a"}, "a"}, {filter.MirrorOptions{}, ""},
		{filter.FallbackOptions{Service: "b"}, "b"}, {filter.FallbackOptions{Status: 200}, ""},
	} {
		if got := strings.Join(c.options.Services(), ","); got != c.want {
			t.Errorf("%+v: %q", c.options, got)
		}
	}
}
