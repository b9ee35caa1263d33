package telemetry

import (
	"math/bits"
	"time"
)

// Latencies are counted in a log-linear histogram, the layout of Gil Tene's
// HdrHistogram: each octave is cut into 2^subBits buckets of equal width, so that
// the width is at most 1/16 of the value, everywhere between a microsecond and
// 100 seconds. A quantile read from it is off by 1/16 at most, and by a few
// percent in practice as it is interpolated. Adding two of them is adding their
// counts, which is what makes sums over callers and windows exact.
const (
	unitBits = 6 // a unit is 64 ns: the first 16 buckets reach to 1.024 µs
	subBits  = 4 // 16 buckets an octave
	subs     = 1 << subBits
	topExp   = 30                              // octave of the last buckets: up to 137 s
	buckets  = subs + (topExp-subBits+1)*subs  // 448
	maxUnits = uint64(1)<<(topExp+1) - 1       // longer durations count in the last bucket
	maxNanos = int64(maxUnits) << unitBits     // about 137 s
	_        = uint(maxNanos - 100*1000000000) // 100 s must fit
)

// bucketOf returns the bucket of a duration in nanoseconds; negative ones count
// as none, too long ones as the longest.
func bucketOf(ns int64) int {
	if ns < 0 {
		return 0
	}
	u := min(uint64(ns)>>unitBits, maxUnits)
	if u < subs {
		return int(u)
	}
	e := bits.Len64(u) - 1
	return (e-subBits)<<subBits + int(u>>(e-subBits))
}

// bounds returns what bucket i covers: lo ≤ nanoseconds < hi.
func bounds(i int) (lo, hi int64) {
	if i < 2*subs {
		return int64(i) << unitBits, int64(i+1) << unitBits
	}
	shift := i>>subBits - 1 + unitBits
	m := int64(i&(subs-1) + subs)
	return m << shift, (m + 1) << shift
}

// histogram is a dense one, for one goroutine.
type histogram struct {
	n     [buckets]uint64
	count uint64
}

// add counts n more in bucket i.
func (h *histogram) add(i int, n uint64) {
	h.n[i] += n
	h.count += n
}

// quantiles sets out[i] to the nearest-rank quantile qs[i] (ascending, in [0, 1]),
// interpolated within its bucket; 0 if the histogram is empty.
func (h *histogram) quantiles(qs []float64, out []time.Duration) {
	clear(out)
	if h.count == 0 {
		return
	}
	var below uint64
	i := 0
	for k, q := range qs {
		rank := max(q*float64(h.count), 0.5) // of the request that is looked for
		for i < buckets-1 && float64(below+h.n[i]) < rank {
			below += h.n[i]
			i++
		}
		lo, hi := bounds(i)
		part := 0.5
		if h.n[i] > 0 {
			part = min((rank-float64(below))/float64(h.n[i]), 1)
		}
		out[k] = time.Duration(float64(lo) + part*float64(hi-lo))
	}
}
