package telemetry

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketsTileTheRange(t *testing.T) {
	want := int64(0)
	for i := range buckets {
		lo, hi := bounds(i)
		if lo != want || hi <= lo {
			t.Fatalf("bucket %d is [%d, %d), after %d", i, lo, hi, want)
		}
		if bucketOf(lo) != i || bucketOf(hi-1) != i {
			t.Fatalf("bucket %d: its bounds are in %d and %d", i, bucketOf(lo), bucketOf(hi-1))
		}
		if lo >= 1024 && float64(hi-lo) > float64(lo)/subs {
			t.Fatalf("bucket %d is wider than a sixteenth: [%d, %d)", i, lo, hi)
		}
		want = hi
	}
	if want < 100e9 {
		t.Errorf("the buckets end at %v", time.Duration(want))
	}
	for _, c := range []struct {
		ns int64
		in int
	}{{-5, 0}, {math.MinInt64, 0}, {math.MaxInt64, buckets - 1}, {200e9, buckets - 1}} {
		if got := bucketOf(c.ns); got != c.in {
			t.Errorf("%d is in bucket %d, want %d", c.ns, got, c.in)
		}
	}
}

func TestQuantilesAreNearExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() float64{
		"uniform":     func() float64 { return 1e6 + 1e8*r.Float64() },
		"exponential": func() float64 { return 1e3 + 2e7*r.ExpFloat64() },
		"lognormal":   func() float64 { return math.Exp(16 + 1.5*r.NormFloat64()) },
		"bimodal":     func() float64 { return []float64{2e6, 9e8}[r.IntN(10)/9] * (1 + r.Float64()/10) },
		"constant":    func() float64 { return 5e6 },
		"microscopic": func() float64 { return 2000 * r.Float64() },
	} {
		for _, n := range []int{1, 2, 10, 1000, 20000} {
			var h histogram
			all := make([]float64, n)
			for i := range all {
				all[i] = min(math.Floor(draw()), 100e9)
				h.add(bucketOf(int64(all[i])), 1)
			}
			slices.Sort(all)
			qs := []float64{0, 0.5, 0.9, 0.95, 0.99, 0.999, 1}
			got := make([]time.Duration, len(qs))
			h.quantiles(qs, got)
			for i, q := range qs {
				exact := all[max(int(math.Ceil(q*float64(n))), 1)-1]
				if off := math.Abs(float64(got[i]) - exact); off > exact/subs+(1<<unitBits) {
					t.Errorf("%s of %d: quantile %v is %v, exactly %v", name, n, q, got[i], time.Duration(exact))
				}
			}
		}
	}
	var h histogram
	got := []time.Duration{1, 1, 1}
	h.quantiles(reported, got)
	if got[0] != 0 || got[2] != 0 {
		t.Errorf("quantiles of nothing: %v", got)
	}
}

func TestClassicBucketsNeverFall(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h histogram
	before := h.classic()
	var exact = map[float64]uint64{}
	for range 300 {
		for range 20 {
			d := math.Exp(15 + 2*r.NormFloat64())
			h.add(bucketOf(int64(d)), 1)
			for _, b := range le {
				if d <= b*1e9 {
					exact[b]++
				}
			}
		}
		now := h.classic()
		last := uint64(0)
		for _, b := range le {
			if now[b] < before[b] || now[b] < last || now[b] > h.count {
				t.Fatalf("bucket %v: %d after %d, %d below it, %d in all", b, now[b], before[b], last, h.count)
			}
			last = now[b]
		}
		before = now
	}
	for _, b := range le {
		if off := math.Abs(float64(before[b]) - float64(exact[b])); off > 60 { // 1 % of 6000
			t.Errorf("bucket %v has %d, exactly %d", b, before[b], exact[b])
		}
	}
}
