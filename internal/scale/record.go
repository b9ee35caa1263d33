package scale

import "swell"

// record keeps the decisions of one service: those that changed something, and
// the newest, which most often changed nothing.
type record struct {
	changes []swell.Decision // oldest first
	newest  swell.Decision
	public  swell.Decision // what others were told
	any     bool
}

// maxRecord is how many changes are kept.
const maxRecord = 100

// add takes a decision and reports whether others are to hear of it: the count
// changed, or the kind of reason did.
func (r *record) add(d swell.Decision) bool {
	r.newest = d
	if r.any && d.Replicas == r.public.Replicas && class(d.By) == class(r.public.By) {
		return false
	}
	r.any = true
	r.public = d
	if len(r.changes) >= maxRecord {
		copy(r.changes, r.changes[1:])
		r.changes = r.changes[:maxRecord-1]
	}
	r.changes = append(r.changes, d)
	return true
}

// class is the kind of a reason. Which of several targets asked for an equal
// count is no news, nor is a bound that equals what was wanted a moment ago.
func class(by string) string {
	switch by {
	case "hold", "manual":
		return by
	}
	return "policy"
}
