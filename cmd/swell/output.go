package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/goccy/go-yaml"
	"golang.org/x/term"
)

// show writes v to w in the form that -o names; table writes the table.
func (g *globals) show(w io.Writer, v any, table func(*grid)) error {
	switch g.output {
	case "table":
		t := &grid{ink: talk(w)}
		table(t)
		return t.flush(w)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		return writeYAML(w, v)
	}
	panic("unknown form " + g.output) // PreRunE refuses it
}

// writeYAML writes v with the names that it has in JSON.
func writeYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	y, err := yaml.JSONToYAML(b)
	if err != nil {
		return err
	}
	_, err = w.Write(y)
	return err
}

// ink colours text on a terminal and leaves it alone elsewhere.
type ink bool

// talk returns ink for w: colour only on a terminal, and never with NO_COLOR.
func talk(w io.Writer) ink {
	f, ok := w.(*os.File)
	return ink(ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())))
}

func (k ink) code(n, s string) string {
	if !k || s == "" {
		return s
	}
	return "\x1b[" + n + "m" + s + "\x1b[0m"
}

func (k ink) bold(s string) string   { return k.code("1", s) }
func (k ink) dim(s string) string    { return k.code("2", s) }
func (k ink) red(s string) string    { return k.code("31", s) }
func (k ink) green(s string) string  { return k.code("32", s) }
func (k ink) yellow(s string) string { return k.code("33", s) }
func (k ink) cyan(s string) string   { return k.code("36", s) }

// status colours the status of a service or the state of an instance.
func (k ink) status(s string) string {
	switch s {
	case "ok", "ready":
		return k.green(s)
	case "failing", "gone":
		return k.red(s)
	case "scaling", "starting", "draining":
		return k.yellow(s)
	}
	return k.dim(s)
}

// grid lines up columns. Cells may hold colour; numbers are put to the right.
type grid struct {
	ink  ink
	rows [][]string
	note []string
}

func (g *grid) head(cells ...string) {
	for i, c := range cells {
		cells[i] = g.ink.dim(c)
	}
	g.rows = append(g.rows, cells)
}

func (g *grid) row(cells ...string) { g.rows = append(g.rows, cells) }

// say adds a line below the table.
func (g *grid) say(format string, args ...any) {
	g.note = append(g.note, fmt.Sprintf(format, args...))
}

func (g *grid) flush(w io.Writer) error {
	var width []int
	right := map[int]bool{}
	for r, row := range g.rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], ansi.StringWidth(c))
			if r == 1 && c != "" {
				b := ansi.Strip(c)
				number := len(b) > 0 && b[0] >= '0' && b[0] <= '9' && !strings.Contains(b, ":") // an address is none
				right[i] = number || b == "–"
			}
		}
	}
	var b strings.Builder
	for _, row := range g.rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-ansi.StringWidth(c))
			switch {
			case right[i]:
				line.WriteString(pad + c)
			case i == len(row)-1:
				line.WriteString(c)
			default:
				line.WriteString(c + pad)
			}
			if i < len(row)-1 {
				line.WriteString("  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	for _, n := range g.note {
		b.WriteString(n + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rate writes a number per second.
func rate(r float64) string {
	switch {
	case r == 0:
		return "0"
	case r < 10:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

// seconds writes a latency as people read it; "–" for none.
func seconds(s float64) string {
	switch d := time.Duration(s * 1e9); {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
}

// size writes bytes.
func size(n int64) string {
	switch {
	case n <= 0:
		return "–"
	case n < 1<<20:
		return fmt.Sprintf("%dKi", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%dMi", n>>20)
	}
	return fmt.Sprintf("%.1fGi", float64(n)/(1<<30))
}

// age writes how long ago t was.
func age(t time.Time, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
