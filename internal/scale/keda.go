package scale

import (
	"errors"
	"fmt"
	"time"

	"swell"
	"swell/internal/plug"
	q "swell/internal/unit"
)

// kedaOptions are those of a ScaledObject with a trigger on the rate of requests,
// under KEDA's defaults.
type kedaOptions struct {
	RPS           q.Rate     `json:"rps" doc:"Threshold of the trigger: requests a second for an instance; 0 is the service's target."`
	Activation    q.Rate     `json:"activation" doc:"Rate above which the trigger is active: from 0 to 1 instance."`
	Window        q.Duration `json:"window" min:"1s" doc:"Time that the rate is the mean of, as in rate(…[1m])."`
	Polling       q.Duration `json:"polling" min:"1s" doc:"Time between two looks at whether a trigger is active."`
	Cooldown      q.Duration `json:"cooldown" doc:"Time without an active trigger until all instances go."`
	Null          bool       `json:"ignore-null-values" doc:"No measurement is taken for a rate of 0, instead of for an error."`
	Sync          q.Duration `json:"sync" min:"1s" doc:"Time between two decisions of the HorizontalPodAutoscaler that it makes."`
	Tolerance     q.Percent  `json:"tolerance" doc:"How far the measured ratio may be from 1 without a change."`
	Stabilization q.Duration `json:"stabilization" doc:"The most that was wanted in this time counts."`
	WeekMax       bool       `json:"week-max" doc:"A second trigger: the most of last week's next half an hour, max_over_time(load[30m] offset 6d23h30m)."`
}

var kedaDefaults = kedaOptions{
	Window: q.Duration(time.Minute), Polling: q.Duration(30 * time.Second), Cooldown: q.Duration(5 * time.Minute),
	Null: true, Sync: hpaDefaults.Sync, Tolerance: hpaDefaults.Tolerance, Stabilization: hpaDefaults.Stabilization,
}

func kedaEntry() plug.Entry[Maker] {
	return plug.Named("keda", "KEDA: a HorizontalPodAutoscaler on the rate of requests, and its own way from and to zero.", kedaDefaults, newKEDA)
}

func weekMaxEntry() plug.Entry[Maker] {
	o := kedaDefaults
	o.WeekMax = true
	return plug.Named("week-max", "KEDA with last week's maximum as a second trigger, the cheapest forecast in use.", o, newKEDA)
}

func newKEDA(o kedaOptions) (Maker, error) {
	if o.Window <= 0 || o.Polling <= 0 || o.Sync <= 0 {
		return nil, errors.New("window, polling and sync must be more than 0s")
	}
	h := hpaDefaults
	h.Sync, h.Tolerance, h.Stabilization, h.RateWindow = o.Sync, o.Tolerance, o.Stabilization, o.Window
	return func() Policy {
		k := &keda{o: o, hpa: hpa{o: h, rate: meanRate{window: o.Window.D()}}}
		if o.WeekMax {
			k.week = &lastWeek{}
		}
		return k
	}, nil
}

// keda is KEDA's two halves: its operator takes a service from and to zero
// (pkg/scaling/executor), a HorizontalPodAutoscaler does the rest, with external
// metrics of type AverageValue that are read when it decides.
type keda struct {
	o      kedaOptions
	hpa    hpa
	poll   time.Time // next
	active time.Time // newest at which a trigger was
	week   *lastWeek // nil: no such trigger
}

// Every is how often it is to be asked.
func (k *keda) Every() time.Duration { return min(k.o.Sync.D(), k.o.Polling.D()) }

// Decide polls and syncs when it is time, and repeats itself between.
func (k *keda) Decide(in Input) swell.Decision {
	h, sc := &k.hpa, &in.Service.Scale
	if !h.begun {
		h.begun, h.next, k.poll, k.active = true, in.Now, in.Now, in.Now
		c := count(&in)
		h.count = clamp(max(sc.Min, c.ready+c.starting), sc)
		h.core.recommend(in.Now, h.count)
	}
	h.rate.add(&in.Load)
	poll, sync := !in.Now.Before(k.poll), !in.Now.Before(h.next)
	if !poll && !sync {
		return held(&h.last, &in)
	}
	rate, ok := h.rate.value(in.Now)
	if !ok && k.o.Null {
		rate, ok = 0, true
	}
	past := 0.0
	if k.week != nil {
		if ok {
			k.week.add(in.Now, rate)
		}
		past = k.week.ahead(in.Now)
	}
	d := swell.Decision{Service: in.Service.Name, At: in.Now, By: "keda", Steps: make([]swell.Step, 0, 4)}
	n := h.count
	if poll {
		k.poll = following(k.poll, in.Now, k.o.Polling.D())
		active := ok && max(rate, past) > float64(k.o.Activation)
		if active || !ok { // who can't tell doesn't end anything
			k.active = in.Now
		}
		switch {
		case sc.Min > 0:
		case n == 0 && active:
			n, d.Reason = 1, "a trigger is active"
		case n > 0 && in.Now.Sub(k.active) > k.o.Cooldown.D():
			n, d.By, d.Reason = 0, "zero", fmt.Sprintf("no trigger was active for %s", k.o.Cooldown.D())
		}
	}
	if sync {
		h.next = following(h.next, in.Now, k.o.Sync.D())
	}
	if sync && n > 0 && h.count > 0 {
		n = k.propose(&in, rate, past, ok, &d)
		n = h.core.normalize(&h.o, in.Now, h.count, n, max(sc.Min, 1), max(sc.Max, 1), &d)
	} else if n == h.count {
		if d = held(&h.last, &in); d.Service == "" { // nothing was decided before
			d = swell.Decision{Service: in.Service.Name, At: in.Now, By: "keda", Reason: "no trigger is active", Replicas: n}
		}
		return d
	}
	return h.conclude(&in, d, n)
}

func (k *keda) propose(in *Input, rate, past float64, ok bool, d *swell.Decision) int {
	target := float64(k.o.RPS)
	if target == 0 {
		target = in.Service.Scale.Targets.RPS
	}
	n := k.hpa.count
	switch {
	case target <= 0:
		d.By, d.Reason = "hold", "the trigger has no threshold (rps): the count stays"
	case !ok:
		d.By, d.Reason = "hold", "no measurement of requests: the count stays"
	default:
		status := len(in.Instances) - gone(in)
		n, d.Reason = external(rate, target, status, float64(k.o.Tolerance))
		if past > 0 {
			if m, text := external(past, target, status, float64(k.o.Tolerance)); m > n {
				n, d.Reason = m, "last week's next half an hour: "+text
			}
		}
	}
	d.Steps = append(d.Steps, swell.Step{Name: "want", Value: float64(n), Text: d.Reason})
	return n
}

// lastWeek keeps the most of each minute of a week and answers what
// max_over_time(load[30m] offset 6d23h30m) does.
type lastWeek struct {
	minutes []float32 // a ring, by minute since 1970
	newest  int64
	first   int64
}

const weekMinutes = 7 * 24 * 60

func (w *lastWeek) add(now time.Time, v float64) {
	m := now.Unix() / 60
	if w.minutes == nil {
		w.minutes, w.first, w.newest = make([]float32, weekMinutes+1), m, m
	}
	// Minutes without a sample hold nothing.
	for ; w.newest < m; w.newest++ {
		if m-w.newest > int64(len(w.minutes)) {
			w.newest = m - int64(len(w.minutes))
		}
		w.minutes[(w.newest+1)%int64(len(w.minutes))] = 0
	}
	p := &w.minutes[m%int64(len(w.minutes))]
	*p = max(*p, float32(v))
}

func (w *lastWeek) ahead(now time.Time) float64 {
	most := float32(0)
	end := now.Add(-(6*24*time.Hour + 23*time.Hour + 30*time.Minute)).Unix() / 60
	for m := max(end-30, w.first, w.newest-weekMinutes); m <= end && m <= w.newest; m++ {
		most = max(most, w.minutes[m%int64(len(w.minutes))])
	}
	return float64(most)
}
