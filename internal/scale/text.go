package scale

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"swell"
)

// Sentence says a decision in one line: signal, target, capacity, limit, result.
func Sentence(d swell.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)", d.Service, instances(d.Replicas), d.By)
	for i, s := range d.Steps {
		if s.Name == "result" {
			continue
		}
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(s.Text)
	}
	return b.String()
}

func signalStep(in *Input, v *view, fresh bool) swell.Step {
	l := &in.Load
	if l.At.IsZero() {
		return swell.Step{Name: "signal", Text: "nothing measured yet"}
	}
	if !fresh {
		return swell.Step{Name: "signal", Text: "the newest measurement is " + age(in) + " old"}
	}
	text := fmt.Sprintf("%s requests/s arrive, %s in flight", number(v.now), number(l.Inflight))
	if l.Waiting > 0 {
		text += fmt.Sprintf(", %d wait", l.Waiting)
	}
	if l.Latency.Count > 0 {
		text += ", p95 " + seconds(l.Latency.P95.Seconds())
	}
	return swell.Step{Name: "signal", Value: v.now, Text: text}
}

func reason(v *view, w *want, n int) string {
	if w.capacity > 0 {
		return fmt.Sprintf("%s requests/s at %s/s for an instance (%s) need %s", number(v.now), number(w.capacity), w.target, instances(n))
	}
	if w.text != "" {
		return fmt.Sprintf("%s (%s): %s", w.text, w.target, instances(n))
	}
	return fmt.Sprintf("%s: %s", w.target, instances(n))
}

func age(in *Input) string { return in.Now.Sub(in.Load.At).Round(time.Second).String() }

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return strconv.Itoa(n) + " instances"
}

// number writes three significant digits at most.
func number(x float64) string {
	if x >= 100 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// seconds writes a duration as people do.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
