package driver

import "time"

// The bounds of the pause before a restart.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 30 * time.Second
	settled    = 2 * time.Second // ready for so long, an instance didn't fail at its start
)

// backoff decides how long a slot waits before its next instance.
type backoff struct {
	failures int           // in a row
	last     time.Duration // the pause that was told last
}

// next returns the pause after an instance that was ready for the given time (0:
// never). One that served longer than twice the pause before it, and at least for
// a while, starts anew at once: pausing is against loops, not against crashes.
func (b *backoff) next(ready time.Duration) time.Duration {
	if ready >= max(settled, 2*b.last) {
		*b = backoff{}
		return 0
	}
	b.last = longPause
	if b.failures < 16 {
		b.last = min(firstPause<<b.failures, longPause)
	}
	b.failures++
	return b.last
}
