//go:build linux

// Command proxy measures Swell's gateway beside other proxies, in one run on one
// machine: what requests, connections and bodies cost in CPU and memory, by the
// protocols that people use, and how long requests take at the same load. It prints
// a table for each, writes them into docs/performance.md, and ends with 3 if a goal
// is missed.
//
// The proxy has one core to itself; the load and the origins share another one.
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
	"strings"
	"syscall"
	"time"
)

// options are the flags, and what a run has in common.
type options struct {
	swell      string
	doc        string
	rounds     int
	connection int
	length     time.Duration
	proxyCore  int
	loadCore   int
	only       string
	peers      string
	keep       bool
	growth     bool

	dir     string  // of configurations and logs
	message string  // the file with a gRPC call
	half    float64 // requests a second, half of what nginx reached
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
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of all proxies")
	flag.IntVar(&o.connection, "connections", 64, "connections of wrk")
	flag.DurationVar(&o.length, "length", 3*time.Second, "of each measurement")
	flag.IntVar(&o.proxyCore, "proxy-core", 0, "the core of the proxy")
	flag.IntVar(&o.loadCore, "load-core", 1, "the core of the load and the origins")
	flag.StringVar(&o.only, "only", "", "only these kinds of load, with commas between them: h1,half,h2,large,tls-h1,tls-h2,grpc,handshakes,idle; the page is left as it is")
	flag.StringVar(&o.peers, "peers", "", "only these proxies beside Swell, with commas between them")
	flag.BoolVar(&o.keep, "keep", false, "keep the proxies' configurations and logs")
	flag.BoolVar(&o.growth, "growth", false, "measure Swell alone, with more and more routes and endpoints")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.rounds > 25 || o.length < time.Second || o.connection < 1 {
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
	"role-server":       serverMain,
	"role-handshakes":   handshakesMain,
	"role-idle":         idleMain,
}

func measure(ctx context.Context, o *options) (code int, err error) {
	for tool, in := range map[string]string{"wrk": "wrk", "taskset": "util-linux", "h2load": "nghttp2-client"} {
		if _, err := exec.LookPath(tool); err != nil {
			return exitTarget, fmt.Errorf("%s is needed and not there; Debian has it in the package %s", tool, in)
		}
	}
	chosen, err := choose(o)
	if err != nil {
		return exitUsage, err
	}
	if o.dir, err = os.MkdirTemp("", "bench-proxy"); err != nil {
		return exitFailed, err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "configurations and logs are in", o.dir)
	} else {
		defer func() { _ = os.RemoveAll(o.dir) }()
	}
	m, err := machine()
	if err != nil {
		return exitFailed, err
	}
	if o.growth {
		return growth(ctx, o, m)
	}
	o.message = filepath.Join(o.dir, "message")
	if err := errors.Join(writeCertificate(o.dir), os.WriteFile(o.message, grpcMessage, 0o600)); err != nil {
		return exitFailed, err
	}
	for role, port := range map[string]int{"role-origin": originPort, "role-server": serverPort} {
		origin, err := start(o.dir, role, o.loadCore, self(role, addr(port)))
		if err != nil {
			return exitFailed, err
		}
		defer origin.stop()
		if err := origin.ready(ctx, port); err != nil {
			return exitFailed, err
		}
	}

	var results []*result
	for _, p := range peers(o) {
		if ctx.Err() != nil {
			return exitFailed, ctx.Err()
		}
		if o.peers != "" && p.name != "swell" && !slices.Contains(strings.Split(o.peers, ","), p.name) {
			continue
		}
		r := &result{peer: p, figures: map[string][]figure{}}
		results = append(results, r)
		if r.missing = p.missing(); r.missing != "" {
			fmt.Fprintf(os.Stderr, "%s is left out: %s\n", p.name, r.missing)
			continue
		}
		if r.process, err = p.start(filepath.Join(o.dir, p.name), o.proxyCore); err == nil {
			defer r.process.stop()
			if err = r.process.ready(ctx, p.ports.plain); err == nil {
				var c *closed
				warm := *o
				warm.length = time.Second
				if c, err = wrk(ctx, &warm, o.connection, at("http", p.ports.plain, "/")); err == nil && (p.name == "nginx" || o.half == 0) {
					o.half = c.rate / 2
				}
			}
		}
		if err != nil {
			return exitFailed, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for _, s := range chosen {
		rounds := o.rounds
		if s.first {
			rounds = 1
		}
		for round := range rounds {
			// Another one begins each round, so that none is always after the same.
			order := slices.Concat(results[round%len(results):], results[:round%len(results)])
			for _, r := range order {
				if r.missing != "" || s.port(&r.peer) == 0 {
					continue
				}
				f, err := s.run(ctx, o, r)
				if err != nil {
					return exitFailed, fmt.Errorf("%s, %s, round %d: %w%s", s.title, r.name, round+1, err, r.process.tail())
				}
				r.figures[s.name] = append(r.figures[s.name], f)
				fmt.Fprintf(os.Stderr, "%-11s round %d of %d  %-13s %8.1f %s\n", s.name, round+1, rounds, r.name, f.value, s.what)
			}
		}
	}

	text, missed := page(o, m, chosen, results)
	fmt.Print(text)
	if o.doc != "" && o.only == "" && o.peers == "" {
		if err := writeSection(o.doc, "bench-proxy", text); err != nil {
			return exitFailed, err
		}
		fmt.Fprintln(os.Stderr, "written to", o.doc)
	}
	for _, r := range results {
		for _, s := range chosen {
			if bad := r.bad(s.name); bad > 0 {
				err = errors.Join(err, fmt.Errorf("%s did not answer %d requests well: %s", r.name, bad, s.title))
			}
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

// choose returns the scenarios that --only names; all without it.
func choose(o *options) ([]*scenario, error) {
	all := scenarios()
	if o.only == "" {
		return all, nil
	}
	var out []*scenario
	for name := range strings.SplitSeq(o.only, ",") {
		i := slices.IndexFunc(all, func(s *scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no kind of load is named %q; see --help", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// result is what was measured of one proxy: a figure for each scenario and round.
type result struct {
	peer
	missing string // why it is left out
	process *process
	figures map[string][]figure
}

// values are the figures of a scenario.
func (r *result) values(scenario string) (values, rates []float64) {
	for _, f := range r.figures[scenario] {
		values, rates = append(values, f.value), append(rates, f.rate)
	}
	return values, rates
}

func (r *result) bad(scenario string) (n int64) {
	for _, f := range r.figures[scenario] {
		n += f.bad
	}
	return n
}
