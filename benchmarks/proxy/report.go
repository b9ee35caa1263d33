//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func goVersion() string { return runtime.Version() }

// machine describes where it was measured.
func machine() (string, error) {
	model := runtime.GOARCH
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	average, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%s, %d cores, Linux %s, load average before the run %s", model, runtime.NumCPU(),
		unix.ByteSliceToString(u.Release[:]), average), nil
}

// median returns the middle of the values; 0 of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// figureOf returns the median of what was measured of a proxy; false if it was left out.
func figureOf(results []*result, scenario, name string) (float64, bool) {
	for _, r := range results {
		if v, _ := r.values(scenario); r.name == name && len(v) > 0 {
			return median(v), true
		}
	}
	return 0, false
}

// table makes a scenario's table, in Markdown.
func table(s *scenario, results []*result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| proxy | version | %s | lowest to highest | × nginx | × Caddy | a second |\n|---|---|---|---|---|---|---|\n", s.what)
	for _, r := range results {
		if r.missing != "" {
			fmt.Fprintf(&b, "| %s | not installed, left out | | | | | |\n", r.name)
			continue
		}
		v, rates := r.values(s.name)
		if len(v) == 0 {
			continue
		}
		times := func(of string) string {
			if x, ok := figureOf(results, s.name, of); ok && x > 0 {
				return fmt.Sprintf("%.2f", median(v)/x)
			}
			return "-"
		}
		name, rate := r.name, "-"
		if name == "swell" {
			name = "**Swell**"
		}
		if x := median(rates); x > 0 {
			rate = fmt.Sprintf("%.0f", x)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s to %s | %s | %s | %s |\n", name, r.release(), short(median(v)),
			short(slices.Min(v)), short(slices.Max(v)), times("nginx"), times("Caddy"), rate)
	}
	return b.String()
}

// short writes a figure with as many digits as mean something.
func short(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// judge tells which of a scenario's goals are met, and whether one is missed. A goal
// whose peers were left out can't be judged and is not missed.
func judge(s *scenario, results []*result) (text string, missed bool) {
	var b strings.Builder
	ours, have := figureOf(results, s.name, "swell")
	for _, g := range s.goals {
		bound, known := g.most, g.most > 0
		for _, p := range g.peers {
			if x, ok := figureOf(results, s.name, p); ok && (!known || x*g.times < bound) {
				bound, known = x*g.times, true
			}
		}
		switch {
		case !have || !known:
			fmt.Fprintf(&b, "- Goal: %s. Not judged, as who it speaks of was left out.\n", g.text)
		case ours > bound:
			missed = true
			fmt.Fprintf(&b, "- Goal: %s. **Missed**: %s, where %s was the bound.\n", g.text, short(ours), short(bound))
		default:
			fmt.Fprintf(&b, "- Goal: %s. Met: %s, where %s was the bound.\n", g.text, short(ours), short(bound))
		}
	}
	return b.String(), missed
}

// page makes the text of the performance page.
func page(o *options, machine string, chosen []*scenario, results []*result) (text string, missed bool) {
	var b strings.Builder
	fmt.Fprintf(&b, `## The gateway beside other proxies
`+"`make bench-proxy`"+` measures this in one run: medians of %d rounds of %v, in which the proxies take turns.

Machine: %s. Each proxy has core %d to itself; the load and the origins share core %d. All proxies keep their connections to the origin, add forwarding headers, use one worker, and write no access log; Swell runs as `+"`swell up`"+` with its default telemetry (metrics, latency histograms, trace context). CPU is the time in user and system of the proxy's processes, from /proc. The origin answers with %d bytes where nothing else is said.

`, o.rounds, o.length, machine, o.proxyCore, o.loadCore, len(originBody))
	for _, s := range chosen {
		verdicts, bad := judge(s, results)
		missed = missed || bad
		fmt.Fprintf(&b, "### %s\n%s.\n\n%s\n%s\n", s.title, strings.ToUpper(s.about[:1])+s.about[1:], table(s, results), verdicts)
	}
	return strings.TrimRight(b.String(), "\n") + "\n", missed
}

// writeSection puts a section into a file, between marks with its name, in place of
// the one that is there or at the end. A file that is not there is made.
func writeSection(path, name, text string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = []byte("# Performance\nMeasured, with the command that measures it again.\n"), os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(replaceSection(string(b), name, text)), 0o644)
}

func replaceSection(page, name, text string) string {
	begin, end := "<!-- "+name+": begin -->", "<!-- "+name+": end -->"
	block := begin + "\n" + text + end
	before, rest, ok := strings.Cut(page, begin)
	if ok {
		if _, after, ok := strings.Cut(rest, end); ok {
			return before + block + after
		}
	}
	return strings.TrimRight(page, "\n") + "\n\n" + block + "\n"
}
