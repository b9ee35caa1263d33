package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreWithinOnePercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	all := make([]time.Duration, 20000)
	for i := range all {
		all[i] = time.Duration(math.Exp(random.Float64()*22) * float64(time.Microsecond)) // up to an hour
		h.add(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
		exact := all[int(math.Ceil(q*float64(len(all))))-1]
		got := h.quantile(q)
		if got < exact || got > exact+exact/128+time.Microsecond {
			t.Errorf("quantile %v: %v, exactly %v", q, got, exact)
		}
	}
	if h.max != all[len(all)-1] {
		t.Errorf("max %v", h.max)
	}
	var n int64
	for _, b := range h.coarse() {
		n += b.Count
	}
	if n != int64(len(all)) {
		t.Errorf("the coarse histogram has %d of %d", n, len(all))
	}
}

func TestEveryBucketHoldsWhatItSays(t *testing.T) {
	for i := range buckets {
		if bucket(ceil(i)) != i || (i+1 < buckets && bucket(ceil(i)+1) != i+1) {
			t.Fatalf("bucket %d ends at %v, which is in %d", i, ceil(i), bucket(ceil(i)))
		}
	}
	if bucket(-5) != 0 || bucket(math.MaxInt64) != buckets-1 {
		t.Error("what is out of range is not at the ends")
	}
}

func TestCoarseEdges(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{time.Millisecond, 1500 * time.Microsecond, 9 * time.Millisecond} {
		h.add(d)
	}
	want := []Bucket{{0.001, 1}, {0.002, 1}, {0.005, 0}, {0.01, 1}}
	if got := h.coarse(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if (&histogram{}).coarse() != nil || (&histogram{}).latency() != (Latency{}) {
		t.Error("an empty histogram is not empty")
	}
}

func BenchmarkRecorder(b *testing.B) {
	r := newRecorder(time.Now())
	for b.Loop() {
		now := time.Now()
		r.due(now, 0)
		r.end(now, time.Millisecond, outcome{status: 200, bytes: 100})
	}
}
