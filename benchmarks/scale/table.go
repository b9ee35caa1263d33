package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"swell/internal/sim"
)

// mean is the mean of scores over traces; cost and shares of it geometrically.
func mean(scores []*sim.Score) sim.Score {
	var m sim.Score
	if len(scores) == 0 {
		return m
	}
	n := float64(len(scores))
	cost := 0.0
	for _, s := range scores {
		m.Bad += s.Bad / n
		m.Violation += s.Violation / n
		m.Dropped += s.Dropped / n
		m.ThetaU += s.ThetaU / n
		m.ThetaO += s.ThetaO / n
		m.TauU += s.TauU / n
		m.TauO += s.TauO / n
		m.Instability += s.Instability / n
		m.Jitter += s.Jitter / n
		m.Actions += s.Actions / n
		m.Reversals += s.Reversals / n
		m.Peak = max(m.Peak, s.Peak)
		cost += math.Log(s.Cost) / n
	}
	m.Cost = math.Exp(cost)
	return m
}

// render writes the tables.
func render(traces []*trace, main, curve []*job) string {
	var b strings.Builder
	startups, specs := []string{}, []string{}
	by := map[[2]string][]*sim.Score{}
	one := map[[3]string]*sim.Score{}
	for _, j := range main {
		st, sp := j.startup.String(), j.spec.String()
		if !slices.Contains(startups, st) {
			startups = append(startups, st)
		}
		if !slices.Contains(specs, sp) {
			specs = append(specs, sp)
		}
		if j.trace.arrivals.Load.Span() >= whole {
			by[[2]string{st, sp}] = append(by[[2]string{st, sp}], j.score)
		}
		one[[3]string{st, sp, j.trace.name}] = j.score
	}
	counted := 0
	for _, tr := range traces {
		if tr.arrivals.Load.Span() >= whole {
			counted++
		}
	}
	fmt.Fprintf(&b, "## All traces\n\nMeans over the %d traces of a day and more; cost is the geometric mean.\n", counted)
	for _, st := range startups {
		fmt.Fprintf(&b, "\n### Start-up %s\n\n| policy | bad requests %% | bad minutes a day | dropped %% | cost | θU %% | θO %% | τU %% | τO %% | instability %% | jitter /h | actions a day | reversals a day |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n", st)
		for _, sp := range specs {
			m := mean(by[[2]string{st, sp}])
			fmt.Fprintf(&b, "| %s | %.2f | %.1f | %.3f | %.2f | %.2f | %.0f | %.2f | %.1f | %.2f | %.1f | %.0f | %.0f |\n", sp,
				m.Bad, m.Violation, m.Dropped, m.Cost, m.ThetaU, m.ThetaO, m.TauU, m.TauO, m.Instability, m.Jitter, m.Actions, m.Reversals)
		}
	}
	b.WriteString("\n## Each trace\n\nBad requests % / bad minutes a day / cost.\n")
	for _, st := range startups {
		fmt.Fprintf(&b, "\n### Start-up %s\n\n| trace | %s |\n|%s\n", st, strings.Join(specs, " | "), strings.Repeat("---|", len(specs)+1))
		for _, tr := range traces {
			fmt.Fprintf(&b, "| %s |", tr.name)
			for _, sp := range specs {
				s := one[[3]string{st, sp, tr.name}]
				fmt.Fprintf(&b, " %.2f / %.0f / %.2f |", s.Bad, s.Violation, s.Cost)
			}
			b.WriteByte('\n')
		}
	}
	if len(curve) > 0 {
		renderCurve(&b, curve)
	}
	return b.String()
}

// renderCurve writes what each target costs and loses, one for all traces.
func renderCurve(b *strings.Builder, curve []*job) {
	fmt.Fprintf(b, "\n## Sweep of targets, start-up %s\n\nOne target for all traces: bad requests %% at cost.\n\n", curve[0].startup)
	var names []string
	var targets []float64
	by := map[sim.Spec][]*sim.Score{}
	for _, j := range curve {
		if !slices.Contains(names, j.spec.Name) {
			names = append(names, j.spec.Name)
		}
		if !slices.Contains(targets, j.spec.Target) {
			targets = append(targets, j.spec.Target)
		}
		if j.trace.arrivals.Load.Span() >= whole {
			by[j.spec] = append(by[j.spec], j.score)
		}
	}
	b.WriteString("| policy |")
	for _, t := range targets {
		fmt.Fprintf(b, " %.0f %% |", 100*t)
	}
	fmt.Fprintf(b, " cost at 0.2 %% bad |\n|%s\n", strings.Repeat("---|", len(targets)+2))
	for _, n := range names {
		fmt.Fprintf(b, "| %s |", n)
		var points [][2]float64
		for _, t := range targets {
			m := mean(by[sim.Spec{Name: n, Target: t}])
			points = append(points, [2]float64{m.Bad, m.Cost})
			fmt.Fprintf(b, " %.2f at %.2f |", m.Bad, m.Cost)
		}
		fmt.Fprintf(b, " %s |\n", costAt(points, 0.2))
	}
}

// costAt is the cost at which a curve of (bad, cost) passes a share of bad requests,
// between its points by the logarithm of bad.
func costAt(points [][2]float64, bad float64) string {
	for i := 1; i < len(points); i++ {
		a, z := points[i-1], points[i]
		if a[0] <= bad && z[0] > bad {
			la, lz := math.Log(max(a[0], 1e-4)), math.Log(z[0])
			return fmt.Sprintf("%.2f", a[1]+(z[1]-a[1])*(math.Log(bad)-la)/(lz-la))
		}
	}
	if points[0][0] > bad {
		return fmt.Sprintf("more than %.2f", points[0][1])
	}
	return fmt.Sprintf("less than %.2f", points[len(points)-1][1])
}

// The tables stand in the page between these lines.
const (
	begin = "<!-- tables: make bench-scale writes them -->\n"
	end   = "<!-- end of tables -->\n"
)

// insert puts the tables into the page, which keeps what else it says.
func insert(file, tables string) error {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	page := string(b)
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q for the tables to stand between", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+tables+"\n"+end+after), 0o644)
}
