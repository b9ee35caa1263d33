package scale

import (
	"fmt"
	"math"
	"time"

	"swell"
)

// limits remembers what bounds the movement of a replica count.
type limits struct {
	least, most extremes // of what was wanted, within the windows up and down
	moves       []move   // changes of the count, oldest first
	seeded      bool
}

// move is a change of a replica count.
type move struct {
	at time.Time
	by int
}

// maxMoves bounds the changes remembered; older ones are forgotten early.
const maxMoves = 512

// window prepares for a decision at now: at the very first, the count that is
// there is taken for wanted, so that a new controller does not cut down at once
// what its predecessor had reason to start.
func (l *limits) window(now time.Time, sc *swell.Scale, current int) {
	if !l.seeded {
		l.seeded = true
		l.most.add(now, current)
	}
	l.least.forget(now.Add(-sc.Up.Stabilization))
	l.most.forget(now.Add(-sc.Down.Stabilization))
}

// stabilise holds a count back: up to the least, down to the most that was
// wanted in the window of the direction.
func (l *limits) stabilise(now time.Time, n, current int, sc *swell.Scale) (int, string) {
	l.least.add(now, -n)
	l.most.add(now, n)
	switch {
	case n > current:
		if to := max(-l.least.max(), current); to < n {
			return to, fmt.Sprintf("%d not for long enough yet (%s)", n, sc.Up.Stabilization)
		}
	case n < current:
		to := min(l.most.max(), current)
		if n == 0 && to == 1 {
			return 0, "" // the last one goes by Idle alone
		}
		if to > n {
			return to, fmt.Sprintf("%d were wanted within the last %s", to, sc.Down.Stabilization)
		}
	}
	return n, ""
}

// behave bounds how far the count moves within the period of the direction.
func (l *limits) behave(now time.Time, n, current int, sc *swell.Scale) (int, string) {
	if n > current && current > 0 {
		if b := sc.Up; b.Period > 0 && (b.Pods > 0 || b.Percent > 0) {
			start := float64(current - l.moved(now.Add(-b.Period)))
			to := start
			if b.Pods > 0 {
				to = start + float64(b.Pods)
			}
			if b.Percent > 0 {
				to = max(to, math.Ceil(start*(1+float64(b.Percent)/100)))
			}
			if to := max(int(to), current); to < n {
				return to, "up by " + behaviour(b)
			}
		}
	}
	if n < current {
		if b := sc.Down; b.Period > 0 && (b.Pods > 0 || b.Percent > 0) {
			start := float64(current - l.moved(now.Add(-b.Period)))
			to := start
			if b.Pods > 0 {
				to = start - float64(b.Pods)
			}
			if b.Percent > 0 {
				to = min(to, math.Floor(start*(1-float64(b.Percent)/100)))
			}
			if to := min(int(to), current); to > n {
				return to, "down by " + behaviour(b)
			}
		}
	}
	return n, ""
}

func behaviour(b swell.Behavior) string {
	switch {
	case b.Pods > 0 && b.Percent > 0:
		return fmt.Sprintf("at most %d or %d %% in %s", b.Pods, b.Percent, b.Period)
	case b.Pods > 0:
		return fmt.Sprintf("at most %d in %s", b.Pods, b.Period)
	}
	return fmt.Sprintf("at most %d %% in %s", b.Percent, b.Period)
}

// moved returns how much the count grew since then.
func (l *limits) moved(since time.Time) (n int) {
	for i := len(l.moves) - 1; i >= 0 && l.moves[i].at.After(since); i-- {
		n += l.moves[i].by
	}
	return n
}

// changed remembers a change of the count.
func (l *limits) changed(now time.Time, by int) {
	if len(l.moves) >= maxMoves {
		l.moves = append(l.moves[:0], l.moves[len(l.moves)-maxMoves/2:]...)
	}
	l.moves = append(l.moves, move{now, by})
}

// extremes is the sliding maximum of what was added: a queue whose values fall,
// so that it holds at most one entry for each different value.
type extremes struct {
	queue []struct {
		at time.Time
		n  int
	}
}

func (e *extremes) add(at time.Time, n int) {
	i := len(e.queue)
	for i > 0 && e.queue[i-1].n <= n {
		i--
	}
	e.queue = append(e.queue[:i], struct {
		at time.Time
		n  int
	}{at, n})
}

// forget drops what was added at or before t.
func (e *extremes) forget(t time.Time) {
	i := 0
	for i < len(e.queue) && !e.queue[i].at.After(t) {
		i++
	}
	if i > 0 {
		e.queue = append(e.queue[:0], e.queue[i:]...)
	}
}

// max returns the largest; there must be one.
func (e *extremes) max() int { return e.queue[0].n }
