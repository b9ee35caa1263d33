package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Shape says how many requests a second are to be sent at each moment of a run.
// The zero Shape is none; make one by [NewShape].
type Shape struct {
	Name     string
	Duration time.Duration
	rate     func(at time.Duration) float64
}

// At returns the rate, in requests a second, at a moment from the start. Outside
// of [0, Duration) it is 0.
func (s Shape) At(at time.Duration) float64 {
	if s.rate == nil || at < 0 || at >= s.Duration {
		return 0
	}
	return s.rate(at)
}

// ShapeOptions say what a shape looks like.
type ShapeOptions struct {
	// Name is one of ShapeNames.
	Name string
	// Rate is the lowest rate, in requests a second: where ramp, step, sine and
	// wave begin, and all of constant. A trace does not use it.
	Rate float64
	// Peak is the highest rate. Constant does not use it; a trace is scaled to it,
	// and keeps its own rates if it is 0.
	Peak float64
	// Duration is the run's. A trace is compressed or stretched to it, and keeps
	// its own if it is 0.
	Duration time.Duration
	// Period is the sine's; 0 is once in Duration.
	Period time.Duration
	// Steps is how often step jumps on its way from Rate to Peak, by equal parts
	// and at equal intervals; 0 is once, in the middle.
	Steps int
	// Trace is what trace follows.
	Trace *Trace
}

// ShapeNames are the names of all shapes:
//
//   - constant: Rate all the time.
//   - ramp: from Rate straight to Peak.
//   - sine: from Rate up to Peak and down again, once in each Period.
//   - step: from Rate to Peak by jumps.
//   - trace: as it was recorded.
//   - wave: Rate for a tenth of the time, up to Peak in a quarter, Peak for a
//     quarter, down to Rate in 15 %, and Rate for the last quarter.
var ShapeNames = []string{"constant", "ramp", "sine", "step", "trace", "wave"}

// maxRate bounds what may be asked for, in requests a second.
const maxRate = 1e6

// NewShape makes a shape. An error says which option is wrong and why.
func NewShape(o ShapeOptions) (Shape, error) {
	bad := func(format string, a ...any) (Shape, error) {
		return Shape{}, fmt.Errorf("load shape %s: %w", o.Name, fmt.Errorf(format, a...))
	}
	if !slices.Contains(ShapeNames, o.Name) {
		return Shape{}, fmt.Errorf("no load shape is named %q; there are: %s", o.Name, strings.Join(ShapeNames, ", "))
	}
	for _, v := range []struct {
		name string
		rate float64
	}{{"rate", o.Rate}, {"peak", o.Peak}} {
		if !(v.rate >= 0 && v.rate <= maxRate) {
			return bad("a %s of %v/s is out of range; it is from 0 to %v/s", v.name, v.rate, maxRate)
		}
	}
	if o.Duration < 0 || o.Period < 0 || o.Steps < 0 {
		return bad("a negative duration, period or number of steps means nothing")
	}
	if o.Name == "trace" {
		if o.Trace == nil {
			return bad("it needs a trace to follow")
		}
		return o.Trace.shape(o.Peak, o.Duration)
	}
	if o.Duration == 0 {
		return bad("it needs a duration")
	}
	if o.Rate == 0 && (o.Name == "constant" || o.Peak == 0) {
		return bad("it needs a rate above 0")
	}
	if o.Name != "constant" && o.Peak == 0 {
		return bad("it needs a peak rate beside the rate of %v/s", o.Rate)
	}
	lo, span, total := o.Rate, o.Peak-o.Rate, o.Duration.Seconds()
	s := Shape{Name: o.Name, Duration: o.Duration}
	switch o.Name {
	case "constant":
		s.rate = func(time.Duration) float64 { return lo }
	case "ramp":
		s.rate = func(at time.Duration) float64 { return lo + span*at.Seconds()/total }
	case "sine":
		period := total
		if o.Period > 0 {
			period = o.Period.Seconds()
		}
		s.rate = func(at time.Duration) float64 {
			return lo + span*(1-math.Cos(2*math.Pi*at.Seconds()/period))/2
		}
	case "step":
		steps := float64(max(o.Steps, 1))
		s.rate = func(at time.Duration) float64 {
			return lo + span*math.Floor((steps+1)*at.Seconds()/total)/steps
		}
	case "wave":
		s.rate = func(at time.Duration) float64 {
			switch x := at.Seconds() / total; {
			case x < 0.10:
				return lo
			case x < 0.35:
				return lo + span*(x-0.10)/0.25
			case x < 0.60:
				return o.Peak
			case x < 0.75:
				return o.Peak - span*(x-0.60)/0.15
			default:
				return lo
			}
		}
	}
	return s, nil
}
