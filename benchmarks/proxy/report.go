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
	"time"

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

// find returns what was measured of a proxy; nil if it was left out.
func find(results []*result, name string) *result {
	for _, r := range results {
		if r.name == name && len(r.cpu) > 0 {
			return r
		}
	}
	return nil
}

// ratio tells how many times the CPU of a named proxy r takes.
func ratio(results []*result, r *result, of string) (float64, bool) {
	other := find(results, of)
	if r == nil || other == nil || median(other.cpu) == 0 {
		return 0, false
	}
	return median(r.cpu) / median(other.cpu), true
}

// render makes the table, in Markdown.
func render(results []*result) string {
	var b strings.Builder
	b.WriteString("| proxy | version | CPU a request, µs | lowest to highest | × nginx | × Caddy | requests/s, closed load | p50, open load | p99, open load |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		if r.missing != "" {
			fmt.Fprintf(&b, "| %s | not installed, left out | | | | | | | |\n", r.name)
			continue
		}
		times := func(of string) string {
			if x, ok := ratio(results, r, of); ok {
				return fmt.Sprintf("%.2f", x)
			}
			return "-"
		}
		name := r.name
		if name == "swell" {
			name = "**Swell**"
		}
		fmt.Fprintf(&b, "| %s | %s | %.1f | %.1f to %.1f | %s | %s | %.0f | %s | %s |\n", name, r.release(), median(r.cpu),
			slices.Min(r.cpu), slices.Max(r.cpu), times("nginx"), times("Caddy"), median(r.rate), milli(median(r.p50)), milli(median(r.p99)))
	}
	return b.String()
}

func milli(seconds float64) string {
	return fmt.Sprintf("%.2f ms", seconds*float64(time.Second/time.Millisecond))
}

// goals tells which goals are met, and whether one is missed. A goal whose peer was
// left out can't be judged and is not missed.
func goals(o *options, results []*result) (text string, missed bool) {
	var b strings.Builder
	swell := find(results, "swell")
	for _, g := range []struct {
		peer string
		most float64
	}{{"nginx", o.maxNginx}, {"Caddy", o.maxCaddy}} {
		if g.most == 0 {
			continue
		}
		x, ok := ratio(results, swell, g.peer)
		verdict := "met"
		switch {
		case !ok:
			fmt.Fprintf(&b, "- At most %.2f × %s's CPU a request: not judged, as one of the two was left out.\n", g.most, g.peer)
			continue
		case x > g.most:
			verdict, missed = "missed", true
		}
		fmt.Fprintf(&b, "- At most %.2f × %s's CPU a request: %s, with %.2f.\n", g.most, g.peer, verdict, x)
	}
	return b.String(), missed
}

// section makes the text of the performance page.
func section(o *options, machine, table, verdicts string) string {
	return fmt.Sprintf(`## The gateway beside other proxies
`+"`make bench-proxy`"+` measures this in one run: medians of %d rounds, in which the proxies take turns.

%s
Goals:
%s
Machine: %s. Each proxy has core %d to itself; the load and the origin share core %d. The origin answers every request with %d bytes. All proxies keep their connections to it, add forwarding headers, use one worker, and write no access log; Swell runs as `+"`swell up`"+` with its default telemetry (metrics, latency histograms, trace context). CPU is the time in user and system of the proxy's processes from /proc, over the requests of wrk on %d connections for %v, each sent when the one before it was answered. The open load is %.0f requests a second for %v, at random moments (Poisson), with latency counted from the moment that a request was due; it includes the load generator's own delay on the core that it shares with the origin, which is the same for all.
`, o.rounds, table, verdicts, machine, o.proxyCore, o.loadCore, len(originBody), o.connection, o.length, o.rate, o.length)
}

// The marks between which the section stands; what is outside is somebody else's.
const (
	markBegin = "<!-- bench-proxy: begin -->"
	markEnd   = "<!-- bench-proxy: end -->"
)

// writeSection puts a section into a file, in place of the one that is there or at
// the end. A file that is not there is made.
func writeSection(path, text string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = []byte("# Performance\nMeasured, with the command that measures it again.\n"), os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(replaceSection(string(b), text)), 0o644)
}

func replaceSection(page, text string) string {
	block := markBegin + "\n" + text + markEnd
	before, rest, ok := strings.Cut(page, markBegin)
	if ok {
		if _, after, ok := strings.Cut(rest, markEnd); ok {
			return before + block + after
		}
	}
	return strings.TrimRight(page, "\n") + "\n\n" + block + "\n"
}
