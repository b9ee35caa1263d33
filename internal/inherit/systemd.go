package inherit

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstFD is the number of the first inherited descriptor (sd_listen_fds(3)).
const firstFD = 3

// Activated returns the sockets that systemd opened for this process, by the
// variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES (sd_listen_fds(3)), and takes
// the variables away, so that no child mistakes them for its own. It is called once.
func Activated() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(v) // its only error is of a name that can't be one
	}
	if pid == "" || count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1<<16 {
		return nil, fmt.Errorf("LISTEN_FDS is %q: it is to be how many sockets there are", count)
	}
	named := strings.Split(names, ":")
	var out []Socket
	for i := range n {
		fd := firstFD + i
		closeOnExec(fd)
		name := ""
		if i < len(named) {
			name = named[i]
		}
		f := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		x := Socket{Name: name, File: f, Network: "?", Addr: "descriptor " + strconv.Itoa(fd)}
		if l, err := net.FileListener(f); err == nil {
			x.Network, x.Addr = l.Addr().Network(), l.Addr().String()
			_ = l.Close()
		} else if c, err := net.FilePacketConn(f); err == nil {
			x.Network, x.Addr = c.LocalAddr().Network(), c.LocalAddr().String()
			_ = c.Close()
		}
		out = append(out, x)
	}
	return out, nil
}

// Notify tells systemd how it is going (sd_notify(3)): lines such as "READY=1" in
// state. It does nothing where NOTIFY_SOCKET is not set.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] != '/' && path[0] != '@' {
		return fmt.Errorf("NOTIFY_SOCKET is %q: only paths and names that begin with @ are known", path)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
