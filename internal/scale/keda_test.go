package scale

import (
	"testing"
	"time"
)

// TestKEDA: from zero at a poll, by the HorizontalPodAutoscaler above one, to zero all at
// once after the cooldown.
func TestKEDA(t *testing.T) {
	k := newKnative(t, "keda", `{"rps":"50/s"}`, 0, 0)
	k.want(k.pass(5, 0, 0), 0, "idle")
	d := k.pass(30, 0, 400)
	k.want(d, 1, "a trigger is active at a poll")
	k.ready(1)
	// 400/50 = 8, from 1 at most 4 at the first sync, then 8.
	d = k.pass(15, 0, 400)
	k.want(d, 4, "doubled, or four")
	k.ready(4)
	k.want(k.pass(15, 0, 400), 8, "as many as are needed")
	k.ready(8)
	k.want(k.pass(120, 0, 430), 8, "1.075 is within the tolerance")
	k.want(k.pass(120, 0, 500), 10, "500/50")
	k.ready(10)
	k.want(k.pass(250, 0, 100), 10, "the most of five minutes")
	k.want(k.pass(140, 0, 100), 2, "then 100/50")
	k.ready(2)
	k.want(k.pass(330, 0, 0), 2, "idle, the cooldown runs") // since the mean of a minute is 0
	k.want(k.pass(65, 0, 0), 0, "and is over")
}

func TestKEDANoMeasurement(t *testing.T) {
	for _, c := range []struct {
		options string
		want    int
	}{
		{`{"rps":"50/s"}`, 1}, // no value is 0, as Prometheus' scaler has it
		{`{"rps":"50/s","ignore-null-values":false}`, 4},
	} {
		k := newKnative(t, "keda", c.options, 1, 4)
		k.pass(60, 0, 200)
		for range 600 {
			k.sec++
			k.in.Now = noon.Add(time.Duration(k.sec) * time.Second)
			if d := k.p.Decide(k.in); k.sec == 650 && d.Replicas != c.want {
				t.Errorf("%s: %d, want %d (%s)", c.options, d.Replicas, c.want, d.Reason)
			}
		}
	}
}

// TestWeekMax: what last week's next half an hour needed is there before it is needed.
func TestWeekMax(t *testing.T) {
	make, err := Kind().Build("week-max", []byte(`{"rps":"50/s"}`))
	if err != nil {
		t.Fatal(err)
	}
	p := make()
	k := newKnative(t, "keda", `{"rps":"50/s"}`, 1, 2)
	in := k.in
	const week = 7 * 24 * 3600
	at := func(s int) int {
		in.Now = noon.Add(time.Duration(s) * time.Second)
		rate := 100.0
		if s >= 100_000 && s < 100_600 { // a burst, once
			rate = 600
		}
		in.Load = Load{At: in.Now, Window: 15 * time.Second, Rate: rate}
		n := p.Decide(in).Replicas
		k.ready(n)
		in.Instances = k.in.Instances
		return n
	}
	got := map[int]int{}
	for s := 0; s < week+110_000; s += 15 {
		got[s] = at(s)
	}
	for _, c := range []struct{ at, want int }{
		{99_990, 2},                  // not foreseen
		{100_200, 12},                // 600/50
		{101_400, 2},                 // five minutes after the last of it
		{week + 100_000 - 1920, 2},   // 32 minutes ahead of last week's
		{week + 100_000 - 1650, 12},  // within 30 minutes
		{week + 100_300, 12},         // as long as it lasted
		{week + 100_600 + 900, 2},    // and gone again
		{week + 100_000 - 86_400, 2}, // not each day
	} {
		c.at -= c.at % 15
		if got[c.at] != c.want {
			t.Errorf("at %d s: %d, want %d", c.at, got[c.at], c.want)
		}
	}
}

func TestPolicyOptions(t *testing.T) {
	for _, c := range []struct{ name, options string }{
		{"hpa", `{"up":{"select":"most"}}`}, {"hpa", `{"sync":"0s"}`}, {"hpa", `{"cpus":"70%"}`},
		{"kpa", `{"utilization":"0%"}`}, {"kpa", `{"window":"1s"}`}, {"keda", `{"polling":"0s"}`}, {"hpaa", ``},
	} {
		if _, err := Kind().Build(c.name, []byte(c.options)); err == nil {
			t.Errorf("%s takes %s", c.name, c.options)
		}
	}
	for _, name := range Kind().Names() {
		if _, err := Kind().Build(name, nil); err != nil {
			t.Errorf("%s without options: %v", name, err)
		}
	}
}
