package h1

import (
	"errors"
	"net"
	"os"
	"time"
)

// watch is the reading of a connection in memory while its client waits for an
// answer, to notice that it left. A socket is asked instead.
type watch struct {
	done chan struct{}
	b    [512]byte
	n    int
	err  error
}

// look is the sweep's check of a busy connection: whether a read or write got
// stuck, and whether the client of a slow answer is still there. The longer the
// answer takes, the rarer it asks, up to once a second.
func (c *conn) look(v uint64, now, age int64) {
	if stuck(c.writing.Load(), &c.writeSeen, &c.wroteSince, now, int64(c.door.limits().WriteTime)) {
		c.stalled.Store(slowReader)
		c.leave()
		_ = c.nc.SetDeadline(past)
		return
	}
	if stuck(c.reading.Load(), &c.readSeen, &c.readSince, now, int64(c.door.limits().ReadTime)) {
		c.stalled.CompareAndSwap(nil, slowBody)
		_ = c.nc.SetReadDeadline(past) // it can be answered still
		return
	}
	if age < c.probeIn || c.leash.Gone() {
		return
	}
	c.probeIn = age + min(2*age, int64(time.Second))
	if c.raw == nil {
		c.watchFor(v)
		return
	}
	if c.raw.Control(c.onAsk) != nil {
		c.parting = broken
	}
	switch c.parting {
	case present:
		c.finAt = 0
	case broken:
		c.leave()
	case finished:
		n := c.writing.Load()
		if c.finAt == 0 || n != c.finWrote {
			c.finAt, c.finWrote = now, n
		}
		c.probeIn = min(c.probeIn, age+int64(c.door.limits().HalfTime)/4)
		if now-c.finAt >= int64(c.door.limits().HalfTime) {
			c.leave()
		}
	}
}

// parting is what a peer's side of a socket says of the peer.
//
// That it will send no more (a FIN) is what both say: a client that closed its half
// and reads on, as TCP allows it, and one that closed all and forgot about the
// answer. The second kind is far more common, and the system tells of it by a
// reset as soon as something is written to it. So a client that finished is waited
// for as long as what is written to it finds a taker, and Limits.HalfTime without
// anything being written.
type parting uint8

const (
	present  parting = iota
	finished         // no more will come
	broken           // nothing can be sent either
)

// ask is the sweep's look at the socket.
func (c *conn) ask(fd uintptr) { c.parting = farewell(fd) }

// stuck reports that the count n is odd and hasn't changed for limit.
func stuck(n uint32, seen *uint32, since *int64, now, limit int64) bool {
	if n&1 == 0 || n != *seen {
		*seen, *since = n, now
		return false
	}
	return now-*since >= limit
}

// leave notes that the client is gone, and ends what is done for it.
func (c *conn) leave() { c.leash.Leave() }

// kill ends the phase seen in v: its read returns.
func (c *conn) kill(v uint64) {
	if !c.mu.TryLock() { // the sweep never waits; it comes again
		return
	}
	defer c.mu.Unlock()
	if c.word.kill(v) {
		_ = c.nc.SetReadDeadline(past)
	}
}

// Interrupt makes reads of the body return, as exchange.Codec has it.
func (c *conn) Interrupt() {
	c.stopped.Store(true)
	_ = c.nc.SetReadDeadline(past)
}

// Resume lets the body be read on after an interrupt, of which nothing was lost:
// another attempt may want the rest. Nobody reads it now.
func (c *conn) Resume() {
	if !c.stopped.Swap(false) || c.leash.Gone() || c.stalled.Load() != nil {
		return
	}
	if errors.Is(c.in.err, os.ErrDeadlineExceeded) {
		c.in.err = nil
	}
	_ = c.nc.SetReadDeadline(time.Time{})
}

// watchFor starts a watch if the phase seen in v still lasts and nobody else
// reads: the whole body is there.
func (c *conn) watchFor(v uint64) {
	if phaseOf(v) != busy || !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if c.watch != nil || c.word.Load() != v || !c.whole.Load() {
		return
	}
	w := &watch{done: make(chan struct{})}
	c.watch = w
	go func() {
		defer close(w.done)
		w.n, w.err = c.nc.Read(w.b[:])
		if w.n == 0 && w.err != nil && !errors.Is(w.err, os.ErrDeadlineExceeded) && !errors.Is(w.err, net.ErrClosed) {
			c.leave()
		}
	}()
}

// unwatch ends a watch and waits for it. No other begins before the next phase.
func (c *conn) unwatch() {
	if c.raw != nil {
		return
	}
	c.mu.Lock()
	c.word.enter(ending)
	w := c.watch
	c.mu.Unlock()
	if w == nil {
		return
	}
	_ = c.nc.SetReadDeadline(past)
	<-w.done
	_ = c.nc.SetReadDeadline(time.Time{})
}

// takeWatched returns what a watch read, once.
func (c *conn) takeWatched() []byte {
	if c.raw != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watch
	c.watch = nil
	if w == nil || w.n == 0 {
		return nil
	}
	return w.b[:w.n]
}
