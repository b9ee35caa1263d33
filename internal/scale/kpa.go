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

// kpaOptions are those of Knative's config-autoscaler, under their defaults.
type kpaOptions struct {
	Concurrency    float64    `json:"concurrency" min:"0" doc:"Requests in flight that an instance can have; 0 is the service's target, else 100."`
	RPS            q.Rate     `json:"rps" doc:"Requests a second that an instance can have: the metric rps instead of concurrency."`
	Utilization    q.Percent  `json:"utilization" doc:"The share of that which is aimed at."`
	Tick           q.Duration `json:"tick" min:"1s" doc:"Time between two decisions."`
	Window         q.Duration `json:"window" min:"6s" doc:"The stable window."`
	PanicWindow    q.Percent  `json:"panic-window" doc:"The panic window, as a share of the stable window."`
	PanicThreshold q.Percent  `json:"panic-threshold" doc:"What the panic window wants, as a share of the ready instances, that starts a panic."`
	MaxUp          float64    `json:"max-up" min:"1" doc:"The count grows at most by this factor in a tick."`
	MaxDown        float64    `json:"max-down" min:"1" doc:"The count falls at most by this factor in a tick."`
	DownDelay      q.Duration `json:"scale-down-delay" doc:"The most that was wanted in this time counts."`
	Grace          q.Duration `json:"grace" doc:"Time after the stable window until the last instance goes."`
}

func kpaEntry() plug.Entry[Maker] {
	return plug.Named("kpa", "Knative's autoscaler: concurrency in a stable and a panic window, every 2 s.", kpaOptions{
		Utilization: 0.7, Tick: q.Duration(2 * time.Second), Window: q.Duration(time.Minute),
		PanicWindow: 0.1, PanicThreshold: 2, MaxUp: 1000, MaxDown: 2, Grace: q.Duration(30 * time.Second),
	}, func(o kpaOptions) (Maker, error) {
		switch {
		case o.Tick <= 0 || o.Window.D() < 6*time.Second || o.Window.D() > time.Hour:
			return nil, errors.New("the tick must be more than 0s, the window from 6s to 1h")
		case o.Utilization <= 0 || o.Utilization > 1 || o.PanicWindow <= 0 || o.PanicWindow > 1 || o.PanicThreshold < 1.1:
			return nil, errors.New("utilization and panic-window are more than 0% and at most 100%, panic-threshold is at least 110%")
		case !(o.MaxUp > 1 && o.MaxDown > 1) || o.Concurrency < 0:
			return nil, errors.New("max-up and max-down must be more than 1, concurrency at least 0")
		}
		return func() Policy {
			return &kpa{o: o, buckets: make([]float64, int(o.Window.D()/time.Second)), panicked: -1}
		}, nil
	})
}

// kpa is Knative's autoscaler, after its pkg/autoscaler/scaling/autoscaler.go, with
// the metrics of pkg/autoscaler/aggregation (buckets of a second) and the way to zero
// of pkg/reconciler/autoscaling/kpa/scaler.go. Requests that wait for an instance
// count as concurrency, as those in the activator's and the queue-proxies' queues do.
type kpa struct {
	o        kpaOptions
	begun    bool
	next     time.Time
	count    int
	buckets  []float64 // means of seconds; a ring
	written  int       // seconds ever written
	newest   time.Time // load
	panicAt  time.Time // begun or extended; zero: no panic
	panicked int       // most that was wanted in this panic; -1: none
	most     extremes  // wanted within DownDelay
	idle     time.Time // since when nothing is wanted; zero: something is
	last     swell.Decision
}

// Every is how often it is to be asked.
func (k *kpa) Every() time.Duration { return k.o.Tick.D() }

// Decide decides every tick, and repeats itself between.
func (k *kpa) Decide(in Input) swell.Decision {
	sc := &in.Service.Scale
	c := count(&in)
	if !k.begun {
		k.begun, k.next = true, in.Now
		k.count = clamp(max(sc.Min, c.ready+c.starting), sc)
		// After a restart what was measured is lost: hold what there is.
		if k.count > 1 && c.ready > 1 {
			k.panicAt, k.panicked = in.Now, c.ready
		}
	}
	k.take(&in)
	if in.Now.Before(k.next) {
		return held(&k.last, &in)
	}
	k.next = following(k.next, in.Now, k.o.Tick.D())
	d := swell.Decision{Service: in.Service.Name, At: in.Now, By: "kpa", Steps: make([]swell.Step, 0, 3)}
	fresh := !in.Load.At.IsZero() && in.Now.Sub(in.Load.At) <= freshLoad
	n := k.count
	if k.written == 0 || !fresh {
		d.By, d.Reason = "hold", "no measurement: the count stays"
	} else {
		n = k.want(&in, c, &d)
	}
	n = clamp(n, sc)
	k.count = n
	if f := clamp(in.Floor, sc); in.Floor > 0 && f > n {
		n, d.By = f, "manual"
	}
	d.Replicas = n
	d.Steps = append(d.Steps, swell.Step{Name: "result", Value: float64(n), Text: instances(n)})
	k.last = d
	return d
}

// take writes a load into the buckets of its seconds.
func (k *kpa) take(in *Input) {
	l := &in.Load
	if l.At.IsZero() || !l.At.After(k.newest) {
		return
	}
	value := l.Inflight + float64(l.Waiting)
	if k.o.RPS > 0 {
		value = l.Rate
	}
	seconds := 1
	if !k.newest.IsZero() {
		seconds = int(l.At.Unix() - k.newest.Unix())
	}
	k.newest = l.At
	blank := seconds - max(1, int(math.Round(l.Window.Seconds()))) // nothing was measured then
	for i := range min(seconds, len(k.buckets)) {
		v := value
		if seconds <= len(k.buckets) && i < blank {
			v = 0
		}
		k.buckets[k.written%len(k.buckets)] = v
		k.written++
	}
}

// mean is the average of the newest n buckets, or of those that there are.
func (k *kpa) mean(n int) float64 {
	n = max(1, min(n, k.written, len(k.buckets)))
	sum := 0.0
	for i := k.written - n; i < k.written; i++ {
		sum += k.buckets[i%len(k.buckets)]
	}
	return sum / float64(n)
}

func (k *kpa) want(in *Input, c counts, d *swell.Decision) int {
	target, what := float64(k.o.RPS), "requests/s"
	if target == 0 {
		target, what = k.o.Concurrency, "in flight"
		if target == 0 {
			target = in.Service.Scale.Targets.Concurrency
		}
		if target == 0 {
			target = 100
		}
	}
	target *= float64(k.o.Utilization)
	window := k.o.Window.D()
	stable := k.mean(len(k.buckets))
	panicking := k.mean(int(math.Round(float64(k.o.PanicWindow) * window.Seconds())))
	ready := max(1, float64(c.ready))
	up, down := math.Ceil(k.o.MaxUp*ready), math.Floor(ready/k.o.MaxDown)
	wantStable := math.Ceil(stable / target)
	wantPanic := math.Ceil(panicking / target)
	over := wantPanic/ready >= float64(k.o.PanicThreshold)
	stableN := int(min(max(wantStable, down), up))
	panicN := int(min(max(wantPanic, down), up))

	mode := "stable"
	switch {
	case over:
		if k.panicAt.IsZero() {
			k.panicked = -1
		}
		k.panicAt = in.Now
	case !k.panicAt.IsZero() && k.panicAt.Add(window).Before(in.Now):
		k.panicAt, k.panicked = time.Time{}, -1
	}
	n := stableN
	if !k.panicAt.IsZero() {
		mode = "panic"
		k.panicked = max(k.panicked, stableN, panicN)
		n = k.panicked
	}
	if k.o.DownDelay > 0 {
		k.most.forget(in.Now.Add(-k.o.DownDelay.D()))
		k.most.add(in.Now, n)
		n = k.most.max()
	}
	d.Reason = fmt.Sprintf("%s: %s %s over the stable window, %s over the panic window, at %s for an instance: %s",
		mode, number(stable), what, number(panicking), number(target), instances(n))
	d.Steps = append(d.Steps, swell.Step{Name: "want", Value: float64(n), Text: d.Reason})
	if n > 0 {
		k.idle = time.Time{}
		return n
	}
	// Inactive; the last one stays for the grace.
	if k.idle.IsZero() {
		k.idle = in.Now
	}
	if k.count > 0 && in.Now.Sub(k.idle) < k.o.Grace.D() {
		return 1
	}
	return 0
}
