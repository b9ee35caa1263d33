package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"swell"
	"swell/internal/bench"
	"swell/internal/driver"
	"swell/internal/life"
	"swell/internal/plan"
	"swell/internal/proxy"
	"swell/internal/telemetry"
	"swell/internal/web"
)

// killer ends every instance at once; it is set while swell up runs.
var killer atomic.Pointer[func()]

func killAll() {
	if f := killer.Load(); f != nil {
		(*f)()
	}
}

type upFlags struct {
	profile, state, zone, logFormat, accessLog, pidFile string
	verbose, plain, pprof                               bool
	loadPath                                            string
	load                                                loadFlags
}

func upCommand(g *globals) *cobra.Command {
	f := &upFlags{}
	cmd := &cobra.Command{
		Use:   "up [FILE|DIR …]",
		Short: "Run the application here; Ctrl-C drains and stops, twice kills",
		Long: `Runs the application of a manifest (swell.yaml, or a Compose file) on this
machine: its services as processes, the gateway, the autoscaler, the dashboard.
A changed file is checked, shown as a diff and applied while connections live.

SIGTERM and an interrupt drain: /readyz says no, what is in flight is answered,
then the instances end. SIGHUP reads the files again. SIGUSR2 upgrades (on
Linux): the program is started again, perhaps from a newer file, and takes over
listening sockets and instances; no connection is closed and nothing restarted.
The new process has another PID: see --pid-file. Sockets of systemd (LISTEN_FDS)
are used where the manifest listens, and Type=notify works.

With --load it also makes a load of that shape on the gateway, ends with a
summary, and fails if a request failed.`,
		Example: `  swell up
  swell up examples/shop
  swell up compose.yaml
  swell up --profile prod --admin 127.0.0.1:7171
  swell up examples/shop --load wave --rate 20/s --peak 200/s --duration 90s`,
		RunE: func(cmd *cobra.Command, args []string) error { return up(cmd.Context(), g, f, manifestPaths(args)) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.profile, "profile", "", "lay this profile over the manifest")
	fs.StringVar(&f.state, "state", "", "folder for run files and logs (default .swell beside the manifest)")
	fs.StringVar(&f.zone, "zone", "", "where this machine is, for services whose spread prefers instances near by")
	fs.StringVar(&f.logFormat, "log-format", "text", "of what Swell itself says: text or json")
	fs.StringVar(&f.accessLog, "access-log", "", "where access-log filters write: a file, or - for standard output (default access.log in the state folder)")
	fs.StringVar(&f.pidFile, "pid-file", "", "write the process's number here once it serves; after an upgrade it is the new process's")
	fs.BoolVar(&f.verbose, "verbose", false, "say more")
	fs.BoolVar(&f.plain, "plain", false, "plain lines, no live table")
	fs.BoolVar(&f.pprof, "pprof", false, "serve Go's profiles on the admin address")
	only := pflag.NewFlagSet("load", pflag.ContinueOnError)
	only.StringVar(&f.loadPath, "load-path", "/", "the path on the gateway to ask for")
	f.load.add(only)
	only.VisitAll(func(l *pflag.Flag) { l.Usage = "with --load: " + l.Usage })
	fs.AddFlagSet(only)
	fs.StringVar(&f.load.shape, "load", "", "also make a load of this shape on the gateway, then end: "+strings.Join(bench.ShapeNames, ", "))
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		if f.load.shape != "" {
			return nil
		}
		only.VisitAll(func(l *pflag.Flag) {
			if err == nil && l.Changed {
				err = withCode(exitUsage, fmt.Errorf("--%s counts only with --load SHAPE; see %s --help", l.Name, cmd.CommandPath()))
			}
		})
		return err
	}
	return cmd
}

func up(outer context.Context, g *globals, f *upFlags, paths []string) error {
	path, err := self()
	if err != nil {
		return err
	}
	signals, unhook := lifeSignals()
	defer unhook()
	ctx, stop := context.WithCancel(outer)
	defer stop()
	var interrupts atomic.Int32
	scr := newScreen(os.Stdout, f.plain, func() {
		stop()
		if interrupts.Add(1) > 1 {
			killAll()
		}
	})
	level := slog.LevelWarn
	if scr.Plain() {
		level = slog.LevelInfo // the table shows what these lines say
	}
	if f.verbose {
		level = slog.LevelDebug
	}
	log, err := telemetry.NewLogger(scr, f.logFormat, level)
	if err != nil {
		return withCode(exitUsage, err)
	}

	src := &source{paths: paths, opt: manifestOptions(f.profile), log: log, say: scr}
	first, err := src.load()
	if err != nil {
		return err
	}
	for _, w := range first.Warnings {
		fmt.Fprintln(os.Stderr, talk(os.Stderr).yellow("warning:"), w)
	}
	var load *bench.Options
	if f.load.shape != "" {
		o, err := f.load.options(gatewayURL(first.App, f.loadPath))
		if err != nil {
			return withCode(exitUsage, err)
		}
		load = &o
	}

	if f.state == "" {
		f.state = filepath.Join(filepath.Dir(first.Files[0]), ".swell")
	}
	if err := os.MkdirAll(f.state, 0o755); err != nil {
		return fmt.Errorf("make the state folder: %w; choose another with --state", err)
	}
	access, closeAccess, err := openAccessLog(f)
	if err != nil {
		return err
	}
	defer closeAccess()
	before, err := takeOver()
	if err != nil {
		return err
	}
	sockets, err := inherited(before)
	if err != nil {
		return err
	}
	admin, err := adminListener(sockets, g.admin, before)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("the admin address %s is taken, perhaps by another swell; choose another with --admin", g.admin)
		}
		return err
	}

	// Until one snapshot is in use, a refused one ends all: there is nothing to go on with.
	serving := make(chan struct{})
	serves := sync.OnceFunc(func() { close(serving) })
	unusable := make(chan error, 1)
	refused := func(err error) {
		if err == nil {
			serves()
			return
		}
		select {
		case <-serving:
		case unusable <- err:
		default:
		}
	}

	var drv *driver.Driver
	book := &proxy.TCP{Inherited: sockets}
	handed := make(chan struct{}) // closed when another process has this one's place
	own := make(chan struct{})    // closed when this one has it
	if before == nil {
		close(own)
	}
	prior := new(earlier)
	st := newStack(parts{
		zone: f.zone, book: book, accessLog: access, log: log, refused: refused,
		own: own, handed: handed, earlier: prior,
		driver: func(quiet func(context.Context, string) error, sink swell.Sink) runner {
			drv = driver.NewProcess(driver.ProcessOptions{
				Dir: f.state, Quiet: quiet, Sink: sink, Log: log, Keeper: []string{path, "keep", f.state},
			})
			return drv
		},
	})
	defer func() { st.leaving.close() }()
	src.app = st.app
	if before != nil {
		prior.names = before.Draining
		if err := st.goOn(before, drv); err != nil {
			return err
		}
	}
	access.Drops, access.Log = st.hub.Count("swell_access_log_dropped_total"), log
	kill := drv.Kill
	killer.Store(&kill)
	defer killer.Store(nil)

	server := web.New(web.Options{
		State: st.state, Changed: st.changed, Stats: stats{st.hub}, Decisions: st.scaler.Decisions,
		Logs: drv, Metrics: st.hub.Handler(), Order: st.routeNames, Match: st.match,
		Ready: func() error { return st.readiness(ctx) },
		Apply: func(_ context.Context, name string, data []byte, dry bool) ([]plan.Change, []web.Problem, error) {
			return src.apply(name, data, dry)
		},
		Floor: st.floor, Token: g.token, Pprof: f.pprof, Version: version, Log: log,
	})

	fmt.Fprintf(scr, "%s  gateway %s  dashboard http://%s/\n", scr.ink.bold(first.App.Name), strings.Join(gatewayURLs(first.App), " "), reachable(admin.Addr().String()))
	fmt.Fprintln(scr, "services run without isolation: they find each other by environment variables (NAME_URL, NAME_HOST, NAME_PORT)")
	src.app.Set(first.App)
	if before != nil && before.Applied != nil {
		if _, _, err := src.apply(before.Applied.Name, before.Applied.Data, false); err != nil {
			return fmt.Errorf("take over what the API applied: %w", err)
		}
	}
	change := &change{
		log: log, path: path, book: book, admin: admin, driver: drv, stack: st, source: src, earlier: prior, handed: handed,
	}
	shown := make(chan struct{}) // closed when the terminal is free again

	layers := append([]life.Layer{
		{
			{Name: "admin", Run: until(handed, func(ctx context.Context) error { return server.Run(ctx, admin) })},
			{Name: "access log", Run: access.Run},
			{Name: "terminal", Run: until(handed, func(ctx context.Context) error {
				defer close(shown)
				return after(own, scr.Run)(ctx)
			})},
		}},
		st.layers()...)
	top := life.Layer{
		{Name: "gateway", Run: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-unusable:
				return err
			}
		}},
		{Name: "place", Run: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-serving:
			}
			if before != nil {
				if err := before.settle(); err != nil {
					return err
				}
				log.Info("took over from the process before", "its version", before.Version)
				close(own)
			}
			closeUnused(sockets, before, log)
			forget, err := writePIDFile(f.pidFile)
			if err != nil {
				return err
			}
			notify(log, "READY=1")
			<-ctx.Done()
			select {
			case <-handed: // it is the other's by now, or will be at once
			default:
				forget()
			}
			return ctx.Err()
		}},
		{Name: "reload", Run: until(handed, func(ctx context.Context) error {
			return watchFiles(ctx, first.Files, func() { reloading(log, src.reload) })
		})},
		{Name: "signals", Run: after(own, func(ctx context.Context) error {
			return onSignals(ctx, signals, log, src.reload, func() bool {
				if load != nil {
					log.Error("upgrade: not while swell up makes a load of its own")
					return false
				}
				if os.Getpid() == 1 {
					log.Error("upgrade: process 1 can't hand over, as its container would end with it")
					return false
				}
				if !change.try(ctx, func() { <-shown }) {
					return false
				}
				stop()
				return true
			})
		})},
		{Name: "table", Run: func(ctx context.Context) error { return showFrames(ctx, g, scr, admin.Addr().String()) }},
	}
	var report *bench.Report
	var counts instanceSeries
	if load != nil {
		top = append(top, life.Task{Name: "load", Run: func(ctx context.Context) error {
			if err := st.ready(ctx); err != nil {
				return err
			}
			k := scr.ink
			load.Progress = func(p bench.Progress) {
				counts.add(st)
				scr.Foot(progressLine(k, p))
				if scr.Plain() && int(p.Elapsed.Seconds())%5 == 0 {
					fmt.Fprintln(scr, progressLine(k, p))
				}
			}
			var err error
			report, err = bench.Run(ctx, *load)
			if err != nil {
				return err
			}
			stop()
			<-ctx.Done()
			return nil
		}})
	}
	tell := context.AfterFunc(ctx, func() {
		select {
		case <-handed:
		default:
			notify(log, "STOPPING=1")
		}
	})
	defer tell()
	ended := make(chan error, 1)
	go func() { ended <- life.Run(ctx, append(layers, top)...) }()
	select {
	case err = <-ended:
	case <-hurry(outer, handed, cmp.Or(first.App.Gateway.Limits.Drain, 30*time.Second)):
	}
	if s := change.at.Load(); s != nil && err == nil && onTerminal() {
		return standBy(s)
	}
	if report != nil {
		fmt.Println()
		summarize(os.Stdout, report)
		counts.print(os.Stdout)
		if err == nil {
			err = f.load.finish(report)
		}
		if err == nil {
			err = verdict(report)
		}
		if err == nil && report.Failed > 0 && len(report.Thresholds) == 0 {
			err = withCode(exitFailed, fmt.Errorf("%d requests failed", report.Failed))
		}
	}
	return err
}

// gatewayURL is a URL on the app's gateway, from this machine: in the clear if it can be.
func gatewayURL(app swell.App, path string) string {
	g := app.Gateway
	if g.Listen == "" && g.TLS != nil {
		return "https://" + reachable(g.TLS.Listen) + path
	}
	return "http://" + reachable(g.Listen) + path
}

// gatewayURLs are where the app can be reached from this machine.
func gatewayURLs(app swell.App) []string {
	var out []string
	if app.Gateway.Listen != "" {
		out = append(out, "http://"+reachable(app.Gateway.Listen)+"/")
	}
	if t := app.Gateway.TLS; t != nil {
		out = append(out, "https://"+reachable(t.Listen)+"/")
	}
	for _, t := range app.Gateway.TCP {
		out = append(out, "tcp://"+reachable(t.Listen))
	}
	if len(out) == 0 {
		out = append(out, "none")
	}
	return out
}

// reachable is a listening address as one dials it: a missing or wildcard host
// is loopback.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// openAccessLog opens where access-log filters write, behind a writer that never
// makes a request wait.
func openAccessLog(f *upFlags) (*telemetry.LogWriter, func(), error) {
	if f.accessLog == "-" {
		return telemetry.NewLogWriter(os.Stdout), func() {}, nil
	}
	path := f.accessLog
	if path == "" {
		path = filepath.Join(f.state, "access.log")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open the access log: %w", err)
	}
	return telemetry.NewLogWriter(file), func() { _ = file.Close() }, nil
}

// showFrames brings the API's stream to the screen.
func showFrames(ctx context.Context, g *globals, scr *screen, addr string) error {
	client := web.NewClient(addr, g.token)
	for ctx.Err() == nil {
		err := client.Stream(ctx, func(fr web.Frame) error { scr.Show(fr); return nil })
		if err != nil && ctx.Err() == nil {
			select { // the server may not be there yet
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return ctx.Err()
}

// instanceSeries records ready instances over a load, for the chart at its end.
type instanceSeries struct {
	names  []string
	counts map[string][]float64
}

func (c *instanceSeries) add(s *stack) {
	if c.counts == nil {
		c.counts = map[string][]float64{}
		app, _ := s.app.Get()
		for _, svc := range app.Services {
			c.names = append(c.names, svc.Name)
		}
	}
	seen, _ := s.instances.Get()
	ready := map[string]float64{}
	for _, i := range seen {
		if i.State == swell.Ready {
			ready[i.Service]++
		}
	}
	for _, n := range c.names {
		c.counts[n] = append(c.counts[n], ready[n])
	}
}

func (c *instanceSeries) print(w *os.File) {
	k := talk(w)
	for _, n := range c.names {
		most := 0.0
		for _, v := range c.counts[n] {
			most = max(most, v)
		}
		fmt.Fprintf(w, "%s  ready instances over time, at most %.0f\n%s\n", k.bold(n), most, strings.TrimRight(bench.Chart(c.counts[n], 72, 3), "\n"))
	}
}
