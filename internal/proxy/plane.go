package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"swell"
	"swell/internal/balance"
	"swell/internal/filter"
	"swell/internal/plug"
	"swell/internal/proxy/cert"
	"swell/internal/proxy/h1"
	"swell/internal/telemetry"
)

// Options are what a plane is made of. Hub is needed; the rest has defaults.
type Options struct {
	Hub  *telemetry.Hub
	Book Book // a *TCP if nil
	// Dial connects to an endpoint; TCP if nil.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// AccessLog gets one Write for each line; they may come from several goroutines
	// at once. io.Discard if nil.
	AccessLog io.Writer
	Log       *slog.Logger // slog.Default() if nil
	// ID names the plane among those of an application, for which endpoints it uses
	// where it is not to use all; it should stay the same over restarts.
	ID   string
	Zone string // where the plane is, for services that prefer endpoints near by; "" is unknown
	// Refused is told of a snapshot that could not be used, with the reason, and
	// with nil of one that is in use. It may be nil.
	Refused func(error)

	Certs  cert.Options   // Log and Expiry in it are ignored
	Limits h1.Limits      // of every client, where the snapshot says nothing
	Pool   h1.PoolOptions // Dial in it is ignored
	Drain  time.Duration  // how long exchanges in flight may go on at the end; h1's default if 0
}

// Plane is a data plane. Its methods may be called from any goroutine.
type Plane struct {
	opt       Options
	balancers *plug.Kind[balance.Maker]
	filters   *plug.Kind[filter.Maker]
	env       filter.Env
	states    sync.Pool

	notReady, unmatched, full, refusals *telemetry.Counter
	shook12, shook13                    *telemetry.Counter // TLS handshakes that went well, by version

	certs   *cert.Keeper
	gate    gate
	sparing sparing // with what clients can make it log

	table atomic.Pointer[table]

	use1   sync.Mutex // one snapshot at a time; also guards fronts
	fronts map[frontKey]*front

	tasks   sync.Mutex      // guards what follows
	running context.Context // of probers and checks; nil before Run and after its end
	wg      sync.WaitGroup
	known   map[string][]*endpoint // by ID, until they are done
	changed chan struct{}          // closed when known or the table changed
	handed  atomic.Int64           // how long the drain may take once another process serves too; see HandOver
	died    chan error             // of a listener that failed
}

// New makes a plane; it starts nothing.
func New(opt Options) *Plane {
	if opt.Book == nil {
		opt.Book = new(TCP)
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.AccessLog == nil {
		opt.AccessLog = io.Discard
	}
	if opt.Dial == nil {
		d := &net.Dialer{KeepAlive: 30 * time.Second}
		opt.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	p := &Plane{
		opt: opt, balancers: balance.Kind(), filters: filter.Kind(),
		known:   map[string][]*endpoint{},
		changed: make(chan struct{}), died: make(chan error, 1),
		notReady:  opt.Hub.Count("swell_gateway_not_ready_total"),
		unmatched: opt.Hub.Count("swell_gateway_unmatched_total"),
		full:      opt.Hub.Count("swell_hold_refused_total"),
		refusals:  opt.Hub.Count("swell_snapshots_refused_total"),
	}
	p.shook12 = opt.Hub.Count("swell_tls_handshakes_total", "result", "ok", "version", "1.2")
	p.shook13 = opt.Hub.Count("swell_tls_handshakes_total", "result", "ok", "version", "1.3")
	certs := opt.Certs
	certs.Log, certs.Expiry = opt.Log, opt.Hub.SetCertificates
	p.certs = cert.NewKeeper(certs)
	p.gate.set(&swell.Gateway{}, opt.Limits)
	p.states.New = func() any { return new(state) }
	p.env = p.newEnv()
	return p
}

// Run follows feed until ctx ends, then drains: it stops to accept, lets the
// exchanges in flight end, and returns ctx's error. A listener that fails for good
// ends it with that reason.
func (p *Plane) Run(ctx context.Context, feed swell.Feed) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.tasks.Lock()
	p.running = running
	p.tasks.Unlock()

	keep, release := context.WithCancel(running)
	p.wg.Go(func() { _ = p.certs.Run(keep) })

	follow, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := make(chan error, 1)
	go func() { followed <- feed.Follow(follow, p.install) }()
	var err error
	select {
	case err = <-followed:
	case err = <-p.died:
		cancel()
		<-followed
	}
	release() // while challenges of an authority are still answered

	p.use1.Lock()
	fronts := p.fronts
	p.fronts = nil
	p.use1.Unlock()
	if p.handed.Load() > 0 {
		p.stopAll(fronts)
	}
	// The gateway first and the edges once it is done: what came in by it still has
	// calls to make.
	for _, edges := range []bool{false, true} {
		for w, f := range fronts {
			if (w.edge != swell.Edge{}) == edges {
				f.stop()
			}
		}
		for w, f := range fronts {
			if (w.edge != swell.Edge{}) == edges {
				<-f.ended
			}
		}
	}
	p.tasks.Lock()
	p.running = nil
	p.tasks.Unlock()
	stop()
	p.wg.Wait()
	p.use1.Lock()
	if t := p.table.Load(); t != nil {
		for _, to := range t.services {
			to.service.transport.Load().Close()
		}
	}
	p.use1.Unlock()
	return errors.Join(err, p.opt.Book.Close())
}

// Ready reports whether the plane has a table.
func (p *Plane) Ready() bool { return p.table.Load() != nil }

// Version returns the version of the snapshot in use; 0 if there is none.
func (p *Plane) Version() uint64 {
	if t := p.table.Load(); t != nil {
		return t.snapshot.Version
	}
	return 0
}

// Address returns where the caller of an edge reaches its callee through this plane.
func (p *Plane) Address(edge swell.Edge) (string, error) { return p.opt.Book.Address(edge) }

// spawn runs a task of its own until it ends, the function that is returned is
// called, or the plane ends.
func (p *Plane) spawn(task func(context.Context)) (stop func()) {
	p.tasks.Lock()
	defer p.tasks.Unlock()
	if p.running == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(p.running)
	p.wg.Go(func() {
		defer cancel()
		task(ctx)
	})
	return cancel
}
