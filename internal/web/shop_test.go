package web

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"swell"
	"swell/internal/plan"
)

// shop is an application in memory that lives: its load goes up and down, counts
// are decided, instances come, go and fail, and write lines. Each step is one
// second of it.
type shop struct {
	mu        sync.Mutex
	rnd       *rand.Rand
	app       swell.App
	second    int
	decisions map[string][]swell.Decision
	instances []swell.Instance
	history   map[string][]Point
	rates     map[string]float64
	edges     []EdgeStat
	lines     []swell.Line
	seq       uint64
	nextID    int
	changed   chan struct{}
	floors    map[string]int
}

type nature struct {
	capacity float64 // requests per second of one instance
	base     float64 // seconds
	share    float64 // of the load
}

var natures = map[string]nature{
	"web": {60, 0.018, 0.9}, "catalog": {42, 0.031, 0.72}, "pricing": {95, 0.006, 1.1},
	"cart": {80, 0.012, 0.36}, "orders": {16, 0.052, 0.1}, "payments": {0, 0.14, 0.1}, "search": {30, 0.04, 0},
	"thumbnails": {10, 0.2, 0},
}

func newShop() *shop {
	svc := func(name string, min, max int, uses ...string) swell.Service {
		return swell.Service{
			Name: name, Protocol: "http", Uses: uses, Run: swell.Run{Command: []string{"./bin/" + name}},
			Scale: swell.Scale{Min: min, Max: max, SLO: swell.SLO{Quantile: 0.95, Latency: 200 * time.Millisecond}},
		}
	}
	s := &shop{
		rnd: rand.New(rand.NewPCG(1, 2)), decisions: map[string][]swell.Decision{}, history: map[string][]Point{},
		rates: map[string]float64{}, changed: make(chan struct{}), floors: map[string]int{},
	}
	s.app = swell.App{
		Name: "shop", Policy: swell.Enforce,
		Services: []swell.Service{
			svc("cart", 1, 6), svc("catalog", 1, 12, "pricing"), svc("orders", 2, 20, "cart", "payments"),
			{Name: "payments", Protocol: "http", Address: []swell.Address{{Addr: "10.0.0.7:8443", Weight: 1}, {Addr: "10.0.0.8:8443", Weight: 1}}},
			svc("pricing", 1, 8), svc("search", 1, 4), svc("thumbnails", 0, 4), svc("web", 2, 20, "cart", "catalog", "search"),
		},
		Gateway: swell.Gateway{
			Listen: ":8080", Use: []swell.Use{{Name: "access-log", Options: json.RawMessage(`{}`)}},
			Routes: []swell.Route{
				{Name: "beta", Match: swell.Match{Path: "/**", Headers: []swell.Value{{Name: "X-Beta", Exact: "1"}}}, To: []swell.Target{{Service: "web", Weight: 95}, {Service: "catalog", Weight: 5}}, Use: []swell.Use{{Name: "headers"}}},
				{Name: "orders", Match: swell.Match{Host: "shop.example", Path: "/api/orders/**", Methods: []string{"GET", "POST"}}, To: []swell.Target{{Service: "orders", Weight: 1}}, Use: []swell.Use{{Name: "timeout"}, {Name: "retry"}}},
				{Name: "old", Match: swell.Match{Path: "/old"}, Redirect: &swell.Redirect{Path: "/", Status: 308}},
				{Name: "all", Match: swell.Match{Path: "/**"}, To: []swell.Target{{Service: "web", Weight: 1}}},
			},
		},
	}
	s.app.Services[7].Scale.Targets = swell.Targets{Concurrency: 20, CPU: 0.7}
	now := time.Now()
	for i := 420; i > 0; i-- {
		s.step(now.Add(-time.Duration(i) * time.Second))
	}
	return s
}

func (s *shop) step(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.second++
	load := 40 + 150*(0.5-0.5*math.Cos(2*math.Pi*float64(s.second)/260)) + 6*s.rnd.NormFloat64()
	s.edges = nil
	edge := func(caller, callee string, rate, errors float64) {
		n := natures[callee]
		s.edges = append(s.edges, EdgeStat{Caller: caller, Callee: callee, Traffic: Traffic{Rate: rate, Errors: errors, P50: n.base, P95: n.base * 2.6, P99: n.base * 4.4}})
	}
	troubled := 0.0
	if s.second%200 > 140 {
		troubled = 0.04
	}
	edge("gateway", "orders", load*0.1, load*0.1*troubled)
	edge("gateway", "web", load*0.9, 0)
	edge("web", "catalog", load*0.72, load*0.72*0.002)
	edge("web", "cart", load*0.3, 0)
	edge("web", "search", 0, 0)
	edge("catalog", "pricing", load*1.1, 0)
	edge("orders", "cart", load*0.06, 0)
	edge("orders", "payments", load*0.1, load*0.1*troubled)
	for i := range s.app.Services {
		s.serve(&s.app.Services[i], now, load, troubled)
	}
	s.instances = slices.DeleteFunc(s.instances, func(i swell.Instance) bool { return i.State == swell.Gone })
	for i := range s.instances {
		in := &s.instances[i]
		if in.State == swell.Ready || in.State == swell.Draining {
			s.say(*in, now)
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shop) serve(svc *swell.Service, now time.Time, load, troubled float64) {
	n := natures[svc.Name]
	rate := load * n.share
	s.rates[svc.Name] = rate
	ready := 0
	if len(svc.Address) == 0 {
		s.decide(svc, now, rate, n)
		ready = s.settle(svc, now)
	}
	use := 0.4
	if ready > 0 && n.capacity > 0 {
		use = min(0.93, rate/(float64(ready)*n.capacity))
	}
	t := Traffic{Rate: rate, P50: n.base * (1 + use*use), P95: n.base * (2 + 3.4*use*use*use), P99: n.base * (2.6 + 7*use*use*use) * (1 + 0.1*s.rnd.Float64())}
	if rate == 0 {
		t = Traffic{}
	}
	if svc.Name == "orders" || svc.Name == "payments" {
		t.Errors = rate * troubled
	}
	t.Inflight = t.Rate * t.P50 * 1.3
	p := Point{At: now, Traffic: t, Ready: ready, Desired: s.desired(svc)}
	if use > 0.9 {
		p.Waiting = int(rate / 20)
	}
	s.history[svc.Name] = append(s.history[svc.Name], p)
	if h := s.history[svc.Name]; len(h) > 600 {
		s.history[svc.Name] = h[1:]
	}
}

func (s *shop) desired(svc *swell.Service) int {
	n := svc.Scale.Min
	if d := s.decisions[svc.Name]; len(d) > 0 {
		n = d[len(d)-1].Replicas
	}
	return n
}

func (s *shop) decide(svc *swell.Service, now time.Time, rate float64, n nature) {
	if n.capacity == 0 {
		return
	}
	need := rate * 1.15 / n.capacity
	want := min(max(int(math.Ceil(need)), svc.Scale.Min, s.floors[svc.Name]), svc.Scale.Max)
	have := s.desired(svc)
	// Down only once it is clearly less.
	if len(s.decisions[svc.Name]) > 0 && (want == have || (want < have && need > float64(have)-1.35 && s.floors[svc.Name] == 0)) {
		return
	}
	d := swell.Decision{
		Service: svc.Name, Replicas: want, By: "latency", At: now,
		Reason: fmt.Sprintf("%.0f/s arrive and one instance carries %.0f/s within 200ms: %.1f instances would do", rate, n.capacity, need),
		Steps: []swell.Step{
			{Name: "signal", Value: rate, Text: fmt.Sprintf("%.1f requests/s arrive, rising by %.1f/s", rate, rate/30)},
			{Name: "target", Value: 0.2, Text: "p95 at most 200ms"},
			{Name: "capacity", Value: n.capacity, Text: fmt.Sprintf("%.0f requests/s an instance, learned from the last 40 s", n.capacity)},
			{Name: "want", Value: need, Text: fmt.Sprintf("%.2f with 15 %% to spare", need)},
			{Name: "limit", Value: float64(want), Text: fmt.Sprintf("%d to %d by the manifest", svc.Scale.Min, svc.Scale.Max)},
			{Name: "result", Value: float64(want), Text: fmt.Sprintf("%d instances", want)},
		},
	}
	if rate == 0 {
		d.By, d.Reason, d.Steps = "bounds", "no request seen yet: the least that the manifest allows", d.Steps[4:]
	}
	if s.floors[svc.Name] == want && want > 0 {
		d.By, d.Reason = "manual", fmt.Sprintf("a floor of %d by hand", want)
	}
	s.decisions[svc.Name] = append(s.decisions[svc.Name], d)
	if ds := s.decisions[svc.Name]; len(ds) > 100 {
		s.decisions[svc.Name] = ds[1:]
	}
}

// settle lets instances follow the count, and returns how many are ready.
func (s *shop) settle(svc *swell.Service, now time.Time) int {
	var own []int
	for i, in := range s.instances {
		if in.Service == svc.Name && in.State <= swell.Ready {
			own = append(own, i)
		}
	}
	want := s.desired(svc)
	for n := len(own); n < want; n++ {
		s.nextID++
		s.instances = append(s.instances, swell.Instance{
			ID: fmt.Sprintf("%s-%d-%04x", svc.Name, n, s.nextID*2654435761%65536), Service: svc.Name, Revision: "3f9a1c", Slot: n,
			Addr: fmt.Sprintf("127.0.0.1:%d", 40000+s.nextID), PID: 4100 + s.nextID, Created: now,
		})
	}
	for i := len(own) - 1; i >= want; i-- {
		s.instances[own[i]].State = swell.Draining
		s.instances[own[i]].Reason = "one fewer is wanted"
	}
	ready := 0
	for i := range s.instances {
		in := &s.instances[i]
		if in.Service != svc.Name {
			continue
		}
		age := now.Sub(in.Created)
		switch {
		case in.State == swell.Draining && s.second%6 == 0:
			in.State = swell.Gone
		case svc.Name == "search":
			in.Reason, in.Restarts = "exited with status 1 (listen: address in use); starts again in 8s", s.second/30
		case in.State == swell.Starting && age >= 3*time.Second:
			in.State, in.ReadyAt = swell.Ready, now
		}
		if in.State == swell.Ready {
			ready++
		}
	}
	return ready
}

func (s *shop) say(in swell.Instance, now time.Time) {
	texts := []string{
		`time=%s level=INFO msg="request" method=GET path=/api/%s/items/%d status=200 duration=%dms`,
		`{"level":"info","at":"%s","service":"%s","msg":"priced the basket","items":%d,"ms":%d}`,
		`%s DEBUG %s cache: hit for key item:%d after %dµs`,
		`%s WARN %s slow answer for item %d: %dms`,
		`%s ERROR %s order %d refused: card declined after %dms`,
	}
	k := s.rnd.IntN(len(texts) * 5)
	if k >= len(texts) {
		k %= 3
	}
	if s.rnd.IntN(2) == 0 {
		return
	}
	s.seq++
	text := fmt.Sprintf(texts[k], now.Format("15:04:05"), in.Service, s.rnd.IntN(9000), 3+s.rnd.IntN(180))
	s.lines = append(s.lines, swell.Line{Seq: s.seq, At: now, Service: in.Service, Instance: in.ID, Stream: "stdout", Text: text})
	if s.rnd.IntN(60) == 0 {
		s.seq++
		s.lines = append(s.lines, swell.Line{Seq: s.seq, At: now, Service: in.Service, Instance: in.ID, Stream: "swell", Text: "ready after 3.0s on " + in.Addr})
	}
	s.lines = s.lines[max(0, len(s.lines)-4000):]
}

// run lets the shop live until ctx ends.
func (s *shop) run(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.step(now)
		}
	}
}

func (s *shop) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{App: s.app, Instances: slices.Clone(s.instances)}
	for _, ds := range s.decisions {
		st.Decisions = append(st.Decisions, ds[len(ds)-1])
	}
	return st
}

func (s *shop) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *shop) decided(service string) []swell.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.decisions[service])
}

func (s *shop) Services() map[string]ServiceStat {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]ServiceStat{}
	for name, h := range s.history {
		p := h[len(h)-1]
		out[name] = ServiceStat{Traffic: p.Traffic, Waiting: p.Waiting}
	}
	return out
}

func (s *shop) Instances() map[string]InstanceStat {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]InstanceStat{}
	for i, in := range s.instances {
		h := s.history[in.Service]
		p := h[len(h)-1]
		if in.State != swell.Ready || p.Ready == 0 {
			out[in.ID] = InstanceStat{CPU: math.NaN()}
			continue
		}
		t := p.Traffic
		t.Rate, t.Errors, t.Inflight = t.Rate/float64(p.Ready), t.Errors/float64(p.Ready), t.Inflight/float64(p.Ready)
		out[in.ID] = InstanceStat{Traffic: t, CPU: 0.02 + t.Rate*0.008, Memory: int64(38+i%9) << 20}
	}
	return out
}

func (s *shop) Routes() map[string]Traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]Traffic{}
	for _, e := range s.edges {
		switch {
		case e.Caller == "gateway" && e.Callee == "web":
			out["all"] = e.Traffic
		case e.Caller == "gateway" && e.Callee == "orders":
			out["orders"] = e.Traffic
		}
	}
	return out
}

func (s *shop) Edges() []EdgeStat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.edges)
}

func (s *shop) History(service string) []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history[service])
}

func (s *shop) Tail(service string, n int) []swell.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []swell.Line
	for _, l := range s.lines {
		if service == "" || l.Service == service {
			out = append(out, l)
		}
	}
	return out[max(0, len(out)-n):]
}

func (s *shop) Follow(ctx context.Context, since uint64, f func([]swell.Line) error) error {
	for {
		changed := s.change()
		var more []swell.Line
		for _, l := range s.Tail("", 1<<30) {
			if l.Seq > since {
				more = append(more, l)
			}
		}
		if len(more) > 0 {
			since = more[len(more)-1].Seq
			if err := f(more); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (s *shop) match(method, url string) (string, bool) {
	switch {
	case strings.Contains(url, "/api/orders") && (method == "GET" || method == "POST"):
		return "orders", true
	case strings.HasSuffix(url, "/nowhere"):
		return "", false
	}
	return "all", true
}

func (s *shop) apply(_ context.Context, name string, manifest []byte, dry bool) ([]plan.Change, []Problem, error) {
	if strings.Contains(string(manifest), "prot:") {
		return nil, nil, &Invalid{Problems: []Problem{
			{File: name, Line: 12, Column: 7, Width: 4, Text: `unknown field "prot"`, Hint: `did you mean "port"?`, Source: "      prot: 8080"},
			{File: name, Line: 20, Column: 3, Text: "max is less than min"},
		}}
	}
	next := s.state().App
	next.Policy = swell.Audit
	changes := plan.Diff(s.state().App, next)
	if !dry {
		s.mu.Lock()
		s.app = next
		s.mu.Unlock()
	}
	return changes, []Problem{{File: name, Line: 1, Text: "policy is audit: undeclared calls pass"}}, nil
}

func (s *shop) floor(service string, n int, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floors[service] = n
	return nil
}

func (s *shop) options() Options {
	return Options{
		State: s.state, Changed: s.change, Stats: s, Decisions: s.decided, Logs: s, Match: s.match,
		Apply: s.apply, Floor: s.floor, Version: "test",
	}
}
