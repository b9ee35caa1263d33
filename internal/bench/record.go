package bench

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// What is kept at most, however long a run is.
const (
	maxSeries   = 1200
	maxKinds    = 64
	maxExamples = 3
	maxText     = 300 // bytes of an example
)

// outcome is how a request ended.
type outcome struct {
	status  int    // 0: there was no answer
	kind    string // of the failure; "" is none
	text    string // an example of the failure
	bytes   int64
	retried bool
	gave    bool // the run was interrupted
}

// recorder keeps what was measured. It may be used from any goroutine.
type recorder struct {
	mu    sync.Mutex
	begin time.Time // of the measured part

	total, lag histogram
	second     histogram // of the interval that is open
	open       Interval
	series     []Interval
	step       int // seconds that an interval lasts

	requests, ok, failed, unfinished, retried, bytes int64
	inflight                                         int64
	lastOK, lastEnd                                  time.Time
	status                                           map[int]int64
	failures                                         map[string]*Failure
}

func newRecorder(begin time.Time) *recorder {
	return &recorder{begin: begin, step: 1, status: map[int]int64{}, failures: map[string]*Failure{}}
}

// roll closes the intervals that ended before now.
func (r *recorder) roll(now time.Time) {
	for {
		width := time.Duration(r.step) * time.Second
		end := time.Duration(r.open.At*float64(time.Second)) + width
		if now.Sub(r.begin) < end {
			return
		}
		r.close()
		r.open = Interval{At: end.Seconds()}
		if len(r.series) == maxSeries {
			r.merge()
		}
	}
}

func (r *recorder) close() {
	l := r.second.latency()
	i := r.open
	i.P50, i.P95, i.P99, i.Max, i.Inflight = l.P50, l.P95, l.P99, l.Max, r.inflight
	r.series = append(r.series, i)
	if r.second.n > 0 {
		r.second = histogram{}
	}
}

// merge makes one interval of each two.
func (r *recorder) merge() {
	for i := 0; i < len(r.series); i += 2 {
		a, b := r.series[i], r.series[i+1]
		r.series[i/2] = Interval{
			At: a.At, Intended: a.Intended + b.Intended, OK: a.OK + b.OK, Failed: a.Failed + b.Failed,
			Inflight: b.Inflight, P50: max(a.P50, b.P50), P95: max(a.P95, b.P95), P99: max(a.P99, b.P99), Max: max(a.Max, b.Max),
		}
	}
	r.series = r.series[:len(r.series)/2]
	r.step *= 2
}

// due counts a request whose time came and which is being sent.
func (r *recorder) due(now time.Time, lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	r.requests++
	r.open.Intended++
	r.inflight++
	r.lag.add(lag)
}

// unsent counts a request whose time came and which could not be sent.
func (r *recorder) unsent(now time.Time, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	r.requests++
	r.open.Intended++
	r.fail(Unsent, text)
}

func (r *recorder) fail(kind, text string) {
	r.failed++
	r.open.Failed++
	f := r.failures[kind]
	if f == nil {
		if len(r.failures) >= maxKinds {
			kind = "other"
		}
		if f = r.failures[kind]; f == nil {
			f = &Failure{Kind: kind, Examples: []string{}}
			r.failures[kind] = f
		}
	}
	f.Count++
	text = text[:min(len(text), maxText)]
	if len(f.Examples) < maxExamples && !slices.Contains(f.Examples, text) {
		f.Examples = append(f.Examples, text)
	}
}

// end counts a request that was due and ended.
func (r *recorder) end(now time.Time, took time.Duration, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	r.inflight--
	if o.gave {
		r.unfinished++
		return
	}
	r.lastEnd = now
	r.bytes += o.bytes
	if o.retried {
		r.retried++
	}
	if o.status > 0 {
		r.status[o.status]++
	}
	r.total.add(took)
	r.second.add(took)
	if o.kind != "" {
		r.fail(o.kind, o.text)
		return
	}
	r.ok++
	r.open.OK++
	r.lastOK = now
}

func (r *recorder) progress(now time.Time, shape Shape) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := now.Sub(r.begin)
	p := Progress{Elapsed: at, Duration: shape.Duration, Rate: shape.At(at),
		Requests: r.requests, OK: r.ok, Failed: r.failed, Inflight: r.inflight}
	if at < 0 {
		p.Rate = shape.At(0)
		return p
	}
	r.roll(now)
	if n := len(r.series); n > 0 {
		p.Last = r.series[n-1]
	}
	p.Latency, p.Buckets = r.total.latency(), r.total.coarse()
	return p
}

// report ends the recording. Due is how long requests were due.
func (r *recorder) report(now time.Time, due time.Duration) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	if r.open.Intended+r.open.OK+r.open.Failed > 0 {
		r.close()
	}
	end := due
	if !r.lastEnd.IsZero() {
		end = max(due, r.lastEnd.Sub(r.begin))
	}
	out := &Report{
		Version: ReportVersion, Started: r.begin.UTC(), Seconds: end.Seconds(),
		Requests: r.requests, OK: r.ok, Failed: r.failed, Unfinished: r.unfinished, Retried: r.retried, Bytes: r.bytes,
		Failures: []Failure{}, Status: make(map[string]int64, len(r.status)),
		Latency: r.total.latency(), Histogram: r.total.coarse(), Lag: r.lag.latency(),
		Step: float64(r.step), Series: r.series,
	}
	if due > 0 {
		out.Rate.Intended = float64(r.requests) / due.Seconds()
		achieved := due
		if !r.lastOK.IsZero() {
			achieved = max(due, r.lastOK.Sub(r.begin))
		}
		out.Rate.Achieved = float64(r.ok) / achieved.Seconds()
	}
	for status, n := range r.status {
		out.Status[strconv.Itoa(status)] = n
	}
	for _, f := range r.failures {
		out.Failures = append(out.Failures, *f)
	}
	slices.SortFunc(out.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}
