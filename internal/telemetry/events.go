package telemetry

import (
	"sync"
	"sync/atomic"
)

// Counter counts events. Its methods may be called from any goroutine.
type Counter struct {
	name   string
	labels []string // names and values, alternating
	n      atomic.Uint64
}

// Add counts n more events.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Value returns how many events were counted.
func (c *Counter) Value() uint64 { return c.n.Load() }

// Wait measures the waiting room of one service: the requests that are held until
// it has an instance. Its methods may be called from any goroutine and do not
// block.
type Wait struct {
	service string
	hub     *Hub
	now     atomic.Int64 // requests that wait
	begun   atomic.Bool  // somebody began to wait where nobody did; the loop has not yet seen it

	mu       sync.Mutex
	spread   histogram
	spent    int64 // ns
	outcomes map[string]uint64
}

// Enter counts one more request that waits. If it is the only one, the hub's loop
// reports the service at once.
func (w *Wait) Enter() {
	if w.now.Add(1) == 1 {
		w.begun.Store(true)
		w.hub.wake()
	}
}

// maxOutcomes bounds the outcomes of a waiting room that are told apart.
const maxOutcomes = 16

// Leave counts the end of a wait of that many nanoseconds. outcome says in a word
// how it ended: "served", "timeout", "gone", …
func (w *Wait) Leave(waitedNS int64, outcome string) {
	w.now.Add(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spread.add(bucketOf(waitedNS), 1)
	w.spent += waitedNS
	if _, ok := w.outcomes[outcome]; !ok && len(w.outcomes) >= maxOutcomes {
		outcome = "other"
	}
	w.outcomes[outcome]++
}

// Waiting returns how many requests wait now.
func (w *Wait) Waiting() int { return int(max(w.now.Load(), 0)) }
