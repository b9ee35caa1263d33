package scale

import "math"

// arrivals estimates the rate of arrivals from samples of about a second. It
// averages over enough of them that Poisson noise is small beside the tolerance
// of a decision (at least ten seconds, and longer at low rates), and forgets
// them at once when the newest show that the rate has changed.
type arrivals struct {
	ring [arrivalsMax]struct{ n, w float64 } // arrivals and seconds
	at   int                                 // where the next one goes
	len  int
}

const (
	arrivalsMax     = 64  // samples kept
	arrivalsSeconds = 10  // averaged at least
	arrivalsCount   = 200 // arrivals averaged at least, within arrivalsMax
)

// add takes the rate (per second) of a window of w seconds.
func (a *arrivals) add(rate, w float64) {
	a.ring[a.at].n, a.ring[a.at].w = rate*w, w
	a.at = (a.at + 1) % arrivalsMax
	a.len = min(a.len+1, arrivalsMax)
	// A change shows in one sample if it is large, in three if it is moderate.
	for _, k := range [...]int{1, 3} {
		if a.changed(k) {
			a.len = k
			break
		}
	}
	n, w := a.sum(0, a.len)
	for a.len > 1 {
		old := a.sample(a.len - 1)
		if w-old.w < arrivalsSeconds || (n-old.n < arrivalsCount && w < arrivalsMax) {
			break
		}
		n, w = n-old.n, w-old.w
		a.len--
	}
}

// sample returns the i-th newest sample.
func (a *arrivals) sample(i int) struct{ n, w float64 } {
	return a.ring[(a.at-1-i+2*arrivalsMax)%arrivalsMax]
}

func (a *arrivals) sum(from, to int) (n, w float64) {
	for i := from; i < to; i++ {
		s := a.sample(i)
		n, w = n+s.n, w+s.w
	}
	return n, w
}

// changed reports whether the newest k samples can't have the rate of those
// before them. The square root of a Poisson count has a standard deviation of a
// half whatever its mean (Anscombe 1948), so 2.25 is four and a half of them; a tenth on top
// allows for arrivals that are burstier than Poisson's.
func (a *arrivals) changed(k int) bool {
	if a.len <= k {
		return false
	}
	n, w := a.sum(0, k)
	n0, w0 := a.sum(k, a.len)
	if w0 <= 0 || w <= 0 {
		return false
	}
	expect := n0 / w0 * w
	// What came before is known the less the shorter it was observed.
	z := 2.25 * math.Sqrt(1+w/w0)
	return math.Abs(math.Sqrt(n)-math.Sqrt(expect)) > z+0.05*math.Sqrt(expect)
}

// rate returns the arrivals per second now, and in `ahead` seconds if a trend
// that is clearly not noise goes on; that is at most a quarter more.
func (a *arrivals) rate(ahead float64) (now, then float64) {
	n, w := a.sum(0, a.len)
	if w <= 0 {
		return 0, 0
	}
	now = n / w
	if a.len < 5 {
		return now, now
	}
	var t, sxx, sxy float64 // t runs back from the newest sample's middle
	mid := w / 2
	for i := range a.len {
		s := a.sample(i)
		dt := mid - (t + s.w/2) // positive: newer than the middle
		sxx += dt * dt * s.w
		sxy += dt * (s.n - now*s.w)
		t += s.w
	}
	if sxx <= 0 {
		return now, now
	}
	slope := sxy / sxx
	// The variance of a sample's rate is rate/w: that of the slope follows.
	if sd := math.Sqrt(now / sxx); math.Abs(slope) < 5*sd {
		return now, now
	}
	mean := now
	now = max(0, mean+slope*w/2)
	then = min(max(0, now+slope*ahead), 1.25*now)
	return now, max(now, then)
}

// reset forgets all.
func (a *arrivals) reset() { a.len = 0 }
