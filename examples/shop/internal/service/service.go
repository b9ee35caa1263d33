// Package service is what the shop's programs in Go share: a server with a pool
// of workers, a health check, graceful stop, log lines in JSON, and calls to
// other services that pass the trace on. It knows nothing of Swell: a program
// reads PORT and the addresses of the others from its environment.
package service

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// Options say how an instance behaves. Flags of the same names change them.
type Options struct {
	Name    string
	Workers int           // requests served at the same time
	Work    time.Duration // that a worker takes for a request
	CPU     time.Duration // the part of Work in which it computes
	Startup time.Duration // from the start until it is ready
	Queue   int           // requests that wait for a worker at most; 512 if 0
	Stop    time.Duration // for the requests in flight after SIGTERM; 20s if 0
}

// Service is one instance of a service.
type Service struct {
	Log *slog.Logger

	options Options
	pool    *Pool
	client  *http.Client
	warm    atomic.Bool // start-up is over
	ready   atomic.Bool // warm, and not stopping

	served, failed, busy atomic.Int64 // since the last line about them; busy in ns
}

// New returns a service that logs to w. It starts nothing.
func New(o Options, w io.Writer) *Service {
	if o.Queue == 0 {
		o.Queue = 512
	}
	if o.Stop == 0 {
		o.Stop = 20 * time.Second
	}
	level := slog.LevelInfo
	if os.Getenv("LOG_LEVEL") == "debug" {
		level = slog.LevelDebug
	}
	return &Service{
		Log:     slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})).With("service", o.Name),
		options: o,
		pool:    NewPool(o.Workers, o.Queue, o.Work, o.CPU),
		client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
			MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
			DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		}},
	}
}

// Main runs a service as a program: it reads flags and the environment, serves
// on PORT until SIGTERM or an interrupt, and exits with 1 if that was impossible.
// HOST is where it listens, 127.0.0.1 if it is not set.
func Main(o Options, handler func(*Service) (http.Handler, error)) {
	flag.IntVar(&o.Workers, "workers", o.Workers, "requests served at the same time")
	flag.DurationVar(&o.Work, "work", o.Work, "time that a worker takes for a request")
	flag.DurationVar(&o.CPU, "cpu", o.CPU, "part of the work in which it computes")
	flag.DurationVar(&o.Startup, "startup", o.Startup, "time from the start until it is ready")
	flag.IntVar(&o.Queue, "queue", o.Queue, "requests that wait for a worker at most (0: 512)")
	flag.Parse()
	if o.Workers < 1 || o.Work < 0 || o.CPU < 0 || o.Startup < 0 || o.Queue < 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: "+o.Name+" [flags]; workers are at least 1, nothing is negative")
		flag.PrintDefaults()
		os.Exit(64)
	}
	s := New(o, os.Stdout)
	if err := s.main(handler); err != nil {
		s.Log.Error("ended", "error", err.Error())
		os.Exit(1)
	}
}

func (s *Service) main(handler func(*Service) (http.Handler, error)) error {
	// An instance is one of many on a machine: one thread for its Go code is enough
	// and spares wake-ups of a second one; its heap is small, so it may grow to five
	// times what is in use before it is collected.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	h, err := handler(s)
	if err != nil {
		return err
	}
	host, port := os.Getenv("HOST"), os.Getenv("PORT")
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		return errors.New("PORT is not set; it says where to listen, as in PORT=8080")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return s.Run(ctx, l, h)
}

// Run serves h on l, with /healthz beside it, until ctx ends; then it finishes
// the requests in flight and closes the idle connections.
func (s *Service) Run(ctx context.Context, l net.Listener, h http.Handler) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("/", s.counted(h))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		// Longer than any proxy keeps an idle connection, so that the proxy is the
		// one that closes it and no request meets a connection being closed.
		IdleTimeout: 5 * time.Minute,
		ErrorLog:    slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	began := time.Now()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	s.Log.Info("listening", "addr", l.Addr().String(), "workers", s.options.Workers,
		"work", s.options.Work.String(), "startup", s.options.Startup.String())

	warm := time.NewTimer(s.options.Startup)
	defer warm.Stop()
	line := time.NewTicker(10 * time.Second)
	defer line.Stop()
	for ctx.Err() == nil {
		select {
		case <-warm.C:
			s.warm.Store(true)
			s.ready.Store(true)
			s.Log.Info("ready", "after_ms", time.Since(began).Milliseconds())
		case <-line.C:
			s.account()
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case <-ctx.Done():
		}
	}
	s.ready.Store(false)
	s.Log.Info("stopping")
	grace, cancel := context.WithTimeout(context.Background(), s.options.Stop)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were still in flight after %v: %w", s.options.Stop, err), server.Close())
	}
	<-served
	s.client.CloseIdleConnections()
	s.account()
	s.Log.Info("stopped")
	return err
}

func (s *Service) health(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// counted refuses requests before the service is warm, and counts the others.
func (s *Service) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		a := &answer{ResponseWriter: w}
		if s.warm.Load() {
			next.ServeHTTP(a, r)
		} else {
			http.Error(a, "not ready", http.StatusServiceUnavailable)
		}
		took := time.Since(began)
		s.served.Add(1)
		s.busy.Add(int64(took))
		if a.status >= 500 {
			s.failed.Add(1)
		}
		s.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", a.status,
			"ms", took.Milliseconds(), "traceparent", r.Header.Get("Traceparent"))
	})
}

// account writes a line about what was served since the last one.
func (s *Service) account() {
	n, failed, busy := s.served.Swap(0), s.failed.Swap(0), s.busy.Swap(0)
	if n > 0 {
		s.Log.Info("served", "requests", n, "failed", failed, "mean_ms", float64(busy/n/1000)/1000)
	}
}

// Work takes a worker's time for a request. If it could not, it answers and
// returns false.
func (s *Service) Work(w http.ResponseWriter, r *http.Request) bool {
	err := s.pool.Do(r.Context())
	if errors.Is(err, ErrFull) {
		w.Header().Set("Retry-After", "1")
		s.Fail(w, r, http.StatusServiceUnavailable, err)
	}
	return err == nil // otherwise the client has left
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Send answers with v as JSON.
func Send(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// Fail answers with an error as JSON, and logs it if it is the service's own.
func (s *Service) Fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	if status >= 500 {
		s.Log.Warn("request failed", "method", r.Method, "path", r.URL.Path, "status", status,
			"error", err.Error(), "traceparent", r.Header.Get("Traceparent"))
	}
	Send(w, status, map[string]string{"error": err.Error()})
}
