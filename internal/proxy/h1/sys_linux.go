package h1

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const sockets = true // a descriptor is worth asking for

// farewell tells whether the peer closed its side of the socket, or all of it was
// broken, also behind bytes that nobody read yet.
func farewell(fd uintptr) parting {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	zero := unix.Timespec{}
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p[0])), 1, uintptr(unsafe.Pointer(&zero)), 0, 0, 0)
	switch {
	case int(n) <= 0:
		return present
	case p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0:
		return broken
	case p[0].Revents&unix.POLLRDHUP != 0:
		return finished
	}
	return present
}

// quiet reports that the socket is open and nothing is there to be read.
func quiet(fd uintptr) bool {
	var b [1]byte
	_, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return e == syscall.EAGAIN
}

// readNow reads what is there. again says that nothing is, yet.
func readNow(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		switch e {
		case 0:
			return int(r), false, nil
		case syscall.EAGAIN:
			return 0, true, nil
		case syscall.EINTR:
		default:
			return 0, false, e
		}
	}
}

// sendNow writes what the socket takes. again says that it takes nothing, yet.
func sendNow(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			return int(r), false, nil
		case syscall.EAGAIN:
			return 0, true, nil
		case syscall.EINTR:
		default:
			return 0, false, e
		}
	}
}
