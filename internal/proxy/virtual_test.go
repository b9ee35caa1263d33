package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"swell"
	"swell/internal/telemetry"
)

// inMemory runs a plane in virtual time on a network in memory. Its gateway is at
// "gw:80".
func inMemory(t *testing.T, story func(t *testing.T, m *Memory, p *Plane, feed *cellFeed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := new(Memory)
		p := New(Options{Hub: telemetry.New(telemetry.Options{}), Book: m, Dial: m.Dial, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		feed := &cellFeed{refused: make(chan error, 8)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); p.Run(ctx, feed) }()
		story(t, m, p, feed)
		cancel()
		<-ended
	})
}

// ask sends one request over a connection of its own.
func (m *Memory) ask(ctx context.Context, addr, method, path string) (status int, body string, err error) {
	c, err := m.Dial(ctx, addr)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", method, path)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

// serve is an instance in memory.
func (m *Memory) serve(t *testing.T, addr string, handle http.HandlerFunc) (kill func()) {
	l, err := m.Listen("instance", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handle}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	return func() { s.Close(); <-done }
}

func TestTimesAreKept(t *testing.T) {
	inMemory(t, func(t *testing.T, m *Memory, p *Plane, feed *cellFeed) {
		held := to("held")
		held.Hold = swell.Hold{Max: 10, Timeout: 3 * time.Second}
		slow := to("slow", "10.0.0.1:80")
		slow.Use = []swell.Use{{Name: "timeout", Options: []byte(`{"request":"2s","attempt":"500ms"}`)}, {Name: "retry", Options: []byte(`{"on":["timeout"],"attempts":2,"backoff":"0s"}`)}}
		snap := one(held)
		snap.Version, snap.Gateway.Listen = 1, "gw:80"
		snap.Upstreams = append(snap.Upstreams, slow)
		snap.Gateway.Routes = append(snap.Gateway.Routes, swell.Route{Name: "slow", Match: swell.Match{Path: "/slow"}, To: []swell.Target{{Service: "slow", Weight: 1}}})
		var hits atomic.Int64
		kill := m.serve(t, "10.0.0.1:80", func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		})
		defer kill()
		feed.Set(snap)
		synctest.Wait()
		measure := func(path string, want int, least, most time.Duration) {
			t.Helper()
			start := time.Now()
			status, body, err := m.ask(t.Context(), "gw:80", "GET", path)
			if took := time.Since(start); err != nil || status != want || took < least || took > most {
				t.Errorf("%s: %d %q %v after %v; want %d within %v and %v", path, status, body, err, took, want, least, most)
			}
		}
		measure("/", 504, 3*time.Second, 3100*time.Millisecond)
		measure("/slow", 504, time.Second, 1200*time.Millisecond)
		if hits.Load() != 2 {
			t.Errorf("%d attempts, want 2", hits.Load())
		}
	})
}

// An endpoint that refuses is asked again after 50 ms, then less and less often.
func TestProbesBackOff(t *testing.T) {
	inMemory(t, func(t *testing.T, m *Memory, p *Plane, feed *cellFeed) {
		snap := one(to("s", "10.0.0.1:80"))
		snap.Version, snap.Gateway.Listen = 1, "gw:80"
		feed.Set(snap)
		synctest.Wait()
		got := make(chan string, 1)
		start := time.Now()
		go func() {
			status, body, err := m.ask(t.Context(), "gw:80", "GET", "/")
			got <- fmt.Sprintf("%d %s %v %v", status, body, err, time.Since(start).Round(10*time.Millisecond))
		}()
		time.Sleep(4 * time.Second) // probes were at 50, 150, 350, 750, 1550, 3150 ms
		kill := m.serve(t, "10.0.0.1:80", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
		defer kill()
		if s, want := <-got, "200 ok <nil> 6.35s"; s != want { // 50 ms + 100 + … + 3200
			t.Errorf("got %s, want %s", s, want)
		}
	})
}

func TestMemoryIsABook(t *testing.T) {
	m := new(Memory)
	e := swell.Edge{Caller: "a", Callee: "b"}
	x, _ := m.Address(e)
	y, _ := m.Address(e)
	z, _ := m.Address(swell.Edge{Caller: "a", Callee: "c"})
	if x != y || x == z {
		t.Errorf("addresses %s, %s, %s", x, y, z)
	}
	l, err := m.Listen("test", x)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Listen("test", x); err == nil {
		t.Error("listened twice")
	}
	c, err := m.Dial(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that nobody accepted outlives its listener")
	}
	if _, err := m.Dial(t.Context(), x); err == nil {
		t.Error("dialled where nobody listens")
	}
	if _, err := m.Listen("test", x); err != nil {
		t.Errorf("not free after it was closed: %v", err)
	}
}
