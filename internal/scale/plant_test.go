package scale

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"swell"
)

// dice seeds the plants that have no seed of their own.
const dice = 1

// plant is a service in virtual time, request by request: instances that each
// have some workers and a queue, requests that arrive openly by Poisson's law
// and go to the less busy of two instances, start-up times, and what telemetry
// would measure of it each second.
type plant struct {
	rnd      *rand.Rand
	service  swell.Service
	load     func(t float64) float64 // arrivals per second at t
	workers  int                     // of an instance
	takes    float64                 // seconds a request takes a worker
	random   bool                    // exponentially distributed instead of fixed
	startup  float64                 // seconds, give or take a tenth
	cpu      float64                 // CPU seconds a request costs
	extra    func() float64          // in-flight seconds spent downstream, per request
	blind    func(t float64) bool    // no telemetry
	burn     float64                 // cores that an instance burns in the first 3 s after ready
	machine  int                     // instances that can do their best at once; 0: all
	crashing bool                    // instances never get ready and restart

	now       float64
	next      float64
	events    ends
	ready     []*unit
	nextReady float64
	all       []*unit
	waiting   []float64 // arrival times
	serial    int
	lost      int
	served    int
	worst     float64 // longest wait

	// of this second
	arrived, done int
	area          float64
	areaAt        float64
	inflight      int
	down          int // of inflight, downstream
	downArea      float64
	latencies     []float64

	state State
	last  Load
	hist  []second
	floor int
}

type unit struct {
	id       string
	state    swell.State
	created  float64
	ready    float64
	free     []float64 // when each worker is free
	inflight int
	did      int // this second
	restarts int
}

type end struct {
	at, since float64
	u         *unit
	calls     float64 // seconds that it then spends downstream
	called    bool    // it is there
}

// ends is a heap of what ends next, without the boxing of container/heap.
type ends []end

func (h *ends) push(x end) {
	*h = append(*h, x)
	e := *h
	for i := len(e) - 1; i > 0; {
		up := (i - 1) / 2
		if e[up].at <= e[i].at {
			break
		}
		e[up], e[i] = e[i], e[up]
		i = up
	}
}

func (h *ends) pop() end {
	e := *h
	x := e[0]
	e[0] = e[len(e)-1]
	e = e[:len(e)-1]
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(e) {
			break
		}
		if c+1 < len(e) && e[c+1].at < e[c].at {
			c++
		}
		if e[i].at <= e[c].at {
			break
		}
		e[i], e[c] = e[c], e[i]
		i = c
	}
	*h = e
	return x
}

// look finds the instances that are ready, and when the next one will be.
func (p *plant) look() {
	p.ready, p.nextReady = p.ready[:0], math.Inf(1)
	for _, u := range p.all {
		switch u.state {
		case swell.Ready:
			p.ready = append(p.ready, u)
		case swell.Starting:
			p.nextReady = min(p.nextReady, u.ready)
		}
	}
}

// second is what was at the end of a second.
type second struct {
	t             float64
	rate          float64 // that was offered
	want, ready   int
	decision      swell.Decision
	p95           float64
	inflight      int
	wait          int
	learned, sure float64
}

var epoch = time.Unix(1_700_000_000, 0)

func at(t float64) time.Time { return epoch.Add(time.Duration(t * float64(time.Second))) }

// capacity is what an instance can truly do per second.
func (p *plant) capacity() float64 { return float64(p.workers) / p.takes }

// run goes on until t; decisions come 0.3 s after measurements.
func (p *plant) run(until float64) {
	if p.rnd == nil {
		p.rnd = rand.New(rand.NewPCG(dice, 2))
	}
	if p.service.Name == "" {
		p.service.Name = "s"
	}
	if p.now == 0 && p.next == 0 {
		p.decide()
		p.next = p.gap(0)
	}
	for tick := math.Floor(p.now) + 1; tick <= until; tick++ {
		p.advance(tick)
		p.measure(tick)
		p.advance(tick + 0.3)
		p.decide()
	}
}

// gap returns when the next request arrives after t.
func (p *plant) gap(t float64) float64 {
	for {
		r := p.load(t)
		if r <= 0 {
			t += 0.01
			if t > p.now+5 {
				return t
			}
			continue
		}
		d := p.rnd.ExpFloat64() / r
		if d < 0.05 || p.load(t+0.05) == r {
			return t + d
		}
		t += 0.05
	}
}

func (p *plant) advance(to float64) {
	for {
		t := to
		kind := 0
		if p.next < t {
			t, kind = p.next, 1
		}
		if len(p.events) > 0 && p.events[0].at < t {
			t, kind = p.events[0].at, 2
		}
		if p.nextReady < t {
			t, kind = p.nextReady, 3
		}
		p.area += float64(p.inflight) * (t - p.areaAt)
		p.downArea += float64(p.down) * (t - p.areaAt)
		p.areaAt, p.now = t, t
		switch kind {
		case 0:
			return
		case 1:
			if p.load(t) > 0 {
				p.arrived++
				p.send(t)
			}
			p.next = p.gap(t)
		case 2:
			e := p.events.pop()
			if e.called {
				p.down--
			}
			if e.u.state == swell.Gone {
				continue
			}
			if e.calls > 0 {
				p.down++
				p.events.push(end{at: t + e.calls, since: e.since, u: e.u, called: true})
				continue
			}
			e.u.inflight--
			e.u.did++
			p.inflight--
			p.done++
			p.served++
			p.worst = max(p.worst, t-e.since)
			p.latencies = append(p.latencies, t-e.since)
			if e.u.state == swell.Draining && e.u.inflight == 0 {
				e.u.state = swell.Gone
			}
		case 3:
			for _, u := range p.all {
				if u.state == swell.Starting && u.ready <= t {
					if p.crashing {
						u.restarts++
						u.created, u.ready = t, t+p.startup
						continue
					}
					u.state = swell.Ready
					u.free = make([]float64, p.workers)
				}
			}
			p.look()
			held := p.waiting
			p.waiting = nil
			for _, since := range held {
				p.send(since)
			}
		}
	}
}

// send brings a request that arrived at since to an instance.
func (p *plant) send(since float64) {
	ready := p.ready
	if len(ready) == 0 {
		p.waiting = append(p.waiting, since)
		return
	}
	u := ready[p.rnd.IntN(len(ready))]
	if v := ready[p.rnd.IntN(len(ready))]; v.inflight < u.inflight {
		u = v
	}
	w := 0
	for i := range u.free {
		if u.free[i] < u.free[w] {
			w = i
		}
	}
	takes := p.takes
	if p.machine > 0 {
		takes *= max(1, float64(len(ready))/float64(p.machine))
	}
	if p.random {
		takes *= p.rnd.ExpFloat64()
	}
	done := max(p.now, u.free[w]) + takes
	u.free[w] = done
	e := end{at: done, since: since, u: u}
	if p.extra != nil {
		e.calls = p.extra()
	}
	u.inflight++
	p.inflight++
	p.events.push(e)
}

func (p *plant) measure(t float64) {
	l := Load{At: at(t), Window: time.Second, Rate: float64(p.arrived), Done: float64(p.done),
		Inflight: p.area, Waiting: len(p.waiting)}
	slices.Sort(p.latencies)
	if n := len(p.latencies); n > 0 {
		sum := 0.0
		for _, x := range p.latencies {
			sum += x
		}
		q := func(q float64) time.Duration {
			return time.Duration(p.latencies[min(n-1, int(q*float64(n)))] * 1e9)
		}
		l.Latency = swell.Latency{Count: int64(n), Mean: time.Duration(sum / float64(n) * 1e9), P50: q(.5), P95: q(.95), P99: q(.99)}
	}
	l.Downstream = p.downArea
	p.arrived, p.done, p.area, p.downArea, p.latencies = 0, 0, 0, 0, p.latencies[:0]
	if p.blind == nil || !p.blind(t) {
		p.last = l
	}
}

func (p *plant) decide() {
	in := Input{Now: at(p.now), Service: p.service, Load: p.last, Floor: p.floor}
	live := p.all[:0]
	for _, u := range p.all {
		if u.state == swell.Gone {
			continue
		}
		live = append(live, u)
		x := swell.Instance{ID: u.id, Service: "s", State: u.state, Created: at(u.created), Restarts: u.restarts}
		if u.state != swell.Starting {
			x.ReadyAt = at(u.ready)
		}
		in.Instances = append(in.Instances, x)
		if u.state == swell.Ready && p.cpu > 0 {
			cores := float64(u.did) * p.cpu
			if p.now-u.ready < 3 {
				cores += p.burn
			}
			in.CPU = append(in.CPU, Usage{u.id, p.last.At, cores})
		}
		u.did = 0
	}
	p.all = live
	d := Decide(in, &p.state)
	p.apply(d.Replicas)
	s := second{t: p.now, rate: p.load(p.now), want: d.Replicas, decision: d, p95: p.last.Latency.P95.Seconds(), inflight: p.inflight, wait: len(p.waiting)}
	for _, u := range p.all {
		if u.state == swell.Ready {
			s.ready++
		}
	}
	s.learned, s.sure, _ = p.state.capacity.Estimate()
	p.hist = append(p.hist, s)
}

func (p *plant) apply(n int) {
	have := 0
	for _, u := range p.all {
		if u.state <= swell.Ready {
			have++
		}
	}
	for ; have < n; have++ {
		p.serial++
		p.all = append(p.all, &unit{id: fmt.Sprint("i", p.serial), created: p.now,
			ready: p.now + p.startup*(0.9+0.2*p.rnd.Float64())})
	}
	// The newest go first, those still starting before all.
	for i := len(p.all) - 1; i >= 0 && have > n; i-- {
		switch u := p.all[i]; u.state {
		case swell.Starting:
			u.state = swell.Gone
			have--
		case swell.Ready:
			u.state = swell.Draining
			if u.inflight == 0 {
				u.state = swell.Gone
			}
			have--
		}
	}
	p.look()
}

// crash kills an instance; what it had in flight is lost, another starts.
func (p *plant) crash(i int) {
	u := p.all[i]
	p.lost += u.inflight
	p.inflight -= u.inflight
	u.state = swell.Gone
	p.look()
}

// between returns the history in [from, to).
func (p *plant) between(from, to float64) []second {
	var out []second
	for _, s := range p.hist {
		if s.t >= from && s.t < to {
			out = append(out, s)
		}
	}
	return out
}

// actions counts changes of the count, reversals those of its direction.
func actions(h []second) (actions, reversals int) {
	dir := 0
	for i := 1; i < len(h); i++ {
		d := h[i].want - h[i-1].want
		if d == 0 {
			continue
		}
		actions++
		if dir != 0 && (d > 0) != (dir > 0) {
			reversals++
		}
		dir = d
	}
	return actions, reversals
}

func peak(h []second) (n int) {
	for _, s := range h {
		n = max(n, s.want)
	}
	return n
}

// chart writes a history in a few lines, for failures.
func (p *plant) chart(from, to float64) string {
	out := ""
	last := -1
	for _, s := range p.between(from, to) {
		if s.want != last || int(s.t)%50 == 0 {
			out += fmt.Sprintf("%7.1f rate %6.1f want %3d ready %3d inflight %5d p95 %7.3f learned %6.1f/%.1f %s: %s\n", s.t, s.rate, s.want, s.ready, s.inflight, s.p95, s.learned, s.sure, s.decision.By, s.decision.Reason)
		}
		last = s.want
	}
	return out
}
