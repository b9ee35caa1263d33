//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scenario is one kind of load, with what it costs a proxy as its figure.
type scenario struct {
	name  string // as --only takes it
	title string
	what  string // what the figure is, with its unit
	about string // for the page: how the load is made
	port  func(p *peer) int
	run   func(ctx context.Context, o *options, r *result) (figure, error)
	goals []goal
	first bool // measured once only, when the proxies are fresh
}

// figure is what one measurement gave. The lower value is the better one.
type figure struct {
	value float64
	rate  float64 // of requests, connections or MiB a second; 0 if that says nothing
	bad   int64   // what was not answered well
}

// goal bounds Swell's figure by those of peers, or by a number.
type goal struct {
	text  string
	peers []string // the best of them counts
	times float64  // that figure
	most  float64  // without peers: Swell's figure itself
}

func scenarios() []*scenario {
	plain := func(p *peer) int { return p.ports.plain }
	h2c := func(p *peer) int { return p.ports.h2c }
	secure := func(p *peer) int { return p.ports.tls }
	return []*scenario{
		{
			name: "idle", title: "10,000 idle connections", what: "anonymous memory for each, KiB", port: func(p *peer) int {
				if p.name == "HAProxy" {
					return 0 // it reckons with two descriptors a connection, more than many machines allow
				}
				return p.ports.plain
			},
			first: true,
			about: "keep-alive connections that made one request each, 2 s before; measured once, before everything else, so that no memory is there to be used again",
			run:   idle,
			goals: []goal{{text: "at most 4 KiB", most: 4}},
		},
		{
			name: "h1", title: "HTTP/1.1, keep-alive", what: "CPU a request, µs", port: plain,
			about: "wrk on 64 connections, each sending a request when the one before it was answered",
			run: perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
				return wrk(ctx, o, o.connection, at("http", r.ports.plain, "/"))
			}),
			goals: []goal{
				{text: "at most 1.0 × the better of nginx and HAProxy", peers: []string{"nginx", "HAProxy"}, times: 1},
				{text: "at most a quarter of Caddy's", peers: []string{"Caddy"}, times: 0.25},
			},
		},
		{
			name: "half", title: "HTTP/1.1 at half load", what: "p99, ms", port: plain,
			about: "h2load --h1 on 64 connections at half the rate that nginx reached, 99th percentile of its log",
			run:   halfLoad,
			goals: []goal{{text: "no worse than nginx's", peers: []string{"nginx"}, times: 1}},
		},
		{
			name: "h2", title: "HTTP/2 in the clear, HTTP/1.1 to the origin", what: "CPU a request, µs", port: h2c,
			about: "h2load on 16 connections with 16 requests at a time on each",
			run: perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
				return h2load(ctx, o, at("http", r.ports.h2c, "/"))
			}),
			goals: []goal{{text: "at most 1.0 × nginx's", peers: []string{"nginx"}, times: 1}},
		},
		{
			name: "large", title: "1 MiB bodies over HTTP/1.1", what: "CPU a MiB, µs", port: plain,
			about: "wrk on 8 connections; the origin is Go's net/http",
			run: perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
				return wrk(ctx, o, 8, at("http", r.ports.plain, "/large"))
			}),
			goals: []goal{{text: "at least 0.9 × nginx's bytes a CPU second", peers: []string{"nginx"}, times: 1 / 0.9}},
		},
		{
			name: "tls-h1", title: "HTTP/1.1 over TLS", what: "CPU a request, µs", port: secure,
			about: "wrk on 64 connections that stay",
			run: perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
				return wrk(ctx, o, o.connection, at("https", r.ports.tls, "/"))
			}),
			goals: []goal{{text: "at most half of Caddy's and Traefik's", peers: []string{"Caddy", "Traefik"}, times: 0.5}},
		},
		{
			name: "tls-h2", title: "HTTP/2 over TLS", what: "CPU a request, µs", port: secure,
			about: "h2load on 16 connections with 16 requests at a time on each",
			run: perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
				return h2load(ctx, o, at("https", r.ports.tls, "/"))
			}),
			goals: []goal{{text: "at most half of Caddy's and Traefik's", peers: []string{"Caddy", "Traefik"}, times: 0.5}},
		},
		{
			name: "grpc", title: "gRPC, unary", what: "CPU a call, µs", port: func(p *peer) int { return p.ports.grpc },
			about: "h2load sends the 60 bytes of a call on 16 connections, 16 calls at a time on each; HTTP/2 in the clear on both sides; the origin is Go's net/http",
			run: perRequest(func(ctx context.Context, o *options, r *result) (*closed, error) {
				return h2load(ctx, o, at("http", r.ports.grpc, grpcPath), "-d", o.message, "-H", "content-type: application/grpc", "-H", "te: trailers")
			}),
			goals: []goal{{text: "at most half of Caddy's and Traefik's", peers: []string{"Caddy", "Traefik"}, times: 0.5}},
		},
		{
			name: "handshakes", title: "New TLS connections", what: "CPU a connection, µs", port: secure,
			about: "16 at a time, TLS 1.3, X25519, ECDSA P-256, no resumption, one request on each",
			run:   perRequest(handshakes),
			goals: []goal{{text: "at most 1.2 × nginx's", peers: []string{"nginx"}, times: 1.2}},
		},
	}
}

func at(scheme string, port int, path string) string { return scheme + "://" + addr(port) + path }

// perRequest measures the proxy's CPU, in microseconds, for what a load did.
func perRequest(load func(context.Context, *options, *result) (*closed, error)) func(context.Context, *options, *result) (figure, error) {
	return func(ctx context.Context, o *options, r *result) (figure, error) {
		before, err := r.process.cpu()
		if err != nil {
			return figure{}, err
		}
		c, err := load(ctx, o, r)
		if err != nil {
			return figure{}, err
		}
		after, err := r.process.cpu()
		if err != nil {
			return figure{}, err
		}
		return figure{value: float64((after - before).Nanoseconds()) / 1e3 / float64(c.requests), rate: c.rate, bad: c.bad}, nil
	}
}

// onCore returns a command that runs on the load's core.
func (o *options) onCore(ctx context.Context, command ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(o.loadCore)}, command...)...)
}

var (
	h2Total = regexp.MustCompile(`requests: (\d+) total, .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2Rate  = regexp.MustCompile(`finished in [0-9.a-z]+, ([0-9.]+) req/s`)
	h2Codes = regexp.MustCompile(`status codes: (\d+) 2xx`)
)

// h2load sends requests on 16 connections of HTTP/2, 16 at a time on each.
func h2load(ctx context.Context, o *options, target string, more ...string) (*closed, error) {
	ctx, cancel := context.WithTimeout(ctx, o.length+20*time.Second)
	defer cancel()
	args := slices.Concat([]string{"h2load", "-t1", "-c16", "-m16", "-D", strconv.Itoa(int(o.length.Seconds()))}, more, []string{target})
	out, err := o.onCore(ctx, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("h2load: %w: %s", err, bytes.TrimSpace(out))
	}
	return parseH2load(out)
}

func parseH2load(out []byte) (*closed, error) {
	total, rate, codes := h2Total.FindSubmatch(out), h2Rate.FindSubmatch(out), h2Codes.FindSubmatch(out)
	if total == nil || rate == nil || codes == nil {
		return nil, fmt.Errorf("h2load did not report what it did: %s", bytes.TrimSpace(out))
	}
	n := func(b []byte) int64 { v, _ := strconv.ParseInt(string(b), 10, 64); return v }
	c := &closed{requests: n(total[2])}
	c.bad = c.requests - n(codes[1])
	c.rate, _ = strconv.ParseFloat(string(rate[1]), 64)
	if c.requests == 0 {
		return nil, errors.New("h2load got no answer")
	}
	return c, nil
}

// handshakes opens TLS connections for one request each.
func handshakes(ctx context.Context, o *options, r *result) (*closed, error) {
	ctx, cancel := context.WithTimeout(ctx, o.length+20*time.Second)
	defer cancel()
	out, err := o.onCore(ctx, self("role-handshakes", addr(r.ports.tls), "16", o.length.String())...).Output()
	if err != nil {
		return nil, fmt.Errorf("handshakes: %w", err)
	}
	var c closed
	if _, err := fmt.Sscan(string(out), &c.requests, &c.bad); err != nil || c.requests == 0 {
		return nil, fmt.Errorf("handshakes: %q: %w", out, err)
	}
	c.rate = float64(c.requests) / o.length.Seconds()
	return &c, nil
}

// halfLoad measures latency at half the rate that nginx reached, the same for all.
func halfLoad(ctx context.Context, o *options, r *result) (figure, error) {
	ctx, cancel := context.WithTimeout(ctx, o.length+20*time.Second)
	defer cancel()
	file := filepath.Join(o.dir, "half.log")
	defer func() { _ = os.Remove(file) }()
	each := max(1, int(o.half)/64)
	out, err := o.onCore(ctx, "h2load", "--h1", "-t1", "-c64", "--rps", strconv.Itoa(each), "-D", strconv.Itoa(int(o.length.Seconds())),
		"--log-file", file, at("http", r.ports.plain, "/")).CombinedOutput()
	if err != nil {
		return figure{}, fmt.Errorf("h2load: %w: %s", err, bytes.TrimSpace(out))
	}
	f, err := os.Open(file)
	if err != nil {
		return figure{}, err
	}
	defer func() { _ = f.Close() }()
	var took []float64
	var fig figure
	for s := bufio.NewScanner(f); s.Scan(); {
		cols := strings.Split(s.Text(), "\t")
		if len(cols) < 3 {
			return figure{}, fmt.Errorf("h2load's log has the line %q", s.Text())
		}
		us, err := strconv.ParseFloat(cols[2], 64)
		if err != nil {
			return figure{}, err
		}
		if cols[1] != "200" {
			fig.bad++
		}
		took = append(took, us)
	}
	if len(took) < 1000 {
		return figure{}, fmt.Errorf("h2load made %d requests only", len(took))
	}
	slices.Sort(took)
	fig.value, fig.rate = took[len(took)*99/100]/1e3, float64(len(took))/o.length.Seconds()
	return fig, nil
}

// idleConnections is how many are kept.
const idleConnections = 10_000

// idle measures the memory that idle connections take.
func idle(ctx context.Context, o *options, r *result) (figure, error) {
	before, err := r.process.anonymous()
	if err != nil {
		return figure{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	cmd := o.onCore(ctx, self("role-idle", addr(r.ports.plain), strconv.Itoa(idleConnections))...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return figure{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return figure{}, err
	}
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var after int64
	if err == nil && line == "ready\n" {
		time.Sleep(2 * time.Second)
		after, err = r.process.anonymous()
	}
	_ = in.Close()
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return figure{}, fmt.Errorf("idle connections: %w", err)
	}
	return figure{value: float64(after-before) / 1024 / idleConnections}, nil
}
