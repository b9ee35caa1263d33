package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"swell/internal/bench"
	"swell/internal/unit"
)

// loadFlags say what load to make; swell load and swell up --load share them.
type loadFlags struct {
	shape, rate, peak, trace string
	duration, period, warmup time.Duration
	steps                    int
	method, body             string
	headers, thresholds      []string
	inflight                 int
	timeout                  time.Duration
	poisson, noKeepAlive     bool
	report                   string
}

// add adds the flags, all but the one of the shape.
func (f *loadFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.rate, "rate", "10/s", "the rate, or the lowest rate of a shape that changes")
	fs.StringVar(&f.peak, "peak", "", "the highest rate of ramp, sine, step, wave; what a trace is scaled to")
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "how long; a trace is fitted to it (0: its own time)")
	fs.DurationVar(&f.period, "period", 0, "how long one wave of the shape sine takes (default: the whole duration)")
	fs.IntVar(&f.steps, "steps", 1, "in how many jumps the shape step goes from --rate to --peak")
	fs.StringVar(&f.trace, "trace", "", "CSV file with ts,count or ts,value, for the shape trace")
	fs.DurationVar(&f.warmup, "warmup", 0, "time before, at the first rate, that is not counted")
	fs.StringVarP(&f.method, "method", "X", "GET", "the requests' method")
	fs.StringVarP(&f.body, "data", "d", "", "the requests' body; @FILE reads it from a file")
	fs.StringArrayVarP(&f.headers, "header", "H", nil, "a header field, as \"Name: value\"; may be given again")
	fs.StringArrayVar(&f.thresholds, "threshold", nil, "p99<200ms, failed<=0, failed<0.1%, rate>=95%; a missed one ends with exit code 3; may be given again")
	fs.IntVar(&f.inflight, "max-in-flight", 1000, "most requests in flight; those beyond fail as not sent in time")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "for one request")
	fs.BoolVar(&f.poisson, "poisson", false, "random arrivals, as of many independent users, instead of even spacing")
	fs.BoolVar(&f.noKeepAlive, "no-keep-alive", false, "a new connection for each request")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to this file (- is standard output)")
}

// options turns the flags into a load on targets; every mistake is a usage error.
func (f *loadFlags) options(targets ...string) (bench.Options, error) {
	var o bench.Options
	shape := bench.ShapeOptions{Name: f.shape, Duration: f.duration, Period: f.period, Steps: f.steps}
	for _, q := range []struct {
		flag, text string
		to         *float64
	}{{"--rate", f.rate, &shape.Rate}, {"--peak", f.peak, &shape.Peak}} {
		if q.text == "" {
			continue
		}
		var r unit.Rate
		if err := r.UnmarshalText([]byte(q.text)); err != nil {
			return o, fmt.Errorf("%s: %w", q.flag, err)
		}
		*q.to = float64(r)
	}
	if f.trace != "" {
		file, err := os.Open(f.trace)
		if err != nil {
			return o, fmt.Errorf("--trace: %w", err)
		}
		defer file.Close()
		if shape.Trace, err = bench.ReadTrace(file, f.trace); err != nil {
			return o, fmt.Errorf("--trace: %w", err)
		}
	}
	var err error
	if o.Shape, err = bench.NewShape(shape); err != nil {
		return o, err
	}
	body := []byte(f.body)
	if name, ok := strings.CutPrefix(f.body, "@"); ok {
		if body, err = os.ReadFile(name); err != nil {
			return o, fmt.Errorf("--data: %w", err)
		}
	}
	header := http.Header{}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return o, fmt.Errorf("--header: %q is not \"Name: value\"", h)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	for _, t := range f.thresholds {
		th, err := bench.ParseThreshold(t)
		if err != nil {
			return o, fmt.Errorf("--threshold: %w", err)
		}
		o.Thresholds = append(o.Thresholds, th)
	}
	for _, t := range targets {
		u, err := url.Parse(t)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return o, fmt.Errorf("%q is not a URL as http://127.0.0.1:8080/path", t)
		}
		o.Targets = append(o.Targets, bench.Target{Method: f.method, URL: t, Header: header, Body: body})
	}
	o.Warmup, o.MaxInflight, o.Timeout = f.warmup, f.inflight, f.timeout
	o.Poisson, o.NoKeepAlive = f.poisson, f.noKeepAlive
	return o, nil
}

// finish writes the JSON report where --report says.
func (f *loadFlags) finish(r *bench.Report) error {
	if f.report == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if f.report == "-" {
		_, err = os.Stdout.Write(b)
		return err
	}
	if err := os.WriteFile(f.report, b, 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func loadCommand(g *globals) *cobra.Command {
	f := &loadFlags{}
	cmd := &cobra.Command{
		Use:   "load URL …",
		Short: "Generate load: open loop, with a latency histogram",
		Long: `Sends requests at the moments that the shape says, whether or not earlier ones
were answered, and counts each latency from the moment at which the request was
due: a server that stalls can't hide it.

Exit code 3 if a threshold was missed.`,
		Example: `  swell load http://127.0.0.1:8080/ --rate 100/s --duration 30s
  swell load http://127.0.0.1:8080/ --shape step --rate 20/s --peak 200/s --threshold 'failed<=0'
  swell load http://127.0.0.1:8080/ --shape trace --trace week.csv --peak 300/s --duration 10m --report out.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(args...)
			if err != nil {
				return withCode(exitUsage, err)
			}
			o.Progress = progress(os.Stderr)
			r, err := bench.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			clearProgress(os.Stderr)
			if f.report != "-" {
				summarize(cmd.OutOrStdout(), r)
			}
			if err := f.finish(r); err != nil {
				return err
			}
			return verdict(r)
		},
	}
	cmd.Flags().StringVar(&f.shape, "shape", "constant", "shape of the load: "+strings.Join(bench.ShapeNames, ", "))
	f.add(cmd.Flags())
	return cmd
}

// verdict is the error of a run that missed a threshold or was interrupted.
func verdict(r *bench.Report) error {
	for _, v := range r.Thresholds {
		if !v.Pass {
			return withCode(exitFindings, fmt.Errorf("the threshold %s was missed", v.Threshold))
		}
	}
	if !r.Complete {
		return withCode(exitInterrupted, errors.New("interrupted; the report tells what was measured so far"))
	}
	return nil
}

// progressLine is what is known of a running load, in one line.
func progressLine(k ink, p bench.Progress) string {
	failed := fmt.Sprintf("%d failed", p.Failed)
	if p.Failed > 0 {
		failed = k.red(failed)
	}
	return fmt.Sprintf("load %3.0fs of %.0fs  %5.0f/s  %d requests, %s  %d in flight  p50 %s p95 %s p99 %s",
		max(0, p.Elapsed.Seconds()), p.Duration.Seconds(), p.Rate, p.Requests, failed, p.Inflight,
		seconds(p.Last.P50), seconds(p.Last.P95), seconds(p.Last.P99))
}

// progress shows a live line and histogram on a terminal, a line every five
// seconds elsewhere.
func progress(w *os.File) func(bench.Progress) {
	tty := term.IsTerminal(int(w.Fd()))
	k := talk(w)
	n, high := 0, 0
	return func(p bench.Progress) {
		n++
		if !tty {
			if n%5 == 0 {
				fmt.Fprintln(w, progressLine(k, p))
			}
			return
		}
		var b strings.Builder
		if high > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", high)
		}
		lines := append([]string{progressLine(k, p)}, strings.Split(strings.TrimRight(bench.Bars(p.Buckets, 50), "\n"), "\n")...)
		width, _, err := term.GetSize(int(w.Fd()))
		if err != nil {
			width = 80
		}
		for _, l := range lines {
			b.WriteString("\r\x1b[K" + ansi.Truncate(l, width, "…") + "\n")
		}
		for i := len(lines); i < high; i++ {
			b.WriteString("\r\x1b[K\n")
		}
		high = max(high, len(lines))
		_, _ = io.WriteString(w, b.String())
	}
}

func clearProgress(w *os.File) {
	if term.IsTerminal(int(w.Fd())) {
		fmt.Fprintln(w)
	}
}

// summarize writes a report for people.
func summarize(w io.Writer, r *bench.Report) {
	k := talk(w)
	failed := fmt.Sprint(r.Failed)
	if r.Failed > 0 {
		failed = k.red(failed)
	} else {
		failed = k.green(failed)
	}
	fmt.Fprintf(w, "%s  %d, failed: %s\n", k.bold("requests"), r.Requests, failed)
	fmt.Fprintf(w, "%s      intended %.1f/s, achieved %.1f/s over %.0f s\n", k.bold("rate"), r.Rate.Intended, r.Rate.Achieved, r.Seconds)
	l := r.Latency
	fmt.Fprintf(w, "%s   p50 %s  p90 %s  p95 %s  p99 %s  p99.9 %s  max %s\n", k.bold("latency"),
		seconds(l.P50), seconds(l.P90), seconds(l.P95), seconds(l.P99), seconds(l.P999), seconds(l.Max))
	if r.Lag.P99 > 0.01 {
		fmt.Fprintf(w, "%s\n", k.yellow(fmt.Sprintf("the generator itself was late: p99 %s, max %s", seconds(r.Lag.P99), seconds(r.Lag.Max))))
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "%s    %d × %s: %s\n", k.red("failed"), f.Count, f.Kind, strings.Join(f.Examples, "; "))
	}
	if len(r.Histogram) > 0 {
		fmt.Fprintln(w, strings.TrimRight(bench.Bars(r.Histogram, 50), "\n"))
	}
	for _, v := range r.Thresholds {
		mark := k.green("met")
		if !v.Pass {
			mark = k.red("missed")
		}
		fmt.Fprintf(w, "threshold %s: %s\n", v.Threshold, mark)
	}
}
