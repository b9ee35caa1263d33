package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"swell/internal/unit"
)

// Threshold is a condition that a report meets or not.
type Threshold struct {
	text   string
	metric string
	op     string
	value  float64
	share  bool // value is a share of the requests
}

// The metrics of thresholds, and what they are compared with.
var (
	durations = []string{"mean", "p50", "p90", "p95", "p99", "p99.9", "max"}
	counts    = []string{"failed", "retried", "unfinished"}
	operators = []string{"<=", ">=", "==", "<", ">"} // longer ones first
)

// ParseThreshold reads a condition:
//
//   - p50, p90, p95, p99, p99.9, max or mean, with a duration: p99<200ms.
//   - failed, retried or unfinished, with a number or a share of the requests:
//     failed<=0, failed<0.1%.
//   - rate, with a rate or a share of the intended one: rate>=100/s, rate>=95%.
//
// The operators are <, <=, >, >= and ==; space around them is allowed.
func ParseThreshold(s string) (Threshold, error) {
	t := Threshold{text: strings.TrimSpace(s)}
	at := strings.IndexAny(s, "<>=")
	if at < 0 {
		return t, fmt.Errorf("threshold %q has no operator; write it as p99<200ms, failed<=0 or rate>=95%%", s)
	}
	t.metric = strings.TrimSpace(s[:at])
	for _, op := range operators {
		if strings.HasPrefix(s[at:], op) {
			t.op = op
			break
		}
	}
	if t.op == "" {
		return t, fmt.Errorf("threshold %q: %q is not an operator; there are <, <=, >, >= and ==", s, s[at:at+1])
	}
	value := strings.TrimSpace(s[at+len(t.op):])
	err := t.read(value)
	if err != nil {
		err = fmt.Errorf("threshold %q: %w", s, err)
	}
	return t, err
}

func (t *Threshold) read(value string) error {
	t.share = strings.HasSuffix(value, "%")
	if t.share && !slices.Contains(durations, t.metric) {
		var p unit.Percent
		err := p.UnmarshalText([]byte(value))
		t.value = float64(p)
		if err != nil || slices.Contains(counts, t.metric) || t.metric == "rate" {
			return err
		}
	}
	switch {
	case slices.Contains(durations, t.metric):
		var d unit.Duration
		err := d.UnmarshalText([]byte(value))
		t.share = false
		t.value = seconds(d)
		return err
	case slices.Contains(counts, t.metric):
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is neither a number of requests nor a share as in 0.1%%", value)
		}
		t.value = float64(n)
		return nil
	case t.metric == "rate":
		var r unit.Rate
		err := r.UnmarshalText([]byte(value))
		t.value = float64(r)
		return err
	}
	return fmt.Errorf("nothing is measured as %q; there are %s, %s and rate",
		t.metric, strings.Join(durations, ", "), strings.Join(counts, ", "))
}

// String returns the condition as it was written.
func (t Threshold) String() string { return t.text }

// Check tells what r has of the threshold's metric, in seconds, requests, requests
// a second or as a share (0.5 is 50 %), and whether that is within it.
func (t Threshold) Check(r *Report) Verdict {
	v := Verdict{Threshold: t.text}
	of := float64(r.Requests)
	switch t.metric {
	case "mean":
		v.Value = r.Latency.Mean
	case "p50":
		v.Value = r.Latency.P50
	case "p90":
		v.Value = r.Latency.P90
	case "p95":
		v.Value = r.Latency.P95
	case "p99":
		v.Value = r.Latency.P99
	case "p99.9":
		v.Value = r.Latency.P999
	case "max":
		v.Value = r.Latency.Max
	case "failed":
		v.Value = float64(r.Failed)
	case "retried":
		v.Value = float64(r.Retried)
	case "unfinished":
		v.Value = float64(r.Unfinished)
	case "rate":
		v.Value, of = r.Rate.Achieved, r.Rate.Intended
	}
	if t.share {
		if of == 0 {
			of = 1
		}
		v.Value /= of
	}
	switch t.op {
	case "<":
		v.Pass = v.Value < t.value
	case "<=":
		v.Pass = v.Value <= t.value
	case ">":
		v.Pass = v.Value > t.value
	case ">=":
		v.Pass = v.Value >= t.value
	case "==":
		v.Pass = v.Value == t.value
	}
	if r.Requests == 0 {
		v.Pass = false // nothing was measured
	}
	return v
}
