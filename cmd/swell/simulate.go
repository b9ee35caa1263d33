package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"swell"
	"swell/internal/manifest"
	"swell/internal/plug"
	"swell/internal/scale"
	"swell/internal/sim"
	"swell/internal/unit"
)

// simulateFlags say what is simulated.
type simulateFlags struct {
	trace, manifest, profile, service string
	policy, startup, capacity, peak   string
	scale                             float64
	latency, drain, warmup, from, to  string
	seed                              uint64
	even, sweep                       bool
	output                            string
}

func simulateCommand() *cobra.Command {
	f := &simulateFlags{}
	cmd := &cobra.Command{
		Use:   "simulate --trace FILE",
		Short: "Try scaling policies on a recorded load, in virtual time",
		Long: `Runs scaling policies over a recorded load, second by second in virtual time,
and tells what each would have cost and how many requests would have suffered.
The code that decides is the code that runs live.

A trace is CSV with the header ts,count or ts,value (Unix seconds; requests from
then on, or a gauge of demand), the JSON of a Prometheus range query of requests
a second, or an access log (common or combined form, or Swell's in JSON).

A request is bad if it comes in a second in which the ready instances are more
than nine tenths busy (mean of 5 s), or have a backlog of more than 0.2 s. The
cost is instance-hours over those of an ideal that keeps as few instances as are
nine tenths busy at most, and knows the load.

A policy may have a target, as in hpa@70%: the share of an instance's capacity
that it is to use. Without one the service's own goals and targets hold, and 70%
where a policy needs a target and the service has none.`,
		Example: `  swell simulate --trace week.csv --capacity 50/s --startup 30s
  swell simulate --trace access.log --policy auto,hpa@60%,hpa@80% --peak 2000/s
  swell simulate --trace range.json --manifest swell.yaml --service catalog -o json
  swell simulate --trace week.csv --startup p50=20s,p95=60s --sweep -o html > report.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.trace, "trace", "", "file with the recorded load")
	fs.StringVar(&f.manifest, "manifest", "", "manifest with the service's bounds, goals and targets")
	fs.StringVar(&f.profile, "profile", "", "lay this profile over the manifest")
	fs.StringVar(&f.service, "service", "", "the manifest's service (default: its only one)")
	fs.StringVar(&f.policy, "policy", "auto,hpa,kpa,keda", "policies, with commas between: auto, hpa, kpa, keda, week-max; each may have @TARGET%")
	fs.StringVar(&f.startup, "startup", "30s", "time until an instance is ready: 30s, 20s-60s, or p50=20s,p95=60s")
	fs.StringVar(&f.capacity, "capacity", "50/s", "what one instance serves at most")
	fs.StringVar(&f.latency, "latency", "80ms", "what a request takes when nothing queues")
	fs.StringVar(&f.drain, "drain", "0s", "time that an instance takes to end")
	fs.Float64Var(&f.scale, "scale-trace", 1, "multiply the load by this")
	fs.StringVar(&f.peak, "peak", "", "scale the load so that this is its highest rate")
	fs.StringVar(&f.from, "from", "0s", "begin so long after the trace's start")
	fs.StringVar(&f.to, "to", "", "end so long after the trace's start (default: its end)")
	fs.StringVar(&f.warmup, "warmup", "0s", "do not score so much of the beginning, in which policies learn")
	fs.Uint64Var(&f.seed, "seed", 1, "of what is random: arrivals and start-up times")
	fs.BoolVar(&f.even, "even", false, "arrivals exactly at the trace's rate, instead of random as those of many users are")
	fs.BoolVar(&f.sweep, "sweep", false, "try each policy at targets from 40% to 90% too")
	fs.StringVarP(&f.output, "output", "o", "table", "table, json or html")
	for flag, values := range map[string][]cobra.Completion{
		"output": {"table", "json", "html"},
		"policy": scale.Kind().Names(),
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the same flag twice
		}
	}
	return cmd
}

func (f *simulateFlags) run(cmd *cobra.Command) error {
	if f.trace == "" {
		return withCode(exitUsage, errors.New("--trace FILE is missing; see swell simulate --help"))
	}
	switch f.output {
	case "table", "json", "html":
	default:
		return withCode(exitUsage, fmt.Errorf("-o %s: there are table, json and html", f.output))
	}
	specs, err := sim.ParseSpecs(f.policy)
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("--policy: %w", err))
	}
	o, load, err := f.options()
	if err != nil {
		return err
	}
	if o.Arrivals, err = load.Arrivals(!f.even, f.seed); err != nil {
		return withCode(exitUsage, fmt.Errorf("--trace: %w", err))
	}
	for _, n := range load.Notes {
		fmt.Fprintln(os.Stderr, talk(os.Stderr).yellow("warning:"), n)
	}
	if o.Warmup > load.Span()-time.Minute {
		return withCode(exitUsage, fmt.Errorf("--warmup: %v leaves less than a minute of %v to score", o.Warmup, load.Span()))
	}
	c, err := sim.Compare(cmd.Context(), o, specs, f.sweep)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch f.output {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(c)
	case "html":
		return c.WriteHTML(out)
	}
	t := &grid{ink: talk(out)}
	comparison(t, c)
	return t.flush(out)
}

// options reads the flags; every mistake in them is a usage error, one in the
// manifest the manifest's.
func (f *simulateFlags) options() (sim.Options, *sim.Load, error) {
	o := sim.Options{Service: sim.DefaultService(), Backlog: sim.DefaultBacklog, Seed: f.seed}
	usage := func(flag string, err error) (sim.Options, *sim.Load, error) {
		return o, nil, withCode(exitUsage, fmt.Errorf("%s: %w", flag, err))
	}
	var err error
	if o.Startup, err = sim.ParseStartup(f.startup); err != nil {
		return usage("--startup", err)
	}
	var capacity, peak unit.Rate
	if err := capacity.UnmarshalText([]byte(f.capacity)); err != nil {
		return usage("--capacity", err)
	}
	if o.Capacity = float64(capacity); o.Capacity <= 0 || o.Capacity > 1e9 {
		return usage("--capacity", fmt.Errorf("%s is not possible; it must be more than 0/s", f.capacity))
	}
	if f.peak != "" {
		if err := peak.UnmarshalText([]byte(f.peak)); err != nil {
			return usage("--peak", err)
		}
		if peak <= 0 || f.scale != 1 {
			return usage("--peak", errors.New("it must be more than 0/s, and --scale-trace must not be given too"))
		}
	}
	if !(f.scale > 0) || f.scale > 1e9 {
		return usage("--scale-trace", errors.New("it must be more than 0"))
	}
	var from, to unit.Duration
	for _, d := range []struct {
		flag, text string
		to         *unit.Duration
	}{
		{"--latency", f.latency, (*unit.Duration)(&o.Latency)}, {"--drain", f.drain, (*unit.Duration)(&o.Drain)},
		{"--warmup", f.warmup, (*unit.Duration)(&o.Warmup)}, {"--from", f.from, &from}, {"--to", f.to, &to},
	} {
		if d.text == "" {
			continue
		}
		if err := d.to.UnmarshalText([]byte(d.text)); err != nil {
			return usage(d.flag, err)
		}
	}
	if o.Latency <= 0 {
		return usage("--latency", errors.New("it must be more than 0s"))
	}
	if f.output != "table" {
		o.Points = 1000
	}
	if o.Service, err = f.fromManifest(o.Service); err != nil {
		return o, nil, err
	}
	load, err := sim.ReadFile(f.trace)
	if err != nil {
		return usage("--trace", err)
	}
	if from > 0 || to > 0 {
		if load, err = load.Cut(from.D(), to.D()); err != nil {
			return usage("--from, --to", err)
		}
	}
	if factor := f.scale; peak > 0 || factor != 1 {
		if peak > 0 {
			if load.Peak() == 0 {
				return usage("--peak", errors.New("the trace holds nothing but zeros"))
			}
			factor = float64(peak) / load.Peak()
		}
		load = load.Scale(factor)
	}
	return o, load, nil
}

// fromManifest takes the service of the manifest, if one is given.
func (f *simulateFlags) fromManifest(svc swell.Service) (swell.Service, error) {
	if f.manifest == "" {
		if f.service != "" {
			return svc, withCode(exitUsage, errors.New("--service needs --manifest"))
		}
		return svc, nil
	}
	r, err := manifest.Load([]string{f.manifest}, manifestOptions(f.profile))
	if err != nil {
		return svc, withCode(exitManifest, err)
	}
	var names []string
	for _, s := range r.App.Services {
		if len(s.Address) == 0 {
			names = append(names, s.Name)
		}
	}
	name := f.service
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	if !slices.Contains(names, name) {
		if name == "" {
			return svc, withCode(exitUsage, fmt.Errorf("--service is missing; there are: %s", strings.Join(names, ", ")))
		}
		return svc, withCode(exitUsage, fmt.Errorf("--service: %s runs no service %q%s", f.manifest, name, plug.Suggest(name, names)))
	}
	i := slices.IndexFunc(r.App.Services, func(s swell.Service) bool { return s.Name == name })
	return r.App.Services[i], nil
}

// comparison writes the table.
func comparison(t *grid, c *sim.Comparison) {
	t.head("POLICY", "BAD REQUESTS", "BAD MIN/DAY", "DROPPED", "INSTANCE-HOURS", "COST", "PEAK", "θU", "θO", "τU", "τO", "INSTABILITY", "JITTER/H", "ACTIONS/DAY", "REVERSALS/DAY")
	for _, s := range slices.Concat(c.Scores, c.Sweep) {
		t.row(s.Policy, fmt.Sprintf("%.2f%%", s.Bad), fmt.Sprintf("%.1f", s.Violation), fmt.Sprintf("%.3f%%", s.Dropped),
			fmt.Sprintf("%.1f", s.InstanceHours), fmt.Sprintf("%.2f", s.Cost), fmt.Sprint(s.Peak),
			fmt.Sprintf("%.2f%%", s.ThetaU), fmt.Sprintf("%.1f%%", s.ThetaO), fmt.Sprintf("%.2f%%", s.TauU), fmt.Sprintf("%.1f%%", s.TauO),
			fmt.Sprintf("%.2f%%", s.Instability), fmt.Sprintf("%.1f", s.Jitter), fmt.Sprintf("%.0f", s.Actions), fmt.Sprintf("%.0f", s.Reversals))
	}
	span := fmt.Sprintf("%.1f days", c.Days)
	if c.Days < 2 {
		span = fmt.Sprintf("%.1f h", 24*c.Days)
	}
	t.say("%s: %s, peak %.4g/s; an instance serves %.4g/s and starts in %s. Cost is instance-hours over the ideal.", c.Trace, span, c.Peak, c.Capacity, c.Startup)
}
