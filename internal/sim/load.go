package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

// Load is a recorded load: requests a second at moments, with straight lines
// between.
type Load struct {
	Name  string
	Start time.Time
	at    []float64 // seconds since Start, growing; rates hold from the step's middle
	rate  []float64
	span  float64 // seconds
	flat  bool    // the rows are seconds or less: each holds for its time
	Notes []string
}

// newLoad makes a load of the rows of a trace: each holds for its time, until the
// next one's.
func newLoad(name string, start float64, at, rate []float64, span float64) (*Load, error) {
	if len(at) < 2 {
		return nil, fmt.Errorf("%s: a trace needs two rows; it has %d", name, len(at))
	}
	if span > maxSpan {
		return nil, fmt.Errorf("%s: it spans %.0f days; at most %d can be simulated", name, span/86400, maxSpan/86400)
	}
	whole, part := math.Modf(start)
	l := &Load{Name: name, Start: time.Unix(int64(whole), int64(part*1e9)).UTC(), span: span, at: slices.Clone(at), rate: slices.Clone(rate)}
	steps := make([]float64, 0, len(at))
	for i := 1; i < len(at); i++ {
		steps = append(steps, at[i]-at[i-1])
	}
	slices.Sort(steps)
	if l.flat = steps[len(steps)/2] <= 2; !l.flat {
		// A mean over a step is what the load was in its middle.
		for i := range l.at {
			end := span
			if i+1 < len(at) {
				end = at[i+1]
			}
			l.at[i] += min(end-at[i], steps[len(steps)/2]) / 2
		}
	}
	return l, nil
}

// maxSpan bounds what is simulated, in seconds.
const maxSpan = 400 * 86400

// Span is how long the load lasts.
func (l *Load) Span() time.Duration { return time.Duration(l.span * float64(time.Second)) }

// Peak is the highest rate, in requests a second.
func (l *Load) Peak() float64 { return slices.Max(l.rate) }

// Quantile returns the rate that is exceeded in a share of 1-q of the rows.
func (l *Load) Quantile(q float64) float64 {
	s := slices.Clone(l.rate)
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// Scale multiplies every rate.
func (l *Load) Scale(factor float64) *Load {
	c := *l
	c.rate = make([]float64, len(l.rate))
	for i, r := range l.rate {
		c.rate[i] = r * factor
	}
	return &c
}

// Cut is the part of the load between two moments from its start; 0 for to is its
// end.
func (l *Load) Cut(from, to time.Duration) (*Load, error) {
	if to == 0 {
		to = l.Span()
	}
	if from < 0 || to > l.Span() || to-from < time.Minute {
		return nil, fmt.Errorf("%s spans %v; from %v to %v is no part of it of a minute at least", l.Name, l.Span(), from, to)
	}
	c := *l
	c.Start, c.span = l.Start.Add(from), (to - from).Seconds()
	a, b := from.Seconds(), to.Seconds()
	i, j := sort.SearchFloat64s(l.at, a), sort.SearchFloat64s(l.at, b)
	if i == len(l.at) || i > 0 && l.at[i] > a {
		i-- // it began before
	}
	if !l.flat {
		j++ // the line goes on to it
	}
	j = max(min(j, len(l.at)), i+1)
	c.at, c.rate = make([]float64, 0, j-i), l.rate[i:j:j]
	for _, at := range l.at[i:j] {
		c.at = append(c.at, at-a)
	}
	return &c, nil
}

// Arrivals are a load second by second.
type Arrivals struct {
	Load *Load
	Rate []float32 // what the load was
	N    []float32 // requests that arrive: the rate, or with noise of the size that independent users make
}

// Arrivals reads the load each second; with noise, what arrives differs from the
// rate by a normal deviate times its square root (Poisson's law for many), the same
// for the same seed. A load of seconds, as of an access log, has its own.
func (l *Load) Arrivals(noise bool, seed uint64) (*Arrivals, error) {
	n := int(l.span)
	if n < 60 {
		return nil, errors.New(l.Name + ": a load of less than a minute says nothing")
	}
	a := &Arrivals{Load: l, Rate: make([]float32, n)}
	i := 0
	for t := range a.Rate {
		x := float64(t) + 0.5
		for i+1 < len(l.at) && l.at[i+1] <= x {
			i++
		}
		r := l.rate[i]
		if !l.flat && i+1 < len(l.at) && x > l.at[i] {
			r += (l.rate[i+1] - r) * (x - l.at[i]) / (l.at[i+1] - l.at[i])
		}
		a.Rate[t] = float32(r)
	}
	if a.N = a.Rate; noise && !l.flat {
		rnd := rand.New(rand.NewPCG(seed, 0x5eed))
		a.N = make([]float32, n)
		for t, r := range a.Rate {
			a.N[t] = max(0, r+float32(rnd.NormFloat64()*math.Sqrt(float64(r))))
		}
	}
	return a, nil
}
