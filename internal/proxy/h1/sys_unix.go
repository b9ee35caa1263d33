//go:build unix && !linux

package h1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const sockets = true // a descriptor is worth asking for

// farewell tells whether the peer closed its side of the socket, or all of it was
// broken. Behind bytes that nobody read yet it sees nothing.
func farewell(fd uintptr) parting {
	var b [1]byte
	n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case n == 0 && err == nil:
		return finished
	case err != nil && err != syscall.EAGAIN && err != syscall.EINTR:
		return broken
	}
	return present
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

// sendNow writes what the socket takes. again says that it takes nothing, yet.
func sendNow(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Write(int(fd), b)
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
