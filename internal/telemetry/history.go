package telemetry

import (
	"math"
	"time"
)

// historyLen is how many seconds of a service are kept.
const historyLen = 600

// history is a ring of the last seconds of a service, each in 64 bytes.
type history struct {
	ring []second
	next int // the oldest, once the ring is full
}

type second struct {
	at                                                         int64 // Unix time, ms
	rate, done, errors, mean, p50, p95, p99, inflight, in, out float32
	waiting, ready, desired                                    int32
}

func (h *history) add(p Point) {
	t := &p.Traffic
	s := second{
		at: p.At.UnixMilli(), rate: float32(t.Rate), done: float32(t.Done), errors: float32(t.Errors),
		mean: float32(t.Mean), p50: float32(t.P50), p95: float32(t.P95), p99: float32(t.P99),
		inflight: float32(t.Inflight), in: float32(t.In), out: float32(t.Out),
		waiting: int32(p.Waiting), ready: int32(p.Ready), desired: int32(p.Desired),
	}
	if len(h.ring) < historyLen {
		h.ring = append(h.ring, s)
		return
	}
	h.ring[h.next] = s
	h.next = (h.next + 1) % historyLen
}

// points returns the seconds, oldest first.
func (h *history) points() []Point {
	out := make([]Point, len(h.ring))
	for i := range out {
		s := &h.ring[(h.next+i)%len(h.ring)]
		out[i] = Point{
			At: time.UnixMilli(s.at),
			Traffic: Traffic{
				Rate: wide(s.rate), Done: wide(s.done), Errors: wide(s.errors),
				Mean: wide(s.mean), P50: wide(s.p50), P95: wide(s.p95), P99: wide(s.p99),
				Inflight: wide(s.inflight), In: wide(s.in), Out: wide(s.out),
			},
			Waiting: int(s.waiting), Ready: int(s.ready), Desired: int(s.desired),
		}
	}
	return out
}

// wide is f rounded to six digits, so that it prints as 0.1 and not as
// 0.10000000149011612.
func wide(f float32) float64 {
	v := float64(f)
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	p := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*p) / p
}
