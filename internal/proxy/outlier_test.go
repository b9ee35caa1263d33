package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"swell"
	"swell/internal/exchange"
)

func TestJudge(t *testing.T) {
	ms := time.Millisecond
	well := func(n int) (out []record) {
		for range n {
			out = append(out, record{1000, 1, 10 * ms})
		}
		return out
	}
	with := func(rest []record, r ...record) []record { return append(slices.Clone(r), rest...) }
	success := swell.Outliers{SuccessRate: 1.9}
	latency := swell.Outliers{Latency: 3}
	for _, c := range []struct {
		name  string
		rules swell.Outliers
		in    []record
		want  map[int]outCause
	}{
		{"nobody", success, nil, nil},
		{"all well", success, well(10), nil},
		{"one fails", success, with(well(9), record{1000, 0.5, 10 * ms}), map[int]outCause{0: unlucky}},
		{"one fails, with too few requests", success, with(well(9), record{99, 0, 10 * ms}), nil},
		{"too few to tell", success, with(well(1), record{1000, 0, 10 * ms}), nil},
		{"of three, none is 1.9 deviations off", success, with(well(2), record{1000, 0, 10 * ms}), nil},
		{"of three, with a factor that fits", swell.Outliers{SuccessRate: 1}, with(well(2), record{1000, 0, 10 * ms}), map[int]outCause{0: unlucky}},
		{"a hair less", success, with(well(99), record{1000, 0.999, 10 * ms}), nil},
		{"all fail alike", success, []record{{1000, 0.1, ms}, {1000, 0.11, ms}, {1000, 0.1, ms}, {1000, 0.12, ms}, {1000, 0.1, ms}}, nil},
		{"success is not judged", latency, with(well(9), record{1000, 0, 10 * ms}), nil},
		{"one is slow", latency, with(well(2), record{1000, 1, 31 * ms}), map[int]outCause{0: slow}},
		{"one of two is slow", latency, with(well(1), record{1000, 1, 31 * ms}), map[int]outCause{0: slow}},
		{"alone there is nobody to be slower than", latency, []record{{1000, 1, time.Minute}}, nil},
		{"not slow enough", latency, with(well(2), record{1000, 1, 29 * ms}), nil},
		{"noise of microseconds", latency, []record{{1000, 1, 4 * ms}, {1000, 1, 50 * time.Microsecond}, {1000, 1, 40 * time.Microsecond}}, nil},
		{"two are slow", latency, with(well(3), record{1000, 1, 90 * ms}, record{1000, 1, 80 * ms}), map[int]outCause{0: slow, 1: slow}},
		{"most are slow, so that is how it is", latency, with(well(1), record{1000, 1, 90 * ms}, record{1000, 1, 80 * ms}, record{1000, 1, 85 * ms}), nil},
		{"both", swell.Outliers{SuccessRate: 1.9, Latency: 3}, with(well(9), record{1000, 0.5, 90 * ms}), map[int]outCause{0: unlucky}},
	} {
		got := newRules(c.rules).judge(c.in)
		for i, why := range got {
			if why != c.want[i] {
				t.Errorf("%s: endpoint %d: %q, want %q", c.name, i, why, c.want[i])
			}
		}
	}
}

func TestRules(t *testing.T) {
	if r := newRules(swell.Outliers{}); r.Outliers != defaultOutliers || r.rates() {
		t.Errorf("%+v", r)
	}
	r := newRules(swell.Outliers{Latency: 3, Base: time.Minute})
	if r.Consecutive != 0 || r.Requests != 100 || r.Longest != time.Minute || r.MaxEjected != 0.5 || !r.rates() {
		t.Errorf("%+v", r)
	}
	r = newRules(swell.Outliers{Consecutive: 3, Base: time.Second, Longest: 10 * time.Second})
	var got []string
	for n := range 7 {
		got = append(got, r.term(n).String())
	}
	if s := strings.Join(got, " "); s != "1s 1s 2s 4s 8s 10s 10s" {
		t.Errorf("terms %s", s)
	}
	if d := r.term(1 << 30); d != 10*time.Second {
		t.Errorf("after many times %v", d)
	}
}

// badly plays a service in virtual time whose first endpoint of n does badly, with a
// request every few milliseconds, and returns how many seconds of the first so many
// the endpoint was out, and why.
func badly(t *testing.T, n int, rules swell.Outliers, handle http.HandlerFunc, seconds int) (out []bool, reasons string) {
	inMemory(t, func(t *testing.T, m *Memory, p *Plane, feed *cellFeed) {
		var addrs []string
		for i := range n {
			addr := fmt.Sprintf("10.0.0.%d:80", i+1)
			addrs = append(addrs, addr)
			h := func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(2 * time.Millisecond)
				io.WriteString(w, "ok")
			}
			if i == 0 {
				h = handle
			}
			defer m.serve(t, addr, h)()
		}
		u := to("s", addrs...)
		u.Balance.Name, u.Outliers = "round-robin", rules
		snap := one(u)
		snap.Version, snap.Gateway.Listen = 1, "gw:80"
		feed.Set(snap)
		synctest.Wait()
		s := p.table.Load().services["s"].service
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				m.ask(t.Context(), "gw:80", "GET", "/")
			}
		}()
		for range seconds {
			time.Sleep(time.Second)
			s.mu.Lock()
			e := s.endpoints[0]
			out = append(out, e.Out())
			if e.cause != in && !strings.Contains(reasons, e.cause.label()) {
				reasons += e.cause.label() + " "
			}
			for _, o := range s.endpoints[1:] {
				if o.cause != in {
					t.Errorf("%s is out: %v", o.ID, o.cause)
				}
			}
			s.mu.Unlock()
		}
		close(stop)
		<-ended
		// The loop that judges ends when there is nothing to judge.
		time.Sleep(3 * s.rules.Load().Interval)
		if s.judging.Load() {
			t.Error("somebody judges though there are no requests")
		}
	})
	return out, strings.TrimSpace(reasons)
}

func TestOneThatFailsOftenIsOut(t *testing.T) {
	var i atomic.Int64
	out, why := badly(t, 6, swell.Outliers{SuccessRate: 1.5, Requests: 20, Interval: 2 * time.Second, Base: 3 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		if i.Add(1)%2 == 0 { // never twice in a row
			w.WriteHeader(500)
		}
	}, 12)
	if why != "success-rate" || !out[2] || !out[4] {
		t.Errorf("out %v for %q", out, why)
	}
	if !slices.Contains(out[5:], false) || !slices.Contains(out[7:], true) {
		t.Errorf("it should have had another chance, and have lost it: %v", out)
	}
}

func TestASlowOneIsOut(t *testing.T) {
	out, why := badly(t, 3, swell.Outliers{Latency: 3, Requests: 20, Interval: 2 * time.Second, Base: 30 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(40 * time.Millisecond)
		io.WriteString(w, "ok")
	}, 8)
	if why != "latency" || !out[7] {
		t.Errorf("out %v for %q", out, why)
	}
}

func TestNobodyIsOutWithoutRules(t *testing.T) {
	out, why := badly(t, 3, swell.Outliers{SuccessRate: 0, Consecutive: 0, Base: time.Second}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
	}, 5)
	if why != "" || slices.Contains(out, true) {
		t.Errorf("out %v for %q", out, why)
	}
}

// No more are out than the rules allow, and the longer the more often.
func TestEjectionIsBounded(t *testing.T) {
	b := newBed(t)
	u := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6")
	u.Outliers = swell.Outliers{Consecutive: 3, MaxEjected: 0.34, Base: time.Hour}
	b.set(one(u))
	s := b.plane.table.Load().services["s"].service
	for _, e := range s.endpoints[:5] {
		for range 9 {
			s.failing(e)
		}
	}
	out := 0
	for _, e := range s.endpoints {
		if e.Out() {
			out++
		}
	}
	if out != 2 {
		t.Errorf("%d of 6 are out, of which the rules allow 34 %%", out)
	}
}

// When too few are left, those that do badly are used as well, until enough are in.
func TestPanic(t *testing.T) {
	b := newBed(t)
	u := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4")
	u.Outliers = swell.Outliers{Consecutive: 3, MaxEjected: 1, Base: time.Hour}
	u.Spread.Panic = 0.6
	b.set(one(u))
	s := b.plane.table.Load().services["s"].service
	used := func() (n int) {
		for _, e := range s.endpoints {
			if !e.Out() {
				n++
			}
		}
		return n
	}
	fail := func(e *endpoint) {
		for range 3 {
			s.failing(e)
		}
	}
	fail(s.endpoints[0])
	if used() != 3 {
		t.Errorf("%d of 4 are used, one fails", used())
	}
	fail(s.endpoints[1])
	if used() != 4 {
		t.Errorf("%d of 4 are used; less than 60 %% do well, so all should be", used())
	}
	s.refused(s.endpoints[2]) // there is no use in those
	if used() != 3 {
		t.Errorf("%d of 4 are used; one refuses", used())
	}
	s.mu.Lock()
	s.readmit(s.endpoints[2])
	s.readmit(s.endpoints[1])
	s.mu.Unlock()
	if used() != 3 || !s.endpoints[0].Out() {
		t.Errorf("%d of 4 are used after enough were in again", used())
	}
}

func TestPreferredEndpoint(t *testing.T) {
	b := newBed(t)
	u := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	u.Spread.Subset = 1
	b.set(one(u))
	s := b.plane.table.Load().services["s"].service
	x := fakeExchange("GET", "/")
	st := &state{x: x}
	st.pick.X, st.pick.Now = x, exchange.Now()
	for _, e := range s.endpoints {
		x.Prefer = e.ID
		if got := s.pick(&st.pick); got != e {
			t.Errorf("prefers %s, got %s", e.ID, got.ID)
		}
	}
	e := s.endpoints[1]
	x.Prefer = e.ID
	e.SetOut(true)
	if got := s.pick(&st.pick); got == e || got == nil {
		t.Errorf("prefers one that is out, got %v", got)
	}
	e.SetOut(false)
	st.pick.Tried = append(st.pick.Tried, &e.Endpoint)
	if got := s.pick(&st.pick); got == e {
		t.Error("prefers one that was tried, and got it")
	}
	st.pick.Tried = nil
	x.Prefer = "gone"
	if got := s.pick(&st.pick); got == nil {
		t.Error("prefers one that is not there, and got none")
	}
}

// What is new to a service that serves begins with little.
func TestNewEndpointsAreCold(t *testing.T) {
	b := newBed(t)
	u := to("s", "127.0.0.1:1", "127.0.0.1:2")
	u.Spread.SlowStart = time.Hour
	b.set(one(u))
	s := b.plane.table.Load().services["s"].service
	share := func(i int) float32 { return s.endpoints[i].Share(exchange.Now()) }
	if share(0) != 1 || share(1) != 1 {
		t.Error("the first endpoints of a service are cold: there is nobody else")
	}
	v := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	v.Spread = u.Spread
	b.set(one(v))
	if share(0) != 1 || share(1) != 1 || share(2) > 0.2 {
		t.Errorf("shares %v %v %v", share(0), share(1), share(2))
	}
	w := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	w.Spread = u.Spread
	w.Endpoints[0].Weight = 5
	b.set(one(w))
	if share(0) != 1 || s.endpoints[0].Weight != 5 {
		t.Error("one that weighs something else now is taken for new")
	}
	s.refused(s.endpoints[1])
	s.mu.Lock()
	s.readmit(s.endpoints[1])
	s.mu.Unlock()
	if share(1) > 0.2 {
		t.Error("one that is in again has its whole share at once")
	}
}

// Many endpoints, of which a few come and go: what stays keeps its state, and that
// costs little.
func TestManyEndpointsChange(t *testing.T) {
	b := newBed(t)
	make1 := func(from, to int) swell.Upstream {
		u := swell.Upstream{Service: "s", Protocol: "http"}
		for i := from; i < to; i++ {
			u.Endpoints = append(u.Endpoints, swell.Endpoint{ID: fmt.Sprintf("s-%05d", i), Addr: fmt.Sprintf("127.0.%d.%d:1", i>>8, i&255), Weight: 1, Revision: "r"})
		}
		return u
	}
	b.set(one(make1(0, 5000)))
	s := b.plane.table.Load().services["s"].service
	kept := s.endpoints[100]
	b.set(one(make1(10, 5010)))
	if len(s.endpoints) != 5000 || s.endpoints[90] != kept {
		t.Errorf("%d endpoints; one that stays is another one", len(s.endpoints))
	}
	for _, e := range s.endpoints[:1000] {
		s.refused(e)
	}
	if !s.endpoints[999].Out() {
		t.Error("it refuses and is in")
	}
	r := &state{}
	for range 100 {
		if e := s.pick(&r.pick); e == nil || e.Out() {
			t.Fatal("picked one that is out")
		}
	}
}

func BenchmarkServiceUpdate(b *testing.B) {
	bed := newBed(b)
	u := swell.Upstream{Service: "s", Protocol: "http"}
	for i := range 5001 {
		u.Endpoints = append(u.Endpoints, swell.Endpoint{ID: fmt.Sprintf("s-%05d", i), Addr: fmt.Sprintf("127.0.%d.%d:1", i>>8, i&255), Weight: 1, Revision: "r"})
	}
	bed.set(one(u))
	t := bed.plane.table.Load()
	s := t.services["s"].service
	box, via := t.balancer["s"], t.via["s"]
	v, w := u, u
	v.Endpoints, w.Endpoints = u.Endpoints[1:], u.Endpoints[:5000]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			s.update(&v, box, via)
		} else {
			s.update(&w, box, via)
		}
	}
}

// A plane uses the endpoints of its own zone, and others once those are out.
func TestZoneIsPreferred(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Zone, o.ID = "west", "plane-1" })
	u := to("s", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4")
	for i := range u.Endpoints {
		u.Endpoints[i].Zone = []string{"west", "east"}[i%2]
	}
	u.Spread.Zones = "prefer"
	b.set(one(u))
	s := b.plane.table.Load().services["s"].service
	local := func() (n int) {
		st := &state{}
		for range 1000 {
			if s.pick(&st.pick).Zone == "west" {
				n++
			}
		}
		return n
	}
	if n := local(); n != 1000 {
		t.Errorf("%d of 1000 stayed in the zone, which can take them all", n)
	}
	s.refused(s.endpoints[0])
	if n := local(); n < 500 || n > 800 { // a third of what is left, of two zones
		t.Errorf("%d of 1000 stayed in the zone, which has one endpoint of three left", n)
	}
	s.refused(s.endpoints[2])
	if n := local(); n != 0 {
		t.Errorf("%d of 1000 stayed in the zone, which has no endpoint left", n)
	}
	// Changed while it runs.
	u.Spread.Zones = ""
	b.set(one(u))
	s.mu.Lock()
	s.readmit(s.endpoints[0])
	s.readmit(s.endpoints[2])
	s.mu.Unlock()
	if n := local(); n < 300 || n > 700 {
		t.Errorf("%d of 1000 stayed in the zone, which is not preferred any more", n)
	}
}
