package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"swell"
	"swell/internal/driver/drivertest"
)

func TestContractOfProcess(t *testing.T) {
	plain := func(t *testing.T, f func(*testing.T)) { f(t) }
	drivertest.Run(t, plain, func(t *testing.T) drivertest.Subject {
		broken := helper("serve", 1)
		broken.Run.Command = []string{"no-such-program"}
		return drivertest.Subject{
			Driver: NewProcess(ProcessOptions{Dir: t.TempDir()}), Workload: helper("serve", 1), Broken: broken,
			Crash:  func(i swell.Instance) { _ = syscall.Kill(i.PID, syscall.SIGKILL) },
			Within: time.Minute,
		}
	})
}

func TestCrashLoopTellsWhy(t *testing.T) {
	x := start(t)
	x.want(helper("crash", 1))
	var loop swell.Instance
	x.await("a crash loop", func(all []swell.Instance) bool {
		for _, i := range all {
			if i.State == swell.Starting && i.Restarts >= 3 && i.PID == 0 {
				loop = i
				return true
			}
		}
		return false
	})
	for _, want := range []string{"crash loop", "exited with code 3", "no database at db:5432", "next start in"} {
		if !strings.Contains(loop.Reason, want) {
			t.Errorf("reason %q does not say %q", loop.Reason, want)
		}
	}
}

func TestIgnoredSIGTERMIsKilled(t *testing.T) {
	x := start(t)
	w := helper("stubborn", 1)
	w.Stop.Grace = 200 * time.Millisecond
	x.want(w)
	i := x.awaitReady("stubborn", 1)[0]
	x.want()
	gone := x.awaitGone(i.ID)
	if !strings.Contains(gone.Reason, "SIGKILL") {
		t.Errorf("reason: %q", gone.Reason)
	}
	awaitDead(t, i.PID)
}

func TestGracefulEndOfProcess(t *testing.T) {
	x := start(t)
	x.want(helper("serve", 1))
	i := x.awaitReady("serve", 1)[0]
	x.want()
	if gone := x.awaitGone(i.ID); gone.Reason != "ended as planned: exited with code 0" {
		t.Errorf("reason: %q", gone.Reason)
	}
	x.awaitLine("serve", func(l swell.Line) bool { return l.Stream == "stdout" && l.Text == "bye" })
}

func TestGroupMayEndGracefully(t *testing.T) {
	x := start(t)
	x.want(helper("shell", 1))
	i := x.awaitReady("shell", 1)[0]
	x.want()
	x.awaitGone(i.ID)
	x.awaitLine("shell", func(l swell.Line) bool { return l.Text == "all done" })
}

// children returns the process numbers that n instances of family told.
func children(lines []string) (pids []int) {
	for _, l := range lines {
		if s, ok := strings.CutPrefix(l, "child "); ok {
			if pid, err := strconv.Atoi(s); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestGrandchildrenDieToo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descendants that left their group are found on Linux alone")
	}
	for _, how := range []string{"planned", "crashed"} {
		t.Run(how, func(t *testing.T) {
			x := start(t)
			x.want(helper("family", 1))
			i := x.awaitReady("family", 1)[0]
			var said []string
			for _, l := range x.Tail("family", 100) {
				said = append(said, l.Text)
			}
			kids := children(said)
			if len(kids) != 2 {
				t.Fatalf("children %v of %q", kids, said)
			}
			if how == "crashed" {
				_ = syscall.Kill(i.PID, syscall.SIGKILL)
			} else {
				// The child in the group dies of SIGTERM; so does the one outside, later.
				x.want()
			}
			x.awaitGone(i.ID)
			awaitDead(t, append(kids, i.PID)...)
		})
	}
}

func TestWhatCantBeStarted(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := start(t)
	for _, c := range []struct {
		name    string
		command []string
		dir     string
		want    []string
	}{
		{"not in PATH", []string{"no-such-program"}, dir, []string{"service broken", "no-such-program is not in PATH (", os.Getenv("PATH"), dir}},
		{"in the directory", []string{"plain"}, dir, []string{"plain is not in PATH"}},
		{"not there", []string{"./bin/web"}, dir, []string{"service broken: program ./bin/web is not there", filepath.Join(dir, "bin/web"), dir, "is it built?"}},
		{"not executable", []string{"./plain"}, dir, []string{"./plain can't be run", plain + " is not executable"}},
		{"a directory", []string{dir}, dir, []string{dir + " is a directory"}},
		{"no directory", []string{"sh"}, "/no/such/dir", []string{"working directory /no/such/dir is not there"}},
		{"a file for a directory", []string{"sh"}, plain, []string{plain + " is not a directory"}},
		{"no command", nil, dir, []string{"service broken: it has no command"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := helper("serve", 1)
			w.Service, w.Run.Command, w.Run.Dir = "broken", c.command, c.dir
			err := x.Apply(t.Context(), []swell.Workload{w, helper("serve", 1)})
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %q", err, want)
				}
			}
			x.awaitReady("serve", 1)
			x.want()
			x.awaitReady("broken", 0)
		})
	}
}

func TestProgramThatComesLaterIsStarted(t *testing.T) {
	x := start(t)
	w := helper("serve", 1)
	program := filepath.Join(t.TempDir(), "late")
	real := w.Run.Command[0]
	w.Run.Command = []string{program}
	if err := x.Apply(t.Context(), []swell.Workload{w}); err == nil {
		t.Fatal("accepted")
	}
	x.await("a reason", func(all []swell.Instance) bool {
		for _, i := range all {
			if strings.Contains(i.Reason, "is not there") {
				return true
			}
		}
		return false
	})
	if err := os.Symlink(real, program); err != nil {
		t.Fatal(err)
	}
	x.awaitReady("serve", 1)
}

func TestNoInterpreter(t *testing.T) {
	x := start(t)
	w := helper("serve", 1)
	w.Run.Command = []string{filepath.Join(t.TempDir(), "script")}
	if err := os.WriteFile(w.Run.Command[0], []byte("echo hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	x.want(w)
	x.await("a reason", func(all []swell.Instance) bool {
		for _, i := range all {
			if strings.Contains(i.Reason, "whose first line is not #!") {
				return true
			}
		}
		return false
	})
}

func TestNeverReadyProcess(t *testing.T) {
	x := start(t)
	w := helper("sleep", 1)
	w.Health.Start, w.Stop.Grace = 300*time.Millisecond, time.Second
	x.want(w)
	var first swell.Instance
	x.await("an end", func(all []swell.Instance) bool {
		for _, i := range all {
			if i.Restarts == 0 && i.State == swell.Gone {
				first = i
				return true
			}
		}
		return false
	})
	for _, want := range []string{"did not get ready within 300ms", "connection refused"} {
		if !strings.Contains(first.Reason, want) {
			t.Errorf("reason %q does not say %q", first.Reason, want)
		}
	}
	awaitDead(t, first.PID)
}

func TestPortAndEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_PARENT", "secret")
	x := start(t)
	w := helper("echo", 1, "--listen", "127.0.0.1:${PORT}", "--twice=${PORT}${PORT}")
	w.Run.Env = append(w.Run.Env, swell.Pair{Name: "URL", Value: "http://me:${PORT}/"})
	x.want(w)
	i := x.awaitReady("echo", 1)[0]
	_, port, _ := net.SplitHostPort(i.Addr)
	var said []string
	for _, l := range x.Tail("echo", 100) {
		said = append(said, l.Text)
	}
	for _, want := range []string{
		"args --listen 127.0.0.1:" + port + " --twice=" + port + port, "URL=http://me:" + port + "/",
		"PORT=" + port, "HOME=" + os.Getenv("HOME"), "SWELL_SERVICE=echo", "SECRET_OF_THE_PARENT=",
	} {
		if !slices.Contains(said, want) {
			t.Errorf("%q was not said, but %q", want, said)
		}
	}
}

func TestFixedPort(t *testing.T) {
	x := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	w := helper("serve", 1)
	w.Run.Port = port
	w.Run.Env = append(w.Run.Env, swell.Pair{Name: "PORT", Value: strconv.Itoa(port)})
	x.want(w)
	taken := fmt.Sprintf("port %d is fixed and taken by a program that is not of Swell", port)
	reason := func(want string) {
		t.Helper()
		x.await(want, func(all []swell.Instance) bool {
			return slices.ContainsFunc(all, func(i swell.Instance) bool { return strings.Contains(i.Reason, want) })
		})
	}
	reason(taken)
	_ = l.Close()
	one := x.awaitReady("serve", 1)[0]
	if one.Addr != fmt.Sprintf("127.0.0.1:%d", port) {
		t.Errorf("it is at %s", one.Addr)
	}
	w.Replicas = 2
	x.want(w)
	reason(fmt.Sprintf("port %d is fixed and instance %s listens there", port, one.ID))
	w.Replicas = 1
	x.want(w)
	if again := x.awaitReady("serve", 1)[0]; again.ID != one.ID {
		t.Errorf("%s is left of two, want the ready %s", again.ID, one.ID)
	}

	// A new revision can't be ready beside the old one: the old one makes way.
	w2 := w
	w2.Revision = "r2"
	x.want(w, w2)
	x.await("the new revision", func(all []swell.Instance) bool {
		return slices.ContainsFunc(all, func(i swell.Instance) bool { return i.Revision == "r2" && i.State == swell.Ready })
	})
	x.want(w2)
	x.awaitReady("serve", 1)
}

func TestLivenessOfProcess(t *testing.T) {
	x := start(t)
	x.want(helper("serve", 1))
	i := x.awaitReady("serve", 1)[0]
	answer, err := http.Get("http://" + i.Addr + "/hang")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	gone := x.awaitGone(i.ID)
	if want := "failed 3 health checks in a row: GET / answered 500"; !strings.Contains(gone.Reason, want) {
		t.Errorf("reason %q, want %q", gone.Reason, want)
	}
	x.awaitReady("serve", 1)
}

func TestGRPCAndTCPHealth(t *testing.T) {
	x := start(t)
	g := helper("grpc", 1)
	g.Health.Kind, g.Health.Path = "grpc", "shop"
	s := helper("serve", 1)
	s.Health.Kind, s.Health.Path = "tcp", ""
	x.want(g, s)
	i := x.awaitReady("grpc", 1)[0]
	if d := i.ReadyAt.Sub(i.Created); d < 200*time.Millisecond {
		t.Errorf("ready after %v, before it was SERVING", d)
	}
	x.awaitReady("serve", 1)
}

func TestQuietBeforeSIGTERM(t *testing.T) {
	asked := make(chan string, 1)
	release := make(chan struct{})
	x := start(t, func(o *ProcessOptions) {
		o.Quiet = func(ctx context.Context, id string) error {
			asked <- id
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	w := helper("serve", 1)
	w.Stop.Drain = time.Minute
	x.want(w)
	i := x.awaitReady("serve", 1)[0]
	x.want()
	if id := <-asked; id != i.ID {
		t.Errorf("Quiet was asked for %s", id)
	}
	answer, err := http.Get("http://" + i.Addr + "/")
	if err != nil {
		t.Fatalf("it serves no more while exchanges are in flight: %v", err)
	}
	_ = answer.Body.Close()
	close(release)
	x.awaitGone(i.ID)
}

func TestUsageOfBusyProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("usage is measured on Linux alone")
	}
	s := &signals{}
	x := start(t, func(o *ProcessOptions) { o.Sink = s })
	x.want(helper("busy", 1), helper("serve", 1))
	busy := x.awaitReady("busy", 1)[0]
	idle := x.awaitReady("serve", 1)[0]
	// A loaded machine may give it less, never more than about a core.
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var most float64
		var memory int64
		for _, g := range s.of(busy.ID) {
			most, memory = max(most, g.CPU), g.Memory
			if g.CPU > 1.3 {
				t.Errorf("%.2f cores of one busy thread", g.CPU)
			}
			if g.Source != "driver" || g.Service != "busy" || g.Window <= 0 {
				t.Errorf("signal %+v", g)
			}
		}
		if most > 0.25 && memory > 1<<20 && len(s.of(idle.ID)) > 1 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no busy process was seen: %+v", s.of(busy.ID))
		}
	}
}

// signals is a sink.
type signals struct {
	mu  sync.Mutex
	all []swell.Signal
}

func (s *signals) Report(_ context.Context, got []swell.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, got...)
	return nil
}

func (s *signals) of(id string) (out []swell.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.all {
		if g.Instance == id {
			out = append(out, g)
		}
	}
	return out
}

// TestNothingLeaks runs many short lives and compares descriptors and goroutines.
func TestNothingLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted in /proc")
	}
	count := func() (fds, routines int) {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d), runtime.NumGoroutine()
	}
	x := start(t)
	x.want(helper("serve", 1))
	x.awaitReady("serve", 1)
	fds, routines := count()
	for range 5 {
		x.want(helper("serve", 3), helper("grpc", 0))
		for _, i := range x.awaitReady("serve", 3) {
			_ = syscall.Kill(i.PID, syscall.SIGKILL)
		}
		x.awaitReady("serve", 3)
		x.want(helper("serve", 1))
		x.awaitReady("serve", 1)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		f, r := count()
		if f <= fds+3 && r <= routines+3 { // a probe may be on its way
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("descriptors %d, were %d; goroutines %d, were %d", f, fds, r, routines)
		}
	}
}

// BenchmarkIdle is what watching ten idle instances costs: health checks each
// second, and usage.
func BenchmarkIdle(b *testing.B) {
	d := NewProcess(ProcessOptions{Dir: b.TempDir(), Sink: &signals{}})
	w := helper("serve", 10)
	w.Health.Interval = time.Second
	if err := d.Apply(b.Context(), []swell.Workload{w}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	ready := errors.New("ready")
	_ = d.Watch(ctx, func(all []swell.Instance) error {
		for _, i := range all {
			if i.State != swell.Ready {
				return nil
			}
		}
		if len(all) < 10 {
			return nil
		}
		return ready
	})
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, at := used(), time.Now()
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric(100*(used()-before).Seconds()/time.Since(at).Seconds(), "%core")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
