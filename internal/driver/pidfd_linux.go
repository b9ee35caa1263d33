package driver

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canKeep: instances can outlive the process that started them.
const canKeep = true

// openPidfd holds a process by a descriptor, so that its number can't become
// another's. It works for processes that are not children.
func openPidfd(pid int) (int, error) { return unix.PidfdOpen(pid, 0) }

func closePidfd(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// awaitPidfd returns when the process has ended; at once if there is none.
func awaitPidfd(fd int) {
	if fd < 0 {
		return
	}
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// signalGroup signals the process group that the process leads; false if the kernel
// can't by descriptor (before 6.9).
func signalGroup(fd int, s syscall.Signal) bool {
	if fd < 0 {
		return true // there is nobody
	}
	const group = 1 << 2 // PIDFD_SIGNAL_PROCESS_GROUP
	err := unix.PidfdSendSignal(fd, s, nil, group)
	return err == nil || errors.Is(err, unix.ESRCH)
}

// sameGroup reports whether a group of that number can only be that of an instance
// whose leader has ended: no process has the number itself.
func sameGroup(pid int) bool {
	s, err := readStat(pid, nil)
	return err != nil || s.zombie
}

// exitOf says how a process ended that another one reaps. Since Linux 6.15 its
// descriptor tells (PIDFD_GET_INFO); before that nobody does.
func exitOf(fd int) string {
	const unknown = "ended; how it did is unknown, as the Swell before this one had started it"
	if fd < 0 {
		return unknown
	}
	// struct pidfd_info of linux/pidfd.h, in its size of that version.
	var info struct {
		mask, cgroup    uint64
		pid, tgid, ppid uint32
		ids             [8]uint32
		exit            int32
	}
	const (
		wantExit = 1 << 3 // PIDFD_INFO_EXIT
		getInfo  = 0xc000ff0b | uintptr(unsafe.Sizeof(info))<<16
	)
	// It is told once the process was reaped, which the other one does at once.
	for range 20 {
		info.mask = wantExit
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getInfo, uintptr(unsafe.Pointer(&info))); errno != 0 {
			return unknown
		}
		if info.mask&wantExit != 0 {
			break
		}
		_, _ = unix.Poll(nil, 10) // its only outcome is that the time is over
	}
	if info.mask&wantExit == 0 {
		return unknown
	}
	ws := syscall.WaitStatus(info.exit)
	if ws.Signaled() {
		return "killed by " + signalName(ws.Signal())
	}
	return fmt.Sprintf("exited with code %d", ws.ExitStatus())
}
