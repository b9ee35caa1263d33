// Package web serves the JSON API, its event streams and the dashboard on the
// admin address, and is the client that the command line speaks to it with.
//
// The server reads what others own through [Options] and owns nothing but its
// connections. It is made for loopback; beyond it, it demands a token and TLS.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"swell"
	"swell/internal/plan"
)

// Bounds of the server. They are generous for people and tools, and keep a
// client that misbehaves from costing more than its share.
const (
	maxBody      = 4 << 20          // bytes of a manifest
	maxLines     = 5000             // log lines in one answer
	writeTimeout = 15 * time.Second // for one answer, or one event of a stream
	stopTimeout  = 3 * time.Second  // for the answers in flight at the end
)

// Options are the server's sources and switches. State is required; a source
// that is nil is an endpoint that says that it is not available here.
type Options struct {
	// State returns what is true now. It is called at least once a second while
	// somebody looks, from several goroutines, and is cheap.
	State func() State
	// Changed returns a channel that is closed at the next change of instances or
	// decisions. Nil: changes show with the next second.
	Changed func() <-chan struct{}

	Stats     Stats                                   // what the data plane measured; nil shows no traffic
	Decisions func(service string) []swell.Decision   // the kept ones of a service, oldest first
	Logs      Logs                                    // output of instances
	Order     func() []string                         // names of the routes as compiled; nil is as written
	Match     func(method, url string) (string, bool) // the route that a request would take
	Metrics   http.Handler                            // /metrics
	Ready     func() error                            // nil: ready once there is an app

	// Apply checks a manifest and, unless dry, makes it the app. Name is what the
	// caller calls the file, for messages. An error that is an [*Invalid] is the
	// manifest's fault.
	Apply func(ctx context.Context, name string, manifest []byte, dry bool) ([]plan.Change, []Problem, error)
	// Floor keeps a service at no less than n instances until a time.
	Floor func(service string, n int, until time.Time) error

	Token   string      // what clients must send as bearer; "" asks for none
	TLS     *tls.Config // nil is plain HTTP
	Hosts   []string    // names of this server beside loopback's, without port
	Pprof   bool        // serve /debug/pprof/
	Version string      // of Swell
	Log     *slog.Logger
	Streams int // most event streams at a time; 0 is 64
}

// State is what is true now: the app and what was made of it. Its values are
// shared and only read.
type State struct {
	App       swell.App // zero until there is one
	Decisions []swell.Decision
	Instances []swell.Instance
	Trouble   string // why the last plan could not be made true; "" if it could
}

// Stats is what was measured, over the last ten seconds or so. Keys
// are service, instance ID and route name.
type Stats interface {
	Services() map[string]ServiceStat
	Instances() map[string]InstanceStat
	Routes() map[string]Traffic
	Edges() []EdgeStat
	History(service string) []Point // one a second, oldest first
}

// ServiceStat is the traffic of a service with the requests that wait for it.
type ServiceStat struct {
	Traffic
	Waiting int
}

// InstanceStat is the traffic of an instance with what it uses.
type InstanceStat struct {
	Traffic
	CPU    float64 // cores; 0 if unknown
	Memory int64   // bytes; 0 if unknown
}

// EdgeStat is the traffic between two services.
type EdgeStat struct {
	Caller, Callee string
	Traffic
}

// Logs is where the output of instances is kept.
type Logs interface {
	// Tail returns the last n lines of a service, of all if it is "", oldest first.
	Tail(service string, n int) []swell.Line
	// Follow calls f with the lines after since as they come, until ctx ends or f
	// fails, whose error it returns.
	Follow(ctx context.Context, since uint64, f func([]swell.Line) error) error
}

// Server is the admin server. Make one with [New].
type Server struct {
	opt     Options
	log     *slog.Logger
	started time.Time
	frames  *frames
	page    *page
	streams chan struct{} // a token for each stream that is open
	handler http.Handler
}

// New returns a server. It starts nothing.
func New(opt Options) *Server {
	if opt.Streams <= 0 {
		opt.Streams = 64
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: opt, log: opt.Log, started: time.Now(), page: dashboard(), streams: make(chan struct{}, opt.Streams)}
	s.frames = newFrames(s)
	s.handler = s.guard(s.routes())
	return s
}

// Handler serves everything; Run uses it. Event streams need Run.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on l until ctx ends, then ends the streams, lets the answers in
// flight end, and closes l. It refuses a listener beyond loopback if there is no
// token or no TLS. Call it once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if !loopback(l.Addr()) {
		if s.opt.Token == "" || s.opt.TLS == nil {
			return fmt.Errorf("serve the admin address on %s: beyond loopback it needs a token and TLS (whoever reaches it can start programs here); give both, or listen on 127.0.0.1", l.Addr())
		}
	}
	if s.opt.TLS != nil {
		conf := s.opt.TLS.Clone()
		if conf.MinVersion == 0 {
			conf.MinVersion = tls.VersionTLS12
		}
		conf.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, conf)
	}
	// Streams end with this context: a server's Shutdown alone waits for them.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           s.handler,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.frames.run(base) })
	failed := make(chan error, 1)
	wg.Go(func() { failed <- srv.Serve(l) })
	defer wg.Wait()
	select {
	case err := <-failed:
		cancel()
		return fmt.Errorf("serve the admin address: %w", err)
	case <-ctx.Done():
	}
	cancel()
	sctx, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stop()
	if srv.Shutdown(sctx) != nil {
		srv.Close()
	}
	return ctx.Err()
}

func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	get := func(path string, f func(r *http.Request) (any, error)) {
		m.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { answer(w, r, f) })
	}
	post := func(path string, f func(r *http.Request) (any, error)) {
		m.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			answer(w, r, f)
		})
	}
	get("/api/v1/app", s.getApp)
	get("/api/v1/services", s.getServices)
	get("/api/v1/services/{name}", s.getService)
	get("/api/v1/services/{name}/decisions", s.getServiceDecisions)
	get("/api/v1/services/{name}/history", s.getHistory)
	get("/api/v1/instances", s.getInstances)
	get("/api/v1/edges", s.getEdges)
	get("/api/v1/routes", s.getRoutes)
	get("/api/v1/decisions", s.getDecisions)
	get("/api/v1/logs", s.getLogs)
	m.HandleFunc("GET /api/v1/logs/stream", s.streamLogs)
	m.HandleFunc("GET /api/v1/stream", s.streamFrames)
	post("/api/v1/apply", s.postApply)
	post("/api/v1/services/{name}/scale", s.postScale)
	m.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, missing("there is no %s %s; the API is under /api/v1/", r.Method, r.URL.Path))
	})
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	m.HandleFunc("GET /readyz", s.readyz)
	if s.opt.Metrics != nil {
		m.Handle("GET /metrics", s.opt.Metrics)
	}
	if s.opt.Pprof {
		m.HandleFunc("GET /debug/pprof/", pprof.Index)
		m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		m.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	m.Handle("/", s.page)
	return m
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	var err error
	if s.opt.Ready != nil {
		err = s.opt.Ready()
	} else if s.opt.State().App.Name == "" {
		err = errors.New("no manifest was applied yet")
	}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ready: %v\n", err)
		return
	}
	io.WriteString(w, "ready\n")
}
