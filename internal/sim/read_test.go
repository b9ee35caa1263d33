package sim

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

const swellLine = `{"time":"2026-01-02T03:04:%02d.000000Z","duration":0.001,"client":"127.0.0.1","status":200}` + "\n"

func TestRead(t *testing.T) {
	common := func(second int) string {
		return fmt.Sprintf("10.0.0.1 - - [02/Jan/2026:03:04:%02d +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"x\"\n", second)
	}
	for _, c := range []struct {
		name, text string
		start      string
		span       time.Duration
		rates      []float64
	}{
		{"csv of counts", "ts,count\n1767323040,60\n1767323100,120\n1767323160,0\n", "2026-01-02T03:04:00Z", 3 * time.Minute, []float64{1, 2, 0}},
		{"csv of a gauge", "# x\nts,value\n1767323040,60\n1767323100,120\n", "2026-01-02T03:04:00Z", 2 * time.Minute, []float64{60, 120}},
		{"common", common(1) + common(0) + common(1) + common(3), "2026-01-02T03:04:00Z", 4 * time.Second, []float64{1, 2, 0, 1}},
		{"swell", fmt.Sprintf(swellLine, 5) + fmt.Sprintf(swellLine, 7) + "broken\n", "2026-01-02T03:04:05Z", 3 * time.Second, []float64{1, 0, 1}},
		{"json of another order", `{"status":200,"time":"2026-01-02T03:04:05Z"}` + "\n" + `{"status":200,"time":"2026-01-02T04:04:06+01:00"}`, "2026-01-02T03:04:05Z", 2 * time.Second, []float64{1, 1}},
		{"prometheus", `{"status":"success","data":{"resultType":"matrix","result":[
			{"metric":{"a":"1"},"values":[[1767323040,"10"],[1767323055,"20"],[1767323085,"NaN"]]},
			{"metric":{"a":"2"},"values":[[1767323055,"5"],[1767323070.0,"7.5"]]}]}}`, "2026-01-02T03:04:00Z", 45 * time.Second, []float64{10, 25, 7.5}},
		{"its data alone", `{"resultType":"matrix","result":[{"values":[[1767323040,"1"],[1767323055,"2"]]}]}`, "2026-01-02T03:04:00Z", 30 * time.Second, []float64{1, 2}},
	} {
		l, err := Read(strings.NewReader(c.text), "f")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if l.Start.Format(time.RFC3339) != c.start || l.Span() != c.span || fmt.Sprint(l.rate) != fmt.Sprint(c.rates) {
			t.Errorf("%s: from %v, %v: %v", c.name, l.Start, l.Span(), l.rate)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "is empty"},
		{"hello\n", "f:1:"},
		{"ts,count\n1,x\n2,3\n", "f:2:"},
		{"ts,count\n1,2\n", "two rows"},
		{`{"status":"error","error":"bad query"}`, "bad query"},
		{`{"status":"success","data":{"resultType":"vector","result":[]}}`, `"vector"`},
		{`{"status":"success","data":{"resultType":"matrix","result":[]}}`, "two samples"},
		{`{"resultType":"matrix","result":[{"values":[[1,"-3"],[2,"1"]]}]}`, "no load"},
		{`{"resultType":"matrix","result":[{"values":[[1,5],[2,"1"]]}]}`, "as text"},
		{`{"resultType":"matrix"`, "range query"},
		{fmt.Sprintf(swellLine, 1) + "x\ny\nz\n", "f:2:"},
		{fmt.Sprintf(swellLine, 1), "one second"},
		{"ts,value\n0,1\n1e9,1\n", "days"},
	} {
		if _, err := Read(strings.NewReader(c.text), "f"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "f") {
			t.Errorf("%.40q: %v", c.text, err)
		}
	}
	if _, err := ReadFile("nowhere.csv"); err == nil {
		t.Error("a file that isn't there was read")
	}
}

// TestArrivals: straight lines between the middles of rows; noise of the right size.
func TestArrivals(t *testing.T) {
	l := shaped(t, 60, func(m int) float64 { return 100 * float64(m) })
	a, err := l.Arrivals(false, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ at, want float64 }{{0, 0}, {29.5, 0}, {90 - 0.5, 100}, {120 - 0.5, 150}, {3599, 5900}} {
		if got := float64(a.Rate[int(c.at)]); math.Abs(got-c.want) > 1.1 {
			t.Errorf("at %v: %v, want %v", c.at, got, c.want)
		}
	}
	flat := shaped(t, 600, func(int) float64 { return 400 })
	noisy, err := flat.Arrivals(true, 7)
	if err != nil {
		t.Fatal(err)
	}
	var sum, squares float64
	for _, n := range noisy.N {
		sum += float64(n)
		squares += (float64(n) - 400) * (float64(n) - 400)
	}
	n := float64(len(noisy.N))
	if !near(sum/n, 400, 0.005) || !near(squares/n, 400, 0.05) {
		t.Errorf("mean %v, variance %v; both should be 400", sum/n, squares/n)
	}
	cut, err := l.Cut(10*time.Minute, 20*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	part, err := cut.Arrivals(false, 0)
	if err != nil || len(part.Rate) != 600 || part.Rate[0] != a.Rate[600] || !cut.Start.Equal(l.Start.Add(10*time.Minute)) {
		t.Errorf("a part: %d seconds from %v, %v", len(part.Rate), part.Rate[0], err)
	}
	if peak := cut.Peak(); peak != 2000 {
		t.Errorf("a part has a peak of %v", peak)
	}
	if _, err := l.Cut(time.Minute, time.Minute); err == nil {
		t.Error("a part of nothing")
	}
	if got := l.Scale(2).Peak(); got != 11800 {
		t.Errorf("twice as much has a peak of %v", got)
	}
	if got := l.Quantile(0.5); got != 3000 {
		t.Errorf("median %v", got)
	}
}

// FuzzRead: whatever a file holds, it is a load that can be simulated, or an error that
// names it.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"ts,count\n1,2\n61,3\n", fmt.Sprintf(swellLine, 1) + fmt.Sprintf(swellLine, 9),
		`x - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 1` + "\n",
		`{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"10"],[61,"2"]]}]}}`, "[", "{}", "# \n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Read(strings.NewReader(s), "file")
		if err != nil {
			if !strings.Contains(err.Error(), "file") {
				t.Errorf("%v does not name the file", err)
			}
			return
		}
		if l.Span() <= 0 || len(l.rate) < 2 || l.Span() > 100*time.Hour {
			return
		}
		a, err := l.Arrivals(true, 1)
		if err != nil {
			return
		}
		for i, n := range a.N {
			if !(n >= 0) || math.IsInf(float64(n), 0) {
				t.Fatalf("%v arrive in second %d", n, i)
			}
		}
	})
}
