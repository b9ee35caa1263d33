package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"swell/internal/bench"
	"swell/internal/web"
)

// These tests run the whole program on real processes. They take seconds each;
// SWELL_E2E=60s makes the ones under load as long as that.
func loadTime(t *testing.T) time.Duration {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if d, err := time.ParseDuration(os.Getenv("SWELL_E2E")); err == nil {
		return d
	}
	return 8 * time.Second
}

// program is a running swell.
type program struct {
	*web.Client
	t       *testing.T
	cmd     *exec.Cmd
	gateway string // URL
	file    string
	dir     string
	out     *safeBuffer
	args    []string
	ended   chan error
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startSwell runs swell up on a manifest of services, whose "command" it fills in,
// and waits until it is ready.
func startSwell(t *testing.T, services string) *program {
	t.Helper()
	gateway, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	u := &program{
		Client: web.NewClient("127.0.0.1:"+admin, ""), t: t, dir: dir, file: filepath.Join(dir, "swell.yaml"),
		gateway: "http://127.0.0.1:" + gateway,
		args:    []string{"up", "--plain", "--admin", "127.0.0.1:" + admin, dir},
	}
	u.write(services)
	u.start()
	t.Cleanup(u.stop)
	return u
}

func (u *program) write(services string) {
	u.t.Helper()
	text := fmt.Sprintf("app: test\ngateway:\n  listen: %s\n  routes:\n    - match: {path: /**}\n      to: web\nservices:\n%s",
		strings.TrimPrefix(u.gateway, "http://"), strings.ReplaceAll(services, "SELF", os.Args[0]))
	tmp := u.file + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Rename(tmp, u.file); err != nil {
		u.t.Fatal(err)
	}
}

func (u *program) start() {
	u.t.Helper()
	u.out = &safeBuffer{}
	u.cmd = exec.Command(os.Args[0], u.args...)
	u.cmd.Env = append(os.Environ(), "TEST_SWELL=1")
	u.cmd.Stdout, u.cmd.Stderr = u.out, u.out
	if err := u.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.ended = make(chan error, 1)
	go func(c *exec.Cmd, ended chan error) { ended <- c.Wait() }(u.cmd, u.ended)
	u.until("ready", func() bool { return u.Ready(u.t.Context()) == nil })
}

// until waits for a condition, for half a minute.
func (u *program) until(what string, ok func() bool) {
	u.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case err := <-u.ended:
			u.ended <- err
			u.t.Fatalf("swell ended while waiting until %s: %v\n%s", what, err, u.out)
		default:
		}
	}
	u.t.Fatalf("not so after 30 s: %s\n%s", what, u.out)
}

// untilReady waits until the service has n ready instances.
func (u *program) untilReady(service string, n int) {
	u.t.Helper()
	u.until(fmt.Sprintf("%s has %d ready", service, n), func() bool {
		s, err := u.Service(u.t.Context(), service)
		return err == nil && s.Ready >= n
	})
}

func (u *program) stop() {
	_ = u.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-u.ended:
		u.ended <- err
	case <-time.After(30 * time.Second):
		_ = u.cmd.Process.Kill()
		u.t.Errorf("swell did not stop within 30 s\n%s", u.out)
	}
	if u.t.Failed() {
		u.t.Logf("swell said:\n%s", u.out)
	}
}

// load makes a constant load on the gateway until done is closed, and reports.
func (u *program) load(rate float64, d time.Duration) func() *bench.Report {
	u.t.Helper()
	shape, err := bench.NewShape(bench.ShapeOptions{Name: "constant", Rate: rate, Duration: d})
	if err != nil {
		u.t.Fatal(err)
	}
	result := make(chan *bench.Report, 1)
	go func() {
		r, err := bench.Run(context.Background(), bench.Options{Shape: shape, Targets: []bench.Target{{URL: u.gateway + "/"}}, Timeout: 20 * time.Second})
		if err != nil {
			u.t.Error(err)
		}
		result <- r
	}()
	return func() *bench.Report { return <-result }
}

func (u *program) noFailure(r *bench.Report) {
	u.t.Helper()
	if r == nil || r.Failed > 0 || r.OK == 0 {
		b, _ := json.MarshalIndent(r, "", " ")
		u.t.Errorf("requests failed:\n%.3000s", b)
		return
	}
	u.t.Logf("%d requests, failed %d, p50 %.1f ms, p99 %.1f ms, max %.1f ms", r.Requests, r.Failed, r.Latency.P50*1e3, r.Latency.P99*1e3, r.Latency.Max*1e3)
}

const chain = `
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, CALLEE_URL: "${edge:api.url}", LEVEL: %[1]s}
    uses: [api]
    health: {path: /healthz, interval: 200ms}
    scale: {min: 2, max: 4}
  api:
    command: [SELF]
    env: {TEST_SERVICE: api, LEVEL: %[1]s}
    health: {path: /healthz, interval: 200ms}
    scale: {min: 2, max: 4}
`

// TestKilledInstances kills a random instance every second under load: no GET
// fails.
func TestKilledInstances(t *testing.T) {
	d := loadTime(t)
	u := startSwell(t, fmt.Sprintf(chain, "info"))
	u.untilReady("web", 2)
	u.untilReady("api", 2)
	wait := u.load(200, d)
	killed := 0
	for end := time.Now().Add(d - time.Second); time.Now().Before(end); {
		time.Sleep(time.Second)
		list, err := u.Instances(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		ready := map[string][]web.Instance{}
		for _, i := range list {
			if i.State == "ready" {
				ready[i.Service] = append(ready[i.Service], i)
			}
		}
		for _, name := range []string{"web", "api"} { // one service a second, one of at least two
			if (name == "web") == (killed%2 == 0) && len(ready[name]) >= 2 {
				_ = syscall.Kill(ready[name][rand.IntN(len(ready[name]))].PID, syscall.SIGKILL)
			}
		}
		killed++
	}
	u.noFailure(wait())
	t.Logf("%d instances were killed", killed)
}

// TestChangesUnderLoad rolls every service to another environment and then
// reloads the manifest twenty times a second: no request fails.
func TestChangesUnderLoad(t *testing.T) {
	d := loadTime(t)
	u := startSwell(t, fmt.Sprintf(chain, "info"))
	u.untilReady("web", 2)
	u.untilReady("api", 2)
	wait := u.load(200, d+2*time.Second)
	u.write(fmt.Sprintf(chain, "debug"))
	u.until("the new environment answers", func() bool { return strings.Contains(u.get("/"), `"level":"debug"`) })
	reloads := 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d / 2); time.Now().Before(end); reloads++ {
		<-tick.C
		// What changes needs no roll: the bounds of the replica count, to and fro.
		u.write(strings.ReplaceAll(fmt.Sprintf(chain, "debug"), "max: 4", fmt.Sprint("max: ", 4+reloads%2)))
	}
	u.noFailure(wait())
	t.Logf("%d reloads", reloads)
}

func (u *program) get(path string) string {
	resp, err := http.Get(u.gateway + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestKilledSwell kills Swell itself: no instance is left, and the next start
// works on the same addresses.
func TestKilledSwell(t *testing.T) {
	loadTime(t)
	u := startSwell(t, fmt.Sprintf(chain, "info"))
	u.untilReady("web", 2)
	u.untilReady("api", 2)
	before, err := u.Instances(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-u.ended
	u.start()
	u.untilReady("web", 2)
	u.untilReady("api", 2)
	for _, i := range before {
		if runs(i.PID) {
			t.Errorf("%s (pid %d) was left behind", i.ID, i.PID)
		}
	}
	if got := u.get("/"); !strings.Contains(got, `"service":"web"`) {
		t.Errorf("after the restart: %s", got)
	}
}

// runs reports whether a process is there and not a zombie: where process 1 does
// not reap, dead orphans stay in the table.
func runs(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}

// TestFromZero: the first request starts an instance and is answered when it is
// ready; a thousand that wait all succeed.
func TestFromZero(t *testing.T) {
	loadTime(t)
	u := startSwell(t, `
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, STARTUP: 700ms}
    health: {path: /healthz}
    scale: {min: 0, max: 4, idle: 2s, behavior: {down: {stabilization: 1s}}}
`)
	if s, err := u.Service(t.Context(), "web"); err != nil || s.Ready != 0 {
		t.Fatalf("at the start: %d ready, %v", s.Ready, err)
	}
	const n = 1000
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0, MaxIdleConnsPerHost: n}, Timeout: 25 * time.Second}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, first := 0, time.Time{}
	for i := range n {
		wg.Go(func() {
			resp, err := client.Get(fmt.Sprint(u.gateway, "/", i))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
				t.Log(err)
			} else if first.IsZero() {
				first = time.Now()
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		t.Fatalf("%d of %d waiting requests failed", failed, n)
	}
	list, err := u.Instances(t.Context(), "web")
	if err != nil || len(list) == 0 || list[0].ReadyAt == nil {
		t.Fatalf("instances %v, %v", list, err)
	}
	t.Logf("first answer %v after readiness", first.Sub(*list[0].ReadyAt))
	u.until("it is at zero again", func() bool {
		s, err := u.Service(t.Context(), "web")
		return err == nil && s.Ready == 0 && s.Desired == 0
	})
}

// TestStep multiplies the load by ten and takes it away again.
func TestStep(t *testing.T) {
	loadTime(t)
	// An instance does 2 / 20 ms = 100 a second; its target is 50.
	u := startSwell(t, `
  web:
    command: [SELF]
    env: {TEST_SERVICE: web, WORK: 20ms, WORKERS: "2"}
    health: {path: /healthz}
    scale: {min: 1, max: 20, targets: {rps: 50}, behavior: {down: {stabilization: 3s}}}
`)
	u.untilReady("web", 1)
	shape, err := bench.NewShape(bench.ShapeOptions{Name: "constant", Rate: 20, Duration: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(s bench.Shape) *bench.Report {
		r, err := bench.Run(t.Context(), bench.Options{Shape: s, Targets: []bench.Target{{URL: u.gateway}}, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	u.noFailure(ask(shape))
	start := time.Now()
	if shape, err = bench.NewShape(bench.ShapeOptions{Name: "constant", Rate: 200, Duration: 8 * time.Second}); err != nil {
		t.Fatal(err)
	}
	u.noFailure(ask(shape))
	u.until("it is back at the minimum", func() bool {
		s, err := u.Service(t.Context(), "web")
		return err == nil && s.Ready == 1 && s.Desired == 1
	})
	decisions, err := u.Decisions(t.Context(), "web", 100)
	if err != nil {
		t.Fatal(err)
	}
	const needed = 4 // 200/s at 50/s each
	peak, reversals, last := 0, 0, 0
	for i, d := range decisions {
		if d.At.Before(start) {
			continue
		}
		peak = max(peak, d.Replicas)
		if i > 0 {
			if way := sign(d.Replicas - decisions[i-1].Replicas); way != 0 {
				if last != 0 && way != last {
					reversals++
				}
				last = way
			}
		}
		t.Logf("%5.2fs: %d: %s", d.At.Sub(start).Seconds(), d.Replicas, d.Reason)
	}
	if peak < needed || peak > needed*3/2 {
		t.Errorf("the peak was %d instances; %d are needed, and half more is the most", peak, needed)
	}
	if reversals > 1 {
		t.Errorf("the replica count changed its direction %d times", reversals)
	}
}

func sign(n int) int {
	switch {
	case n > 0:
		return 1
	case n < 0:
		return -1
	}
	return 0
}
