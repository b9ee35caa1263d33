//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"swell/internal/bench"
)

// closed is what a closed load measured.
type closed struct {
	requests int64
	rate     float64
	bad      int64
}

// closedLoad sends requests on a fixed number of connections, each one as soon as
// the one before it is answered.
func closedLoad(ctx context.Context, o *options, port int, length time.Duration) (*closed, error) {
	ctx, cancel := context.WithTimeout(ctx, length+15*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(o.loadCore), "wrk", "-t1",
		"-c"+strconv.Itoa(o.connection), "-d"+strconv.Itoa(int(length.Seconds()))+"s", "http://"+addr(port)+"/").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("wrk: %w: %s", err, bytes.TrimSpace(out))
	}
	return parseWrk(out)
}

var (
	wrkTotal  = regexp.MustCompile(`(\d+) requests in `)
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkStatus = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSocket = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// parseWrk reads wrk's report.
func parseWrk(out []byte) (*closed, error) {
	total, rate := wrkTotal.FindSubmatch(out), wrkRate.FindSubmatch(out)
	if total == nil || rate == nil {
		return nil, fmt.Errorf("wrk did not report what it did: %s", bytes.TrimSpace(out))
	}
	var c closed
	var err error
	if c.requests, err = strconv.ParseInt(string(total[1]), 10, 64); err != nil || c.requests == 0 {
		return nil, errors.Join(err, errors.New("wrk got no answer"))
	}
	if c.rate, err = strconv.ParseFloat(string(rate[1]), 64); err != nil {
		return nil, err
	}
	for _, pattern := range []*regexp.Regexp{wrkStatus, wrkSocket} {
		found := pattern.FindSubmatch(out)
		for i := 1; i < len(found); i++ {
			n, err := strconv.ParseInt(string(found[i]), 10, 64)
			if err != nil {
				return nil, err
			}
			c.bad += n
		}
	}
	return &c, nil
}

// openLoad sends requests at the rate of the options, at random moments, whether
// those before were answered or not.
func openLoad(ctx context.Context, o *options, port int) (*bench.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, o.length+30*time.Second)
	defer cancel()
	command := self("role-load", "http://"+addr(port)+"/", fmt.Sprint(o.rate), o.length.String())
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(o.loadCore)}, command...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("open load: %w", err)
	}
	var r bench.Report
	return &r, json.Unmarshal(out, &r)
}

// loadMain makes an open load and writes the report to standard output. Its
// arguments are a URL, a rate and a duration.
func loadMain(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("it takes a URL, a rate and a duration, and got %q", args)
	}
	rate, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return err
	}
	length, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	shape, err := bench.NewShape(bench.ShapeOptions{Name: "constant", Rate: rate, Duration: length})
	if err != nil {
		return err
	}
	r, err := bench.Run(context.Background(), bench.Options{
		Targets: []bench.Target{{URL: args[0]}}, Shape: shape, Warmup: 500 * time.Millisecond,
		Poisson: true, Seed: 1, MaxInflight: 512,
	})
	if err != nil {
		return err
	}
	r.Series = nil
	return json.NewEncoder(os.Stdout).Encode(r)
}
