package bench

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestReadTrace(t *testing.T) {
	tr, err := ReadTrace(strings.NewReader("\xef\xbb\xbf# a load\r\nts,count\r\n\r\n893971800, 120\r\n893971860,30\n893971920,0.5\n"), "load.csv")
	if err != nil {
		t.Fatal(err)
	}
	if tr.Gauge || tr.Duration() != 3*time.Minute || tr.Peak() != 2 {
		t.Errorf("gauge %v, %v, peak %v", tr.Gauge, tr.Duration(), tr.Peak())
	}
	cut, err := tr.Cut(30*time.Second, 90*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s := shape(t, ShapeOptions{Name: "trace", Trace: cut})
	if s.Duration != time.Minute || s.At(0) != 2 || s.At(29*time.Second) != 2 || s.At(30*time.Second) != 0.5 {
		t.Errorf("the part: %v, %v, %v, %v", s.Duration, s.At(0), s.At(29*time.Second), s.At(30*time.Second))
	}
	if _, err := tr.Cut(0, time.Hour); err == nil {
		t.Error("a part beyond the end is no error")
	}
	gauge, err := ReadTrace(strings.NewReader("ts,value\n0,3\n1800,9\n"), "g.csv")
	if err != nil || !gauge.Gauge || gauge.Peak() != 9 || gauge.Duration() != time.Hour {
		t.Errorf("%+v, %v", gauge, err)
	}
}

func TestReadTraceNamesTheLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                              `bad.csv: a trace needs a header and two rows; it has 0`,
		"ts,count\n1,2\n":               `bad.csv: a trace needs a header and two rows; it has 1`,
		"time;n\n":                      `bad.csv:1: "time;n" is not the header of a trace, which is ts,count or ts,value`,
		"1,2\n2,3\n":                    `bad.csv:1: "1,2" is not the header`,
		"ts,count\n1\n":                 `bad.csv:2: "1" has no comma`,
		"ts,count\n\n#x\nnoon,2\n":      `bad.csv:4: "noon" is not a time in Unix seconds`,
		"ts,count\nNaN,2\n":             `bad.csv:2: "NaN" is not a time`,
		"ts,count\n1e300,2\n":           `bad.csv:2: "1e300" is not a time`,
		"ts,count\n1,-2\n":              `bad.csv:2: "-2" is not a number of at least 0`,
		"ts,count\n1,2,3\n":             `bad.csv:2: "2,3" is not a number`,
		"ts,count\n1,Inf\n":             `bad.csv:2: "Inf" is not a number`,
		"ts,count\n2,1\n2,1\n":          `bad.csv:3: its time is not later`,
		"ts,count\n" + spaces(70<<10):   `bad.csv:2: the line is too long`,
		"ts,count\n-1e12,1\n1e12,1\n":   `bad.csv: it spans`,
		"ts,count\n0,1\n1e-300,1\n2,1":  `bad.csv:3: its time is not later`,
		"ts,value\n1,2\n3,4\n1,2,3,4\n": `bad.csv:4: "2,3,4" is not a number`,
	} {
		_, err := ReadTrace(strings.NewReader(in), "bad.csv")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %s", in, err, want)
		}
	}
}

func spaces(n int) string { return strings.Repeat(" ", n) }

func FuzzReadTrace(f *testing.F) {
	f.Add([]byte("ts,count\n1,2\n61,3\n"))
	f.Add([]byte("ts,value\n1.5,2e3\r\n\n#\n61,3\n90,0\n"))
	f.Add([]byte("\xef\xbb\xbfts,count\n-5,0\n1,1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := ReadTrace(bytes.NewReader(b), "f")
		if err != nil {
			return
		}
		s, err := NewShape(ShapeOptions{Name: "trace", Trace: tr, Peak: 100, Duration: time.Second})
		if err != nil {
			return
		}
		for at := time.Duration(0); at < s.Duration; at += 10 * time.Millisecond {
			if r := s.At(at); math.IsNaN(r) || r < 0 || r > 100.0001 {
				t.Fatalf("a rate of %v at %v", r, at)
			}
		}
		if n := len(moments(newSchedule(s.rate, s.Duration, nil))); n > 101 {
			t.Fatalf("%d requests in a second of at most 100", n)
		}
	})
}
