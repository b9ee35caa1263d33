package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"swell"
)

// ProcessOptions are the options of [NewProcess].
type ProcessOptions struct {
	// Dir is the state directory, made if it isn't there: the lock that keeps a
	// second Swell out, a file for each running instance (by which the next start
	// finds what a killed Swell left behind), and the output files, in logs/.
	Dir   string
	Quiet func(ctx context.Context, instance string) error // see Options
	Sink  swell.Sink                                       // see Options
	Log   *slog.Logger                                     // see Options
	Limit OutputLimits
	// Keeper is a command that calls [Keep] for Dir: a process that stands by to end
	// the instances should this one be killed. With it, on Linux, the instances can
	// be handed to another process; without, the kernel ties their lives to this one.
	Keeper []string
}

// NewProcess makes a driver that runs workloads as processes of this machine.
//
// Each instance is a process group of its own, with standard input from
// /dev/null. Its environment is what [swell.Run] says, PORT, SWELL_SERVICE,
// SWELL_INSTANCE, and of Swell's own environment only HOME, LANG, LANGUAGE, LC_*,
// LOGNAME, PATH, SHELL, SSL_CERT_DIR, SSL_CERT_FILE, TMPDIR, TZ and USER. It
// listens on 127.0.0.1 (or all addresses) at $PORT, or at Run.Port if that isn't
// 0, which only one instance can.
//
// When the process that was started ends, its whole group is killed, and on Linux
// also its descendants that left the group.
func NewProcess(o ProcessOptions) *Driver {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return New(&processes{dir: o.Dir, log: o.Log, command: o.Keeper, running: map[string]*process{}}, Options{
		Quiet: o.Quiet, Sink: o.Sink, Log: o.Log, Limit: o.Limit, Logs: filepath.Join(o.Dir, "logs"),
	})
}

// processes is the runtime of processes on this machine.
type processes struct {
	dir              string
	log              *slog.Logger
	command          []string // of the keeper; empty is none
	keeper           *keeper
	lock             *os.File // of the state directory, if another process shares it
	state            *state
	ports            ports
	forks            chan func() // to the thread that forks
	meter            meter
	forker, watchers sync.WaitGroup

	mu      sync.Mutex
	running map[string]*process
	warned  bool // that a run file could not be written
}

// Open implements [Runtime].
func (p *processes) Open() (func(), error) {
	s, err := openState(p.dir, p.lock, p.log)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.state = s
	p.mu.Unlock()
	if canKeep && len(p.command) > 0 {
		p.keeper = newKeeper(p.command, p.log)
	}
	p.forks = make(chan func())
	p.forker.Go(func() {
		// On Linux a child's parent-death signal is sent when the thread that
		// forked it ends, so all are forked by one that lives as long as Swell.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range p.forks {
			f()
		}
	})
	return func() {
		close(p.forks)
		p.forker.Wait()
		p.mu.Lock()
		stuck := len(p.running) // not even SIGKILL ended them: the supervisor said so
		p.mu.Unlock()
		if stuck == 0 {
			p.watchers.Wait()
		}
		p.keeper.dismiss()
		s.close()
	}, nil
}

// Check implements [Runtime].
func (p *processes) Check(w swell.Workload) error {
	_, _, err := program(w)
	return err
}

// process is one running instance.
type process struct {
	rt      *processes
	id      string
	cmd     *exec.Cmd // nil if another process started it
	pidfd   int       // of one that another process started
	pid     int
	since   time.Time
	port    int
	addr    string
	exited  chan Exit
	asked   chan struct{} // closed when it was asked to end, or killed
	killed  chan struct{} // closed when it was killed
	done    func()        // tells that nobody needs to wait for watch any more
	out     Output
	readers sync.WaitGroup
	pipes   [2]*os.File // our ends
	begun   [2][]byte   // lines of which no end was read, while nobody reads

	mu       sync.Mutex
	over     bool // nothing is left; its numbers may be others' by now
	last     []byte
	lent     chan struct{} // closed when that is over; nil if it is not lent
	released bool          // another process goes on with it
	ending   bool          // its end was seen, and is seen to here
}

// Start implements [Runtime].
func (p *processes) Start(id string, _ int, w swell.Workload, out Output) (Running, Place, error) {
	path, dir, err := program(w)
	if err != nil {
		return nil, Place{}, err
	}
	port, err := p.ports.take(id, w.Run.Port)
	if err != nil {
		return nil, Place{}, fmt.Errorf("service %s: %w", w.Service, err)
	}
	r := &process{
		rt: p, id: id, port: port, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		exited: make(chan Exit, 1), asked: make(chan struct{}), killed: make(chan struct{}), out: out, pidfd: -1,
	}
	if p.keeper != nil {
		// Should Swell be killed before its number is known, the mark tells.
		if err := p.state.record(id, 0); err != nil {
			p.warn(err)
		}
	}
	if err := r.fork(path, dir, w); err != nil {
		p.ports.give(port)
		p.state.forget(id)
		return nil, Place{}, fmt.Errorf("service %s: start %s: %w", w.Service, path, err)
	}
	if err := p.state.record(id, r.pid); err != nil {
		p.warn(err)
	}
	r.begin()
	return r, Place{Addr: r.addr, PID: r.pid}, nil
}

// begin reads what the instance writes and waits for its end.
func (r *process) begin() {
	r.rt.mu.Lock()
	r.rt.running[r.id] = r
	r.rt.mu.Unlock()
	r.rt.watchers.Add(1)
	r.done = sync.OnceFunc(r.rt.watchers.Done)
	r.read()
	go func() {
		defer r.done()
		r.watch()
	}()
}

func (p *processes) warn(err error) {
	p.mu.Lock()
	first := !p.warned
	p.warned = true
	p.mu.Unlock()
	if first {
		p.log.Warn("a run file could not be written; should Swell be killed with -9, the next start may not find this instance's children", "error", err)
	}
}

// fork starts the program.
func (r *process) fork(path, dir string, w swell.Workload) error {
	r.cmd = &exec.Cmd{
		Path: path, Dir: dir, Args: make([]string, 0, len(w.Run.Command)),
		Env:         environment(os.Environ(), r.id, w, r.port),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	for _, a := range w.Run.Command {
		r.cmd.Args = append(r.cmd.Args, substitute(a, r.port))
	}
	if r.rt.keeper == nil {
		dieWithParent(r.cmd.SysProcAttr)
	}
	var theirs [2]*os.File
	for i := range theirs {
		var err error
		if r.pipes[i], theirs[i], err = os.Pipe(); err != nil {
			r.closePipes()
			closeAll(theirs[:])
			return fmt.Errorf("make a pipe: %w", err)
		}
	}
	r.cmd.Stdout, r.cmd.Stderr = theirs[0], theirs[1]
	done := make(chan error)
	r.rt.forks <- func() { done <- r.cmd.Start() }
	err := <-done
	closeAll(theirs[:])
	if err != nil {
		r.closePipes()
		if errors.Is(err, syscall.ENOEXEC) {
			return fmt.Errorf("%w: it is no program for this machine, or a script whose first line is not #! and an interpreter", syscall.ENOEXEC)
		}
		return reason(err)
	}
	r.pid, r.since = r.cmd.Process.Pid, time.Now()
	return nil
}

// read begins, or goes on, to read what the instance writes.
func (r *process) read() {
	r.readers.Go(func() {
		r.begun[0] = split(r.pipes[0], r.begun[0], func(l []byte) { r.out.Line("stdout", l) })
	})
	r.readers.Go(func() {
		r.begun[1] = split(r.pipes[1], r.begun[1], func(l []byte) {
			r.out.Line("stderr", l)
			if len(l) > 0 {
				r.mu.Lock()
				r.last = append(r.last[:0], l[:min(len(l), 200)]...)
				r.mu.Unlock()
			}
		})
	})
}

func (r *process) closePipes() { closeAll(r.pipes[:]) }

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // an end of a pipe: nothing to lose
		}
	}
}

// Probe implements [Running].
func (r *process) Probe(ctx context.Context, h swell.Health) error { return check(ctx, h, r.addr) }

// End implements [Running].
func (r *process) End(kill bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	signal := syscall.SIGTERM
	once(r.asked)
	if kill {
		signal = syscall.SIGKILL
		once(r.killed)
	}
	r.signal(signal)
}

// signal sends a signal to the instance's group. It may have ended by itself. The
// caller holds mu.
func (r *process) signal(s syscall.Signal) {
	if r.cmd != nil || !signalGroup(r.pidfd, s) {
		_ = syscall.Kill(-r.pid, s)
	}
}

// once closes c if it is open. The caller excludes others.
func once(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// Exited implements [Running].
func (r *process) Exited() <-chan Exit { return r.exited }

// drains is how long output is still read after all processes have ended: what is
// in the pipe comes at once, and who else holds it is none of ours.
const drains = 200 * time.Millisecond

// watch waits for the end of the process, sees to it that nothing of it is left,
// and tells.
func (r *process) watch() {
	if r.cmd == nil {
		awaitPidfd(r.pidfd)
	} else {
		awaitExit(r.pid)
	}
	if r.isReleased() {
		if r.cmd != nil {
			_ = r.cmd.Wait() // so that no zombie stays; the rest is the other process's
		}
		closePidfd(r.pidfd)
		return
	}
	// A child is a zombie now: its numbers stay its own until it is reaped. Those of
	// another's child stay as long as its group does.
	select {
	case <-r.asked:
		r.awaitGroup()
	default:
	}
	r.mu.Lock()
	if r.cmd != nil || r.pidfd >= 0 && sameGroup(r.pid) {
		_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	}
	r.over = true
	r.mu.Unlock()
	e := Exit{}
	if r.cmd != nil {
		killMarked(r.id, r.pid)
		err := r.cmd.Wait()
		e.Reason = describe(r.cmd.ProcessState, err)
	} else {
		killMarked(r.id, 0)
		e.Reason = exitOf(r.pidfd)
	}

	r.rt.mu.Lock()
	delete(r.rt.running, r.id)
	r.rt.mu.Unlock()
	r.rt.ports.give(r.port)
	r.rt.state.forget(r.id)

	stop := time.AfterFunc(drains, r.closePipes)
	r.readers.Wait()
	stop.Stop()
	r.closePipes()
	if r.cmd == nil {
		closePidfd(r.pidfd)
	}
	r.mu.Lock()
	e.Last = string(r.last)
	r.mu.Unlock()
	r.exited <- e
}

// awaitGroup gives the other processes of the group, which were asked to end too,
// time until the supervisor kills them.
func (r *process) awaitGroup() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for groupAlive(r.pid) {
		select {
		case <-r.killed:
			return
		case <-t.C:
		}
	}
}

// describe says how a process ended.
func describe(s *os.ProcessState, err error) string {
	if s == nil {
		return fmt.Sprintf("ended in an unknown way: %v", err)
	}
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		name := signalName(ws.Signal())
		if ws.CoreDump() {
			return "killed by " + name + " (core dumped)"
		}
		return "killed by " + name
	}
	return fmt.Sprintf("exited with code %d", s.ExitCode())
}

// Usage implements [Runtime].
func (p *processes) Usage() []Usage {
	p.mu.Lock()
	running := maps.Clone(p.running)
	p.mu.Unlock()
	roots := make(map[int]string, len(running))
	for id, r := range running {
		roots[r.pid] = id
	}
	return p.meter.measure(roots, time.Now())
}
