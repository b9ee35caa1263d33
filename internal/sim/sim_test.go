package sim

import (
	"context"
	"math"
	"testing"
	"time"
)

// days makes a load with a daily wave between the rates, a row a minute.
func days(tb testing.TB, n int, low, high float64) *Load {
	tb.Helper()
	at, rate := make([]float64, n*1440), make([]float64, n*1440)
	for i := range at {
		at[i] = float64(60 * i)
		rate[i] = low + (high-low)*(1-math.Cos(2*math.Pi*float64(i)/1440))/2
	}
	l, err := newLoad("wave", 1_700_000_000, at, rate, float64(n*86400))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func options(tb testing.TB, l *Load, noise bool) Options {
	tb.Helper()
	a, err := l.Arrivals(noise, 1)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := ParseStartup("30s")
	if err != nil {
		tb.Fatal(err)
	}
	return Options{Arrivals: a, Service: DefaultService(), Capacity: DefaultCapacity, Latency: DefaultLatency,
		Startup: st, Backlog: DefaultBacklog}
}

// BenchmarkMonth is a month of one service with a peak of 60 instances, second by
// second.
func BenchmarkMonth(b *testing.B) {
	o := options(b, days(b, 30, 600, 3000), true)
	for _, name := range []string{"hpa", "kpa", "keda", "week-max", "auto"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Run(context.Background(), o, Spec{Name: name}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var _ = time.Second
