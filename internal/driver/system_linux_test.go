package driver

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "42 (a) R (b) S 7 40 40 0 -1 4194560 1 2 3 4 100 20 30 4 20 0 1 0 12345 1000000 321 18446744073709551615 1"
	s, err := parseStat([]byte(line))
	want := stat{pid: 42, parent: 7, group: 40, ticks: 154, start: 12345, pages: 321}
	if err != nil || s != want {
		t.Errorf("%+v %v, want %+v", s, err, want)
	}
	for _, bad := range []string{"", "42", "42 (a", "x (a) S 1", "42 (a) S", "42 (a) S 1 2 3", ")("} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
	self, err := readStat(os.Getpid(), nil)
	if err != nil || self.pid != os.Getpid() || self.parent != os.Getppid() || self.zombie || self.pages == 0 {
		t.Errorf("of this process: %+v %v", self, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) S 7 40 40 0 -1 4194560 1 2 3 4 100 20 30 4 20 0 1 0 12345 1000000 321"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && s.pid < 0 {
			t.Logf("%+v", s)
		}
	})
}

func TestOwner(t *testing.T) {
	all := map[int]stat{
		1:  {pid: 1},
		10: {pid: 10, parent: 1, group: 10},
		11: {pid: 11, parent: 10, group: 11}, // left the group
		12: {pid: 12, parent: 11, group: 11},
		13: {pid: 13, parent: 1, group: 10}, // lost its parent
		20: {pid: 20, parent: 1, group: 20},
		30: {pid: 30, parent: 31, group: 30}, // no snapshot: a loop
		31: {pid: 31, parent: 30, group: 30},
	}
	roots := map[int]string{10: "a"}
	for pid, want := range map[int]string{1: "", 10: "a", 11: "a", 12: "a", 13: "a", 20: "", 30: ""} {
		if got := owner(all[pid], roots, all); got != want {
			t.Errorf("process %d is of %q, want %q", pid, got, want)
		}
	}
}

// BenchmarkMeter is what measuring usage costs, once a second, on this machine.
func BenchmarkMeter(b *testing.B) {
	var m meter
	roots := map[int]string{os.Getpid(): "self"}
	now := time.Now()
	for n := 0; b.Loop(); n++ {
		m.measure(roots, now.Add(time.Duration(n)*time.Second))
	}
	all, _ := pids()
	b.ReportMetric(float64(len(all)), "processes")
}

func TestMeter(t *testing.T) {
	var m meter
	now := time.Now()
	roots := map[int]string{os.Getpid(): "self"}
	if got := m.measure(roots, now); len(got) != 0 {
		t.Errorf("usage without a window: %v", got)
	}
	for n := range 2 * forgets {
		got := m.measure(roots, now.Add(time.Duration(n+1)*time.Second))
		if len(got) != 1 || got[0].ID != "self" || got[0].Window != time.Second || got[0].Memory == 0 {
			t.Fatalf("%+v", got)
		}
	}
	if got := m.measure(nil, now); got != nil || m.strangers != nil {
		t.Errorf("usage of nobody: %v", got)
	}
}
