package telemetry

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Counter counts events. Its methods may be called from any goroutine.
type Counter struct {
	name   string
	labels []string // names and values in turn, sorted by name
	desc   *prometheus.Desc
	gauge  bool // its value goes up and down
	_      [64]byte
	n      atomic.Uint64
	_      [64]byte
}

// Add counts n more events.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Set makes the value n. It is for what [Hub.Gauge] returned.
func (c *Counter) Set(n uint64) { c.n.Store(n) }

// Value returns how many events were counted.
func (c *Counter) Value() uint64 { return c.n.Load() }

func (c *Counter) ofInstance() bool {
	for i := 0; i < len(c.labels); i += 2 {
		if c.labels[i] == "instance" {
			return true
		}
	}
	return false
}

// counterName completes a counter's name: "retries" is "swell_retries_total".
func counterName(name string) string {
	if !strings.HasPrefix(name, "swell_") {
		name = "swell_" + name
	}
	if !strings.HasSuffix(name, "_total") {
		name += "_total"
	}
	return name
}

func counterID(name string, labels []string) string {
	return name + "\x00" + strings.Join(labels, "\x00")
}

// sortLabels returns the pairs sorted by name, in new memory, their values valid
// UTF-8, as metrics must be.
func sortLabels(in []string) []string {
	pairs := make([][2]string, 0, len(in)/2)
	for i := 0; i < len(in); i += 2 {
		pairs = append(pairs, [2]string{in[i], clean(in[i+1])})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	out := make([]string, 0, len(in))
	for _, p := range pairs {
		out = append(out, p[0], p[1])
	}
	return out
}

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Wait measures the waiting room of one service: the requests that are held until
// it has an instance. Its methods may be called from any goroutine and do not
// block.
type Wait struct {
	service string
	wake    func()
	waiting atomic.Int64
	begun   atomic.Bool // somebody began to wait where nobody did, and it was not reported yet
	told    int64       // when that was last reported out of turn, ns after the epoch; the loop's

	mu       sync.Mutex
	spread   histogram
	spent    int64 // ns
	outcomes map[string]uint64
}

func newWait(service string, wake func()) *Wait {
	return &Wait{service: service, wake: wake, outcomes: map[string]uint64{}}
}

// Enter counts one more request that waits. If nobody waited before, the hub's
// loop reports the service at once.
func (w *Wait) Enter() {
	if w.waiting.Add(1) == 1 {
		w.begun.Store(true)
		w.wake()
	}
}

// maxOutcomes bounds the outcomes of a waiting room that are told apart.
const maxOutcomes = 16

// Leave counts the end of a wait of that many nanoseconds. outcome says in a word
// how it ended: "served", "timeout", "gone", …
func (w *Wait) Leave(waitedNS int64, outcome string) {
	w.waiting.Add(-1)
	waitedNS = max(waitedNS, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spread.add(bucketOf(waitedNS), 1)
	w.spent += waitedNS
	if _, ok := w.outcomes[outcome]; !ok && len(w.outcomes) >= maxOutcomes {
		outcome = otherLabel
	}
	w.outcomes[outcome]++
}

// Waiting returns how many requests wait now.
func (w *Wait) Waiting() int { return int(max(w.waiting.Load(), 0)) }
