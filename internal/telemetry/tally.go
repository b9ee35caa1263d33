package telemetry

import "sync/atomic"

// tally is a count and a sum of times in one word: each event adds tallyOne and
// its time in units of 1.024 µs since the hub's epoch. One word can't be read
// half written: a count whose time is not yet added would look like a request in
// flight since the epoch. Count and sum of the events between two readings come
// apart by a division, since the reader knows about when these were: see split.
//
// From the tallies of starts and ends follows the integral of the requests in
// flight, exactly, without looking at it in between: over a window from a to b
// it is active(a)·(b−a) + Σ(b−start) − Σ(b−end).
type tally struct{ atomic.Uint64 }

const (
	unitNanos = 10      // shift from nanoseconds to units
	tallyOne  = 1 << 43 // units; more than the times of a window exceed its begin, in sum

	// slack is how much earlier than the last reading an event may claim to have
	// been, in units: its goroutine took the time and then lost its core.
	slack = uint64(10e9) >> unitNanos

	// epochLead is how long before its creation a hub's epoch is, so that no time
	// that a meter is given can be before it.
	epochLead = int64(3600e9)
)

func (t *tally) add(ns int64) { t.Add(tallyOne + uint64(ns)>>unitNanos) }

// split takes a difference of two readings apart: how many events there were, and
// the sum of their times after from (units), which none of them was before.
func split(diff, from uint64) (n, sum uint64) {
	n = diff / (tallyOne + from)
	return n, diff - n*(tallyOne+from)
}

// fits reports whether split can tell about n events within span units from from:
// half a million between two readings a second apart, in each shard, in the
// first year after the epoch.
func fits(n, from, span uint64) bool {
	n += 1 << 10 // that are counted elsewhere and not yet here, or the reverse
	return n < tallyOne/(span+1) && n < (1<<63)/((tallyOne+from+span)>>1)
}

// since returns how many events there were, and the sum of to−time over them, in
// units, between the reading before and this one. n is their number as counted
// elsewhere: if they are too many to be told apart, they are taken to have been
// spread evenly over the window, which begins at begin.
func since(word, before, n, begin, to uint64) (count uint64, sum float64) {
	from := begin - min(begin, slack)
	if !fits(n, from, to-from) {
		return n, float64(n) * float64(to-begin) / 2
	}
	count, after := split(word-before, from)
	return count, float64(count)*float64(to-from) - float64(after)
}
