package scale

import (
	"math"
	"time"
)

// Capacity is what was learned of one instance of a service, from nothing but
// the traffic that it has. Three sources complement each other:
//
//   - Saturation. When more arrives than is done and requests take longer than
//     they need, the instances do all that they can: what they do then is the
//     capacity. It holds whatever the shape of the queue, and needs an overload.
//   - The law of the queue. For a queue like M/M/1, W = S / (1 - x/c), so that
//     1/W falls linearly with the throughput x and reaches 0 at the capacity c
//     (and 1/S at x = 0): a line through what was seen gives c without overload.
//     It is no help where latency stays flat until the end (a pool of workers).
//   - The most that an instance was ever seen to do: a bound from below, which
//     also bounds how far the line is trusted beyond what was seen.
//
// Latencies are the service's own: without the time spent in services that it
// calls.
type Capacity struct {
	base   float64 // seconds a request takes when nothing queues; 0 is unknown
	tail   float64 // the goal's quantile over the mean then; 0 is unknown
	peak   float64 // most that one instance did, per second, slowly forgotten
	peakAt time.Time

	saturated  float64 // per second, when all were busy; 0 was never seen
	hard       [5]float64
	nhard      int
	growing    int     // windows in a row that more came than was done
	deep       int     // windows in a row that requests took far longer than base
	grew       bool    // saturated comes from an overload, if a short one
	downstream float64 // in flight at callees, in the newest window
	calmly     int     // calm windows ever
	block      block
	overload   overload  // the last one
	futile     time.Time // until then more instances are known not to help
	episode    float64   // most that was done per instance in this overload
	line       line
	recent     [3]flow // newest first
	nrecent    int
	waiting    float64 // newest own latency, seconds, mean; 0 is unknown
	median     float64 // and median
	throughput float64 // newest per-instance throughput
}

// block sums windows up to a point of the line: the mean of a second's latencies
// is so uncertain near saturation that its inverse would be biased.
type block struct{ n, x, sum, count float64 }

func (b *block) add(x float64, w window) {
	b.n++
	b.x += x
	b.sum += w.latency * w.count
	b.count += w.count
}

// flow is one window of a service.
type flow struct{ in, out, ended, w float64 }

const (
	kneeRatio    = 1.3  // own latency over base below which nothing queues
	deepRatio    = 4.0  // above which all must be busy
	lopsided     = 4.0  // mean over median above which one instance has a backlog of its own
	trustBeyond  = 2.0  // how far the line is believed, times the peak
	peakHalfLife = 3600 // seconds
	blockWindows = 10   // windows that make a point of the line
)

// window is one measurement as the estimator sees it.
type window struct {
	at       time.Time
	seconds  float64
	in, out  float64 // per second; out without errors
	ended    float64 // out with errors
	latency  float64 // own, mean, seconds; 0 if none ended
	median   float64 // own, seconds
	tail     float64 // own, seconds, at the goal\'s quantile
	count    float64 // requests that ended
	inflight float64 // own
	ready    float64 // instances, mean over the window
	settled  bool    // the set of ready instances was the same long before the window
}

// learn takes one window.
func (c *Capacity) learn(w window) {
	copy(c.recent[1:], c.recent[:2])
	c.recent[0] = flow{w.in, w.out, w.ended, w.seconds}
	c.nrecent = min(c.nrecent+1, len(c.recent))
	if w.ready == 0 {
		c.growing, c.deep, c.episode = 0, 0, 0
		c.waiting, c.throughput = 0, 0
		return
	}
	x := w.out / w.ready
	c.throughput = x
	c.waiting, c.median = w.latency, w.median
	c.detect(w)
	c.learnBase(w, x)
	c.learnTail(w)

	if w.settled && c.nrecent == len(c.recent) {
		var n, t float64
		for _, f := range c.recent {
			n, t = n+f.out*f.w, t+f.w
		}
		c.fade(w.at)
		// A short burst of a queue that drains is no more than the instances can
		// do either, so it counts.
		// Less its own uncertainty, or the luckiest moment ever would count.
		c.peak = max(c.peak, (n-1.5*math.Sqrt(n))/t/w.ready)
	}
	switch {
	case c.growing >= 2:
		// The most of the overload counts: with instances not evenly loaded the
		// mean is less than the capacity, and never more.
		var n, t float64
		for _, f := range c.recent[:min(c.growing-1, c.nrecent)] {
			n, t = n+f.out*f.w, t+f.w
		}
		c.episode = max(c.episode, (n-0.5*math.Sqrt(n))/t/w.ready)
		if w.settled && c.growing >= 3 {
			c.hardEvidence(c.episode)
			c.watchHelp(w)
		} else if c.nhard == 0 {
			c.saturated, c.grew = max(c.saturated, c.episode), true
		}
	case c.deep >= 3 && w.settled:
		c.episode = max(c.episode, x)
		c.softEvidence(c.episode)
	default:
		if c.growing == 0 && c.deep == 0 {
			c.episode = 0
		}
	}
	if c.growing == 0 && w.latency > 0 && w.settled {
		c.block.add(x, w)
		if c.block.n >= blockWindows {
			c.line.add(c.block.x/c.block.n, c.block.count/c.block.sum, c.block.count)
			c.block = block{}
		}
		c.explore(x)
	} else {
		c.block = block{}
	}
}

// learnBase follows the least that a request takes: down at once, up slowly, as
// a longer latency is a queue before it is a slower program. At little load it
// can't be a queue.
func (c *Capacity) learnBase(w window, x float64) {
	if w.latency <= 0 || w.count <= 0 {
		return
	}
	if w.settled && c.calm() {
		c.calmly++
	}
	trust := w.count / (w.count + 10) // few requests say little
	switch {
	case c.base == 0:
		c.base = w.latency
	case c.calmly < calmFor:
		// Before a calm moment was seen there may have been a queue all along, at
		// the start even the time that requests waited for the first instance.
		c.base = min(c.base, w.latency)
	case w.latency < c.base:
		c.base += 0.3 * trust * (w.latency - c.base)
	case c.peak > 0 && x < 0.3*c.peak && c.growing == 0 && w.inflight < 1.5*w.ready:
		c.base += 0.05 * trust * (min(w.latency, 3*c.base) - c.base)
	case c.calm():
		c.base += 0.0003 * trust * (min(w.latency, 3*c.base) - c.base)
	}
}

// learnTail follows how far the goal's quantile is above the mean while nothing
// queues: a property of the requests, which a queue would blur.
func (c *Capacity) learnTail(w window) {
	if w.count < 5 || w.latency <= 0 || w.latency > 1.1*c.base || !c.calm() {
		return
	}
	r := min(max(w.tail/w.latency, 1), 20)
	if c.tail == 0 {
		c.tail = r
	}
	// The tail feels a queue long before the mean does.
	if most, sure, _ := c.Estimate(); sure > 0 && w.out > 0.6*most*w.ready {
		return
	}
	c.tail += 0.05 * w.count / (w.count + 20) * (r - c.tail)
}

// detect counts the windows of overload.
func (c *Capacity) detect(w window) {
	// What arrived and did not end, beyond noise; over one window, or over three.
	var in, out float64
	grows := false
	for i, f := range c.recent[:c.nrecent] {
		in, out = in+f.in*f.w, out+f.ended*f.w
		if i == 0 || i == 2 {
			grows = grows || in-out > 3*math.Sqrt(in)+0.05*in
		}
	}
	// Requests that simply take long end later than they arrive, without a queue:
	// in-flight as Little's law has it for the base latency is no overload.
	queue := w.inflight - 1.25*w.in*c.base
	queues := queue > 0 && w.inflight > w.ready && w.median > 2*c.base
	if w.latency == 0 || c.base == 0 {
		queues = false
	}
	if grows && (queues || (c.growing > 0 && w.inflight > 2*w.in*c.base)) {
		c.growing++
	} else if grows && w.out > 10 && w.latency > 0 && w.latency < w.seconds && queue > 0 {
		c.growing = max(c.growing, 1)
	} else {
		c.growing = 0
	}
	// Where much more is done than arrives, a backlog drains that may be one
	// instance's alone.
	drains := w.ended-w.in > 3*math.Sqrt(w.in*w.seconds)/w.seconds+0.05*w.in
	if c.base > 0 && w.median > deepRatio*c.base && w.inflight > 2*w.ready && !drains {
		c.deep++
	} else {
		c.deep = 0
	}
}

func (c *Capacity) fade(at time.Time) {
	if !c.peakAt.IsZero() {
		c.peak *= math.Exp2(-at.Sub(c.peakAt).Seconds() / peakHalfLife)
	}
	c.peakAt = at
}

func (c *Capacity) hardEvidence(x float64) {
	if c.growing == 3 { // once an overload; more of it only raises the same entry
		copy(c.hard[1:], c.hard[:4])
		c.nhard = min(c.nhard+1, len(c.hard))
		c.hard[0] = x
	}
	c.hard[0] = max(c.hard[0], x)
	if c.saturated == 0 || c.nhard == 1 {
		c.saturated = x
	} else {
		c.saturated += 0.3 * (x - c.saturated)
	}
}

// watchHelp compares what is done in an overload with what fewer instances did in
// the one before. If it is no more, something that they share is the limit: the
// machine, a database, a service downstream that can't be seen.
func (c *Capacity) watchHelp(w window) {
	before := c.overload
	if before.ready > 0 && w.at.Sub(before.at) < helpMemory && w.ready >= 1.4*before.ready && w.out <= 1.15*before.out {
		c.futile = w.at.Add(helpHold)
		c.overload.at = w.at
		return
	}
	c.overload = overload{w.ready, max(w.out, c.episode*w.ready), w.at}
}

// overload is what so many instances did in one, all together.
type overload struct {
	ready, out float64
	at         time.Time
}

const (
	helpMemory = 10 * time.Minute // that overloads are compared for
	helpHold   = time.Minute      // that no more instances are tried for
)

// softEvidence is of a queue that is long but does not grow: the instances do
// nearly what they can, perhaps a little more would go.
func (c *Capacity) softEvidence(x float64) {
	switch {
	case c.saturated == 0 || x > c.saturated:
		c.saturated = x
	case c.nhard == 0 && !c.grew:
		c.saturated += 0.05 * (x - c.saturated)
	}
}

// explore raises the known saturation slowly while instances that should be
// half busy show no queue: what was taken for saturation may have been a stall
// of the machine. It never goes beyond what was seen.
func (c *Capacity) explore(x float64) {
	if c.saturated == 0 {
		return
	}
	c.saturated = max(c.saturated, c.peak)
	limit := c.peak
	for _, h := range c.hard[:c.nhard] {
		limit = max(limit, h)
	}
	if x > 0.5*c.saturated && c.waiting < kneeRatio*c.base && c.saturated < 1.05*limit {
		c.saturated *= 1.001
	}
}

// Estimate returns what one instance can do per second at most, how sure that is
// in [0, 1], and what it was learned from: "saturation", "latency" or, with
// confidence 0, "".
func (c *Capacity) Estimate() (perSecond, confidence float64, from string) {
	if c.saturated > 0 {
		x := max(c.saturated, c.peak)
		switch {
		case c.nhard > 0:
			return x, 1, "saturation"
		case c.grew:
			return x, 0.9, "saturation"
		}
		return x, 0.7, "saturation"
	}
	if c.peak == 0 {
		return 0, 0, ""
	}
	if l, ok := c.line.zero(); ok && l > c.peak {
		return min(l, trustBeyond*c.peak), 0.6, "latency"
	}
	return 0, 0, ""
}

// now returns what one instance does at this moment of an overload, and false if
// there is none.
func (c *Capacity) now() (perSecond float64, windows int) {
	if c.growing == 0 {
		return 0, 0
	}
	return max(c.throughput, c.episode, c.peak), c.growing
}

// calm reports whether the newest windows were of a queue that neither grows nor
// drains, on the whole and at each instance.
func (c *Capacity) calm() bool {
	if c.growing > 0 || c.waiting > lopsided*c.median {
		return false
	}
	var in, out float64
	for i, f := range c.recent[:c.nrecent] {
		in, out = in+f.in*f.w, out+f.ended*f.w
		if (i == 0 || i == 2) && math.Abs(in-out) > 3*math.Sqrt(in)+0.05*in+1 {
			return false
		}
	}
	return true
}

// queued reports whether most requests wait for others, beyond chance.
func (c *Capacity) queued() bool { return c.base > 0 && c.median > kneeRatio*c.base }

// line is a weighted least squares fit of y = a + b·x with exponential
// forgetting, kept as sums: the recursive form of it that can't wind up.
type line struct {
	w, x, y, xx, xy, yy float64
	lo, hi              float64 // range of x that was seen, slowly closing
}

// lineForget is the factor by which each point makes the older ones count less;
// the half-life is about twelve minutes.
const lineForget = 0.99

// add takes a point that is a mean of count requests, and counts by them.
func (l *line) add(x, y, count float64) {
	if x <= 0 {
		return
	}
	wt := min(count, 1000)
	for _, p := range [...]*float64{&l.w, &l.x, &l.y, &l.xx, &l.xy, &l.yy} {
		*p *= lineForget
	}
	l.w += wt
	l.x += wt * x
	l.y += wt * y
	l.xx += wt * x * x
	l.xy += wt * x * y
	l.yy += wt * y * y
	if l.hi == 0 {
		l.lo, l.hi = x, x
	}
	mean := l.x / l.w
	l.lo = min(x, l.lo+(1-lineForget)*(mean-l.lo))
	l.hi = max(x, l.hi+(1-lineForget)*(mean-l.hi))
}

// slope returns how much y grows with x, and false unless x varied enough and the
// line explains most of what was seen.
func (l *line) slope() (float64, bool) {
	if l.w <= 0 || l.hi < 2*l.lo {
		return 0, false
	}
	mx, my := l.x/l.w, l.y/l.w
	vx, vy, cov := l.xx/l.w-mx*mx, l.yy/l.w-my*my, l.xy/l.w-mx*my
	if vx <= 0 || vy <= 0 || cov <= 0 || cov*cov < 0.5*vx*vy {
		return 0, false
	}
	return cov / vx, true
}

// zero returns where the line reaches zero: the capacity. It is false unless x
// varied enough, the line clearly falls, and it explains most of what was seen.
func (l *line) zero() (float64, bool) {
	if l.w <= 0 || l.hi < 1.4*l.lo {
		return 0, false
	}
	mx, my := l.x/l.w, l.y/l.w
	vx, vy, cov := l.xx/l.w-mx*mx, l.yy/l.w-my*my, l.xy/l.w-mx*my
	if vx <= 0 || vy <= 0 || cov >= 0 {
		return 0, false
	}
	b := cov / vx
	a := my - b*mx
	// The line must fall by a third of its height over what was seen, or it is
	// flat and where it ends is anybody's guess.
	if r2 := cov * cov / (vx * vy); r2 < 0.5 || a <= 0 || -b*l.hi < a/4 {
		return 0, false
	}
	return -a / b, true
}
