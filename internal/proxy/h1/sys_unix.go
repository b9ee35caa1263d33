//go:build unix && !linux

package h1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const sockets = true // a descriptor is worth asking for

// hungUp reports that the peer closed its side of the socket or broke it. Behind
// bytes that nobody read yet it sees nothing.
func hungUp(fd uintptr) bool {
	var b [1]byte
	n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
}

// quiet reports that the socket is open and nothing is there to be read.
func quiet(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}

// readNow reads what is there. again says that nothing is, yet.
func readNow(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), b)
		switch err {
		case nil:
			return n, false, nil
		case syscall.EAGAIN:
			return 0, true, nil
		case syscall.EINTR:
		default:
			return 0, false, err
		}
	}
}
