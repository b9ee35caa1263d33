package driver

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"swell"
)

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for range 11 {
		got = append(got, b.next(0))
	}
	want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
	if p := b.next(59 * time.Second); p != 30*time.Second {
		t.Errorf("a minute's loop pauses %v", p)
	}
	if p := b.next(time.Minute); p != 0 {
		t.Errorf("after a minute of service the pause is %v", p)
	}
	if p := b.next(time.Second); p != 100*time.Millisecond {
		t.Errorf("the first failure after that pauses %v", p)
	}
	for range 100 {
		b.next(0)
	}
	if p := b.next(0); p != longPause {
		t.Errorf("after many: %v", p)
	}
}

func TestPortsAreOfOneInstance(t *testing.T) {
	var p ports
	seen := map[int]bool{}
	for n := range 50 {
		port, err := p.take("i"+strconv.Itoa(n), 0)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Errorf("port %d was given twice", port)
		}
		seen[port] = true
		if n%2 == 0 {
			p.give(port) // not given again soon
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := p.take("x", l.Addr().(*net.TCPAddr).Port); err == nil || !strings.Contains(err.Error(), "not of Swell") {
		t.Errorf("a taken port: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	w := swell.Workload{Service: "web", Run: swell.Run{Env: []swell.Pair{{Name: "LANG", Value: "C"}, {Name: "PORT", Value: "1"}, {Name: "X", Value: "${PORT}-${port}"}}}}
	got := environment([]string{"PATH=/bin", "LANG=de", "LC_ALL=de", "AWS_SECRET=s", "TZ=", "odd"}, "web-0-x", w, 80)
	want := []string{"LANG=C", "LC_ALL=de", "PATH=/bin", "PORT=80", "SWELL_INSTANCE=web-0-x", "SWELL_SERVICE=web", "TZ=", "X=80-${port}"}
	if !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
}

func TestHTTPHealth(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/endless":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
			w.WriteHeader(code)
		}
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	for _, c := range []struct {
		path, want string
	}{
		{"/200", ""}, {"204", ""}, {"/302", ""}, {"/endless", ""},
		{"/404", "GET /404 answered 404"}, {"/503", "answered 503"}, {"/slow", "no answer in time"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if c.path == "/slow" || c.path == "/endless" {
			ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		}
		err := check(ctx, swell.Health{Kind: "http", Path: c.path}, addr)
		cancel()
		if got := ""; err != nil {
			if got = err.Error(); c.want == "" || !strings.Contains(got, c.want) {
				t.Errorf("%s: %q, want %q", c.path, got, c.want)
			}
		} else if c.want != "" {
			t.Errorf("%s is healthy, want %q", c.path, c.want)
		}
	}
	s.Close()
	for _, kind := range []string{"http", "tcp", "grpc"} {
		if err := check(t.Context(), swell.Health{Kind: kind, Path: "/"}, addr); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s with nobody there: %v", kind, err)
		}
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newID("cart", 3)
		if !strings.HasPrefix(id, "cart-3-") || len(id) != len("cart-3-")+7 || seen[id] {
			t.Fatalf("ID %s", id)
		}
		seen[id] = true
	}
}
