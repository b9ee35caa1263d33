//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs on one core.
type process struct {
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{}
}

// start runs a command on a core, in dir, with its output in a file there. HOME is
// dir, so that nothing is read from or left in the user's.
func start(dir, name string, core int, command []string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, command...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// anonymous returns the anonymous memory in use by the process and its descendants,
// in bytes.
func (p *process) anonymous() (int64, error) {
	pids, err := p.family()
	if err != nil {
		return 0, err
	}
	var sum int64
	for pid := range pids {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err != nil {
			continue // it ended meanwhile
		}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
				if err != nil {
					return 0, err
				}
				sum += kb << 10
			}
		}
	}
	return sum, nil
}

// ready waits until the origin's answer comes from a port.
func (p *process) ready(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	why := errors.New("nothing was tried")
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not pass the origin's answer on: %w%s", why, p.tail())
		case <-p.ended:
			return fmt.Errorf("it ended%s", p.tail())
		case <-tick.C:
		}
		resp, err := client.Get("http://" + addr(port) + "/")
		if err != nil {
			why = err
			continue
		}
		got, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
		_ = resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK && string(got) == originBody {
			return nil
		}
		why = errors.Join(err, fmt.Errorf("%s %q", resp.Status, got))
	}
}

// tail returns the end of the process's output.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log.Name())
	if b = bytes.TrimSpace(b); err != nil || len(b) == 0 {
		return ""
	}
	return "; it said:\n" + string(b[max(0, len(b)-1500):])
}

// stop ends the process: by SIGTERM, or by SIGKILL if it takes longer than 5 s.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.NewTimer(5 * time.Second)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	_ = p.log.Close()
}

// cpu returns the time that the process and its descendants had of a core.
func (p *process) cpu() (time.Duration, error) {
	pids, err := p.family()
	var sum time.Duration
	for _, t := range pids {
		sum += t
	}
	return sum, err
}

// family returns the process and its descendants, with the CPU time of each.
func (p *process) family() (map[int]time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	parent, used := map[int]int{}, map[int]time.Duration{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		ppid, t, err := parseStat(string(b))
		if err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		parent[pid], used[pid] = ppid, t
	}
	root := p.cmd.Process.Pid
	if _, ok := used[root]; !ok {
		return nil, fmt.Errorf("it ended%s", p.tail())
	}
	for pid := range used {
		up := pid
		for up > 0 && up != root {
			up = parent[up]
		}
		if up != root {
			delete(used, pid)
		}
	}
	return used, nil
}

// tick is the unit of the times in /proc, which is the same on every Linux that Go
// runs on.
const tick = 10 * time.Millisecond

// parseStat reads a process's parent and CPU time, of its own and of the children
// that it waited for.
func parseStat(s string) (ppid int, used time.Duration, err error) {
	i := strings.LastIndexByte(s, ')') // the name before it may hold anything
	f := strings.Fields(s[i+1:])
	if i < 0 || len(f) < 15 {
		return 0, 0, errors.New("it is not in the form that is known")
	}
	if ppid, err = strconv.Atoi(f[1]); err != nil {
		return 0, 0, err
	}
	for _, v := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		used += time.Duration(n) * tick
	}
	return ppid, used, nil
}
