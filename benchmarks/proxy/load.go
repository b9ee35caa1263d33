//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// closed is what a closed load measured.
type closed struct {
	requests int64
	rate     float64
	bad      int64
}

// wrk sends requests on a fixed number of connections, each one as soon as the one
// before it is answered.
func wrk(ctx context.Context, o *options, connections int, target string) (*closed, error) {
	ctx, cancel := context.WithTimeout(ctx, o.length+20*time.Second)
	defer cancel()
	out, err := o.onCore(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(int(o.length.Seconds()))+"s", target).CombinedOutput()
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
