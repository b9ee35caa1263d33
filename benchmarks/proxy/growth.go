//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is measured of growth: how much more a request costs when there is more of
// what it has to be found a way through.
var (
	routeCounts    = []int{1, 100, 10_000}
	endpointCounts = []int{1, 100, 5_000}
	balancers      = []string{"p2c", "round-robin", "least-connections", "random", "ip-hash", "{maglev: {by: path}}", "{ring-hash: {by: path}}"}
)

// mostGrowth is the goal: how many times the cost of the least the cost of the most
// may be.
const mostGrowth = 1.1

// growth measures Swell alone, with more and more routes and endpoints.
func growth(ctx context.Context, o *options, m string) (code int, err error) {
	origin, err := start(o.dir, "growth-origin", o.loadCore, self("role-origin", addr(originPort), strconv.Itoa(slices.Max(endpointCounts))))
	if err != nil {
		return exitFailed, err
	}
	defer origin.stop()
	if err := origin.ready(ctx, originPort); err != nil {
		return exitFailed, err
	}
	var b strings.Builder
	missed := false
	row := func(name string, counts []int, config func(n int) string) error {
		costs := make([][]float64, len(counts))
		peers := make([]*process, len(counts))
		for i, n := range counts {
			p := peer{
				name: "swell", program: o.swell, files: map[string]string{"swell.yaml": config(n)},
				args: func(dir string) []string { return []string{"up", dir, "--admin", addr(ports[8+i])} },
			}
			var err error
			if p.program, err = filepath.Abs(o.swell); err != nil {
				return err
			}
			dir := filepath.Join(o.dir, fmt.Sprintf("growth-%d", i))
			if peers[i], err = p.start(dir, o.proxyCore); err != nil {
				return err
			}
			defer peers[i].stop()
			if err := peers[i].ready(ctx, ports[4+i]); err != nil {
				return err
			}
		}
		for round := range o.rounds + 1 {
			for i := range counts {
				r := &result{process: peers[i], peer: peer{ports: listeners{plain: ports[4+i]}}}
				f, err := perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
					return wrk(ctx, o, o.connection, at("http", r.ports.plain, "/r7/x"))
				})(ctx, o, r)
				if err != nil {
					return err
				}
				if f.bad > 0 {
					return fmt.Errorf("%d requests were not answered well", f.bad)
				}
				if round > 0 { // the first one warms connections up
					costs[i] = append(costs[i], f.value)
				}
			}
		}
		fmt.Fprintf(&b, "| %s |", name)
		low := median(costs[0])
		for i, n := range counts {
			fmt.Fprintf(&b, " %d: %.1f |", n, median(costs[i]))
		}
		times := median(costs[len(costs)-1]) / low
		verdict := "met"
		if times > mostGrowth {
			verdict, missed = "**missed**", true
		}
		fmt.Fprintf(&b, " %.2f | %s |\n", times, verdict)
		fmt.Fprintf(os.Stderr, "%s: %.2f\n", name, times)
		return nil
	}
	b.WriteString("| what grows | few, µs | more, µs | many, µs | many ÷ few | at most 1.1 |\n|---|---|---|---|---|---|\n")
	err = row("routes", routeCounts, func(n int) string {
		var c strings.Builder
		fmt.Fprintf(&c, "app: growth\ngateway:\n  listen: %s\n  routes:\n    - {match: {path: /**}, to: origin}\n", addr(ports[4+slices.Index(routeCounts, n)]))
		for i := range n {
			fmt.Fprintf(&c, "    - {match: {path: /r%d/**}, to: origin}\n", i)
		}
		fmt.Fprintf(&c, "services:\n  origin: {address: [%q]}\n", addr(originPort))
		return c.String()
	})
	for _, balancer := range balancers {
		if err != nil {
			break
		}
		name := strings.Trim(strings.SplitN(balancer, ":", 2)[0], "{ ")
		err = row("endpoints, "+name, endpointCounts, func(n int) string {
			var c strings.Builder
			fmt.Fprintf(&c, "app: growth\ngateway:\n  listen: %s\n  routes: [{to: origin}]\nservices:\n  origin:\n    health: {interval: 10m}\n    connections: {idle-time: 1m}\n    balance: %s\n    address:\n",
				addr(ports[4+slices.Index(endpointCounts, n)]), balancer)
			for i := range n {
				fmt.Fprintf(&c, "      - %s\n", spare(i, strconv.Itoa(originPort)))
			}
			return c.String()
		})
	}
	if err != nil {
		return exitFailed, err
	}
	text := fmt.Sprintf("## Cost with many routes and endpoints\n`go run ./benchmarks/proxy --growth` measures CPU a request, as above, on wrk's %d connections: medians of %d rounds of %v after one that is not counted. Endpoints are checked every ten minutes only, so that it is the requests that are measured. Machine: %s.\n\n%s",
		o.connection, o.rounds, o.length.Round(time.Second), m, b.String())
	fmt.Print(text)
	if o.doc != "" {
		if err := writeSection(o.doc, "bench-growth", text); err != nil {
			return exitFailed, err
		}
	}
	if missed {
		return exitMissed, fmt.Errorf("a goal is missed")
	}
	return 0, nil
}
