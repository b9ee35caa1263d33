package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"swell"
)

// Failures of one of three instances under load, found out by the data plane alone:
// no idempotent request fails, whatever the instance does.

// failing3 is a service with two good instances and one at addr, which retries what
// may be tried again and gives each attempt so long.
func failing3(t *testing.T, balancer, addr string, attempt time.Duration) *swell.Snapshot {
	good := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }
	u := to("s", newUpstream(t, good).addr, newUpstream(t, good).addr, addr)
	u.Balance.Name = balancer
	if balancer == "maglev" || balancer == "ring-hash" {
		u.Balance.Options = json.RawMessage(`{"by":"path"}`)
	}
	u.Use = []swell.Use{
		{Name: "timeout", Options: json.RawMessage(`{"request":"30s","attempt":"` + attempt.String() + `"}`)},
		{Name: "retry", Options: json.RawMessage(`{"on":["connect","reset","timeout","503"],"attempts":3,"budget":"20%"}`)},
	}
	return one(u)
}

var allBalancers = []string{"p2c", "round-robin", "least-connections", "random", "ip-hash", "maglev", "ring-hash"}

// spreads reports whether a balancer goes on to choose an endpoint that does badly,
// until it is taken out.
func spreads(balancer string) bool {
	return balancer == "round-robin" || balancer == "random" || balancer == "maglev" || balancer == "ring-hash"
}

// under sends GETs for a while and wants all to succeed.
func under(t *testing.T, b *bed, meanwhile func()) {
	t.Helper()
	var l load
	stop := make(chan struct{})
	l.run(t, 6, stop, func(c *http.Client, i int) (*http.Response, error) {
		return c.Get(fmt.Sprint("http://", b.addr, "/", i))
	})
	meanwhile()
	close(stop)
	l.verdict(t)
}

// until waits for a condition, but no longer than the tests of this package do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

func TestFailureReset(t *testing.T) {
	for _, balancer := range allBalancers {
		t.Run(balancer, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var hits atomic.Int64
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Read(make([]byte, 1)) // the request comes, and the connection is reset
					hits.Add(1)
					c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
			})
			t.Cleanup(func() { l.Close(); wg.Wait() })
			b := newBed(t)
			b.set(failing3(t, balancer, l.Addr().String(), patience))
			under(t, b, func() {
				if balancer != "ip-hash" { // one client: one endpoint
					until(t, "some were reset", func() bool { return hits.Load() > 0 })
				}
				time.Sleep(300 * time.Millisecond)
			})
		})
	}
}

func TestFailure503(t *testing.T) {
	for _, balancer := range allBalancers {
		t.Run(balancer, func(t *testing.T) {
			t.Parallel()
			bad := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
			b := newBed(t)
			b.set(failing3(t, balancer, bad.addr, patience))
			e := b.endpoint("s", bad.addr)
			under(t, b, func() {
				if spreads(balancer) {
					until(t, "it is out", e.Out)
				}
				time.Sleep(300 * time.Millisecond)
			})
		})
	}
}

// An instance that accepts connections and answers nothing: the attempt's time is
// over, and another one is asked.
func TestFailureHang(t *testing.T) {
	for _, balancer := range allBalancers {
		t.Run(balancer, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			var hits atomic.Int64
			stuck := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				select {
				case <-release:
				case <-r.Context().Done():
				}
			})
			b := newBed(t)
			b.set(failing3(t, balancer, stuck.addr, 500*time.Millisecond))
			e := b.endpoint("s", stuck.addr)
			under(t, b, func() {
				if spreads(balancer) {
					until(t, "it is out", e.Out)
				}
				time.Sleep(600 * time.Millisecond)
			})
			if balancer == "p2c" && hits.Load() > 20 {
				t.Errorf("%d requests went to an instance that answers none", hits.Load())
			}
			close(release)
		})
	}
}

// An instance that is slow at first, as one that has just begun: it is spared, and
// nothing fails.
func TestFailureSlowStart(t *testing.T) {
	for _, balancer := range allBalancers {
		t.Run(balancer, func(t *testing.T) {
			t.Parallel()
			var begun atomic.Int64
			cold := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				begun.CompareAndSwap(0, time.Now().UnixNano())
				if age := time.Since(time.Unix(0, begun.Load())); age < 500*time.Millisecond {
					time.Sleep((500*time.Millisecond - age) / 5)
				}
				io.WriteString(w, "ok")
			})
			b := newBed(t)
			s := failing3(t, balancer, cold.addr, patience)
			s.Upstreams[0].Spread.SlowStart = 500 * time.Millisecond
			late := *s
			late.Upstreams = append([]swell.Upstream(nil), s.Upstreams...)
			late.Upstreams[0].Endpoints = s.Upstreams[0].Endpoints[:2]
			b.set(&late)
			under(t, b, func() {
				time.Sleep(100 * time.Millisecond)
				b.set(s)
				time.Sleep(700 * time.Millisecond)
			})
		})
	}
}

// TestMain lets the test be an instance of itself: a process that can be stopped.
func TestMain(m *testing.M) {
	if os.Getenv("SWELL_TEST_INSTANCE") == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString(l.Addr().String() + "\n")
	go func() { // it ends with whoever started it
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
}

// process is an instance that is a process.
func process(t *testing.T) (addr string, p *os.Process) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SWELL_TEST_INSTANCE=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil || n < 2 {
		t.Fatalf("the instance said %q, %v", line[:n], err)
	}
	return string(line[:n-1]), cmd.Process
}

// SIGSTOP: the kernel goes on accepting connections, and nobody answers. Then SIGCONT:
// it is used again.
func TestFailureStopped(t *testing.T) {
	addr, p := process(t)
	b := newBed(t)
	s := failing3(t, "round-robin", addr, 500*time.Millisecond)
	s.Upstreams[0].Health = swell.Health{Kind: "http", Path: "/", Timeout: 300 * time.Millisecond}
	s.Upstreams[0].Outliers = swell.Outliers{Consecutive: 3, Base: 200 * time.Millisecond, Longest: 200 * time.Millisecond}
	b.set(s)
	e := b.endpoint("s", addr)
	under(t, b, func() {
		time.Sleep(100 * time.Millisecond)
		p.Signal(syscall.SIGSTOP)
		until(t, "it is out", e.Out)
		time.Sleep(time.Second) // probes that connect, and are not answered
		if !e.Out() {
			t.Error("it is in though it answers nothing")
		}
		p.Signal(syscall.SIGCONT)
		until(t, "it is in again", func() bool { return !e.Out() })
	})
}

// kill -9: connections break, then nobody listens.
func TestFailureKilled(t *testing.T) {
	for _, balancer := range []string{"p2c", "round-robin", "maglev"} {
		t.Run(balancer, func(t *testing.T) {
			addr, p := process(t)
			b := newBed(t)
			b.set(failing3(t, balancer, addr, patience))
			under(t, b, func() {
				time.Sleep(100 * time.Millisecond)
				p.Kill()
				if balancer == "round-robin" {
					until(t, "it is out", b.endpoint("s", addr).Out)
				}
				time.Sleep(200 * time.Millisecond)
			})
		})
	}
}
