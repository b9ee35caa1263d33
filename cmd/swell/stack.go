package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"swell"
	"swell/internal/control"
	"swell/internal/latest"
	"swell/internal/life"
	"swell/internal/proxy"
	"swell/internal/scale"
	"swell/internal/telemetry"
	"swell/internal/web"
	"swell/internal/wire"
)

// runner is a driver with its loop.
type runner interface {
	swell.Driver
	Run(ctx context.Context) error
}

// stack is a whole Swell in one process: control plane, data plane and driver,
// wired by cells.
type stack struct {
	app       *latest.Cell[swell.App]
	decisions *latest.Cell[[]swell.Decision]
	instances *latest.Cell[[]swell.Instance]
	snapshots *latest.Cell[*swell.Snapshot]
	trouble   *latest.Cell[string]
	pulse     latest.Cell[uint64]

	hub     *telemetry.Hub
	scaler  *scale.Scaler
	plane   *proxy.Plane
	driver  runner
	control *control.Loop
	log     *slog.Logger
	drained chan struct{} // closed when the data plane has ended

	own     <-chan struct{} // closed when no process before this one has the instances; nil: there is none
	handed  <-chan struct{} // closed when another process has the instances; nil: never
	earlier *earlier        // processes that drain; nil: none
	leaving *leaving        // set before handed is closed
}

// parts are what a stack stands on, and what differs between a machine and a
// test in virtual time.
type parts struct {
	book      proxy.Book
	dial      func(ctx context.Context, addr string) (net.Conn, error) // nil is TCP
	accessLog io.Writer
	log       *slog.Logger
	zone      string
	refused   func(error)     // told of snapshots that the data plane refused, and nil of those in use; may be nil
	own       <-chan struct{} // see stack
	handed    <-chan struct{}
	earlier   *earlier
	driver    func(quiet func(context.Context, string) error, sink swell.Sink) runner
}

// newStack wires a stack. It starts nothing.
func newStack(p parts) *stack {
	s := &stack{
		app: new(latest.Cell[swell.App]), decisions: new(latest.Cell[[]swell.Decision]),
		instances: new(latest.Cell[[]swell.Instance]), snapshots: new(latest.Cell[*swell.Snapshot]),
		trouble: new(latest.Cell[string]), log: p.log, drained: make(chan struct{}),
		own: p.own, handed: p.handed, earlier: p.earlier,
	}
	s.hub = telemetry.New(telemetry.Options{Version: version, Log: p.log})
	s.scaler = scale.New(scale.Options{Apps: s.app, Instances: s.instances, Out: s.decisions, Log: p.log})
	s.plane = proxy.New(proxy.Options{Hub: s.hub, Book: p.book, Dial: p.dial, AccessLog: p.accessLog, Log: p.log, Refused: p.refused, ID: hostname(), Zone: p.zone})
	s.driver = p.driver(s.quiet, wire.Tee{s.scaler, s.hub})
	s.control = &control.Loop{
		App: s.app, Decisions: s.decisions, Instances: s.instances, Snapshots: s.snapshots, Trouble: s.trouble,
		Driver: s.driver, Edges: p.book, Log: p.log, Replicas: s.hub.SetReplicas,
	}
	return s
}

// hostname names this machine among those that serve the application.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// layers are the stack's tasks. They stop last to first: the data plane drains
// while everything below it still works, then the instances end.
func (s *stack) layers() []life.Layer {
	return []life.Layer{
		{{Name: "telemetry", Run: func(ctx context.Context) error { return s.hub.Run(ctx, s.scaler) }}},
		{{Name: "driver", Run: after(s.own, s.driver.Run)}},
		{
			{Name: "control", Run: until(s.handed, s.control.Run)},
			{Name: "watch", Run: until(s.handed, s.control.Watch)},
			{Name: "scale", Run: until(s.handed, s.scaler.Run)},
			{Name: "pulse", Run: s.beat},
		},
		{{Name: "proxy", Run: func(ctx context.Context) error {
			defer close(s.drained)
			return s.plane.Run(ctx, wire.Local{Snapshots: s.snapshots, Log: s.log})
		}}},
	}
}

// quiet waits until nothing is in flight to an instance, neither here nor from the
// processes before this one. Once the data plane has drained and ended, nothing is
// here.
func (s *stack) quiet(ctx context.Context, instance string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.drained:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := s.plane.Quiet(ctx, instance)
	if err == nil && s.earlier != nil {
		err = s.earlier.quiet(ctx, instance)
	}
	select {
	case <-s.drained:
		return nil
	default:
		return err
	}
}

// state is what the API shows as true now.
func (s *stack) state() web.State {
	app, _ := s.app.Get()
	instances, _ := s.instances.Get()
	trouble, _ := s.trouble.Get()
	out := web.State{App: app, Instances: instances, Trouble: trouble}
	for _, svc := range app.Services {
		if d, ok := s.scaler.Latest(svc.Name); ok {
			out.Decisions = append(out.Decisions, d)
		}
	}
	return out
}

// changed is closed at the next change of instances or decisions.
func (s *stack) changed() <-chan struct{} {
	_, _, next := s.pulse.Next()
	return next
}

// beat makes one pulse of the changes that the page shows at once, and tells the
// hub of decisions and of services that are no more.
func (s *stack) beat(ctx context.Context) error {
	services := map[string]bool{}
	for n := uint64(0); ; n++ {
		_, _, seen := s.instances.Next()
		decisions, _, decided := s.decisions.Next()
		app, _, changed := s.app.Next()
		now := map[string]bool{}
		for _, svc := range app.Services {
			now[svc.Name] = true
		}
		for name := range services {
			if !now[name] {
				s.hub.Forget(name)
			}
		}
		services = now
		s.hub.Decided(decisions)
		s.pulse.Set(n)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-seen:
		case <-decided:
		case <-changed:
		}
	}
}

// ready waits until every service that is to have instances has one.
func (s *stack) ready(ctx context.Context) error {
	return ignoreEnd(s.instances.Follow(ctx, func(seen []swell.Instance) error {
		have := map[string]bool{}
		for _, i := range seen {
			have[i.Service] = have[i.Service] || i.State == swell.Ready
		}
		app, _ := s.app.Get()
		for _, svc := range app.Services {
			if len(svc.Address) == 0 && svc.Scale.Min > 0 && !have[svc.Name] {
				return nil
			}
		}
		return errEnd
	}))
}

// errEnd ends a Follow that has seen enough.
var errEnd = errors.New("seen enough")

func ignoreEnd(err error) error {
	if err == errEnd {
		return nil
	}
	return err
}

// routeNames are the gateway's routes in the order in which they are tried.
func (s *stack) routeNames() []string {
	var out []string
	for _, r := range s.plane.Routes() {
		out = append(out, r.Name)
	}
	return out
}

// match tells which route a request would take.
func (s *stack) match(method, target string) (string, bool) {
	m, err := s.plane.Match(method, target, nil)
	if err != nil || m.Route == nil {
		return "", false
	}
	return m.Route.Name, true
}

// floor keeps a service at no less than n instances until a time.
func (s *stack) floor(service string, n int, until time.Time) error {
	app, _ := s.app.Get()
	for _, svc := range app.Services {
		if svc.Name == service {
			if len(svc.Address) > 0 {
				return fmt.Errorf("service %s is not run by Swell: it has no replica count", service)
			}
			s.scaler.Floor(service, n, until)
			return nil
		}
	}
	return fmt.Errorf("no service is named %q", service)
}

// stats shows the hub's numbers in the API's words.
type stats struct{ hub *telemetry.Hub }

func traffic(t telemetry.Traffic) web.Traffic {
	return web.Traffic{Rate: t.Rate, Errors: t.Errors, P50: t.P50, P95: t.P95, P99: t.P99, Inflight: t.Inflight}
}

func (s stats) Services() map[string]web.ServiceStat {
	out := map[string]web.ServiceStat{}
	for _, x := range s.hub.Services() {
		out[x.Service] = web.ServiceStat{Traffic: traffic(x.Traffic), Waiting: x.Waiting}
	}
	return out
}

func (s stats) Instances() map[string]web.InstanceStat {
	out := map[string]web.InstanceStat{}
	for _, x := range s.hub.Instances() {
		out[x.Instance] = web.InstanceStat{Traffic: traffic(x.Traffic), CPU: x.CPU, Memory: x.Memory}
	}
	return out
}

func (s stats) Routes() map[string]web.Traffic {
	out := map[string]web.Traffic{}
	for _, x := range s.hub.Routes() {
		out[x.Route] = traffic(x.Traffic)
	}
	return out
}

func (s stats) Edges() []web.EdgeStat {
	var out []web.EdgeStat
	for _, x := range s.hub.Edges() {
		out = append(out, web.EdgeStat{Caller: x.Caller, Callee: x.Callee, Traffic: traffic(x.Traffic)})
	}
	return out
}

func (s stats) History(service string) []web.Point {
	var out []web.Point
	for _, x := range s.hub.History(service) {
		out = append(out, web.Point{At: x.At, Traffic: traffic(x.Traffic), Waiting: x.Waiting, Ready: x.Ready, Desired: x.Desired})
	}
	return out
}
