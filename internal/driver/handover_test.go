package driver

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"swell"
)

// keeperOf is the command of the keeper of a folder.
func keeperOf(dir string) []string {
	return []string{"/usr/bin/env", helperVar + "=keep", os.Args[0], dir}
}

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("instances can be handed over on Linux alone")
	}
}

// keepIn makes a driver of the folder with a keeper.
func keepIn(dir string) func(*ProcessOptions) {
	return func(o *ProcessOptions) { o.Dir, o.Keeper = dir, keeperOf(dir) }
}

// next hands everything from one driver to a new one.
func (x *tester) next() *tester {
	x.Helper()
	h, files, err := x.Freeze(x.Context())
	if err != nil {
		x.Fatal(err)
	}
	y := prepare(x.T, keepIn(x.dir))
	y.dir = x.dir
	if err := y.Adopt(h, files); err != nil {
		x.Fatal(err)
	}
	x.Release()
	y.begin()
	return y
}

func (x *tester) pids(service string) map[int]bool {
	out := map[int]bool{}
	for _, i := range x.now() {
		if i.Service == service && i.State == swell.Ready {
			out[i.PID] = true
		}
	}
	return out
}

func (x *tester) now() (now []swell.Instance) {
	_ = x.Watch(context.Background(), func(all []swell.Instance) error { now = all; return context.Canceled })
	return now
}

// ticks checks that the lines of a service count on from n, whole, and returns the
// next number.
func (x *tester) ticks(n int) int {
	x.Helper()
	for _, l := range x.Tail("tick", 1<<20) {
		if l.Stream != "stdout" {
			continue
		}
		if strings.Contains(l.Text, "bye") {
			break // what it says at its end comes in between
		}
		if want := fmt.Sprintf("tick %d", n); l.Text != want {
			x.Fatalf("line %q, want %q", l.Text, want)
		}
		n++
	}
	return n
}

// TestHandover hands instances from driver to driver: none is restarted, no line of
// output is lost or broken, and the last driver ends them all.
func TestHandover(t *testing.T) {
	onLinux(t)
	x := start(t, keepIn(t.TempDir()))
	crash := helper("crash", 1)
	want := []swell.Workload{crash, helper("serve", 2), helper("tick", 1)}
	x.want(want...)
	x.awaitReady("serve", 2)
	x.awaitReady("tick", 1)
	serve, tick := x.pids("serve"), x.pids("tick")
	n := 0
	for range 3 {
		y := x.next()
		y.want(want...)
		x.end()
		if n = x.ticks(n); n == 0 {
			t.Error("no output")
		}
		before := len(y.Tail("tick", 1<<20))
		y.until("output goes on", func() bool { return len(y.Tail("tick", 1<<20)) > before+20 })
		if got := y.pids("serve"); fmt.Sprint(got) != fmt.Sprint(serve) {
			t.Fatalf("serve was %v, is %v", serve, got)
		}
		if got := y.pids("tick"); fmt.Sprint(got) != fmt.Sprint(tick) {
			t.Fatalf("tick was %v, is %v", tick, got)
		}
		x = y
	}
	// The crash loop is known for what it is.
	x.until("the restarts go on counting", func() bool {
		for _, i := range x.now() {
			if i.Service == "crash" && i.Restarts >= 2 && strings.Contains(i.Reason, "crash loop") {
				return true
			}
		}
		return false
	})
	// One that is killed gets a successor.
	for pid := range serve {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		delete(serve, pid)
		break
	}
	x.until("there is another", func() bool {
		got := x.pids("serve")
		for pid := range serve {
			if !got[pid] {
				t.Fatalf("%d ended too", pid)
			}
		}
		return len(got) == 2 && fmt.Sprint(got) != fmt.Sprint(serve)
	})
	pids := x.pids("serve")
	x.end()
	n = x.ticks(n)
	t.Logf("%d lines", n)
	for pid := range pids {
		awaitDead(t, pid)
	}
	for pid := range tick {
		awaitDead(t, pid)
	}
	if left, _ := os.ReadDir(x.dir + "/run"); len(left) > 0 {
		t.Errorf("run files are left: %v", left)
	}
}

// TestFreezeTakenBack: what happened meanwhile is seen afterwards, and no line lost.
func TestFreezeTakenBack(t *testing.T) {
	onLinux(t)
	x := start(t, keepIn(t.TempDir()))
	x.want(helper("serve", 1), helper("tick", 1))
	x.awaitReady("serve", 1)
	x.awaitReady("tick", 1)
	for range 3 {
		_, files, err := x.Freeze(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.Freeze(t.Context()); err == nil {
			t.Error("frozen twice")
		}
		closeAll(files)
		x.Thaw()
		before := len(x.Tail("tick", 1<<20))
		x.until("output goes on", func() bool { return len(x.Tail("tick", 1<<20)) > before })
	}
	_, files, err := x.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := x.pids("serve")
	for pid := range old {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		awaitDead(t, pid)
	}
	closeAll(files)
	x.Thaw()
	x.until("there is another", func() bool {
		got := x.pids("serve")
		return len(got) == 1 && fmt.Sprint(got) != fmt.Sprint(old)
	})
	x.end()
	x.ticks(0)
}

// TestAdoptedDead: an instance that ends while it changes hands is started again.
func TestAdoptedDead(t *testing.T) {
	onLinux(t)
	x := start(t, keepIn(t.TempDir()))
	w := helper("serve", 1)
	x.want(w)
	x.awaitReady("serve", 1)
	h, files, err := x.Freeze(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := h.Slots[0].Instance.PID
	x.Release()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	awaitDead(t, pid)
	y := prepare(t, keepIn(x.dir))
	if err := y.Adopt(h, files); err != nil {
		t.Fatal(err)
	}
	y.begin()
	y.want(w)
	y.until("there is another", func() bool { got := y.pids("serve"); return len(got) == 1 && !got[pid] })
	x.end()
	y.end()
}

// TestNoHandoverWithoutKeeper: the instances would die with the process.
func TestNoHandoverWithoutKeeper(t *testing.T) {
	x := start(t)
	x.want(helper("serve", 1))
	x.awaitReady("serve", 1)
	if _, _, err := x.Freeze(t.Context()); err == nil {
		t.Error("they were handed over")
	}
	if _, _, err := NewSimulated(SimulatedOptions{}).Freeze(t.Context()); err == nil {
		t.Error("a simulation was handed over")
	}
}

// TestKeeperEndsWhatIsLeft kills a Swell with -9: its keeper ends the instances and
// what they had started, though nobody comes after.
func TestKeeperEndsWhatIsLeft(t *testing.T) {
	onLinux(t)
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], dir)
	parent.Env = append(os.Environ(), helperVar+"=kept")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	ready := 0
	for lines := bufio.NewScanner(out); ready < 2 && lines.Scan(); {
		stream, text, _ := strings.Cut(lines.Text(), " ")
		if said = append(said, text); stream == "swell" && strings.HasPrefix(text, "ready") {
			ready++
		}
	}
	kids := children(said)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	if len(kids) != 4 {
		t.Fatalf("children %v of %q", kids, said)
	}
	awaitDead(t, kids...)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left, _ := os.ReadDir(dir + "/run"); len(left) == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("run files are left: %v", left)
		}
	}
	// And another may come at once.
	x := start(t, keepIn(dir))
	x.want(helper("serve", 1))
	x.awaitReady("serve", 1)
}
