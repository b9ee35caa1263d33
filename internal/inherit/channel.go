package inherit

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Channel carries messages, JSON values with open files, between two processes of
// this machine, over a pair of connected sockets. One goroutine may receive; any
// number may send.
type Channel struct {
	conn *net.UnixConn
	mu   sync.Mutex // of sending
}

// Bounds of a message.
const (
	maxMessage  = 64 << 20
	maxFiles    = 1 << 16
	filesAtOnce = 200 // the kernel's limit is 253 (SCM_MAX_FD)
)

// Pair makes a channel and the file of its other end, which is for a child.
func Pair() (*Channel, *os.File, error) {
	syscall.ForkLock.RLock() // no child is forked before the mark is there
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "channel")
	ours, err := Open(os.NewFile(uintptr(fds[0]), "channel"))
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Open makes a channel of the end that a parent gave, and closes the file.
func Open(f *os.File) (*Channel, error) {
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open the channel between two processes: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("open the channel between two processes: it is no Unix socket")
	}
	return &Channel{conn: u}, nil
}

// File returns a duplicate of this end, to be handed on.
func (c *Channel) File() (*os.File, error) { return duplicate(c.conn) }

// Deadline bounds sends and receives; zero is no bound.
func (c *Channel) Deadline(t time.Time) { _ = c.conn.SetDeadline(t) }

// Close closes this end; the other one sees io.EOF.
func (c *Channel) Close() error { return c.conn.Close() }

// Send sends v with files. The files stay the caller's; the other end gets
// duplicates.
func (c *Channel) Send(v any, files ...*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("send between processes: %w", err)
	}
	if len(b) > maxMessage || len(files) > maxFiles {
		return fmt.Errorf("send between processes: %d bytes and %d files are too much", len(b), len(files))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var head [8]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(b)))
	binary.BigEndian.PutUint32(head[4:], uint32(len(files)))
	if _, err := c.conn.Write(head[:]); err != nil {
		return fmt.Errorf("send between processes: %w", err)
	}
	for len(files) > 0 {
		n := min(len(files), filesAtOnce)
		err := withFDs(files[:n], nil, func(fds []int) error {
			// One byte carries them: a read never goes beyond what came with files.
			n, oob, err := c.conn.WriteMsgUnix([]byte{'F'}, unix.UnixRights(fds...), nil)
			if err == nil && (n != 1 || oob == 0) {
				err = io.ErrShortWrite
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("send files between processes: %w", err)
		}
		files = files[n:]
	}
	if _, err := c.conn.Write(b); err != nil {
		return fmt.Errorf("send between processes: %w", err)
	}
	return nil
}

// withFDs calls use with the files' descriptors, all of them held open.
func withFDs(files []*os.File, fds []int, use func([]int) error) error {
	if len(files) == 0 {
		return use(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var used error
	err = raw.Control(func(fd uintptr) { used = withFDs(files[1:], append(fds, int(fd)), use) })
	return errors.Join(err, used)
}

// Receive waits for the next message and reads it into v. The files are the
// caller's.
func (c *Channel) Receive(v any) ([]*os.File, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, fmt.Errorf("receive between processes: %w", err)
	}
	size, count := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if size > maxMessage || count > maxFiles {
		return nil, fmt.Errorf("receive between processes: %d bytes and %d files are too much", size, count)
	}
	var files []*os.File
	fail := func(err error) ([]*os.File, error) {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, fmt.Errorf("receive between processes: %w", err)
	}
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4*filesAtOnce))
	for uint32(len(files)) < count {
		n, m, flags, _, err := c.conn.ReadMsgUnix(b[:], oob)
		if err != nil {
			return fail(err)
		}
		before := len(files)
		files = append(files, rights(oob[:m])...)
		if n == 0 {
			return fail(io.ErrUnexpectedEOF)
		}
		if flags&unix.MSG_CTRUNC != 0 || len(files) == before {
			return fail(errors.New("files were lost; perhaps too many are open (ulimit -n)"))
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return fail(err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fail(err)
	}
	return files, nil
}

// rights are the files that came with a byte.
func rights(oob []byte) (out []*os.File) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			out = append(out, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return out
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// duplicate is a copy of the descriptor of something with a SyscallConn. The file
// finds the mode (whether it blocks) as it is and leaves it so.
func duplicate(of any) (*os.File, error) {
	s, ok := of.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T has no descriptor: %w", of, errors.ErrUnsupported)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(p uintptr) { fd, failed = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return os.NewFile(uintptr(fd), "duplicate"), nil
}
