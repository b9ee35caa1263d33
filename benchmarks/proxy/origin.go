//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// originBody is what every request is answered with: 55 bytes.
const originBody = "The tide goes out, the tide comes in; the harbour holds"

// maxHead bounds a request's head.
const maxHead = 16 << 10

// originMain serves originBody on the address that is its argument, whatever is
// asked for. It is one thread and one epoll, without a scheduler or a parser in
// between, so that it leaves the load's core to the load. Requests have no body.
func originMain(args []string) error {
	runtime.LockOSThread()
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	listener := int(file.Fd())
	if err := unix.SetNonblock(listener, true); err != nil {
		return err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	watch := func(fd int) error {
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := watch(listener); err != nil {
		return err
	}
	answer := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		len(originBody), originBody))
	begun := map[int][]byte{} // heads that came in part
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, maxHead)
	for {
		n, err := unix.EpollWait(poll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:n] {
			fd := int(e.Fd)
			if fd == listener {
				if c, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
					_ = unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
					if watch(c) != nil {
						_ = unix.Close(c)
					}
				}
				continue
			}
			if !serve(fd, buf, begun, answer) {
				delete(begun, fd)
				_ = unix.Close(fd)
			}
		}
	}
}

// serve reads what there is and answers each head that is complete. It returns
// false if the connection is to be closed.
func serve(fd int, buf []byte, begun map[int][]byte, answer []byte) bool {
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || n <= 0 {
		return false
	}
	in := buf[:n]
	if part := begun[fd]; part != nil {
		in = append(part, in...)
		delete(begun, fd)
	}
	for {
		end := bytes.Index(in, []byte("\r\n\r\n"))
		if end < 0 {
			break
		}
		in = in[end+4:]
		// The answer is small and the peer reads it: the socket has room for it.
		if w, err := unix.Write(fd, answer); err != nil || w < len(answer) {
			return false
		}
	}
	if len(in) > maxHead {
		return false
	}
	if len(in) > 0 {
		begun[fd] = bytes.Clone(in)
	}
	return true
}
