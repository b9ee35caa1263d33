package scale

import (
	"testing"
	"time"

	"swell"
	"swell/internal/latest"
)

// TestSeed: a new scaler keeps to the counts of the one before, its instances not yet
// seen, and to what was asked for by hand.
func TestSeed(t *testing.T) {
	now := time.Now()
	newScaler := func() (*Scaler, Options) {
		o := Options{Apps: new(latest.Cell[swell.App]), Instances: new(latest.Cell[[]swell.Instance]), Out: new(latest.Cell[[]swell.Decision])}
		down := swell.Behavior{Stabilization: time.Minute}
		o.Apps.Set(swell.App{Services: []swell.Service{
			{Name: "api", Scale: swell.Scale{Min: 1, Max: 9, Down: down, Targets: swell.Targets{RPS: 10}}},
			{Name: "web", Scale: swell.Scale{Min: 1, Max: 9, Down: down, Targets: swell.Targets{RPS: 10}}},
		}})
		return New(o), o
	}
	old, _ := newScaler()
	old.evaluate(now)
	old.Floor("api", 3, now.Add(time.Hour))
	old.evaluate(now.Add(time.Second))
	carried := old.Carry()
	if len(carried) != 2 || carried[0].Decision.Replicas != 3 || carried[0].Floor != 3 {
		t.Fatalf("%+v", carried)
	}
	carried[1].Decision.Replicas = 5

	next, o := newScaler()
	next.Seed(carried, now.Add(2*time.Second))
	if out, _ := o.Out.Get(); len(out) != 2 || out[1].Replicas != 5 {
		t.Fatalf("%+v", out)
	}
	for s := 3; s < 50; s++ {
		next.evaluate(now.Add(time.Duration(s) * time.Second))
	}
	out, _ := o.Out.Get()
	if out[0].Replicas != 3 || out[1].Replicas != 5 {
		t.Errorf("%+v", out)
	}
	if again := next.Carry(); again[0].Floor != 3 || !again[0].FloorUntil.Equal(carried[0].FloorUntil) {
		t.Errorf("%+v, want %+v", again[0], carried[0])
	}
}
