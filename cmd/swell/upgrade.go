package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/driver"
	"swell/internal/inherit"
	"swell/internal/scale"
)

// An upgrade changes the program under a running application. On SIGUSR2 the old
// process starts its executable again, which may be another file by now, and hands
// over: first its sockets, which both listen on for a while; then its instances,
// which go on; then its place. From there on it accepts nothing, and ends when the
// last connection that it has ends.
//
// What the two say to each other, over a channel that the child inherits:
//
//	new: hello       it has read its manifest and could begin
//	old: handover    with sockets and instances; the old one rests but for its data plane
//	new: ready       its data plane serves at the same sockets
//	old: go          the instances are the new one's; the old one drains
//
// Until "go" the old process can take everything back, and does so when the new one
// ends or takes too long. When the channel ends before "go" the old one was killed,
// and the new one goes on.

// The bounds of an upgrade.
const (
	upgradeTime  = 30 * time.Second // for the new process, from start to ready
	upgradeDrain = time.Hour        // for the old one's connections
)

// upgradeVar names the descriptor of the channel for the new process.
const upgradeVar = "SWELL_UPGRADE"

// hello and the other messages but for the handover.
const (
	sayHello = "hello"
	sayReady = "ready"
	sayGo    = "go"
)

// handover is what a process tells the one after it. The sockets' files come first,
// in their order, then the driver's.
type handover struct {
	Version  string
	Sockets  []inherit.Socket
	Admin    string // name of the admin address's socket
	Driver   driver.Handover
	Scaler   []scale.Carried
	Snapshot uint64
	Applied  *applied // by the API; nil if the files say what runs
	Draining []string // sockets of earlier processes that still drain, and of this one
}

// adminSocket is the name of the admin address's socket.
const adminSocket = "admin"

// self is the path by which this program was started, so that a later start finds
// what stands there then: behind a link the link, not the file that it leads to now.
func self() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the program's own file: %w", err)
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	named, err := exec.LookPath(os.Args[0])
	if err != nil {
		return exe, nil
	}
	if named, err = filepath.Abs(named); err != nil {
		return exe, nil
	}
	a, err1 := os.Stat(exe)
	b, err2 := os.Stat(named)
	if err1 == nil && err2 == nil && os.SameFile(a, b) {
		return named, nil
	}
	return exe, nil
}

// settleTime is how long an upgrade waits until every service that is to have an
// instance has a ready one.
const settleTime = 10 * time.Second

// successor is a process that was started to take over.
type successor struct {
	cmd    *exec.Cmd
	ch     *inherit.Channel
	exited chan struct{} // closed when it has ended
	err    error         // how, then
}

// begin starts the program again.
func begin(path string) (*successor, error) {
	ch, theirs, err := inherit.Pair()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), upgradeVar+"=3")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ch.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	s := &successor{cmd: cmd, ch: ch, exited: make(chan struct{})}
	ch.Deadline(time.Now().Add(upgradeTime))
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	return s, nil
}

// hear waits for a message.
func (s *successor) hear(want string) error {
	var got string
	_, err := s.ch.Receive(&got)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it did not say %q within %v", want, upgradeTime)
	case err != nil:
		select {
		case <-s.exited:
			return fmt.Errorf("it ended before it said %q: %v", want, s.cmd.ProcessState)
		case <-time.After(time.Second):
			return err
		}
	case got != want:
		return fmt.Errorf("it said %q instead of %q", got, want)
	}
	return nil
}

// kill ends it, and waits.
func (s *successor) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
	_ = s.ch.Close()
}

// predecessor is the process that this one takes over from; nil if there is none.
type predecessor struct {
	ch *inherit.Channel
	handover
	sockets *inherit.Sockets
	files   []*os.File // the driver's
}

// takeOver says hello to the process that started this one to take over, if one did,
// and returns what it hands over. It is called once the manifest was read.
func takeOver() (*predecessor, error) {
	v := os.Getenv(upgradeVar)
	if v == "" {
		return nil, nil
	}
	_ = os.Unsetenv(upgradeVar) // its only error is of a name that can't be one
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q: it is set by an upgrade alone", upgradeVar, v)
	}
	ch, err := inherit.Open(os.NewFile(uintptr(fd), upgradeVar))
	if err != nil {
		return nil, err
	}
	ch.Deadline(time.Now().Add(upgradeTime))
	p := &predecessor{ch: ch}
	if err := ch.Send(sayHello); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	files, err := ch.Receive(&p.handover)
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	if len(files) < len(p.Sockets) {
		return nil, errors.New("take over: sockets are missing")
	}
	for i := range p.Sockets {
		p.Sockets[i].File = files[i]
	}
	p.sockets, p.files = inherit.NewSockets(p.Sockets), files[len(p.Sockets):]
	return p, nil
}

// settle says that this process is ready, and returns when the place is its own.
func (p *predecessor) settle() error {
	defer func() { _ = p.ch.Close() }()
	p.ch.Deadline(time.Now().Add(2 * upgradeTime))
	if err := p.ch.Send(sayReady); err != nil {
		return nil // it is gone
	}
	var got string
	_, err := p.ch.Receive(&got)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("take over: the process before this one does not let go")
	}
	return nil // it said go, or is gone
}

// change is one upgrade of this process.
type change struct {
	log  *slog.Logger
	path string // of the program
	book interface {
		Sockets() ([]inherit.Socket, error)
	}
	admin   net.Listener
	driver  *driver.Driver
	stack   *stack
	source  *source
	earlier *earlier

	handed chan struct{} // closed when another process has this one's place
	at     atomic.Pointer[successor]
}

// try hands over, or says why that failed and leaves everything as it was.
func (u *change) try(ctx context.Context, quit func()) bool {
	// A request that this process has taken is answered by it, so there must be
	// instances that it knows: those that only start now will be another's.
	settled, cancel := context.WithTimeout(ctx, settleTime)
	_ = u.stack.ready(settled)
	cancel()
	u.log.Info("upgrade: the program is started again", "program", u.path)
	s, err := begin(u.path)
	if err == nil {
		u.at.Store(s)
		if err = u.hand(ctx, s, quit); err != nil {
			s.kill()
		}
	}
	if err != nil {
		u.at.Store(nil)
		u.driver.Thaw()
		u.log.Error("upgrade: it failed; this process goes on as before", "error", err)
		return false
	}
	u.log.Info("upgrade: done; this process ends with its last connection", "process", s.cmd.Process.Pid)
	return true
}

// hand is the old process's side of the talk.
func (u *change) hand(ctx context.Context, s *successor, quit func()) error {
	stop := context.AfterFunc(ctx, func() { s.ch.Deadline(time.Unix(1, 0)) })
	defer stop()
	if err := s.hear(sayHello); err != nil {
		return err
	}
	freeze, cancel := context.WithTimeout(ctx, upgradeTime)
	defer cancel()
	instances, files, err := u.driver.Freeze(freeze)
	defer func() { closeFiles(files) }()
	if err != nil {
		return err
	}
	sockets, err := u.book.Sockets()
	if err != nil {
		return fmt.Errorf("hand over the sockets: %w", err)
	}
	defer func() {
		for _, x := range sockets {
			_ = x.File.Close()
		}
	}()
	f, err := inherit.File(u.admin)
	if err != nil {
		return fmt.Errorf("hand over the admin address: %w", err)
	}
	sockets = append(sockets, inherit.Socket{Name: adminSocket, Network: "tcp", Addr: u.admin.Addr().String(), File: f})
	leaving, err := newLeaving(u.stack)
	if err != nil {
		return err
	}
	all := make([]*os.File, 0, len(sockets)+len(files))
	for _, x := range sockets {
		all = append(all, x.File)
	}
	all = append(all, files...)
	err = s.ch.Send(handover{
		Version: version, Sockets: sockets, Admin: adminSocket, Driver: instances, Scaler: u.stack.scaler.Carry(),
		Snapshot: u.stack.plane.Version(), Applied: u.source.applied.Load(), Draining: append(u.earlier.left(), leaving.name),
	}, all...)
	if err == nil {
		err = s.hear(sayReady)
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err() // this process was told to end meanwhile
	}
	if err != nil {
		leaving.close()
		return err
	}

	// There is no way back from here.
	u.stack.plane.HandOver(upgradeDrain)
	u.stack.leaving = leaving
	leaving.start()
	close(u.handed)
	quit() // the terminal is the other's
	if err := inherit.Notify(fmt.Sprintf("MAINPID=%d", s.cmd.Process.Pid)); err != nil {
		u.log.Warn("upgrade", "error", err)
	}
	u.driver.Release()
	_ = s.ch.Send(sayGo) // if it has ended, its parent can't help it either
	_ = s.ch.Close()
	return nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// leaving tells later processes when nothing is in flight any more from this one to
// an instance that they want to end. It is a socket without a file: the kernel
// forgets it with the process.
type leaving struct {
	name  string
	l     *net.UnixListener
	stack *stack
	wg    sync.WaitGroup
	ctx   context.Context
	end   context.CancelFunc
}

func newLeaving(s *stack) (*leaving, error) {
	name := "@swell-" + strconv.Itoa(os.Getpid()) + "-" + rand.Text()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for the process after this one: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	return &leaving{name: name, l: l, stack: s, ctx: ctx, end: end}, nil
}

// start answers until close.
func (v *leaving) start() {
	v.wg.Go(func() {
		for {
			c, err := v.l.AcceptUnix()
			if err != nil {
				return
			}
			v.wg.Go(func() { v.answer(c) })
		}
	})
}

// answer reads an instance's name, and closes the connection when it is quiet.
func (v *leaving) answer(c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(v.ctx, func() { _ = c.Close() })
	defer stop()
	if !ours(c) {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	name, err := bufio.NewReader(io.LimitReader(c, 1024)).ReadString('\n')
	if err != nil {
		return
	}
	_ = v.stack.plane.Leave(v.ctx, strings.TrimSpace(name)) // its only error is the end of all
}

func (v *leaving) close() {
	if v == nil {
		return
	}
	v.end()
	_ = v.l.Close()
	v.wg.Wait()
}

// earlier are processes that drain, and may still have something in flight to the
// instances that they handed over.
type earlier struct {
	mu    sync.Mutex
	names []string
}

// left returns those that are still there.
func (e *earlier) left() []string {
	e.mu.Lock()
	names := e.names
	e.mu.Unlock()
	var out []string
	for _, n := range names {
		if c, err := net.Dial("unix", n); err == nil {
			_ = c.Close()
			out = append(out, n)
		}
	}
	e.mu.Lock()
	e.names = out
	e.mu.Unlock()
	return out
}

// quiet waits until none of them has anything in flight to an instance.
func (e *earlier) quiet(ctx context.Context, instance string) error {
	e.mu.Lock()
	names := e.names
	e.mu.Unlock()
	conns := make([]net.Conn, 0, len(names))
	for _, n := range names { // all are told before the first is waited for
		c, err := net.Dial("unix", n)
		if err != nil {
			continue // it has ended
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintln(c, instance); err == nil {
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		_, _ = c.Read(make([]byte, 1)) // it ends when the other side is quiet, or gone
		stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// until runs a task that is to end early, without its layer, once handed is closed:
// when another process does the same.
func until(handed <-chan struct{}, task func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		early, cancel := context.WithCancel(ctx)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- task(early) }()
		select {
		case err := <-done:
			return err
		case <-handed:
		}
		cancel()
		<-done
		<-ctx.Done()
		return ctx.Err()
	}
}

// after runs a task once own is closed: when this process has the place alone.
func after(own <-chan struct{}, task func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if own != nil {
			select {
			case <-own:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return task(ctx)
	}
}
