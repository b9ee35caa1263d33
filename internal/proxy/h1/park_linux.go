package h1

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller waits for many sockets: an epoll instance, for which Go's own poller waits in turn.
type poller struct {
	f   *os.File
	raw syscall.RawConn
	fd  int
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	f := os.NewFile(uintptr(fd), "epoll")
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &poller{f: f, raw: raw, fd: fd}, nil
}

// wait waits once until the socket fd has something to be read or was closed; again
// says that it was waited for before.
func (p *poller) wait(fd int, again bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	op := unix.EPOLL_CTL_ADD
	if again {
		op = unix.EPOLL_CTL_MOD
	}
	return unix.EpollCtl(p.fd, op, fd, &e)
}

// run tells of the sockets until close.
func (p *poller) run(told func(fd int32)) {
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			for {
				var e error
				if n, e = unix.EpollWait(int(fd), events[:], 0); e != unix.EINTR {
					return n > 0
				}
			}
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			told(e.Fd)
		}
	}
}

// close ends run.
func (p *poller) close() { _ = p.f.Close() }
