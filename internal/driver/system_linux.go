package driver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent has the kernel kill the child when the thread that forks it ends:
// a Swell that is killed with -9 takes its instances with it.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// awaitExit returns when the child has ended, and leaves it to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// signalName is "SIGKILL" and the like.
func signalName(s syscall.Signal) string {
	if n := unix.SignalName(s); n != "" {
		return n
	}
	return "signal " + strconv.Itoa(int(s))
}

// bootID names this run of the machine: start times count from it.
var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// startOf returns when the process started, in the kernel's words.
func startOf(pid int) (string, error) {
	s, err := readStat(pid, nil)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(s.start, 10), nil
}

// stat is what /proc/PID/stat says of a process.
type stat struct {
	pid, parent, group int
	zombie             bool
	ticks              uint64 // of CPU: its own, and of children that it has reaped
	start              uint64 // ticks since the machine's start
	pages              int64  // resident
}

// readStat reads /proc/PID/stat with the buffer.
func readStat(pid int, buf []byte) (stat, error) {
	if len(buf) == 0 {
		buf = make([]byte, 1024)
	}
	// The system calls themselves: os.File would register each with the poller.
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return stat{}, err
	}
	n, err := unix.Read(fd, buf)
	_ = unix.Close(fd)
	if err != nil {
		return stat{}, err
	}
	return parseStat(buf[:n])
}

// parseStat reads the line of proc(5). The second field, the program's name in
// parentheses, may hold anything.
func parseStat(b []byte) (stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || end < open {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", b)
	}
	var s stat
	var err error
	if s.pid, err = strconv.Atoi(string(b[:open-1])); err != nil {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", b)
	}
	field := 2 // counted as in proc(5), from 1
	for f := range bytes.FieldsSeq(b[end+1:]) {
		field++
		var v uint64
		switch field {
		case 3:
			s.zombie = f[0] == 'Z' || f[0] == 'X'
			continue
		case 4, 5, 14, 15, 16, 17, 22, 24:
			if v, err = strconv.ParseUint(string(f), 10, 64); err != nil {
				return stat{}, fmt.Errorf("field %d of /proc/%d/stat: %w", field, s.pid, err)
			}
		}
		switch field {
		case 4:
			s.parent = int(v)
		case 5:
			s.group = int(v)
		case 14, 15, 16, 17:
			s.ticks += v
		case 22:
			s.start = v
		case 24:
			s.pages = int64(v)
			return s, nil
		}
	}
	return stat{}, fmt.Errorf("/proc/%d/stat ends after field %d", s.pid, field)
}

// pids returns the numbers of all processes.
func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]int, 0, len(names))
	for _, n := range names {
		if n[0] < '0' || n[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out, nil
}

// groupAlive reports whether a process of the group has not ended.
func groupAlive(group int) bool {
	all, err := pids()
	if err != nil {
		return false
	}
	var buf [1024]byte
	for _, pid := range all {
		if s, err := readStat(pid, buf[:]); err == nil && s.group == group && !s.zombie {
			return true
		}
	}
	return false
}

// killMarked kills every process that carries the instance's mark in its
// environment: descendants that left its process group. after, if not 0, is a
// process that is older than all of them, or the same. It returns how many.
func killMarked(instance string, after int) (n int) {
	all, err := pids()
	if err != nil {
		return 0
	}
	var buf [1024]byte
	var since uint64
	if s, err := readStat(after, buf[:]); after != 0 && err == nil {
		since = s.start
	}
	for _, pid := range all {
		if pid == os.Getpid() {
			continue
		}
		s, err := readStat(pid, buf[:])
		if err != nil || s.start < since || s.zombie || !marked(pid, instance) {
			continue
		}
		// Held by a descriptor, the number can't become another process's.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if marked(pid, instance) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			n++
		}
		_ = unix.Close(fd)
	}
	return n
}

// marked reports whether the process has the instance's mark.
func marked(pid int, instance string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	want := []byte(marker + "=" + instance)
	for len(b) > 0 {
		v, rest, _ := bytes.Cut(b, []byte{0})
		if bytes.Equal(v, want) {
			return true
		}
		b = rest
	}
	return false
}
