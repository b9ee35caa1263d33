package scale

import (
	"strconv"
	"testing"
	"time"

	"swell"
	q "swell/internal/unit"
)

const q60 = q.Duration(time.Minute)

var noon = time.Unix(1_700_000_000, 0).UTC()

// pods makes instances: those with a share of CPU that have been ready for long, those
// ready without a measurement, and those that start.
func pods(cpu []float64, missing, starting int) ([]swell.Instance, []podMetric) {
	var all []swell.Instance
	var known []podMetric
	add := func(s swell.State) string {
		x := swell.Instance{ID: "p" + strconv.Itoa(len(all)), State: s, Created: noon.Add(-time.Hour)}
		if s == swell.Ready {
			x.ReadyAt = noon.Add(-50 * time.Minute)
		}
		all = append(all, x)
		return x.ID
	}
	for _, c := range cpu {
		known = append(known, podMetric{id: add(swell.Ready), at: noon.Add(-podLag), value: c})
	}
	for range missing {
		add(swell.Ready)
	}
	for range starting {
		add(swell.Starting)
	}
	return all, known
}

func four(c float64) []float64 { return []float64{c, c, c, c} }

// TestHPACPU: worked by hand from replica_calculator.go's formulas, for a request of one
// core and a target of 70 %.
func TestHPACPU(t *testing.T) {
	for _, c := range []struct {
		name              string
		cpu               []float64
		missing, starting int
		current, want     int
	}{
		{"84/70 = 1.2: ceil(1.2·4)", four(0.84), 0, 0, 4, 5},
		{"74/70 = 1.06 is within 0.1", four(0.74), 0, 0, 4, 4},
		{"35/70: ceil(0.5·4)", four(0.35), 0, 0, 4, 2},
		{"4 cores over 8, as the 4 unready count as 0: 50/70 < 1 turns round, so the count stays", four(1), 0, 4, 8, 8},
		{"4 cores over 5: 80/70 = 1.143: ceil(1.143·5)", four(1), 0, 1, 5, 6},
		{"down: the missing one counts as 100 %: 2.4 cores over 5 = 48 %: ceil(48/70·5)", four(0.35), 1, 0, 5, 4},
		{"up: the missing one counts as 0: 80/70: ceil(1.143·5)", four(1), 1, 0, 5, 6},
		{"down: those unready count for nothing: ceil(0.5·4)", four(0.35), 0, 2, 6, 2},
		{"whole percents: 76.9 is 76, and 76/70 is within 0.1", four(0.769), 0, 0, 4, 4},
	} {
		all, known := pods(c.cpu, c.missing, c.starting)
		h := &hpa{o: hpaDefaults, count: c.current, pods: podMetrics{known: known}}
		n, text, ok := h.cpu(&Input{Now: noon, Instances: all}, 0.7)
		if !ok || n != c.want {
			t.Errorf("%s: %d, want %d (%s)", c.name, n, c.want, text)
		}
	}
	h := &hpa{o: hpaDefaults, count: 3}
	all, _ := pods(nil, 2, 1)
	if _, _, ok := h.cpu(&Input{Now: noon, Instances: all}, 0.7); ok {
		t.Error("it answers without any measurement")
	}
}

// TestHPAYoung: the CPU of an instance that was not ready for the whole window is doubted
// in the first five minutes of its life, and only then.
func TestHPAYoung(t *testing.T) {
	for _, c := range []struct {
		age, ready time.Duration // ago
		want       int
	}{
		{time.Minute, 10 * time.Second, 2},     // unready: counts as 0: 1/2 core = 50 %, keeps 2
		{time.Minute, 20 * time.Second, 3},     // a whole window: 100/70: ceil(1.43·2)
		{6 * time.Minute, 10 * time.Second, 3}, // old enough
	} {
		all, known := pods([]float64{1, 1}, 0, 0)
		all[1].Created, all[1].ReadyAt = noon.Add(-c.age), noon.Add(-c.ready)
		h := &hpa{o: hpaDefaults, count: 2, pods: podMetrics{known: known}}
		if n, text, ok := h.cpu(&Input{Now: noon, Instances: all}, 0.7); !ok || n != c.want {
			t.Errorf("%v old, ready for %v: %d, want %d (%s)", c.age, c.ready, n, c.want, text)
		}
	}
}

func TestHPAExternal(t *testing.T) {
	for _, c := range []struct {
		value, target float64
		status, want  int
	}{
		{400, 50, 7, 8}, {370, 50, 7, 7}, {350, 50, 7, 7}, {100, 50, 7, 2}, {0, 50, 3, 0}, {120, 50, 0, 3},
	} {
		if n, _ := external(c.value, c.target, c.status, 0.1); n != c.want {
			t.Errorf("%v at %v each with %d: %d, want %d", c.value, c.target, c.status, n, c.want)
		}
	}
}

// TestHPANormalize: worked by hand from horizontal.go.
func TestHPANormalize(t *testing.T) {
	behaving := hpaDefaults
	behaving.Behavior = true
	slow := behaving
	slow.Down = hpaRule{Pods: 2, Percent: 10, Period: q60, Select: "min"}
	fast := slow
	fast.Down.Select = "max"
	off := slow
	off.Down.Select = "disabled"
	patient := behaving
	patient.Up.Stabilization = q60
	for _, c := range []struct {
		name        string
		o           hpaOptions
		recommended []move // by is the count, at seconds before now
		moves       []move
		current, n  int
		least, most int
		want        int
	}{
		{name: "twice as many at most", o: hpaDefaults, current: 3, n: 10, want: 6},
		{name: "but four", o: hpaDefaults, current: 1, n: 10, want: 4},
		{name: "the most of 5 minutes", o: hpaDefaults, recommended: []move{{noon.Add(-200 * time.Second), 8}}, current: 8, n: 5, want: 8},
		{name: "older is forgotten", o: hpaDefaults, recommended: []move{{noon.Add(-301 * time.Second), 8}}, current: 8, n: 5, want: 5},
		{name: "4 or 100 %, the larger", o: behaving, current: 10, n: 100, want: 20},
		{name: "4 or 100 %, of few", o: behaving, current: 2, n: 100, want: 6},
		{name: "what was added in the period counts", o: behaving, moves: []move{{noon.Add(-5 * time.Second), 10}}, current: 20, n: 100, want: 20},
		{name: "and not what was before", o: behaving, moves: []move{{noon.Add(-16 * time.Second), 10}}, current: 20, n: 100, want: 40},
		{name: "min of 2 and 10 % down", o: slow, current: 50, n: 10, want: 48},
		{name: "max of 2 and 10 % down", o: fast, current: 50, n: 10, want: 45},
		{name: "down is disabled", o: off, current: 50, n: 10, want: 50},
		{name: "up only as the least of a minute", o: patient, recommended: []move{{noon.Add(-30 * time.Second), 12}}, current: 10, n: 18, want: 12},
		{name: "bounds", o: hpaDefaults, current: 8, n: 12, most: 9, want: 9},
		{name: "bounds below", o: hpaDefaults, current: 8, n: 1, least: 4, want: 4},
	} {
		if c.most == 0 {
			c.most = 1000
		}
		if c.least == 0 {
			c.least = 1
		}
		core := hpaCore{recommended: c.recommended, moves: c.moves}
		var d swell.Decision
		if n := core.normalize(&c.o, noon, c.current, c.n, c.least, c.most, &d); n != c.want {
			t.Errorf("%s: %d, want %d (%s)", c.name, n, c.want, d.Reason)
		}
	}
}

// TestHPAHolds: without any measurement the count stays, and scale-in waits.
func TestHPAHolds(t *testing.T) {
	make, err := Kind().Build("hpa", []byte(`{"rps":"50/s"}`))
	if err != nil {
		t.Fatal(err)
	}
	p := make()
	svc := swell.Service{Name: "a", Scale: swell.Scale{Min: 1, Max: 50}}
	all, _ := pods([]float64{0, 0, 0}, 0, 0)
	in := Input{Now: noon, Service: svc, Instances: all}
	if d := p.Decide(in); d.Replicas != 3 || d.By != "hold" {
		t.Errorf("blind: %d by %s: %s", d.Replicas, d.By, d.Reason)
	}
	for i := 1; i <= 60; i++ {
		in.Now = noon.Add(time.Duration(i) * time.Second)
		in.Load = Load{At: in.Now, Window: time.Second, Rate: 400}
		d := p.Decide(in)
		if want := 3; i < 15 && d.Replicas != want {
			t.Fatalf("between two syncs at %d s: %d", i, d.Replicas)
		}
		if i == 15 && d.Replicas != 6 { // 8 are wanted, 3 at most double
			t.Errorf("at 15 s: %d: %s", d.Replicas, d.Reason)
		}
		if i == 30 && d.Replicas != 8 {
			t.Errorf("at 30 s: %d: %s", d.Replicas, d.Reason)
		}
	}
	in.Floor = 20
	if d := p.Decide(in); d.Replicas != 20 || d.By != "manual" {
		t.Errorf("by hand: %d by %s", d.Replicas, d.By)
	}
}
