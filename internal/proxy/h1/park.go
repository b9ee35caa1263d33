package h1

import (
	"runtime/debug"
	"sync"
	"time"

	"swell/internal/exchange"
)

// parkAfter is how long a connection is idle before its goroutine ends. A goroutine's
// stack, grown by the exchanges before, is most of what an idle connection costs;
// one that is parked has none, and a single goroutine waits for all of them.
const parkAfter = time.Second

// parker waits for the parked connections of a door.
type parker struct {
	mu    sync.Mutex
	poll  *poller // nil until the first one parks
	conns map[int32]*conn
	off   bool // parking failed, or is over
	ended chan struct{}

	count   int   // parked since memory was given back
	last    int64 // when the last one was
	trimmed int64 // when memory was given back
}

// When so many connections have been parked, none lately, and nothing else goes on,
// the memory of their stacks is given back, at most once in trimEvery. By itself, Go would collect it
// when new garbage makes it worthwhile, which idle connections never do.
const (
	trimCount = 500
	trimEvery = int64(30 * time.Second)
)

// trim gives memory back to the system if that is worthwhile.
func (p *parker) trim(now int64) {
	p.mu.Lock()
	due := p.count >= trimCount && now-p.last >= int64(time.Second) && (p.trimmed == 0 || now-p.trimmed >= trimEvery)
	if due {
		p.count, p.trimmed = 0, now
	}
	p.mu.Unlock()
	if due {
		debug.FreeOSMemory()
	}
}

// askToPark ends the wait of a connection that is idle in the phase seen in v.
func (c *conn) askToPark(v uint64) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	c.parking.Store(true)
	if c.word.kill(v) {
		_ = c.nc.SetReadDeadline(past)
	} else {
		c.parking.Store(false)
	}
}

// stays notes that something came as the connection was to be parked, or reports
// that it was to be closed.
func (c *conn) stays() bool {
	if !c.parking.Swap(false) {
		return false
	}
	c.mu.Lock()
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Unlock()
	return true
}

// park gives the connection, idle and without buffers, to the parker. It does not
// belong to the caller any more.
func (c *conn) park() {
	c.stays()
	c.word.spare()
	if !c.door.parker.add(c) {
		c.fixed.Store(true)
		go c.serve(true)
	}
}

// unpark makes the parker forget the connection, which is about to be closed.
func (c *conn) unpark() {
	p := &c.door.parker
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.known && p.conns[c.fd] == c {
		delete(p.conns, c.fd)
	}
}

// add waits for c, and has it served on when something comes. False says that it
// can't, and that c is the caller's still.
func (p *parker) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poll == nil && !p.off {
		poll, err := newPoller()
		if err != nil {
			p.off = true
			return false
		}
		p.poll, p.conns, p.ended = poll, map[int32]*conn{}, make(chan struct{})
		go p.run()
	}
	if p.off {
		return false
	}
	var err error
	if e := c.raw.Control(func(fd uintptr) {
		known := c.known
		c.fd, c.known = int32(fd), true
		p.conns[c.fd] = c
		c.parked.Store(true)
		err = p.poll.wait(int(fd), known)
	}); e != nil {
		return false
	}
	p.count++
	p.last = exchange.Now()
	return err == nil || !c.parked.CompareAndSwap(true, false)
}

// run wakes connections until stop.
func (p *parker) run() {
	defer close(p.ended)
	p.poll.run(func(fd int32) {
		p.mu.Lock()
		c := p.conns[fd]
		p.mu.Unlock()
		if c != nil && c.parked.CompareAndSwap(true, false) {
			go c.serve(true)
		}
	})
}

// stop ends the waiting, when no connection is left.
func (p *parker) stop() {
	p.mu.Lock()
	poll := p.poll
	p.off = true
	p.mu.Unlock()
	if poll != nil {
		poll.close()
		<-p.ended
	}
}
