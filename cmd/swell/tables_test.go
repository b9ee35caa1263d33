package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/goccy/go-yaml"

	"swell/internal/web"
)

// sample is a state with one of everything that the tables show.
func sample() (web.Frame, web.ServiceDetail, time.Time) {
	now := time.Date(2026, 3, 4, 15, 4, 5, 0, time.Local)
	one := 1
	decision := web.Decision{
		Service: "catalog", Replicas: 4, Previous: &one, By: "target", Reason: "rate 160/s at 50/s each", At: now,
		Steps: []web.Step{{Name: "signal", Value: 160, Text: "160 requests a second"}, {Name: "result", Value: 4, Text: "4 instances"}},
	}
	f := web.Frame{
		At: now, App: web.AppInfo{Name: "shop", Trouble: "port 8080 is taken"},
		Services: []web.Service{
			{Name: "catalog", Status: web.Status("scaling"), Ready: 1, Desired: 4, Min: 1, Max: 8, Goals: []string{"p95 ≤ 200ms"},
				Traffic: web.Traffic{Rate: 160.4, Errors: 0.25, P50: 0.0004, P95: 0.0123, P99: 1.5, Inflight: 3.25}, Waiting: 2},
			{Name: "käse-工場", Status: web.Failing, Desired: 1},
			{Name: "payments", Status: web.External, Traffic: web.Traffic{Rate: 2}},
		},
		Instances: []web.Instance{
			{ID: "catalog-1", Service: "catalog", State: "ready", Addr: "127.0.0.1:41000", Created: now.Add(-90 * time.Minute), CPU: 0.5, Memory: 96 << 20,
				Traffic: web.Traffic{Rate: 160.4, P95: 0.0123}},
			{ID: "catalog-2", Service: "catalog", State: "starting", Addr: "127.0.0.1:41001", Created: now.Add(-3 * time.Second), Restarts: 2, Reason: "waits for its health"},
			{ID: "käse-工場-1", Service: "käse-工場", State: "gone", Reason: "exit status 1: 鍵がない"},
		},
		Routes: []web.Route{
			{Name: "api", Match: "GET shop.example/api/**", To: []web.RouteTarget{{Service: "catalog", Share: 0.9}, {Service: "catalog-next", Share: 0.1}},
				Use: []string{"access-log", "timeout"}, Traffic: web.Traffic{Rate: 12, P95: 0.02}},
			{Name: "old", Match: "/old/**", Redirect: "302 /new"},
			{Name: "all", Match: "/**", To: []web.RouteTarget{{Service: "web", Share: 1}}},
		},
		Decisions: []web.Decision{{Service: "old", Replicas: 9, At: now, Reason: "the fourth newest is not shown"},
			{Service: "web", Replicas: 2, At: now, Reason: "a floor"}, {Service: "web", Replicas: 1, At: now, Reason: "the floor is over"}, decision},
	}
	d := web.ServiceDetail{Service: f.Services[0], Instances: f.Instances[:2], Decision: &decision}
	return f, d, now
}

// TestTables compares what people see with testdata/tables.golden, in which \e
// stands for the escape character.
func TestTables(t *testing.T) {
	f, d, now := sample()
	var all strings.Builder
	for _, colour := range []ink{false, true} {
		for _, c := range []struct {
			name string
			draw func(*grid)
		}{
			{"services", func(g *grid) { serviceTable(g, f.Services) }},
			{"no services", func(g *grid) { serviceTable(g, nil) }},
			{"instances", func(g *grid) { instanceTable(g, f.Instances, now) }},
			{"no instances", func(g *grid) { instanceTable(g, nil, now) }},
			{"routes", func(g *grid) { routeTable(g, f.Routes) }},
			{"no routes", func(g *grid) { routeTable(g, nil) }},
			{"explain", func(g *grid) { explain(g, d, f.Decisions[2:]) }},
			{"explain, undecided", func(g *grid) { explain(g, web.ServiceDetail{Service: f.Services[1]}, nil) }},
		} {
			g := &grid{ink: colour}
			c.draw(g)
			all.WriteString("=== " + c.name + "\n")
			if err := g.flush(&all); err != nil {
				t.Fatal(err)
			}
		}
		for _, width := range []int{0, 60} {
			all.WriteString("=== live\n" + liveText(f, "load 3s of 10s", width, colour))
		}
	}
	got := strings.ReplaceAll(all.String(), "\x1b", `\e`)
	const file = "testdata/tables.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("%s:%d (go test -update writes it anew)\n got %q\nwant %q", file, i+1, g[i], w[i])
			}
		}
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
}

// TestLiveWidth: no line is wider than the terminal, in columns, whatever is in
// it; and colour changes nothing but the colour.
func TestLiveWidth(t *testing.T) {
	f, _, _ := sample()
	f.App.Trouble = strings.Repeat("広い", 40) + "é👩‍💻"
	for width := 1; width < 130; width++ {
		for _, colour := range []ink{false, true} {
			for _, line := range strings.Split(liveText(f, "", width, colour), "\n") {
				if n := ansi.StringWidth(line); n > width {
					t.Fatalf("%d columns on a terminal of %d: %q", n, width, line)
				}
			}
		}
		if plain, coloured := liveText(f, "", width, false), liveText(f, "", width, true); ansi.Strip(coloured) != plain {
			t.Fatalf("at width %d colour changes the text:\n%s\n%s", width, plain, ansi.Strip(coloured))
		}
	}
}

// TestForms: JSON and YAML hold the same value under the same names.
func TestForms(t *testing.T) {
	f, d, _ := sample()
	for name, v := range map[string]any{"services": f.Services, "frame": f, "detail": d, "routes": f.Routes} {
		var j, y bytes.Buffer
		for out, w := range map[string]*bytes.Buffer{"json": &j, "yaml": &y} {
			if err := (&globals{output: out}).show(w, v, nil); err != nil {
				t.Fatal(err)
			}
		}
		back, err := yaml.YAMLToJSON(y.Bytes())
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &y)
		}
		var a, b any
		if err := json.Unmarshal(j.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(back, &b); err != nil {
			t.Fatal(err)
		}
		one, _ := json.Marshal(a)
		two, _ := json.Marshal(b)
		if !bytes.Equal(one, two) {
			t.Errorf("%s: YAML holds something else:\n%s\n%s", name, one, two)
		}
	}
}
