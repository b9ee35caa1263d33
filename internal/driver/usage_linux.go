package driver

import (
	"cmp"
	"os"
	"slices"
	"time"
)

// tick is what the kernel counts CPU time in, for /proc: 100 a second on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// forgets is how many measurements a process counts as a stranger for before it
// is looked at again: its number may have become another's.
const forgets = 10

// meter measures the CPU and memory of process trees, by one pass over /proc.
// Processes of others are read once in a while only.
type meter struct {
	strangers map[int]bool
	round     int
	last      map[string]sample
}

type sample struct {
	at    time.Time
	ticks uint64
}

// measure returns the usage of each root's tree and group since the call before.
// A root that is new is left out: there is no window yet. Memory that processes
// of a tree share counts for each of them.
func (m *meter) measure(roots map[int]string, now time.Time) []Usage {
	if len(roots) == 0 {
		m.last, m.strangers = nil, nil
		return nil
	}
	if m.round++; m.round%forgets == 0 || m.strangers == nil {
		m.strangers = map[int]bool{}
	}
	all, err := pids()
	if err != nil {
		return nil
	}
	var buf [1024]byte
	seen := make([]stat, 0, 4*len(roots))
	byPID := make(map[int]stat, 4*len(roots))
	for _, pid := range all {
		if m.strangers[pid] && roots[pid] == "" {
			continue
		}
		if s, err := readStat(pid, buf[:]); err == nil {
			seen = append(seen, s)
			byPID[pid] = s
		}
	}
	type total struct {
		ticks uint64
		pages int64
	}
	totals := make(map[string]total, len(roots))
	for _, s := range seen {
		id := owner(s, roots, byPID)
		if id == "" {
			m.strangers[s.pid] = true
			continue
		}
		t := totals[id]
		t.ticks += s.ticks
		t.pages += s.pages
		totals[id] = t
	}
	out := make([]Usage, 0, len(totals))
	next := make(map[string]sample, len(totals))
	for id, t := range totals {
		next[id] = sample{now, t.ticks}
		before, ok := m.last[id]
		window := now.Sub(before.at)
		if !ok || window <= 0 {
			continue
		}
		u := Usage{ID: id, Window: window, Memory: t.pages * int64(os.Getpagesize())}
		// A process that left the tree took its count along.
		if t.ticks > before.ticks {
			u.CPU = float64(t.ticks-before.ticks) * tick.Seconds() / window.Seconds()
		}
		out = append(out, u)
	}
	m.last = next
	slices.SortFunc(out, func(a, b Usage) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// owner returns the instance that the process is of: by its group, or by the
// first of its ancestors that is a root or in a root's group.
func owner(s stat, roots map[int]string, byPID map[int]stat) string {
	for range 64 { // deeper than any tree; a pass over /proc is no snapshot, so loops can be
		if id := roots[s.pid]; id != "" {
			return id
		}
		if id := roots[s.group]; id != "" {
			return id
		}
		up, ok := byPID[s.parent]
		if !ok {
			return ""
		}
		s = up
	}
	return ""
}
