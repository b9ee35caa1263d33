package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"swell"
	"swell/internal/inherit"
)

var _ Mover = (*processes)(nil)

// lentProcess describes an instance that is a process. Its two files are our ends of
// its output.
type lentProcess struct {
	PID   int       `json:"pid"`
	Start string    `json:"start"` // as in its run file
	Port  int       `json:"port"`
	Begun [2][]byte `json:"begun"` // lines of which no end was read yet
	Last  []byte    `json:"last"`  // line on its standard error
}

// Share implements [Mover].
func (p *processes) Share() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !canKeep:
		return nil, fmt.Errorf("processes can be handed over on Linux alone: %w", errors.ErrUnsupported)
	case p.state == nil:
		return nil, errors.New("the driver has not begun")
	case p.keeper == nil:
		return nil, errors.New("the instances' lives are tied to this process: it has no keeper")
	}
	return inherit.File(p.state.lock)
}

// Stay implements [Mover].
func (p *processes) Stay(lock *os.File) { p.lock = lock }

// Lend implements [Mover].
func (p *processes) Lend(x Running) (json.RawMessage, []*os.File, error) {
	r := x.(*process)
	r.mu.Lock()
	ending := r.ending
	if !ending {
		r.lent = make(chan struct{})
	}
	r.mu.Unlock()
	if ending {
		return p.lendEnding(r)
	}
	start, err := startOf(r.pid)
	if err != nil {
		start = "" // whoever adopts it finds that it has ended
	}
	for _, f := range r.pipes {
		_ = f.SetReadDeadline(time.Unix(1, 0))
	}
	r.readers.Wait()
	fail := func(err error) (json.RawMessage, []*os.File, error) {
		p.Resume(x)
		return nil, nil, err
	}
	var files []*os.File
	for _, f := range r.pipes {
		d, err := inherit.File(f)
		if err != nil {
			closeAll(files)
			return fail(fmt.Errorf("hand over its output: %w", err))
		}
		files = append(files, d)
	}
	r.mu.Lock()
	lent := lentProcess{PID: r.pid, Start: start, Port: r.port, Begun: r.begun, Last: r.last}
	r.mu.Unlock()
	b, err := json.Marshal(lent)
	if err != nil {
		closeAll(files)
		return fail(err)
	}
	return b, files, nil
}

// lendEnding describes a process that ended at this moment. Its end is seen to here,
// and whoever adopts it finds nobody.
func (p *processes) lendEnding(r *process) (json.RawMessage, []*os.File, error) {
	b, err := json.Marshal(lentProcess{PID: r.pid, Port: r.port})
	if err != nil {
		return nil, nil, err
	}
	var files []*os.File
	for range r.pipes {
		f, err := os.Open(os.DevNull)
		if err != nil {
			closeAll(files)
			return nil, nil, err
		}
		files = append(files, f)
	}
	return b, files, nil
}

// Resume implements [Mover].
func (p *processes) Resume(x Running) {
	r := x.(*process)
	r.mu.Lock()
	lent := r.lent
	r.mu.Unlock()
	if lent == nil {
		return
	}
	for _, f := range r.pipes {
		_ = f.SetReadDeadline(time.Time{})
	}
	r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lent)
	r.lent = nil
}

// Release implements [Mover].
func (p *processes) Release(x Running) {
	r := x.(*process)
	r.mu.Lock()
	lent := r.lent
	if lent != nil {
		r.released, r.over, r.lent = true, true, nil
	}
	r.mu.Unlock()
	if lent == nil {
		return // its end is seen to here
	}
	p.mu.Lock()
	delete(p.running, r.id)
	p.mu.Unlock()
	r.closePipes()
	close(lent)
	r.done()
}

// Leave implements [Mover]. The lock stays with the other process; the keeper of
// this one finds it held and ends nothing.
func (p *processes) Leave() { p.state.close() }

// isReleased waits until the process, which has ended, is not lent any more, and
// tells how that came. If it was not released, its end is seen to here.
func (r *process) isReleased() bool {
	for {
		r.mu.Lock()
		lent, released := r.lent, r.released
		r.ending = lent == nil && !released
		r.mu.Unlock()
		if lent == nil {
			return released
		}
		<-lent
	}
}

// Adopt implements [Mover].
func (p *processes) Adopt(id string, _ int, _ swell.Workload, lent json.RawMessage, files []*os.File, out Output) (Running, error) {
	var l lentProcess
	if err := json.Unmarshal(lent, &l); err != nil || len(files) != 2 || l.PID <= 1 {
		closeAll(files)
		return nil, errors.Join(errors.New("its description is none"), err)
	}
	r := &process{
		rt: p, id: id, pid: l.PID, port: l.Port, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)),
		since: time.Now(), out: out, begun: l.Begun, last: l.Last, pidfd: -1,
		exited: make(chan Exit, 1), asked: make(chan struct{}), killed: make(chan struct{}),
	}
	copy(r.pipes[:], files)
	for _, f := range r.pipes {
		_ = f.SetReadDeadline(time.Time{})
	}
	p.ports.hold(id, l.Port)
	// The descriptor first, then the look whether it is still the same process.
	fd, err := openPidfd(l.PID)
	if err == nil {
		if start, err := startOf(l.PID); err != nil || start != l.Start {
			closePidfd(fd)
			fd = -1
		}
	}
	r.pidfd = fd
	r.begin()
	return r, nil
}
