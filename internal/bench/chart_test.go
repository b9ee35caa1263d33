package bench

import (
	"math"
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	for _, c := range []struct {
		series        []float64
		width, height int
		want          string
	}{
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7, 8}, 9, 1, " ▁▂▃▄▅▆▇█"},
		{[]float64{0, 4, 8, 12, 16}, 5, 2, "   ▄█\n ▄███"},
		{[]float64{1, 9, 2, 3}, 2, 1, "█▃"},     // the highest of each two
		{[]float64{1, 2}, 4, 1, "▄▄██"},         // two columns each
		{[]float64{0.001, 100}, 2, 1, "▁█"},     // a little is not nothing
		{[]float64{math.NaN(), -3}, 2, 1, "  "}, // nothing
		{nil, 3, 1, "   "},
		{[]float64{1}, 0, 1, ""},
	} {
		if got := Chart(c.series, c.width, c.height); got != c.want {
			t.Errorf("%v in %d×%d:\n%s\nwant:\n%s", c.series, c.width, c.height, got, c.want)
		}
	}
}

func TestBars(t *testing.T) {
	got := Bars([]Bucket{{0.0001, 1}, {0.0002, 0}, {0.0005, 80}, {1, 20}}, 4)
	want := "≤  100µs │▏ 1\n≤  200µs │ 0\n≤  500µs │████ 80\n≤     1s │█ 20"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if Bars(nil, 10) != "" {
		t.Error("bars of nothing")
	}
}

func FuzzChart(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, 10, 2)
	f.Fuzz(func(t *testing.T, a, b, c float64, width, height int) {
		width, height = width%200, height%20
		out := Chart([]float64{a, b, c}, width, height)
		if width < 1 || height < 1 {
			return
		}
		lines := strings.Split(out, "\n")
		if len(lines) != height || len([]rune(lines[0])) != width {
			t.Fatalf("%d lines of %d", len(lines), len([]rune(lines[0])))
		}
	})
}
