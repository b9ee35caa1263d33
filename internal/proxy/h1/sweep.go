package h1

import (
	"sync"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
)

// The sweep looks at every connection each fastTick while anything is under way,
// each slowTick while there are only idle ones, and not at all without any.
// With thousands of connections it slows down in proportion.
const (
	fastTick = 10 * time.Millisecond
	slowTick = time.Second
	slowest  = 100 * time.Millisecond
)

// word is a connection's state as the sweep sees it: a count of changes, a phase
// and whether the sweep ended that phase. The owner swaps it, the sweep compares
// and swaps, so the sweep never ends another phase than the one it judged.
type word struct{ atomic.Uint64 }

const (
	killed    = 1 << 3
	phaseBits = killed - 1
	oneChange = 1 << 4
)

// The phases of connections: of clients' all, of upstreams' idle and busy.
const (
	idle   uint64 = iota
	inHead        // part of a head came, or the connection is new
	busy          // an exchange is under way
	ending        // the answer went out, or could not
	piped         // a tunnel
)

// enter begins a phase and reports whether the sweep ended the one before.
func (w *word) enter(phase uint64) (wasKilled bool) {
	old := w.Load() // only killed can change meanwhile
	next := (old&^(oneChange-1) + oneChange) | phase
	return w.Swap(next)&killed != 0
}

// kill ends the phase seen in v unless it is over.
func (w *word) kill(v uint64) bool { return v&killed == 0 && w.CompareAndSwap(v, v|killed) }

// spare takes back that the sweep ended the phase. It is the owner's.
func (w *word) spare() { w.And(^uint64(killed)) }

func phaseOf(v uint64) uint64 { return v & phaseBits }

// sweeper calls pass now and then, never twice at a time.
type sweeper struct {
	// pass looks at everything. It returns whether anything is under way, and
	// whether there is anything at all.
	pass func(now int64) (active, any bool)
	size func() int // of what pass looks at

	clock   atomic.Int64 // of the last pass or awakening
	fast    atomic.Bool  // the next pass is a fast one, or under way
	mu      sync.Mutex
	timer   *time.Timer
	running bool
	stopped bool
	ended   chan struct{} // closed when stopped and no pass runs
}

// wake makes sure that a pass comes soon. It is called when something begins;
// mostly it is one atomic load.
func (s *sweeper) wake() {
	if s.fast.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.fast.Swap(true) || s.running {
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
	if s.stopped || s.running {
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
	case s.stopped:
		close(s.ended)
	case active || s.fast.Load():
		s.fast.Store(true)
		s.after(min(slowest, max(fastTick, time.Duration(s.size())*fastTick/1000)))
	case any:
		s.after(slowTick)
	}
}

// stop ends the passes and waits for the one that runs.
func (s *sweeper) stop() {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if !s.running {
		s.mu.Unlock()
		return
	}
	s.ended = make(chan struct{})
	s.mu.Unlock()
	<-s.ended
}
