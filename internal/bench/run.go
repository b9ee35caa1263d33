package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Target is what is asked for.
type Target struct {
	Method string // GET if it is ""
	URL    string
	Header http.Header // Host is the request's host
	Body   []byte
	Weight int // its share of the requests among the targets; if all are 0 they share alike

	url    *url.URL
	header http.Header
	host   string
}

// Options say what load to make.
type Options struct {
	Targets []Target
	Shape   Shape
	// Warmup goes before the shape, at its first rate; nothing of it is counted.
	Warmup time.Duration
	// Poisson makes requests come at random, independently of each other, as those
	// of many users do; otherwise they are evenly spaced.
	Poisson bool
	Seed    uint64 // of the randomness; the same seed gives the same moments
	// MaxInflight bounds the requests in flight, and with them the connections; a
	// request that is due beyond them fails as "not sent in time". 1000 if it is 0.
	MaxInflight int
	// Timeout is how long a request may take once it is sent; 10 s if it is 0.
	Timeout     time.Duration
	NoKeepAlive bool // a new connection for each request
	Thresholds  []Threshold
	// Progress is called every Every (a second if it is 0), by one goroutine at a
	// time, until Run returns.
	Progress func(Progress)
	Every    time.Duration
	// Dial opens connections; nil is the network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (o *Options) check() error {
	if o.Shape.rate == nil {
		return errors.New("the load has no shape")
	}
	if len(o.Targets) == 0 {
		return errors.New("the load has no target; give a URL")
	}
	o.Targets = append([]Target(nil), o.Targets...)
	for i := range o.Targets {
		if err := o.Targets[i].prepare(); err != nil {
			return err
		}
	}
	if o.Warmup < 0 || o.MaxInflight < 0 || o.Timeout < 0 || o.Every < 0 {
		return errors.New("a negative warm-up, timeout, interval or number in flight means nothing")
	}
	if o.MaxInflight == 0 {
		o.MaxInflight = 1000
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	return nil
}

// Run makes the load and returns what it measured. It blocks until the shape ends
// and all answers are in. If ctx ends before, requests in flight are given up, and
// the report tells what was measured so far. The error is one of the options;
// failed requests are in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	c := newClient(&o)
	defer c.transport.CloseIdleConnections()
	r := run(ctx, &o, func() func(context.Context, *Target) outcome { return c.sender().send })
	r.Connections = c.opened.Load()
	return r, nil
}

// job is a request to be sent.
type job struct {
	target *Target
	due    time.Time
	rec    *recorder // nil: a warm-up
}

// run makes the load with send, of which newSend makes one for each worker.
func run(ctx context.Context, o *Options, newSend func() func(context.Context, *Target) outcome) *Report {
	start := time.Now()
	rec := newRecorder(start.Add(o.Warmup))
	var inflight atomic.Int64
	jobs := make(chan job, o.MaxInflight)
	var workers sync.WaitGroup
	work := func() {
		send := newSend()
		for j := range jobs {
			out := send(ctx, j.target)
			now := time.Now()
			inflight.Add(-1)
			if j.rec != nil {
				j.rec.end(now, now.Sub(j.due), out)
			}
		}
	}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	if o.Progress != nil {
		watch.Go(func() {
			tick := time.NewTicker(o.Every)
			defer tick.Stop()
			for {
				select {
				case now := <-tick.C:
					o.Progress(rec.progress(now, o.Shape))
				case <-stop:
					return
				}
			}
		})
	}

	// The jobs in the channel and those with the workers are never more than
	// MaxInflight, so handing one over does not block; and there is a worker for
	// each, so it does not wait.
	started := int64(0)
	pick := picker(o.Targets)
	offer := func(at time.Duration, begin time.Time, rec *recorder) {
		due, now := begin.Add(at), time.Now()
		j := job{target: pick(), due: due, rec: rec}
		n := inflight.Load()
		if n >= int64(o.MaxInflight) {
			if rec != nil {
				rec.unsent(now, fmt.Sprintf("%s %s: %d requests were in flight", j.target.Method, j.target.URL, n))
			}
			return
		}
		inflight.Add(1)
		if rec != nil {
			rec.due(now, now.Sub(due))
		}
		if n+1 > started {
			started++
			workers.Go(work)
		}
		jobs <- j
	}
	var random *rand.Rand
	if o.Poisson {
		random = rand.New(rand.NewPCG(o.Seed, 0x5e11))
	}
	first := o.Shape.At(0)
	warm := newSchedule(func(time.Duration) float64 { return first }, o.Warmup, random)
	complete := follow(ctx, warm, start, o.Warmup, func(at time.Duration) { offer(at, start, nil) })
	shape := newSchedule(o.Shape.rate, o.Shape.Duration, random)
	complete = complete && follow(ctx, shape, rec.begin, o.Shape.Duration, func(at time.Duration) { offer(at, rec.begin, rec) })
	due := min(max(time.Since(rec.begin), 0), o.Shape.Duration)

	close(jobs)
	workers.Wait()
	close(stop)
	watch.Wait()

	r := rec.report(time.Now(), due)
	r.Complete = complete && r.Unfinished == 0
	r.Shape = o.Shape.Name
	for _, t := range o.Targets {
		r.Targets = append(r.Targets, t.Method+" "+t.URL)
	}
	r.Thresholds = make([]Verdict, 0, len(o.Thresholds))
	for _, t := range o.Thresholds {
		r.Thresholds = append(r.Thresholds, t.Check(r))
	}
	return r
}

// follow calls at with each moment of s once it has come, and returns at the end:
// true, or false if ctx ended before.
func follow(ctx context.Context, s *schedule, begin time.Time, end time.Duration, at func(time.Duration)) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wait := func(until time.Duration) bool {
		d := time.Until(begin.Add(until))
		if d <= 0 {
			return ctx.Err() == nil
		}
		timer.Reset(d)
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		due, ok := s.next()
		if !ok {
			return wait(end)
		}
		if !wait(due) {
			return false
		}
		at(due)
	}
}

// picker returns a function that takes the targets by turns, each as often as its
// weight says and as evenly as that allows.
func picker(targets []Target) func() *Target {
	weights, total := make([]int, len(targets)), 0
	for i := range targets {
		weights[i] = targets[i].Weight
		total += weights[i]
	}
	if total == 0 {
		for i := range weights {
			weights[i] = 1
		}
		total = len(weights)
	}
	credit := make([]int, len(targets))
	return func() *Target {
		best := 0
		for i := range credit {
			credit[i] += weights[i]
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		return &targets[best]
	}
}
