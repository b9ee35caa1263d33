package scale

import (
	"errors"
	"fmt"
	"math"
	"time"

	"swell"
	"swell/internal/plug"
	q "swell/internal/unit"
)

// hpaOptions are those of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2) and
// of the controller's flags, under their defaults.
type hpaOptions struct {
	CPU            q.Percent  `json:"cpu" doc:"Target for the CPU of an instance, as a share of what it may use; without cpu and rps the service's own targets, else 80%."`
	RPS            q.Rate     `json:"rps" doc:"Target for the requests of an instance, as an external metric of type AverageValue."`
	Sync           q.Duration `json:"sync" min:"1s" doc:"Time between two decisions."`
	Tolerance      q.Percent  `json:"tolerance" doc:"How far the measured ratio may be from 1 without a change."`
	Stabilization  q.Duration `json:"stabilization" doc:"The most that was wanted in this time counts when there is no behavior."`
	Initialization q.Duration `json:"initialization" doc:"In this time after its start an instance's CPU counts only if a whole window of it is later than its readiness."`
	Window         q.Duration `json:"window" min:"1s" doc:"Time that a measurement of CPU is the mean of."`
	RateWindow     q.Duration `json:"rate-window" min:"1s" doc:"Time that the rate of requests is the mean of."`
	Behavior       bool       `json:"behavior" doc:"Whether up and down apply; else the count at most doubles (or goes to 4) in one step."`
	Up             hpaRule    `json:"up" doc:"How the count may grow, with behavior."`
	Down           hpaRule    `json:"down" doc:"How the count may fall, with behavior."`
}

// hpaRule is one direction of a behavior, with a policy of each type.
type hpaRule struct {
	Stabilization q.Duration `json:"stabilization" doc:"Up the least, down the most that was wanted in this time counts."`
	Pods          int        `json:"pods" min:"0" doc:"Most change in the period, instances; 0 is no such policy."`
	Percent       int        `json:"percent" min:"0" doc:"Most change in the period, percent; 0 is no such policy."`
	Period        q.Duration `json:"period" doc:"The period."`
	Select        string     `json:"select" enum:"max,min,disabled" doc:"Which of the two policies counts."`
}

var hpaDefaults = hpaOptions{
	Sync:           q.Duration(15 * time.Second),
	Tolerance:      0.1,
	Stabilization:  q.Duration(5 * time.Minute),
	Initialization: q.Duration(5 * time.Minute),
	Window:         q.Duration(15 * time.Second),
	RateWindow:     q.Duration(time.Minute),
	Up:             hpaRule{Pods: 4, Percent: 100, Period: q.Duration(15 * time.Second), Select: "max"},
	Down: hpaRule{Percent: 100, Period: q.Duration(15 * time.Second), Select: "max",
		Stabilization: q.Duration(5 * time.Minute)},
}

func hpaEntry() plug.Entry[Maker] {
	return plug.Named("hpa", "Kubernetes' HorizontalPodAutoscaler: ratio of CPU or requests to a target, every 15 s.", hpaDefaults,
		func(o hpaOptions) (Maker, error) {
			if err := o.check(); err != nil {
				return nil, err
			}
			return func() Policy { return &hpa{o: o, rate: meanRate{window: o.RateWindow.D()}} }, nil
		})
}

func (o *hpaOptions) check() error {
	if o.Sync <= 0 || o.Window <= 0 || o.RateWindow <= 0 {
		return errors.New("sync, window and rate-window must be more than 0s")
	}
	for _, r := range []hpaRule{o.Up, o.Down} {
		switch r.Select {
		case "max", "min", "disabled":
		default:
			return fmt.Errorf("select can't be %q; there are: max, min, disabled", r.Select)
		}
		if r.Pods < 0 || r.Percent < 0 {
			return errors.New("pods and percent must be at least 0")
		}
		if o.Behavior && r.Select != "disabled" && (r.Period <= 0 || r.Pods == 0 && r.Percent == 0) {
			return errors.New("a direction needs pods or percent, and a period")
		}
	}
	return nil
}

// hpa is the HorizontalPodAutoscaler, after pkg/controller/podautoscaler of
// Kubernetes: replica_calculator.go for what a metric asks for, horizontal.go for
// what becomes of it.
type hpa struct {
	o     hpaOptions
	begun bool
	next  time.Time // sync
	count int       // decided last
	core  hpaCore
	rate  meanRate
	pods  podMetrics
	last  swell.Decision
}

// Every is how often it is to be asked: the windows of CPU end between two syncs.
func (h *hpa) Every() time.Duration {
	if d := min(h.o.Sync.D(), h.o.Window.D()); d > podLag {
		return podLag
	}
	return time.Second
}

// Decide decides every [hpaOptions.Sync], and repeats itself between.
func (h *hpa) Decide(in Input) swell.Decision {
	sc := &in.Service.Scale
	if !h.begun {
		h.begun = true
		h.next = in.Now
		c := count(&in)
		h.count = clamp(max(sc.Min, c.ready+c.starting), sc)
		h.pods.next = in.Now.Add(h.o.Window.D() - podLag)
		h.core.recommend(in.Now, h.count)
	}
	h.rate.add(&in.Load)
	h.pods.add(in.Now, h.o.Window.D(), in.CPU)
	if in.Now.Before(h.next) {
		return held(&h.last, &in)
	}
	h.next = following(h.next, in.Now, h.o.Sync.D())
	d := swell.Decision{Service: in.Service.Name, At: in.Now, By: "hpa", Steps: make([]swell.Step, 0, 4)}
	n := h.count
	if n == 0 && sc.Min == 0 && in.Load.Waiting == 0 {
		d.Reason = "at 0 the autoscaler is off"
	} else {
		n = h.propose(&in, &d)
		n = h.core.normalize(&h.o, in.Now, h.count, n, max(sc.Min, 1), max(sc.Max, 1), &d)
	}
	return h.conclude(&in, d, n)
}

// conclude remembers a decision.
func (h *hpa) conclude(in *Input, d swell.Decision, n int) swell.Decision {
	if n != h.count {
		h.core.moved(in.Now, n-h.count)
	}
	h.count = n
	if f := clamp(in.Floor, &in.Service.Scale); in.Floor > 0 && f > n {
		n, d.By = f, "manual"
	}
	d.Replicas = n
	d.Steps = append(d.Steps, swell.Step{Name: "result", Value: float64(n), Text: instances(n)})
	h.last = d
	return d
}

// propose asks the metrics; the largest answer counts, and none of them may fail
// if the others say down.
func (h *hpa) propose(in *Input, d *swell.Decision) int {
	sc := &in.Service.Scale
	cpu, rps := float64(h.o.CPU), float64(h.o.RPS)
	if cpu == 0 && rps == 0 {
		cpu, rps = sc.Targets.CPU, sc.Targets.RPS
	}
	if cpu == 0 && rps == 0 {
		cpu = 0.8
	}
	best, failed := -1, ""
	if cpu > 0 {
		n, text, ok := h.cpu(in, cpu)
		if ok {
			best, d.Reason = n, text
		} else {
			failed = text
		}
	}
	if rps > 0 {
		value, ok := h.rate.value(in.Now)
		if !ok {
			failed = "no measurement of requests"
		} else if n, text := external(value, rps, len(in.Instances)-gone(in), float64(h.o.Tolerance)); n > best {
			best, d.Reason = n, text
		}
	}
	if failed != "" && best < h.count {
		best, d.By, d.Reason = h.count, "hold", failed+": the count stays"
	}
	d.Steps = append(d.Steps, swell.Step{Name: "want", Value: float64(best), Text: d.Reason})
	return best
}

// external is an external metric of type AverageValue: how many instances share
// value so that each has target.
func external(value, target float64, status int, tolerance float64) (int, string) {
	if status > 0 {
		if r := value / (target * float64(status)); math.Abs(r-1) <= tolerance {
			return status, fmt.Sprintf("%s/s is near enough to %s/s for each of %d", number(value), number(target), status)
		}
	}
	n := int(math.Ceil(value/target - 1e-9))
	return n, fmt.Sprintf("%s/s at %s/s for an instance: %s", number(value), number(target), instances(n))
}

// cpu is the resource metric of type Utilization. CPU of instances that are not
// ready, or were not for the whole of their window, counts as none when more are
// asked for, and not at all else.
func (h *hpa) cpu(in *Input, target float64) (int, string, bool) {
	request := in.Service.Scale.CPU
	if request <= 0 {
		request = 1
	}
	window := h.o.Window.D()
	var used float64
	ready, unready, missing, hint := 0, 0, 0, -1
	for i := range in.Instances {
		x := &in.Instances[i]
		switch x.State {
		case swell.Starting:
			unready++
			continue
		case swell.Ready:
		default:
			continue // being deleted: ignored
		}
		hint = find(h.pods.known, x.ID, hint+1)
		if hint < 0 {
			missing, hint = missing+1, -1
			continue
		}
		m := &h.pods.known[hint]
		if in.Now.Sub(x.Created) < h.o.Initialization.D() && m.at.Before(x.ReadyAt.Add(window)) {
			unready++
			continue
		}
		used += m.value
		ready++
	}
	if ready == 0 {
		return 0, "no measurement of CPU of a ready instance", false
	}
	tolerance := float64(h.o.Tolerance)
	// Kubernetes has whole percents here.
	percent := func(used float64, n int) float64 {
		return math.Trunc(used*100/(request*float64(n))+1e-9) / math.Round(target*100)
	}
	ratio := percent(used, ready)
	text := func(n int) string {
		return fmt.Sprintf("%s of CPU at %s %%, %d of them not yet counted: %s", instances(ready), number(100*used/(request*float64(ready))), unready, instances(n))
	}
	if !(ratio > 1 && unready > 0) && missing == 0 {
		if math.Abs(ratio-1) <= tolerance {
			return h.count, text(h.count), true
		}
		n := int(math.Ceil(ratio*float64(ready) - 1e-9))
		return n, text(n), true
	}
	all := ready + missing
	if ratio < 1 {
		used += float64(missing) * max(1, target) * request
	}
	if ratio > 1 {
		all += unready
	}
	again := percent(used, all)
	n := int(math.Ceil(again*float64(all) - 1e-9))
	if math.Abs(again-1) <= tolerance || ratio < 1 && again > 1 || ratio > 1 && again < 1 ||
		again < 1 && n > h.count || again > 1 && n < h.count {
		n = h.count
	}
	return n, text(n), true
}

// hpaCore is what the controller does with what the metrics ask for.
type hpaCore struct {
	recommended []move // by is the count
	moves       []move // newest last
}

func (c *hpaCore) recommend(now time.Time, n int) {
	c.recommended = append(c.recommended, move{now, n})
}

func (c *hpaCore) moved(now time.Time, by int) {
	if len(c.moves) >= maxMoves {
		c.moves = append(c.moves[:0], c.moves[len(c.moves)-maxMoves/2:]...)
	}
	c.moves = append(c.moves, move{now, by})
}

// normalize applies stabilisation, rates and bounds to a proposal.
func (c *hpaCore) normalize(o *hpaOptions, now time.Time, current, n, least, most int, d *swell.Decision) int {
	note := func(to int, format string, a ...any) {
		if to != n {
			text := fmt.Sprintf(format, a...)
			d.Steps = append(d.Steps, swell.Step{Name: "limit", Value: float64(to), Text: text})
			d.Reason += "; " + text
			n = to
		}
	}
	keep := o.Stabilization.D()
	if o.Behavior {
		keep = max(o.Up.Stabilization.D(), o.Down.Stabilization.D())
	}
	i := 0
	for i < len(c.recommended) && now.Sub(c.recommended[i].at) > keep {
		i++
	}
	c.recommended = append(c.recommended[:0], c.recommended[i:]...)
	proposed := n
	if !o.Behavior {
		to := n
		for _, r := range c.recommended {
			to = max(to, r.by)
		}
		note(to, "%d were wanted within the last %s", to, o.Stabilization.D())
		note(min(n, max(2*current, 4)), "not more than twice as many at once")
	} else {
		up, down := n, n
		for _, r := range c.recommended {
			if now.Sub(r.at) <= o.Up.Stabilization.D() {
				up = min(up, r.by)
			}
			if now.Sub(r.at) <= o.Down.Stabilization.D() {
				down = max(down, r.by)
			}
		}
		to := min(max(current, up), down)
		note(to, "%d by stabilisation", to)
		if n > current {
			note(min(n, max(current, c.limit(&o.Up, now, current, 1))), "the rate of growth is bounded")
		} else if n < current {
			note(max(n, min(current, c.limit(&o.Down, now, current, -1))), "the rate of shrinking is bounded")
		}
	}
	note(min(max(n, least), most), "at least %d, at most %d", least, most)
	c.recommend(now, proposed)
	return n
}

// limit is how far a rule lets the count go in a direction.
func (c *hpaCore) limit(r *hpaRule, now time.Time, current, sign int) int {
	if r.Select == "disabled" {
		return current
	}
	start := current
	for i := len(c.moves) - 1; i >= 0 && now.Sub(c.moves[i].at) < r.Period.D(); i-- {
		start -= c.moves[i].by
	}
	byPods := start + sign*r.Pods
	byPercent := int(math.Ceil(float64(start)*(1+float64(r.Percent)/100) - 1e-9))
	if sign < 0 {
		byPercent = int(float64(start)*(1-float64(r.Percent)/100) + 1e-9)
	}
	switch {
	case r.Pods == 0:
		return byPercent
	case r.Percent == 0:
		return byPods
	case (r.Select == "max") == (sign > 0):
		return max(byPods, byPercent)
	}
	return min(byPods, byPercent)
}

// podMetrics is what a metrics server makes of the CPU of instances: means of whole
// windows.
type podMetrics struct {
	next   time.Time // end of the window
	asked  time.Time
	adding []podMetric
	known  []podMetric // of the newest whole window
}

type podMetric struct {
	id     string
	at     time.Time
	value  float64 // cores, mean
	weight float64 // seconds, while adding
}

// podLag is the age of a measurement of CPU when a sync reads it: between 0 and a
// window in a cluster.
const podLag = 5 * time.Second

func (p *podMetrics) add(now time.Time, window time.Duration, cpu []Usage) {
	w := 1.0
	if !p.asked.IsZero() {
		w = min(max(now.Sub(p.asked).Seconds(), 0), window.Seconds())
	}
	p.asked = now
	hint := -1
	for i := range cpu {
		u := &cpu[i]
		if now.Sub(u.At) > freshCPU {
			continue
		}
		if hint = find(p.adding, u.Instance, hint+1); hint < 0 {
			hint = len(p.adding)
			p.adding = append(p.adding, podMetric{id: u.Instance})
		}
		m := &p.adding[hint]
		m.value, m.weight = m.value+u.Cores*w, m.weight+w
	}
	if now.Before(p.next) {
		return
	}
	p.next = following(p.next, now, window)
	for i := range p.adding {
		m := &p.adding[i]
		m.at = now
		if m.weight > 0 {
			m.value /= m.weight
		}
	}
	p.known, p.adding = p.adding, p.known[:0]
}

// find returns the index of an instance's entry, -1 if there is none. Entries come
// in the order of the instances, so that it is nearly always at the hint.
func find(list []podMetric, id string, hint int) int {
	for i := range list {
		if i += hint; i >= len(list) {
			i -= len(list)
		}
		if list[i].id == id {
			return i
		}
	}
	return -1
}

// meanRate is the mean rate of arrivals over a window, as PromQL's rate() has it.
type meanRate struct {
	window  time.Duration
	samples []rateSample // oldest first
}

type rateSample struct {
	at   time.Time // end
	n, w float64   // requests and seconds
}

func (m *meanRate) add(l *Load) {
	if k := len(m.samples); l.At.IsZero() || l.Window <= 0 || k > 0 && !l.At.After(m.samples[k-1].at) {
		return
	}
	i := 0
	for i < len(m.samples) && l.At.Sub(m.samples[i].at) >= m.window {
		i++
	}
	m.samples = append(append(m.samples[:0], m.samples[i:]...), rateSample{l.At, l.Rate * l.Window.Seconds(), l.Window.Seconds()})
}

// value returns the rate per second, false if nothing was measured in the window.
func (m *meanRate) value(now time.Time) (float64, bool) {
	var n, w float64
	for _, s := range m.samples {
		if now.Sub(s.at) < m.window {
			n, w = n+s.n, w+s.w
		}
	}
	if w == 0 {
		return 0, false
	}
	return n / w, true
}

// following returns the first of next, next + every, … that is after now.
func following(next, now time.Time, every time.Duration) time.Time {
	if next = next.Add(every); next.After(now) {
		return next
	}
	return now.Add(every)
}

// gone counts the instances that have left.
func gone(in *Input) (n int) {
	for i := range in.Instances {
		if s := in.Instances[i].State; s != swell.Starting && s != swell.Ready {
			n++
		}
	}
	return n
}

// held is the last decision at a later time: only a count by hand changes it.
func held(last *swell.Decision, in *Input) swell.Decision {
	d := *last
	d.At = in.Now
	if f := clamp(in.Floor, &in.Service.Scale); in.Floor > 0 && f > d.Replicas {
		d.Replicas, d.By = f, "manual"
	}
	return d
}
