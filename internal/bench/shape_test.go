package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func shape(t testing.TB, o ShapeOptions) Shape {
	t.Helper()
	s, err := NewShape(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShapes(t *testing.T) {
	trace, err := ReadTrace(strings.NewReader("ts,count\n100,60\n160,120\n220,0\n"), "t.csv")
	if err != nil {
		t.Fatal(err)
	}
	type at map[time.Duration]float64
	const s = time.Second
	for _, c := range []struct {
		o    ShapeOptions
		want at
	}{
		{ShapeOptions{Name: "constant", Rate: 7, Duration: 10 * s}, at{-1: 0, 0: 7, 9 * s: 7, 10 * s: 0}},
		{ShapeOptions{Name: "ramp", Rate: 0, Peak: 100, Duration: 10 * s}, at{0: 0, 5 * s: 50}},
		{ShapeOptions{Name: "ramp", Rate: 100, Peak: 10, Duration: 10 * s}, at{0: 100, 5 * s: 55}},
		{ShapeOptions{Name: "sine", Rate: 20, Peak: 200, Duration: 40 * s, Period: 20 * s}, at{0: 20, 5 * s: 110, 10 * s: 200, 20 * s: 20, 30 * s: 200}},
		{ShapeOptions{Name: "sine", Rate: 0, Peak: 10, Duration: 40 * s}, at{20 * s: 10}},
		{ShapeOptions{Name: "step", Rate: 1, Peak: 10, Duration: 10 * s}, at{0: 1, 4999 * time.Millisecond: 1, 5 * s: 10, 9 * s: 10}},
		{ShapeOptions{Name: "step", Rate: 10, Peak: 40, Duration: 40 * s, Steps: 3}, at{9 * s: 10, 10 * s: 20, 20 * s: 30, 39 * s: 40}},
		{ShapeOptions{Name: "wave", Rate: 20, Peak: 200, Duration: 100 * s}, at{0: 20, 9 * s: 20, 22500 * time.Millisecond: 110, 35 * s: 200, 59 * s: 200, 67500 * time.Millisecond: 110, 75 * s: 20, 99 * s: 20}},
		{ShapeOptions{Name: "trace", Trace: trace}, at{0: 1, 59 * s: 1, 60 * s: 2, 120 * s: 0, 179 * s: 0, 180 * s: 0}},
		{ShapeOptions{Name: "trace", Trace: trace, Peak: 50, Duration: 18 * s}, at{5 * s: 25, 6 * s: 50, 11 * s: 50, 12 * s: 0}},
	} {
		sh := shape(t, c.o)
		for when, want := range c.want {
			if got := sh.At(when); math.Abs(got-want) > 1e-9 {
				t.Errorf("%+v at %v: %v, not %v", c.o, when, got, want)
			}
		}
	}
}

func TestAShapeSaysWhatIsWrong(t *testing.T) {
	for want, o := range map[string]ShapeOptions{
		`no load shape is named "saw"; there are: constant, ramp`: {Name: "saw"},
		"it needs a duration":                      {Name: "constant", Rate: 1},
		"it needs a rate above 0":                  {Name: "constant", Duration: 1},
		"it needs a peak rate beside the rate":     {Name: "ramp", Rate: 5, Duration: 1},
		"a rate of -1/s is out of range":           {Name: "ramp", Rate: -1, Duration: 1},
		"a peak of NaN/s is out of range":          {Name: "ramp", Peak: math.NaN(), Duration: 1},
		"a negative duration":                      {Name: "ramp", Duration: -1},
		"it needs a trace to follow":               {Name: "trace"},
		"quiet.csv holds nothing but zeros":        {Name: "trace", Trace: &Trace{Name: "quiet.csv", at: []float64{0, 1}, rate: []float64{0, 0}, end: 2}},
		"has a peak of 10000000; give a peak rate": {Name: "trace", Trace: &Trace{Name: "x", at: []float64{0, 1}, rate: []float64{0, 1e7}, end: 2}},
	} {
		_, err := NewShape(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", o, err, want)
		}
	}
}

func moments(s *schedule) (out []time.Duration) {
	for {
		at, ok := s.next()
		if !ok {
			return out
		}
		out = append(out, at)
	}
}

func TestAScheduleHasTheShapesRate(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		o    ShapeOptions
		want int
	}{
		{ShapeOptions{Name: "constant", Rate: 1, Duration: 10 * s}, 10},
		{ShapeOptions{Name: "constant", Rate: 0.1, Duration: 100 * s}, 10},
		{ShapeOptions{Name: "constant", Rate: 12345, Duration: 2 * s}, 24690},
		{ShapeOptions{Name: "ramp", Rate: 0, Peak: 1000, Duration: 10 * s}, 5000},
		{ShapeOptions{Name: "sine", Rate: 20, Peak: 200, Duration: 90 * s}, 9900},
		{ShapeOptions{Name: "step", Rate: 10, Peak: 100, Duration: 10 * s}, 550},
		{ShapeOptions{Name: "wave", Rate: 20, Peak: 200, Duration: 100 * s}, 2000 + 180*25 + 90*25 + 90*15},
	} {
		sh := shape(t, c.o)
		even := moments(newSchedule(sh.rate, sh.Duration, nil))
		if d := len(even) - c.want; d < -1 || d > 1 {
			t.Errorf("%+v: %d requests, not %d", c.o, len(even), c.want)
		}
		random := func() []time.Duration {
			return moments(newSchedule(sh.rate, sh.Duration, rand.New(rand.NewPCG(1, 2))))
		}
		poisson := random()
		if off := math.Abs(float64(len(poisson) - c.want)); off > 5*math.Sqrt(float64(c.want)) {
			t.Errorf("%+v at random: %d requests, not about %d", c.o, len(poisson), c.want)
		}
		if !slices.Equal(poisson, random()) {
			t.Errorf("%+v: the same seed gives other moments", c.o)
		}
		for _, list := range [][]time.Duration{even, poisson} {
			if !slices.IsSorted(list) || list[0] < 0 || list[len(list)-1] > sh.Duration {
				t.Errorf("%+v: the moments are not in order within the run", c.o)
			}
		}
	}
}

func TestEvenlySpaced(t *testing.T) {
	sh := shape(t, ShapeOptions{Name: "constant", Rate: 100, Duration: time.Second})
	for i, at := range moments(newSchedule(sh.rate, sh.Duration, nil)) {
		want := 5*time.Millisecond + time.Duration(i)*10*time.Millisecond
		if d := at - want; d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("request %d is due at %v, not %v", i, at, want)
		}
	}
}

func BenchmarkSchedule(b *testing.B) {
	s := newSchedule(func(time.Duration) float64 { return 10000 }, math.MaxInt64, rand.New(rand.NewPCG(1, 2)))
	for b.Loop() {
		s.next()
	}
}
