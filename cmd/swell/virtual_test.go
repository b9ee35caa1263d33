package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"swell"
	"swell/internal/bench"
	"swell/internal/driver"
	"swell/internal/life"
	"swell/internal/manifest"
	"swell/internal/proxy"
)

const virtualManifest = `
app: virtual
gateway:
  listen: 10.0.0.1:80
  routes:
    - match: {path: /**}
      to: web
services:
  web:
    command: [web]
    uses: [api]
    scale: {min: 1, max: 20, targets: {rps: 10}, behavior: {down: {stabilization: 2m}}}
  api:
    command: [api]
    scale: {min: 1, max: 20, targets: {concurrency: 2}, behavior: {down: {stabilization: 2m}}}
`

// TestAnHourInVirtualTime runs the whole of Swell, from the manifest to the
// decisions and back, against an hour of a recorded trace: the real control loop,
// planner, autoscaler, telemetry, supervisor and data plane, with simulated
// instances that speak real HTTP over connections in memory.
func TestAnHourInVirtualTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	file, err := os.Open("testdata/worldcup98_hour.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	trace, err := bench.ReadTrace(file, file.Name())
	if err != nil {
		t.Fatal(err)
	}
	const peak = 24.0
	shape, err := bench.NewShape(bench.ShapeOptions{Name: "trace", Trace: trace, Peak: peak})
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse([]manifest.File{{Name: "swell.yaml", Data: []byte(virtualManifest)}}, manifestOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()

	synctest.Test(t, func(t *testing.T) {
		network := &proxy.Memory{}
		toAPI, err := network.Address(swell.Edge{Caller: "web", Callee: "api"})
		if err != nil {
			t.Fatal(err)
		}
		st := newStack(parts{
			book: network, dial: network.Dial, log: slog.New(slog.DiscardHandler),
			driver: func(quiet func(context.Context, string) error, sink swell.Sink) runner {
				return driver.NewSimulated(driver.SimulatedOptions{
					Quiet: quiet, Sink: sink,
					Startup: func(swell.Workload, int) time.Duration { return 2 * time.Second },
					Up:      func(i swell.Instance) func() { return serveVirtual(t, network, i, toAPI) },
				})
			},
		})
		st.app.Set(m.App)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- life.Run(ctx, st.layers()...) }()
		if err := st.ready(ctx); err != nil {
			t.Fatal(err)
		}

		var hours, ideal float64 // instance-seconds of web, and what a perfect scaler would have used
		most := 0.0
		start := time.Now()
		r, err := bench.Run(ctx, bench.Options{
			Shape: shape, Targets: []bench.Target{{URL: "http://10.0.0.1:80/"}}, Poisson: true, Seed: 1,
			Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return network.Dial(ctx, addr) },
			Progress: func(bench.Progress) {
				seen, _ := st.instances.Get()
				n := 0.0
				for _, i := range seen {
					if i.Service == "web" && i.State == swell.Ready {
						n++
					}
				}
				hours += n
				most = max(most, n)
				ideal += max(1, shape.At(time.Since(start))/10)
			},
		})
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed > 0 || !r.Complete || r.Seconds < 3590 {
			b, _ := json.Marshal(r.Failures)
			t.Errorf("%d of %d requests failed in %.0f s: %s", r.Failed, r.Requests, r.Seconds, b)
		}
		decisions := st.scaler.Decisions("web")
		t.Logf("%d requests in %v: p50 %.0f ms, p99 %.0f ms; instance-seconds %.0f, %.2f of the ideal, at most %.0f; %d decisions",
			r.Requests, time.Since(start), r.Latency.P50*1e3, r.Latency.P99*1e3, hours, hours/ideal, most, len(decisions))
		if most < peak/10 || most > 1.5*peak/10+1 {
			t.Errorf("at most %.0f instances; the peak needs %.1f", most, peak/10)
		}
		if hours/ideal > 2 {
			t.Errorf("%.2f times the instances that the load needed", hours/ideal)
		}
		if r.Latency.P99 > 2 {
			t.Errorf("p99 is %.2f s: the load was followed too late", r.Latency.P99)
		}
		if len(decisions) < 2 || len(decisions) > 60 {
			t.Errorf("%d changes in an hour", len(decisions))
		}
	})
	t.Logf("it took %v", time.Since(began).Round(time.Millisecond))
}

// serveVirtual serves HTTP for an instance, on the network in memory: four
// workers, 100 ms a request, and web asks api for each.
func serveVirtual(t *testing.T, network *proxy.Memory, i swell.Instance, toAPI string) (down func()) {
	l, err := network.Listen(i.Service, i.Addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	calls := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return network.Dial(ctx, addr) },
	}}
	workers := make(chan struct{}, 4)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		workers <- struct{}{}
		time.Sleep(100 * time.Millisecond)
		<-workers
		if i.Service == "web" {
			resp, err := calls.Get("http://" + toAPI + "/")
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
		}
		_, _ = w.Write([]byte("ok"))
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	return func() {
		_ = srv.Close()
		calls.CloseIdleConnections()
		<-ended
	}
}
