package main

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ours reports whether the other end is a process of the same user, or root's.
func ours(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	same := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		same = err == nil && (cred.Uid == uint32(os.Geteuid()) || cred.Uid == 0)
	})
	return err == nil && same
}
