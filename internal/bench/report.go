package bench

import (
	"time"

	"swell/internal/unit"
)

// ReportVersion is the version of the report's JSON. It grows when a field changes
// its meaning or goes; new fields may come without.
const ReportVersion = 1

// Report is what a run measured. Times are in seconds, rates in requests a second.
type Report struct {
	Version  int       `json:"version"`
	Targets  []string  `json:"targets"` // "GET http://…"
	Shape    string    `json:"shape"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`  // from the end of the warm-up to the last answer
	Complete bool      `json:"complete"` // false: it was interrupted

	Requests   int64 `json:"requests"`   // that were due; the sum of the next three
	OK         int64 `json:"ok"`         // answered, with a status below 400
	Failed     int64 `json:"failed"`     // all others
	Unfinished int64 `json:"unfinished"` // in flight when the run was interrupted
	// Retried are the requests that were sent twice: the server had closed the idle
	// connection on which they were sent first. They are among OK and Failed too.
	Retried     int64            `json:"retried"`
	Connections int64            `json:"connections"` // that were opened
	Bytes       int64            `json:"bytes"`       // of answers' bodies
	Failures    []Failure        `json:"failures"`    // most frequent first
	Status      map[string]int64 `json:"status"`      // answers by status

	Rate Rate `json:"rate"`
	// Latency is of all requests that were sent and ended, well or not, from when
	// they were due to the last byte of the answer.
	Latency   Latency  `json:"latency"`
	Histogram []Bucket `json:"histogram"`
	// Lag is how much later than due requests were sent: if it is large, it was the
	// generator that could not keep up.
	Lag Latency `json:"lag"`

	Thresholds []Verdict `json:"thresholds"`
	// Step is the length of the intervals of Series, in seconds: 1, or more in a
	// long run.
	Step   float64    `json:"step"`
	Series []Interval `json:"series"`
}

// Pass reports whether all thresholds are met.
func (r *Report) Pass() bool {
	for _, v := range r.Thresholds {
		if !v.Pass {
			return false
		}
	}
	return true
}

// Unsent is the kind of failure of a request that was due while as many were in
// flight as may be.
const Unsent = "not sent in time"

// Failure is one kind of failure.
type Failure struct {
	// Kind is "connect", "timeout", "broken" (the connection ended before the
	// answer did), "status 503" and so on, Unsent, or "request".
	Kind     string   `json:"kind"`
	Count    int64    `json:"count"`
	Examples []string `json:"examples"` // different ones, at most three
}

// Rate compares what was asked for with what was done.
type Rate struct {
	Intended float64 `json:"intended"` // requests that were due, over the time in which they were
	Achieved float64 `json:"achieved"` // OK answers, over the time from the start to the last of them, or until the load's end
}

// Latency describes durations, in seconds. Quantiles are at most 0.8 % too high.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Bucket counts the requests that took longer than the bucket before it tells, and
// at most UpTo seconds.
type Bucket struct {
	UpTo  float64 `json:"up_to"`
	Count int64   `json:"count"`
}

// Verdict is what became of a threshold.
type Verdict struct {
	Threshold string  `json:"threshold"`
	Value     float64 `json:"value"` // measured: seconds, requests, requests a second, or a share
	Pass      bool    `json:"pass"`
}

// Interval is a part of a run. Where several seconds were merged, quantiles are
// those of the worst.
type Interval struct {
	At       float64 `json:"at"`       // seconds from the start to its begin
	Intended int64   `json:"intended"` // requests that were due in it
	OK       int64   `json:"ok"`       // that ended well in it
	Failed   int64   `json:"failed"`   // that failed in it
	Inflight int64   `json:"inflight"` // at its end
	P50      float64 `json:"p50"`      // of the latency of those that ended in it, seconds
	P95      float64 `json:"p95"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

// Progress tells how a run is going.
type Progress struct {
	Elapsed  time.Duration // since the end of the warm-up; negative within it
	Duration time.Duration // of the shape
	Rate     float64       // that is intended now, requests a second
	Requests int64         // that were due so far
	OK       int64
	Failed   int64
	Inflight int64
	Last     Interval // the newest complete one
	Latency  Latency  // so far
	Buckets  []Bucket // of the latency so far
}

func seconds(d unit.Duration) float64 { return time.Duration(d).Seconds() }
