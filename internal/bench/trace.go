package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"time"
)

// Trace is a recorded load: what it was from each row's time to the next one's.
type Trace struct {
	Name  string
	Gauge bool    // the values are a gauge of demand, and not counts of requests
	first float64 // the first row's time, Unix seconds
	at    []float64
	rate  []float64 // requests a second; of a gauge the values as they are
	end   float64   // seconds from the first row
}

// What is read of a trace at most.
const (
	maxRows  = 2_000_000
	maxValue = 1e12
)

// ReadTrace reads a CSV of two columns: a header "ts,count" or "ts,value", then
// rows of a time in Unix seconds, which grows, and a number: of the requests from
// then to the next row's time, or a gauge. The last row lasts as long as the one
// before it. Empty lines and lines that begin with # are skipped. Name is the
// file's, for errors, which name the line too.
func ReadTrace(r io.Reader, name string) (*Trace, error) {
	t := &Trace{Name: name}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), 64<<10)
	header := false
	n := 0
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%s:%d: %w", name, n, fmt.Errorf(format, a...))
	}
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		left, right, ok := bytes.Cut(line, []byte(","))
		left, right = bytes.TrimSpace(left), bytes.TrimSpace(right)
		if !header {
			header = true
			t.Gauge = string(right) == "value"
			if string(left) != "ts" || !t.Gauge && string(right) != "count" {
				return nil, bad("%.40q is not the header of a trace, which is ts,count or ts,value", line)
			}
			continue
		}
		if !ok {
			return nil, bad("%.40q has no comma; a row is a time in Unix seconds and a number", line)
		}
		ts, err := strconv.ParseFloat(string(left), 64)
		if err != nil || math.IsNaN(ts) || math.Abs(ts) > maxValue {
			return nil, bad("%.40q is not a time in Unix seconds", left)
		}
		v, err := strconv.ParseFloat(string(right), 64)
		if err != nil || !(v >= 0 && v <= maxValue) {
			return nil, bad("%.40q is not a number of at least 0", right)
		}
		if len(t.at) == 0 {
			t.first = ts
		}
		ts -= t.first
		if i := len(t.at); i > 0 && ts < t.at[i-1]+0.001 {
			return nil, bad("its time is not later than that of the row before it, by a millisecond at least")
		}
		if len(t.at) == maxRows {
			return nil, bad("a trace has at most %d rows", maxRows)
		}
		t.at, t.rate = append(t.at, ts), append(t.rate, v)
	}
	if err := lines.Err(); err != nil {
		n++
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, bad("the line is too long for a row")
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	last := len(t.at) - 1
	if last < 1 {
		return nil, fmt.Errorf("%s: a trace needs a header and two rows; it has %d", name, last+1)
	}
	t.end = t.at[last] + t.at[last] - t.at[last-1]
	if t.end > time.Duration(math.MaxInt64).Seconds() {
		return nil, fmt.Errorf("%s: it spans %.0f seconds, which is too long", name, t.end)
	}
	if !t.Gauge {
		for i := range t.rate {
			t.rate[i] /= t.until(i) - t.at[i]
		}
	}
	return t, nil
}

// until returns the end of row i, in seconds from the first.
func (t *Trace) until(i int) float64 {
	if i+1 < len(t.at) {
		return t.at[i+1]
	}
	return t.end
}

// Duration returns the time that the trace spans.
func (t *Trace) Duration() time.Duration { return time.Duration(t.end * float64(time.Second)) }

// Rows returns the Unix time of the first row, the seconds from it to each row, and
// each row's rate in requests a second, or value of a gauge. They are the trace's.
func (t *Trace) Rows() (first float64, at, rate []float64) { return t.first, t.at, t.rate }

// Peak returns the highest rate, in requests a second, or the highest value of a
// gauge.
func (t *Trace) Peak() float64 {
	peak := 0.0
	for _, r := range t.rate {
		peak = max(peak, r)
	}
	return peak
}

// Cut returns the part of the trace between two moments from its start.
func (t *Trace) Cut(from, to time.Duration) (*Trace, error) {
	if from < 0 || from >= to || to > t.Duration() {
		return nil, fmt.Errorf("%s spans %v; from %v to %v is no part of it", t.Name, t.Duration(), from, to)
	}
	a, b := from.Seconds(), to.Seconds()
	i, j := t.row(a), sort.SearchFloat64s(t.at, b)
	c := &Trace{Name: t.Name, Gauge: t.Gauge, first: t.first + a, end: b - a,
		at: make([]float64, 0, j-i), rate: t.rate[i:j:j]}
	for _, at := range t.at[i:j] {
		c.at = append(c.at, max(at-a, 0))
	}
	return c, nil
}

// row returns the index of the row in which a moment lies.
func (t *Trace) row(at float64) int {
	i := sort.SearchFloat64s(t.at, at)
	if i == len(t.at) || t.at[i] > at {
		i--
	}
	return max(i, 0)
}

// shape makes the trace a shape of that peak rate and duration; 0 keeps its own.
func (t *Trace) shape(peak float64, d time.Duration) (Shape, error) {
	own := t.Peak()
	if own == 0 {
		return Shape{}, fmt.Errorf("load shape trace: %s holds nothing but zeros", t.Name)
	}
	if peak == 0 && own > maxRate {
		return Shape{}, fmt.Errorf("load shape trace: %s has a peak of %.0f; give a peak rate of at most %v/s", t.Name, own, maxRate)
	}
	scale, speed := 1.0, 1.0
	if peak > 0 {
		scale = peak / own
	}
	if d == 0 {
		d = t.Duration()
	} else {
		speed = t.end / d.Seconds()
	}
	if d <= 0 {
		return Shape{}, fmt.Errorf("load shape trace: %s spans no time", t.Name)
	}
	return Shape{Name: "trace", Duration: d, rate: func(at time.Duration) float64 {
		return scale * t.rate[t.row(at.Seconds()*speed)]
	}}, nil
}
