// Command scale simulates Swell's autoscaling policy and others over recorded loads,
// with instances that start in 2, 30 and 120 seconds, and writes what they made of them
// into docs/elasticity.md.
//
// Each trace is scaled so that 99 of 100 of its rows need no more than 60 instances of
// 50 requests a second. The first half of a trace, at most eight days, is for policies to
// learn from and is not scored. Nothing is tuned for a trace.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"swell/internal/sim"
)

// Exit codes, as Swell's own.
const (
	exitFailed = 1
	exitUsage  = 64
)

// Of every scenario.
const (
	needed   = 60                  // instances that 99 of 100 rows need no more than
	learning = 8 * 24 * time.Hour  // of warm-up at most
	longest  = 16 * 24 * time.Hour // of a trace is used, its newest
	whole    = 24 * time.Hour      // shorter traces are told of, but don't count in the means
)

func main() {
	traces := flag.String("traces", "", "folder of the traces: CSV with ts,count or ts,value")
	doc := flag.String("doc", "docs/elasticity.md", "page to write the tables into; - is standard output")
	policies := flag.String("policies", "auto,auto@80%,hpa@70%,kpa@70%,keda@70%,week-max@70%", "policies, with commas between")
	sweep := flag.Bool("sweep", true, "sweep the targets too, with a start-up of 30 s")
	only := flag.String("only", "", "only the traces whose file name contains this")
	startups := flag.String("startups", "2s,30s,120s", "start-up times, with commas between")
	flag.Parse()
	if *traces == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: go run ./benchmarks/scale --traces DIR; see --help")
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *traces, *only, *policies, strings.Split(*startups, ","), *doc, *sweep); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(exitFailed)
	}
}

// job is one simulation, and where its score goes.
type job struct {
	trace   *trace
	startup sim.Startup
	spec    sim.Spec
	score   *sim.Score
}

type trace struct {
	name     string
	arrivals *sim.Arrivals
	warmup   time.Duration
}

func bench(ctx context.Context, dir, only, policies string, startups []string, doc string, sweep bool) error {
	specs, err := sim.ParseSpecs(policies)
	if err != nil {
		return err
	}
	all, err := load(dir, only)
	if err != nil {
		return err
	}
	var jobs []*job
	var main []*job
	for _, text := range startups {
		st, err := sim.ParseStartup(text)
		if err != nil {
			return err
		}
		for _, tr := range all {
			for _, p := range specs {
				main = append(main, &job{trace: tr, startup: st, spec: p})
			}
		}
	}
	jobs = append(jobs, main...)
	var curve []*job
	if sweep {
		st, _ := sim.ParseStartup("30s")
		for _, name := range []string{"auto", "hpa", "kpa", "keda", "week-max"} {
			for _, target := range []float64{0.4, 0.5, 0.6, 0.7, 0.8, 0.87} {
				for _, tr := range all {
					curve = append(curve, &job{trace: tr, startup: st, spec: sim.Spec{Name: name, Target: target}})
				}
			}
		}
		jobs = append(jobs, curve...)
	}
	if err := run(ctx, jobs); err != nil {
		return err
	}
	page := render(all, main, curve)
	if doc == "-" {
		_, err = os.Stdout.WriteString(page)
		return err
	}
	return insert(doc, page)
}

// load reads the traces of a folder that are long enough to say something.
func load(dir, only string) ([]*trace, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil {
		return nil, err
	}
	var out []*trace
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".csv")
		if !strings.Contains(name, only) {
			continue
		}
		l, err := sim.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if l.Span() < 30*time.Minute {
			fmt.Fprintf(os.Stderr, "%s: too short, left out\n", name)
			continue
		}
		l.Name = name
		l = l.Scale(needed * 0.9 * sim.DefaultCapacity / max(l.Quantile(0.99), 1e-9))
		if l.Span() > longest {
			if l, err = l.Cut(l.Span()-longest, 0); err != nil {
				return nil, err
			}
		}
		a, err := l.Arrivals(true, 1)
		if err != nil {
			return nil, err
		}
		out = append(out, &trace{name, a, min(l.Span()/2, learning).Truncate(time.Minute)})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no trace (*.csv) in %s", dir)
	}
	return out, nil
}

// run does the jobs, as many at a time as there are cores.
func run(ctx context.Context, jobs []*job) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) || ctx.Err() != nil {
					return
				}
				j := jobs[i]
				score, err := sim.Run(ctx, sim.Options{Arrivals: j.trace.arrivals, Service: sim.DefaultService(),
					Capacity: sim.DefaultCapacity, Latency: sim.DefaultLatency, Startup: j.startup,
					Backlog: sim.DefaultBacklog, Warmup: j.trace.warmup, Seed: 1}, j.spec)
				if err != nil {
					cancel(fmt.Errorf("%s, %s: %w", j.trace.name, j.spec, err))
					return
				}
				j.score = score
				if n := done.Add(1); n%10 == 0 || int(n) == len(jobs) {
					fmt.Fprintf(os.Stderr, "%d of %d simulations\n", n, len(jobs))
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}
