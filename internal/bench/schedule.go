package bench

import (
	"math/rand/v2"
	"time"
)

// grid is how finely a shape's rate is followed.
const grid = 2 * time.Millisecond

// schedule yields the moments at which requests are to be sent: a request is due
// whenever the integral of the rate has grown by one (evenly spaced), or by an
// exponentially distributed amount of mean one, which makes the arrivals a
// Poisson process of that rate.
type schedule struct {
	rate   func(time.Duration) float64
	end    time.Duration
	random *rand.Rand // nil: evenly spaced

	cell time.Duration // where the cell of the grid begins
	done float64       // the part of the cell's integral that is used up
	need float64       // the integral that is still to grow
}

func newSchedule(rate func(time.Duration) float64, end time.Duration, random *rand.Rand) *schedule {
	s := &schedule{rate: rate, end: end, random: random}
	s.need = s.gap()
	if random == nil {
		s.need = 0.5 // in the middle of its share, so that a short run's count is right
	}
	return s
}

func (s *schedule) gap() float64 {
	if s.random == nil {
		return 1
	}
	return s.random.ExpFloat64()
}

// next returns the next moment, from the start; false at the end.
func (s *schedule) next() (time.Duration, bool) {
	for s.cell < s.end {
		width := min(grid, s.end-s.cell)
		rate := max(s.rate(s.cell+width/2), 0)
		left := rate*width.Seconds() - s.done
		if s.need <= left {
			s.done += s.need
			s.need = s.gap()
			return s.cell + time.Duration(s.done/rate*float64(time.Second)), true
		}
		s.need -= max(left, 0)
		s.cell += width
		s.done = 0
	}
	return 0, false
}
