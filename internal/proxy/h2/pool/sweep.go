package pool

import (
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

// The sweep looks at every connection each fastTick while anything is under way,
// each slowTick while there are only idle ones, and not at all without any: when
// the last connection is closed, nothing of the pool runs.
const (
	fastTick = 10 * time.Millisecond
	slowTick = time.Second
)

// sweeper calls pass now and then, never twice at a time.
type sweeper struct {
	// pass looks at everything. It returns whether anything is under way, and
	// whether there is anything at all.
	pass func(now int64) (active, any bool)

	clock   atomic.Int64 // of the last pass or awakening
	fast    atomic.Bool  // the next pass is a fast one, or under way
	mu      sync.Mutex
	timer   *time.Timer
	running bool
}

// wake makes sure that a pass comes soon. It is called when something begins;
// mostly it is one atomic load.
func (s *sweeper) wake() {
	if s.fast.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fast.Swap(true) || s.running {
		return
	}
	s.clock.Store(exchange.Now())
	s.after(fastTick)
}

func (s *sweeper) after(d time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.run)
	} else {
		s.timer.Reset(d)
	}
}

func (s *sweeper) run() {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return
	}
	s.running = true
	s.mu.Unlock()

	now := exchange.Now()
	s.clock.Store(now)
	active, any := s.pass(now)
	if !active {
		// Whoever begins after this store wakes us; whoever began before it is seen
		// by another pass.
		s.fast.Store(false)
		active, any = s.pass(now)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	switch {
	case active || s.fast.Load():
		s.fast.Store(true)
		s.after(fastTick)
	case any:
		s.after(slowTick)
	}
}
