package driver

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dieWithParent does nothing here: there is no parent-death signal. The next
// start of Swell ends what a killed one left behind.
func dieWithParent(*syscall.SysProcAttr) {}

// awaitExit returns when the child has ended, and leaves it to be reaped.
func awaitExit(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return // the reaping that follows waits as well
	}
	defer unix.Close(kq)
	want := []unix.Kevent_t{{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD | unix.EV_ONESHOT, Fflags: unix.NOTE_EXIT}}
	got := make([]unix.Kevent_t, 1)
	for {
		_, err := unix.Kevent(kq, want, got, nil)
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

// bootID names this run of the machine. Start times are dates here: "" will do.
func bootID() string { return "" }

// startOf returns when the process started.
func startOf(pid int) (string, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", err
	}
	t := k.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", t.Sec, t.Usec), nil
}

// zombie is the state SZOMB of sys/proc.h.
const zombie = 5

// groupAlive reports whether a process of the group has not ended.
func groupAlive(group int) bool {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", group)
	if err != nil {
		return false
	}
	for _, p := range all {
		if p.Proc.P_stat != zombie {
			return true
		}
	}
	return false
}

// killMarked does nothing here: another process's environment can't be read.
// Descendants that leave their process group are on their own.
func killMarked(string, int) int { return 0 }

// meter would need calls that Go can't make without C: here is no usage, and
// policies go by requests alone.
type meter struct{}

func (*meter) measure(map[int]string, time.Time) []Usage { return nil }
