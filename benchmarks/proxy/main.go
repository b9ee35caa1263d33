//go:build linux

// Command proxy measures Swell's gateway beside other proxies, in one run on one
// machine: how much CPU a request costs, and how long requests take at the same
// open load. It prints a table, writes it into docs/performance.md, and ends with
// 3 if a goal is missed.
//
// The proxy has one core to itself; the load and the origin share another one.
// Proxies take turns, several rounds of them, and the medians count. All listen on
// loopback, and everything is ended when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"swell/internal/bench"
)

// options are the flags.
type options struct {
	swell      string
	doc        string
	rounds     int
	connection int
	rate       float64
	length     time.Duration
	proxyCore  int
	loadCore   int
	maxNginx   float64
	maxCaddy   float64
	keep       bool
}

// Exit codes, as Swell's own.
const (
	exitFailed = 1
	exitMissed = 3
	exitUsage  = 64
	exitTarget = 69
)

func main() {
	if len(os.Args) > 2 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
				os.Exit(exitFailed)
			}
			return
		}
	}
	var o options
	flag.StringVar(&o.swell, "swell", "bin/swell", "Swell's binary")
	flag.StringVar(&o.doc, "doc", "docs/performance.md", "the file whose section is written; empty: none")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of all proxies")
	flag.IntVar(&o.connection, "connections", 64, "connections of the closed load")
	flag.Float64Var(&o.rate, "rate", 4000, "requests a second of the open load")
	flag.DurationVar(&o.length, "length", 3*time.Second, "of each measurement")
	flag.IntVar(&o.proxyCore, "proxy-core", 0, "the core of the proxy")
	flag.IntVar(&o.loadCore, "load-core", 1, "the core of the load and the origin")
	flag.Float64Var(&o.maxNginx, "max-nginx", 1.3, "goal: Swell's CPU per request in nginx's at most; 0: none")
	flag.Float64Var(&o.maxCaddy, "max-caddy", 0.35, "goal: Swell's CPU per request in Caddy's at most; 0: none")
	flag.BoolVar(&o.keep, "keep", false, "keep the proxies' configurations and logs")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.rounds > 25 || o.length < time.Second || o.connection < 1 || o.rate <= 0 {
		fmt.Fprintln(os.Stderr, "usage: proxy [flags]; rounds are 1 to 25, a length is at least 1s")
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := measure(ctx, &o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-proxy:", err)
	}
	os.Exit(code)
}

// roles are what this program runs itself as.
var roles = map[string]func(args []string) error{
	"role-origin":       originMain,
	"role-reverseproxy": reverseProxyMain,
	"role-load":         loadMain,
}

func measure(ctx context.Context, o *options) (code int, err error) {
	for _, tool := range []string{"wrk", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			return exitTarget, fmt.Errorf("%s is needed and not there; Debian has it in the package %s",
				tool, map[string]string{"wrk": "wrk", "taskset": "util-linux"}[tool])
		}
	}
	dir, err := os.MkdirTemp("", "bench-proxy")
	if err != nil {
		return exitFailed, err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "configurations and logs are in", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	m, err := machine()
	if err != nil {
		return exitFailed, err
	}

	origin, err := start(dir, "origin", o.loadCore, self("role-origin", addr(originPort)))
	if err != nil {
		return exitFailed, err
	}
	defer origin.stop()
	if err := origin.ready(ctx, originPort); err != nil {
		return exitFailed, err
	}

	var results []*result
	for _, p := range peers(o) {
		if ctx.Err() != nil {
			return exitFailed, ctx.Err()
		}
		r := &result{peer: p}
		results = append(results, r)
		if r.missing = p.missing(); r.missing != "" {
			fmt.Fprintf(os.Stderr, "%s is left out: %s\n", p.name, r.missing)
			continue
		}
		if r.process, err = p.start(filepath.Join(dir, p.name), o.proxyCore); err == nil {
			defer r.process.stop()
			if err = r.process.ready(ctx, p.port); err == nil {
				_, err = closedLoad(ctx, o, p.port, time.Second) // a warm-up
			}
		}
		if err != nil {
			return exitFailed, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for round := range o.rounds {
		// Another one begins each round, so that none is always after the same.
		order := slices.Concat(results[round%len(results):], results[:round%len(results)])
		for _, r := range order {
			if r.missing != "" {
				continue
			}
			if err := r.measure(ctx, o); err != nil {
				return exitFailed, fmt.Errorf("%s, round %d: %w", r.name, round+1, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d  %-13s %6.1f µs a request, p99 %s\n", round+1, o.rounds,
				r.name, last(r.cpu), milli(last(r.p99)))
		}
	}

	table := render(results)
	fmt.Print(table)
	verdicts, missed := goals(o, results)
	fmt.Print("\n", verdicts)
	if o.doc != "" {
		if err := writeSection(o.doc, section(o, m, table, verdicts)); err != nil {
			return exitFailed, err
		}
		fmt.Fprintln(os.Stderr, "written to", o.doc)
	}
	for _, r := range results {
		if r.late > 0 {
			fmt.Fprintf(os.Stderr, "%s: %d requests could not be sent in time; other work keeps this machine busy, or the open load's rate is too high for it\n", r.name, r.late)
		}
		if r.bad > 0 {
			err = errors.Join(err, fmt.Errorf("%s did not answer %d requests well", r.name, r.bad))
		}
	}
	switch {
	case err != nil:
		return exitFailed, err
	case missed:
		return exitMissed, errors.New("a goal is missed")
	}
	return 0, nil
}

// result is what was measured of one proxy, a value for each round.
type result struct {
	peer
	missing string // why it is left out
	process *process
	cpu     []float64 // microseconds for a request
	rate    []float64 // requests a second of the closed load
	p50     []float64 // of the open load, seconds
	p99     []float64
	bad     int64 // requests that were not answered well
	late    int64 // requests of the open load that could not be sent in time
}

func (r *result) measure(ctx context.Context, o *options) error {
	before, err := r.process.cpu()
	if err != nil {
		return err
	}
	closed, err := closedLoad(ctx, o, r.port, o.length)
	if err != nil {
		return err
	}
	after, err := r.process.cpu()
	if err != nil {
		return err
	}
	open, err := openLoad(ctx, o, r.port)
	if err != nil {
		return err
	}
	r.cpu = append(r.cpu, float64((after-before).Nanoseconds())/1e3/float64(closed.requests))
	r.rate = append(r.rate, closed.rate)
	r.p50 = append(r.p50, open.Latency.P50)
	r.p99 = append(r.p99, open.Latency.P99)
	r.bad += closed.bad + open.Failed
	for _, f := range open.Failures {
		if f.Kind == bench.Unsent {
			r.bad -= f.Count
			r.late += f.Count
		}
	}
	return nil
}

func last(v []float64) float64 { return v[len(v)-1] }
