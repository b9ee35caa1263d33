//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// originBody is what every request is answered with: 55 bytes.
const originBody = "The tide goes out, the tide comes in; the harbour holds"

// maxHead bounds a request's head.
const maxHead = 16 << 10

// originMain serves originBody on the address that is its first argument, and on as
// many more addresses of loopback as its second one says, whatever is asked for. It is one thread and one epoll, without a scheduler or a parser in
// between, so that it leaves the load's core to the load. Requests have no body.
func originMain(args []string) error {
	runtime.LockOSThread()
	all := args[:1]
	if len(args) > 1 {
		more, err := strconv.Atoi(args[1])
		_, port, perr := net.SplitHostPort(args[0])
		if err := errors.Join(err, perr); err != nil {
			return err
		}
		for i := range more {
			all = append(all, spare(i, port))
		}
	}
	listeners := map[int]*os.File{}
	for _, a := range all {
		l, err := net.Listen("tcp4", a)
		if err != nil {
			return err
		}
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		_ = l.Close()
		if err := unix.SetNonblock(int(file.Fd()), true); err != nil {
			return err
		}
		listeners[int(file.Fd())] = file
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	watch := func(fd int) error {
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	for listener := range listeners {
		if err := watch(listener); err != nil {
			return err
		}
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
			if listeners[fd] != nil {
				if c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
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

// spare is the i-th further address of the origin.
func spare(i int, port string) string {
	return net.JoinHostPort(fmt.Sprintf("127.1.%d.%d", i/250, i%250+1), port)
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
