package scale

import (
	"testing"
	"time"

	"swell"
)

// knative is a service with so many ready instances, seen second by second.
type knative struct {
	t   *testing.T
	p   Policy
	in  Input
	sec int
}

func newKnative(t *testing.T, name, options string, least, ready int) *knative {
	t.Helper()
	make, err := Kind().Build(name, []byte(options))
	if err != nil {
		t.Fatal(err)
	}
	k := &knative{t: t, p: make(), in: Input{Service: swell.Service{Name: "a", Scale: swell.Scale{Min: least, Max: 1000}}}}
	k.ready(ready)
	return k
}

func (k *knative) ready(n int) {
	k.in.Instances = k.in.Instances[:0]
	for range n {
		k.in.Instances = append(k.in.Instances, swell.Instance{ID: "i", State: swell.Ready})
	}
}

// pass lets seconds pass with so many requests in flight, and a rate.
func (k *knative) pass(seconds int, inflight, rate float64) swell.Decision {
	var d swell.Decision
	for range seconds {
		k.sec++
		k.in.Now = noon.Add(time.Duration(k.sec) * time.Second)
		k.in.Load = Load{At: k.in.Now, Window: time.Second, Rate: rate, Inflight: inflight}
		d = k.p.Decide(k.in)
	}
	return d
}

func (k *knative) want(d swell.Decision, n int, what string) {
	k.t.Helper()
	if d.Replicas != n {
		k.t.Errorf("%s: %d, want %d (%s)", what, d.Replicas, n, d.Reason)
	}
}

// TestKPA: worked by hand from autoscaler.go. 10 in flight for an instance at 70 % is a
// target of 7.
func TestKPA(t *testing.T) {
	k := newKnative(t, "kpa", `{"concurrency":10}`, 1, 1)
	// The average divides by the seconds seen: 35/7 at once, and 5 >= 2·1 is a panic.
	k.want(k.pass(1, 35, 0), 5, "the first second")
	k.ready(5)
	k.want(k.pass(120, 35, 0), 5, "steady")
	// 6 s at 140: ceil(140/7) = 20 for 5 ready is over 200 %; the stable window wants
	// ceil((54·35+6·140)/60/7) = 7.
	k.want(k.pass(6, 140, 0), 20, "panic")
	k.ready(20)
	// The panic window forgets after 6 s: panic of 20 for 20 ready until then; what was
	// wanted stays for 60 s after it was last over.
	k.want(k.pass(50, 35, 0), 20, "no panic goes down")
	// Then ceil(35/7) = 5, but at most half of the ready ones in a tick.
	k.want(k.pass(20, 35, 0), 10, "half at most")
	k.ready(10)
	k.want(k.pass(2, 35, 0), 5, "and half again")
	k.ready(5)
	k.want(k.pass(70, 0, 0), 2, "nothing in flight, two of five")
	k.ready(1)
	k.want(k.pass(10, 0, 0), 1, "at least the minimum")
}

// TestKPAOverThreshold: a panic begins at twice the ready instances, and not before.
func TestKPAOverThreshold(t *testing.T) {
	for _, c := range []struct {
		inflight float64
		want     int
	}{
		{91, 13},  // ceil(91/7) = 13 of 6 ready: 13/6 = 2.17 is over 200 %
		{77, 7},   // 11/6 = 1.83: stable, ceil((53·42+7·77)/60/7) = ceil(6.6)
		{42, 6},   // as before
		{420, 60}, // ten times
	} {
		k := newKnative(t, "kpa", `{"concurrency":10}`, 1, 6)
		k.in.Instances = k.in.Instances[:1] // one at its start: no panic of a restart
		k.pass(1, 42, 0)
		k.ready(6)
		k.pass(199, 42, 0)
		if d := k.pass(7, c.inflight, 0); d.Replicas != c.want {
			t.Errorf("%v in flight: %d, want %d (%s)", c.inflight, d.Replicas, c.want, d.Reason)
		}
	}
}

// TestKPAToZero: the stable window must be empty, then the grace passes.
func TestKPAToZero(t *testing.T) {
	k := newKnative(t, "kpa", `{"concurrency":10}`, 0, 1)
	k.pass(70, 5, 0)
	k.want(k.pass(58, 0, 0), 1, "the window still has some")
	k.want(k.pass(28, 0, 0), 1, "the grace")
	k.want(k.pass(8, 0, 0), 0, "then none")
	k.ready(0)
	k.want(k.pass(2, 3, 0), 1, "and one again")
}

// TestKPARestart: with several instances at the start it begins in a panic, so that
// what it has not seen costs none of them.
func TestKPARestart(t *testing.T) {
	k := newKnative(t, "kpa", `{"concurrency":10}`, 1, 8)
	k.want(k.pass(50, 7, 0), 8, "no history")
	k.want(k.pass(20, 7, 0), 4, "a minute later")
}

// TestKPARate: the metric rps, 70 % of 100/s.
func TestKPARate(t *testing.T) {
	k := newKnative(t, "kpa", `{"rps":"100/s"}`, 1, 1)
	k.want(k.pass(30, 0, 350), 5, "350/s at 70/s each")
}
