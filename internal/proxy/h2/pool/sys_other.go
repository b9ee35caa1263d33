//go:build !unix

package pool

import (
	"net"
	"syscall"
)

// rawOf returns nil: every write has a goroutine of its own.
func rawOf(net.Conn) syscall.RawConn { return nil }

func (c *conn) tryWrite(uintptr) bool { return true }
