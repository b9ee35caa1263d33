//go:build unix

package pool

import (
	"net"
	"syscall"
)

// rawOf returns the descriptor of a connection that is a socket itself; nil
// without one, as under TLS.
func rawOf(nc net.Conn) syscall.RawConn {
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// tryWrite gives the socket of c.try what it takes at once.
func (c *conn) tryWrite(fd uintptr) bool {
	for c.tried < len(c.try) {
		n, err := syscall.Write(int(fd), c.try[c.tried:])
		switch err {
		case nil:
			c.tried += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true
		default:
			c.tryE = err
			return true
		}
	}
	return true
}
