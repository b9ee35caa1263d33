package plan

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"swell"
)

func app(env string, minimum int) swell.App {
	return swell.App{
		Name: "shop",
		Services: []swell.Service{
			{
				Name: "catalog", Uses: []string{"pricing"},
				Run:   swell.Run{Command: []string{"catalog", "${edge:pricing.host}"}, Env: []swell.Pair{{Name: "LEVEL", Value: env}, {Name: "PRICES", Value: "${edge:pricing.url}/v1"}}},
				Scale: swell.Scale{Min: minimum, Max: 10},
			},
			{Name: "pricing", Address: []swell.Address{{Addr: "127.0.0.1:9", Weight: 1}}, Scale: swell.Scale{Max: 1}},
		},
	}
}

var edges = []swell.EdgeAddr{{Edge: swell.Edge{Caller: "catalog", Callee: "pricing"}, Addr: "127.0.0.1:4000"}}

func TestEnvironment(t *testing.T) {
	p, err := Make(State{App: app("info", 1), Edges: edges})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, v := range p.Workloads[0].Run.Env {
		env[v.Name] = v.Value
	}
	for name, want := range map[string]string{
		"PRICING_URL": "http://127.0.0.1:4000", "PRICING_HOST": "127.0.0.1", "PRICING_PORT": "4000",
		"PRICING_SERVICE_HOST": "127.0.0.1", "PRICING_SERVICE_PORT": "4000",
		"services__pricing__http__0": "http://127.0.0.1:4000", "PRICES": "http://127.0.0.1:4000/v1", "LEVEL": "info",
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	if got := p.Workloads[0].Run.Command[1]; got != "127.0.0.1" {
		t.Errorf("argument is %q", got)
	}
	if got := app("info", 1).Services[0].Run.Command[1]; got != "${edge:pricing.host}" {
		t.Errorf("the app was changed: %q", got)
	}
	if _, err := Make(State{App: app("info", 1)}); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("an edge without an address: %v", err)
	}
}

func TestDecisionsWithinBounds(t *testing.T) {
	svc := swell.Service{Name: "a", Scale: swell.Scale{Min: 1, Max: 5}}
	for _, c := range []struct{ decided, want int }{{0, 1}, {3, 3}, {9, 5}} {
		if got := Replicas(svc, []swell.Decision{{Service: "a", Replicas: c.decided}}); got != c.want {
			t.Errorf("decided %d: %d, want %d", c.decided, got, c.want)
		}
	}
	svc.Scale.Min = 0
	p, err := Make(State{App: swell.App{Services: []swell.Service{svc}}})
	if err != nil || len(p.Workloads) != 0 {
		t.Errorf("a service at zero has workloads %v, %v", p.Workloads, err)
	}
}

// TestRollingUpdate plays a driver: it makes every plan true step by step. At no
// moment are fewer ready than wanted, and never is more than a quarter too much.
func TestRollingUpdate(t *testing.T) {
	for _, want := range []int{1, 2, 4, 10} {
		s := State{App: app("info", want), Edges: edges}
		id := 0
		settle := func() bool {
			p, err := Make(s)
			if err != nil {
				t.Fatal(err)
			}
			s.Previous = p.Workloads
			moved := false
			var keep []swell.Instance
			count := map[string]int{}
			target := map[string]int{}
			for _, w := range p.Workloads {
				target[w.Revision] = w.Replicas
			}
			for _, i := range s.Instances {
				if count[i.Revision] < target[i.Revision] {
					count[i.Revision]++
					if i.State == swell.Starting {
						i.State, moved = swell.Ready, true
					}
					keep = append(keep, i)
				} else {
					moved = true
				}
			}
			for _, w := range p.Workloads {
				for ; count[w.Revision] < w.Replicas; count[w.Revision]++ {
					id++
					keep = append(keep, swell.Instance{ID: fmt.Sprint(id), Service: "catalog", Revision: w.Revision})
					moved = true
				}
			}
			s.Instances = keep
			return moved
		}
		for settle() {
		}
		old := s.Instances[0].Revision
		s.App = app("debug", want)
		for range 100 {
			if !settle() {
				break
			}
			ready := 0
			for _, i := range s.Instances {
				if i.State == swell.Ready {
					ready++
				}
			}
			if ready < want {
				t.Fatalf("%d wanted: only %d ready on the way", want, ready)
			}
			if most := want + max(1, (want+3)/4); len(s.Instances) > most {
				t.Fatalf("%d wanted: %d instances on the way, more than %d", want, len(s.Instances), most)
			}
		}
		for _, i := range s.Instances {
			if i.Revision == old {
				t.Errorf("%d wanted: an old instance is left", want)
			}
		}
		if len(s.Instances) != want || len(s.Previous) != 1 {
			t.Errorf("%d wanted: %d instances, %d workloads at the end", want, len(s.Instances), len(s.Previous))
		}
	}
}

// TestBrokenRevisionKeepsTheOld: a new revision that never gets ready takes
// nothing from the one that serves.
func TestBrokenRevisionKeepsTheOld(t *testing.T) {
	s := State{App: app("info", 4), Edges: edges}
	p, _ := Make(s)
	rev := p.Workloads[0].Revision
	for i := range 4 {
		s.Instances = append(s.Instances, swell.Instance{ID: fmt.Sprint(i), Service: "catalog", Revision: rev, State: swell.Ready})
	}
	s.Previous, s.App = p.Workloads, app("broken", 4)
	for range 5 {
		p, _ = Make(s)
		s.Previous = p.Workloads
	}
	got := map[bool]int{}
	for _, w := range p.Workloads {
		got[w.Revision == rev] += w.Replicas
	}
	if got[true] != 4 || got[false] != 1 {
		t.Errorf("old %d, new %d; want 4 and 1", got[true], got[false])
	}
	if len(p.Snapshot.Upstreams[0].Endpoints) != 4 {
		t.Errorf("endpoints: %v", p.Snapshot.Upstreams[0].Endpoints)
	}
}

func TestSnapshot(t *testing.T) {
	s := State{App: app("info", 1), Edges: edges, Instances: []swell.Instance{
		{ID: "b", Service: "catalog", State: swell.Ready, Addr: "127.0.0.1:2"},
		{ID: "a", Service: "catalog", State: swell.Ready, Addr: "127.0.0.1:1"},
		{ID: "c", Service: "catalog", State: swell.Draining, Addr: "127.0.0.1:3"},
		{ID: "d", Service: "catalog", State: swell.Starting, Addr: "127.0.0.1:4"},
	}}
	p, err := Make(s)
	if err != nil {
		t.Fatal(err)
	}
	want := []swell.Endpoint{{ID: "a", Addr: "127.0.0.1:1", Weight: 1}, {ID: "b", Addr: "127.0.0.1:2", Weight: 1}}
	if got := p.Snapshot.Upstreams[0].Endpoints; !reflect.DeepEqual(got, want) {
		t.Errorf("endpoints %v, want %v", got, want)
	}
	again, _ := Make(s)
	if !reflect.DeepEqual(p, again) {
		t.Error("the same state gave another plan")
	}
	if got := p.Snapshot.Upstreams[1].Endpoints; len(got) != 1 || got[0].Addr != "127.0.0.1:9" {
		t.Errorf("given addresses: %v", got)
	}
}

func TestDiff(t *testing.T) {
	a, b := app("s3cret", 1), app("other", 2)
	b.Services = append(b.Services, swell.Service{Name: "web", Scale: swell.Scale{Min: 1, Max: 3}})
	b.Gateway.Routes = []swell.Route{{Name: "r"}}
	b.Services[0].Use = []swell.Use{{Name: "timeout"}}
	var lines []string
	for _, c := range Diff(a, b) {
		lines = append(lines, c.String())
	}
	got := strings.Join(lines, "\n")
	want := strings.Join([]string{
		"~ service catalog: run.env: LEVEL changed (rolling update)",
		"~ service catalog: use: [] → [timeout]",
		"~ service catalog: scale.min: 1 → 2",
		"+ service web: 1 to 3 instances",
		"+ route r",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if d := Diff(a, a); len(d) != 0 {
		t.Errorf("equal apps differ: %v", d)
	}
}
