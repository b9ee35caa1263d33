package h2

import "sync"

// task is what a goroutine of the crew does.
type task interface{ run() }

// crew keeps goroutines between tasks, the one that ended last to begin first: its
// stack has grown to what a stream needs and is still in the cache.
type crew struct {
	mu     sync.Mutex
	idle   []*hand // the longest idle first
	sweeps uint64
	closed bool
}

type hand struct {
	next chan task
	last uint64 // the sweep at which it became idle
}

func (c *crew) open() {
	c.mu.Lock()
	c.closed = false
	c.mu.Unlock()
}

// do runs t on a goroutine of the crew.
func (c *crew) do(t task) {
	c.mu.Lock()
	n := len(c.idle) - 1
	if n < 0 {
		c.mu.Unlock()
		h := &hand{next: make(chan task, 1)}
		go c.work(h, t)
		return
	}
	h := c.idle[n]
	c.idle[n] = nil
	c.idle = c.idle[:n]
	c.mu.Unlock()
	h.next <- t
}

func (c *crew) work(h *hand, t task) {
	for ok := true; ok; t, ok = <-h.next {
		t.run()
		t = nil
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return
		}
		h.last = c.sweeps
		c.idle = append(c.idle, h)
		c.mu.Unlock()
	}
}

// dismiss lets go those that were idle for some sweeps; all, and those that end
// later, if all is set.
func (c *crew) dismiss(all bool) {
	c.mu.Lock()
	c.sweeps++
	n := 0
	for n < len(c.idle) && (all || c.sweeps-c.idle[n].last > 4) {
		n++
	}
	c.closed = all
	old := append([]*hand(nil), c.idle[:n]...)
	kept := copy(c.idle, c.idle[n:])
	clear(c.idle[kept:])
	c.idle = c.idle[:kept]
	c.mu.Unlock()
	for _, h := range old {
		close(h.next)
	}
}
