package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"swell"
	"swell/internal/exchange"
)

// answering is a transport that answers every request alike, and keeps the last.
type answering struct {
	status         int
	body           string
	field, status2 string // grpc-status as a field, as a trailer
	err            error
	hang           bool
	asked          string
	target         string
}

func (a *answering) RoundTrip(x *exchange.Exchange, addr string) error {
	a.target = x.Request.Method + " " + string(x.Request.Host) + string(x.Request.Target)
	a.asked = ""
	for x.Request.Body != nil {
		b, err := x.Request.Body.Next()
		if err == io.EOF {
			break
		}
		a.asked += string(b)
	}
	if a.hang {
		left := make(chan struct{})
		if !x.Leash.Hold(cutFunc(func() { close(left) })) {
			return exchange.ErrGone
		}
		<-left
		return exchange.ErrGone
	}
	if a.err != nil {
		return a.err
	}
	x.Response.Status = a.status
	if a.body != "" {
		x.Response.Body = exchange.Bytes([]byte(a.body))
	}
	if a.field != "" {
		x.Response.Header.AddName("grpc-status", a.field)
	}
	if a.status2 != "" {
		x.Response.Trailer.AddName("Grpc-Status", a.status2)
	}
	return nil
}
func (a *answering) Keep([]string) {}
func (a *answering) Close()        {}

type cutFunc func()

func (f cutFunc) Cut() { f() }

func TestHealthByGRPC(t *testing.T) {
	const serves = "\x00\x00\x00\x00\x02\x08\x01"
	long := strings.Repeat("s", 200)
	for _, c := range []struct {
		name    string
		via     answering
		service string
		asked   string
		want    string // in the error; "" is none
	}{
		{"serving", answering{status: 200, body: serves, status2: "0"}, "", "\x00\x00\x00\x00\x00", ""},
		{"a service", answering{status: 200, body: serves, status2: "0"}, "shop.Cart", "\x00\x00\x00\x00\x0b\x0a\x09shop.Cart", ""},
		{"a long name", answering{status: 200, body: serves, status2: "0"}, long, "\x00\x00\x00\x00\xcb\x0a\xc8\x01" + long, ""},
		{"not serving", answering{status: 200, body: "\x00\x00\x00\x00\x02\x08\x02", status2: "0"}, "", "", "not serving"},
		{"unknown, which is an empty message", answering{status: 200, body: "\x00\x00\x00\x00\x00", status2: "0"}, "", "", "not serving"},
		{"an unknown service", answering{status: 200, field: "5"}, "x", "", `grpc-status "5"`},
		{"no health service", answering{status: 200, status2: "12"}, "", "", `grpc-status "12"`},
		{"no gRPC", answering{status: 404}, "", "", "HTTP status 404"},
		{"no status", answering{status: 200, body: serves}, "", "", "grpc-status"},
		{"too much", answering{status: 200, body: strings.Repeat("x", 100), status2: "0"}, "", "", "longer"},
		{"refused", answering{err: errors.New("nobody there")}, "", "", "nobody there"},
		{"hanging", answering{hang: true}, "", "", "client left"},
	} {
		limit := patience
		if c.via.hang {
			limit = 20 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := askGRPC(ctx, &c.via, "10.0.0.1:80", c.service)
		cancel()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if c.asked != "" && c.via.asked != c.asked {
			t.Errorf("%s: asked %q", c.name, c.via.asked)
		}
		if c.via.target != "POST 10.0.0.1:80/grpc.health.v1.Health/Check" {
			t.Errorf("%s: %s", c.name, c.via.target)
		}
	}
}

func TestHealthByHTTP2(t *testing.T) {
	for status, ok := range map[int]bool{200: true, 204: true, 302: true, 404: false, 503: false} {
		via := answering{status: status}
		if err := askHTTP2(t.Context(), &via, "a:1", "/healthz"); (err == nil) != ok {
			t.Errorf("status %d: %v", status, err)
		}
		if via.target != "GET a:1/healthz" {
			t.Error(via.target)
		}
	}
	via := answering{hang: true}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := askHTTP2(ctx, &via, "a:1", "/"); err == nil {
		t.Error("a check that hangs does not end")
	}
}

// Against gRPC's own health server, over connections of the service.
func TestActiveChecksByGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, h := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, h)
	h.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })

	b := newBed(t)
	u := to("s", l.Addr().String(), newUpstream(t, nil).addr)
	u.Protocol = swell.GRPC
	u.Endpoints[0].Revision = "" // Swell doesn't run it
	u.Health = swell.Health{Kind: "grpc", Path: "shop.Cart", Interval: 10 * time.Millisecond, Timeout: patience, Failures: 2}
	b.set(one(u))
	e := b.endpoint("s", l.Addr().String())
	s := b.plane.table.Load().services["s"].service
	if err := s.check(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	h.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	b.wait("it is out", e.Out)
	h.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)
	b.wait("it is in again", func() bool { return !e.Out() })
	s.mu.Lock()
	s.health.Path = "shop.Nothing"
	s.mu.Unlock()
	if err := s.check(t.Context(), e); err == nil || !strings.Contains(err.Error(), `grpc-status "5"`) {
		t.Errorf("an unknown service: %v", err)
	}
}
