package h2

import (
	"time"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// look is the sweep's at a connection: it ends what took too long.
func (c *conn) look(now int64) {
	l := &c.s.Limits
	if at := c.heading.Load(); at != 0 && now-at >= int64(l.HeadTime) {
		c.cut(slowHead)
		return
	}
	if stuck(c.w.Writing.Load(), &c.wroteSeen, &c.wroteAt, now, int64(l.WriteTime)) {
		c.killed.CompareAndSwap(nil, slowReader)
		c.w.Fail(exchange.ErrTimeout)
		return
	}
	for range c.judge(now) {
		c.s.refused(c.peer, slowReader.status, slowReader.slug, slowReader.why)
	}
}

// judge is look's at the streams, and at what the connection is about. It returns
// how many streams it ended because the client didn't take their answers.
func (c *conn) judge(now int64) (slow int) {
	l := &c.s.Limits
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0
	}
	for _, s := range c.streams {
		if s.dead {
			continue
		}
		if stuck(s.reading.Load(), &s.readSeen, &s.readAt, now, int64(l.ReadTime)) && !s.tunnel {
			s.slow = true
			s.wake.Broadcast()
		}
		if stuck(s.out.Waiting.Load(), &s.waitSeen, &s.waitAt, now, int64(l.WriteTime)) {
			s.lose(exchange.ErrTimeout)
			s.out.Reset(frames.Cancel)
			c.pushOut()
			slow++
		}
	}
	if n := c.activity.Load(); n != c.seen || len(c.streams) > 0 {
		c.seen, c.since = n, now
	} else if now-c.since >= int64(l.IdleTime) && !c.quitting && c.heading.Load() == 0 {
		c.final, c.bound = true, c.last
		_ = c.w.GoAway(c.last, frames.NoError, "idle")
		c.quit()
	}
	if c.drainAt != 0 {
		if now-c.drainAt >= int64(time.Second) && !c.final {
			c.finalise()
			c.pushOut()
		}
		if now-c.drainAt >= int64(c.s.DrainTime) {
			c.quit()
		}
	}
	return slow
}

// pushOut has what was added written by another goroutine; c.mu is held.
func (c *conn) pushOut() {
	c.running++
	c.s.crew.do((*flusher)(c))
}

// stuck reports that the count n is odd and hasn't changed for limit.
func stuck(n uint32, seen *uint32, since *int64, now, limit int64) bool {
	if n&1 == 0 || n != *seen {
		*seen, *since = n, now
		return false
	}
	return now-*since >= limit
}
