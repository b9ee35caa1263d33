package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"swell"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scrape returns /metrics.
func scrape(t testing.TB, h *Hub) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, b)
	}
	return string(b)
}

// filled is a hub in which each metric of the catalog has a value.
func filled() *Hub {
	c := &clock{}
	h := New(Options{Now: c.now, Version: "1.2.3"})
	for i, k := range []Key{
		{Caller: "gateway", Route: "api", Service: "catalog"},
		{Caller: "gateway", Route: "home", Service: "catalog"},
		{Caller: "catalog", Service: "pricing"},
		{Service: "catalog", Instance: "catalog-1"},
	} {
		m := h.Meter(k)
		for j := range 20 {
			m.Start(c.ns)
			m.End(c.ns, c.ns+int64(j+1)*int64(i+1)*3e6, []int{200, 200, 404, 503, 0, 499}[j%6], 10, 100)
		}
		m.Start(c.ns)
	}
	w := h.Wait("catalog")
	w.Enter()
	w.Enter()
	w.Leave(40e6, "served")
	h.SetReplicas("catalog", 2, 3)
	h.SetCertificates(map[string]time.Time{"shop.example": time.Unix(2e9, 0)})
	h.Observe([]swell.Signal{{Service: "catalog", Instance: "catalog-1", Source: "driver", CPU: 0.25, Memory: 64 << 20}})
	for _, m := range catalog {
		if m.kind != "counter" || slices.Contains(measured, m) {
			continue
		}
		var labels []string
		for _, l := range m.labels {
			labels = append(labels, l, "some-"+l)
		}
		h.Count(m.name, labels...).Add(3)
	}
	h.Gauge("swell_circuit_state", "service", "catalog", "route", "").Set(1)
	h.Count("swell_retries_total", "service", "bad \xff \"quotes\"\n", "reason", "connect").Add(1)
	return h
}

// measured are the counters that are not made by Hub.Count.
var measured = []*metric{requests, requestBytes, responseBytes, routeRequests, instanceRequests, holds}

func TestMetricsGolden(t *testing.T) {
	var ours strings.Builder
	for line := range strings.Lines(scrape(t, filled())) {
		if strings.Contains(line, "swell_") {
			ours.WriteString(regexp.MustCompile(`goversion="[^"]*"`).ReplaceAllString(line, `goversion="go"`))
		}
	}
	golden(t, filepath.Join("testdata", "metrics.golden"), ours.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what there is now; look at the difference and, if it is meant, run go test ./internal/telemetry -update\n%s",
			path, got)
	}
}

func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not there: it is in Debian's package prometheus")
		}
		t.Skip("promtool is not there: it is in Debian's package prometheus")
	}
	for name, h := range map[string]*Hub{"filled": filled(), "empty": New(Options{})} {
		cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
		cmd.Stdin = strings.NewReader(scrape(t, h))
		if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("%s: promtool check metrics: %v\n%s", name, err, out)
		}
	}
}

// TestMetricsAreAsTheCatalogSays wants each metric of the catalog shown, with its
// type and labels, and no other of ours.
func TestMetricsAreAsTheCatalogSays(t *testing.T) {
	text := scrape(t, filled())
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (swell_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		seen[m[1]] = true
		if c := catalog[m[1]]; c == nil || c.kind != m[2] {
			t.Errorf("%s is a %s, and not so in the catalog", m[1], m[2])
		}
	}
	for name, m := range catalog {
		if !seen[name] {
			t.Errorf("%s is in the catalog and not shown", name)
			continue
		}
		suffix := ""
		if m.kind == "histogram" {
			suffix = "_count"
		}
		line := regexp.MustCompile(`(?m)^` + name + suffix + `(?:\{(.*)\})? `).FindStringSubmatch(text)
		if line == nil {
			t.Errorf("%s has no sample", name)
			continue
		}
		var got []string
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(line[1], -1) {
			got = append(got, l[1])
		}
		want := slices.Sorted(slices.Values(m.labels))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the labels %v, want %v", name, got, want)
		}
	}
}

// TestEventsAreInTheCatalog wants each event that product code names to be in the
// catalog (and so in docs/metrics.md): a new one is a line in catalog.go.
func TestEventsAreInTheCatalog(t *testing.T) {
	name := regexp.MustCompile(`"(swell_\w+)"`)
	for _, dir := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if n := d.Name(); n == "node_modules" || n == "testdata" {
					return filepath.SkipDir
				}
				return nil
			}
			if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range name.FindAllSubmatch(b, -1) {
				if catalog[string(m[1])] == nil {
					t.Errorf("%s names %s, which is not in internal/telemetry/catalog.go", path, m[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestReferenceIsTrue wants docs/metrics.md to have the table of the catalog.
func TestReferenceIsTrue(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Metrics

Swell shows these at ` + "`/metrics`" + ` of its admin address, in the text format of Prometheus
or OpenMetrics as the client asks, beside those of the Go runtime (` + "`go_*`" + `) and of the
process (` + "`process_*`" + `). Durations are in seconds, sizes in bytes.

A *request* is what a caller asks of a service: the caller ` + "`gateway`" + ` stands for all
that comes from outside. An *attempt* is one try at one instance: a request that is
retried has several, one that a filter answers has none. The label ` + "`code`" + ` is the
status of the answer; ` + "`0`" + ` says that the exchange broke before it had one, ` + "`499`" + ` that the
client left. Histograms are counted in log-linear buckets a sixteenth wide; their
classic buckets at ` + "`/metrics`" + ` are made from these.

Series of an instance disappear some minutes after its last request. Beyond 4096
meters (or counters) further callers, routes and instances are counted together
under the name ` + "`other`" + `, and one warning is logged.

| metric | type | labels | meaning |
|---|---|---|---|
`)
	for _, name := range sortedNames() {
		m := catalog[name]
		labels := make([]string, len(m.labels))
		for i, l := range m.labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, m.kind, strings.Join(labels, ", "), m.help)
	}
	b.WriteString(`
The values of ` + "`state`" + ` in ` + "`swell_replicas`" + ` are ` + "`ready`" + ` and ` + "`desired`" + `; of ` + "`direction`" + ` in
` + "`swell_scaling_decisions_total`" + `, ` + "`up`" + ` and ` + "`down`" + `.

## Questions to ask

Requests per second of each service, from all callers:

    sum by (service) (rate(swell_requests_total[1m]))

The share of them that failed:

    sum by (service) (rate(swell_requests_total{code=~"0|5.."}[5m]))
      / sum by (service) (rate(swell_requests_total[5m]))

The 95th percentile of the latency of each route:

    histogram_quantile(0.95, sum by (route, le) (rate(swell_route_request_duration_seconds_bucket[5m])))

Services that have fewer instances than they want:

    swell_replicas{state="ready"} < ignoring(state) swell_replicas{state="desired"}
`)
	golden(t, filepath.Join("..", "..", "docs", "metrics.md"), b.String())
}

func sortedNames() []string {
	var names []string
	for name := range catalog {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestCountTakesWhatItDoesNotKnow(t *testing.T) {
	h := New(Options{})
	h.Count("swell_something_new_total", "kind", "x").Add(2)
	if text := scrape(t, h); !strings.Contains(text, `swell_something_new_total{kind="x"} 2`) {
		t.Error("an event that the catalog doesn't know is not shown")
	}
	defer func() {
		if recover() == nil {
			t.Error("a label without a value was taken")
		}
	}()
	//lint:ignore SA5012 that is the mistake
	h.Count("swell_retries_total", "service")
}

func BenchmarkScrape(b *testing.B) {
	h := filled()
	for b.Loop() {
		scrape(b, h)
	}
}
