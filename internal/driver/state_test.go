package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"swell"
)

// TestKilledSwellLeavesNoOrphans kills a Swell with -9, whose instances have
// children in their groups and outside, and starts another in the same place.
func TestKilledSwellLeavesNoOrphans(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the environment of other processes")
	}
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], dir)
	parent.Env = append(os.Environ(), helperVar+"=swell")
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
	if len(kids) != 4 {
		_ = parent.Process.Kill()
		t.Fatalf("children %v of %q", kids, said)
	}
	runs, err := filepath.Glob(filepath.Join(dir, "run", "*.json"))
	if err != nil || len(runs) != 2 {
		t.Fatalf("run files %q: %v", runs, err)
	}
	var pids []int
	for _, name := range runs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r run
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, r.PID)
	}

	// While it lives, another one is told to stay away.
	other := NewProcess(ProcessOptions{Dir: dir})
	if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another Swell, process "+strconv.Itoa(parent.Process.Pid)) {
		t.Errorf("a second Swell: %v", err)
	}

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	awaitDead(t, pids...) // by the parent-death signal
	lived := 0
	for _, pid := range kids {
		if lives(pid) {
			lived++
		}
	}
	if lived == 0 {
		t.Error("the grandchildren died by themselves: this test shows nothing")
	}

	x := start(t, func(o *ProcessOptions) { o.Dir = dir })
	x.want(helper("serve", 1))
	x.awaitReady("serve", 1)
	awaitDead(t, kids...)
	if !strings.Contains(x.log.String(), "ended what an earlier run left behind") {
		t.Errorf("nobody said so: %s", x.log)
	}
	x.end()
	if left, _ := filepath.Glob(filepath.Join(dir, "run", "*")); len(left) != 0 {
		t.Errorf("run files left: %q", left)
	}
}

// TestReusedNumbersAreSpared leaves run files that name a process which is not
// the one that was started.
func TestReusedNumbersAreSpared(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	bystander := exec.Command(os.Args[0])
	bystander.Env = append(os.Environ(), helperVar+"=sleep")
	bystander.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	pid := bystander.Process.Pid
	began, err := startOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]run{
		"earlier": {Instance: "a-0-x", PID: pid, Start: began + "0", Boot: bootID()},
		"boot":    {Instance: "a-1-x", PID: pid, Start: began, Boot: "another"},
		"init":    {Instance: "a-2-x", PID: 1, Start: "1", Boot: bootID()},
		"zero":    {Instance: "a-3-x", PID: 0, Start: "", Boot: bootID()},
	} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "run", name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "run", "cut"), []byte(`{"instance":"a`), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := openState(dir, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if !lives(pid) {
		t.Error("a bystander was killed")
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "run")); len(left) != 0 {
		t.Errorf("run files left: %v", left)
	}
}

func TestStateDirectoryCantBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := NewProcess(ProcessOptions{Dir: filepath.Join(file, "state")})
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "make the state directory") {
		t.Errorf("Run: %v", err)
	}
	if err := NewProcess(ProcessOptions{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a state directory") {
		t.Errorf("Run without a directory: %v", err)
	}
	if err := d.Apply(context.Background(), []swell.Workload{}); err != ErrStopped {
		t.Errorf("Apply: %v", err)
	}
}
