package bench

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets of microseconds that are exact up to 128
// and then grow with the value: none is wider than 1/128 of what it holds, so a
// quantile is at most 0.8 % too high. It spans 2.4 hours; longer durations count
// as that. The zero histogram is empty.
type histogram struct {
	counts [buckets]int64
	n      int64
	sum    time.Duration
	max    time.Duration
}

const (
	fine    = 7  // bits of precision
	octaves = 26 // above 2^fine microseconds
	buckets = (octaves + 1) << fine
)

func bucket(d time.Duration) int {
	v := uint64(max(d, 0) / time.Microsecond)
	shift := max(bits.Len64(v)-fine-1, 0)
	return min(shift<<fine+int(v>>shift), buckets-1)
}

// ceil returns the highest duration that counts in bucket i.
func ceil(i int) time.Duration {
	shift := max(i>>fine-1, 0)
	v := uint64(i-shift<<fine+1)<<shift - 1
	return time.Duration(v)*time.Microsecond + time.Microsecond - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// quantile returns the duration that a share of q does not exceed; 0 if it is empty.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := int64(math.Ceil(q * float64(h.n)))
	rank = min(max(rank, 1), h.n)
	for i, c := range h.counts[:] {
		if rank -= c; rank <= 0 {
			return min(ceil(i), h.max)
		}
	}
	return h.max
}

func (h *histogram) latency() Latency {
	if h.n == 0 {
		return Latency{}
	}
	return Latency{
		Mean: (h.sum / time.Duration(h.n)).Seconds(),
		P50:  h.quantile(0.5).Seconds(), P90: h.quantile(0.9).Seconds(), P95: h.quantile(0.95).Seconds(),
		P99: h.quantile(0.99).Seconds(), P999: h.quantile(0.999).Seconds(), Max: h.max.Seconds(),
	}
}

// coarse returns the counts between 1, 2 and 5 times the powers of ten, from the
// first that is not 0 to the last.
func (h *histogram) coarse() []Bucket {
	var out []Bucket
	edge, i := 50*time.Microsecond, 0
	for n := 0; n < 40 && i < buckets; n++ {
		b := Bucket{UpTo: edge.Seconds()}
		for ; i < buckets && ceil(i) <= edge+edge/100; i++ {
			b.Count += h.counts[i]
		}
		if b.Count > 0 || len(out) > 0 {
			out = append(out, b)
		}
		edge *= 2
		if n%3 == 2 { // 50, 100, 200, 500 …
			edge += edge / 4
		}
	}
	for len(out) > 0 && out[len(out)-1].Count == 0 {
		out = out[:len(out)-1]
	}
	return out
}
