package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"swell/internal/plug"
)

// Problem is one thing that is wrong, or worth a warning, in a manifest.
type Problem struct {
	File   string // as it was named to Load or Parse
	Line   int    // from 1; 0 is unknown
	Column int    // from 1, in characters; 0 is unknown
	Width  int    // characters meant, from Column on; 0 is unknown
	Text   string // what is wrong, one line, never with a resolved secret
	Hint   string // what would be right; may be ""
	Source string // the line as it is in the file; "" if Line is 0
}

// String is the problem for people, on one to four lines:
//
//	swell.yaml:12:7: unknown field "prot"
//	   12 |       prot: 8080
//	      |       ^^^^
//	      = did you mean "port"?
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Column, 1))
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	if p.Source != "" {
		margin := fmt.Sprintf("%5d", p.Line)
		source, column, width := p.window()
		fmt.Fprintf(&b, "\n%s | %s\n%*s | ", margin, source, len(margin), "")
		for i, r := range []rune(source) {
			if i >= column-1 {
				break
			}
			if r != '\t' { // a tab stays, so that the caret stands below what it means
				r = ' '
			}
			b.WriteRune(r)
		}
		b.WriteString(strings.Repeat("^", max(width, 1)))
	}
	if p.Hint != "" {
		if p.Source != "" {
			b.WriteString("\n      = ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(p.Hint)
	}
	return b.String()
}

// window is the part of a long line around the column, with column and width in it.
func (p Problem) window() (source string, column, width int) {
	const most = 160
	r := []rune(p.Source)
	column = min(max(p.Column, 1), len(r)+1)
	width = min(p.Width, len(r)-column+1)
	if len(r) <= most {
		return p.Source, column, width
	}
	from := max(0, min(column-1-40, len(r)-most))
	return string(r[from : from+most]), column - from, min(width, most-(column-1-from))
}

// Problems is an error that holds all that is wrong, by file and line.
type Problems []Problem

// Error is all problems, each as its String, one after the other.
func (p Problems) Error() string {
	all := make([]string, len(p))
	for i := range p {
		all[i] = p[i].String()
	}
	return strings.Join(all, "\n")
}

// found collects problems while a manifest is read.
type found struct {
	files    []File // in the order in which they were named
	errors   []plug.Problem
	warnings []plug.Problem

	// A value that could not be expanded or decoded is wrong once, not again for
	// what it then lacks: errors from settled on are dropped where there is one
	// of the same place before it.
	broken  map[plug.Pos]bool
	settled int
}

func (f *found) fail(pos plug.Pos, hint, format string, args ...any) {
	f.errors = append(f.errors, plug.Problem{Pos: pos, Hint: hint, Text: fmt.Sprintf(format, args...)})
}

func (f *found) warn(pos plug.Pos, hint, format string, args ...any) {
	f.warnings = append(f.warnings, plug.Problem{Pos: pos, Hint: hint, Text: fmt.Sprintf(format, args...)})
}

// settle ends a step: later ones say nothing about places with errors.
func (f *found) settle() {
	kept := slices.Clone(f.errors[:f.settled])
	for _, p := range f.errors[f.settled:] {
		if !f.broken[p.Pos] {
			kept = append(kept, p)
		}
	}
	f.broken = map[plug.Pos]bool{}
	for _, p := range kept {
		f.broken[p.Pos] = true
	}
	f.errors, f.settled = kept, len(kept)
}

// err is what was found wrong as an error, nil if nothing was.
func (f *found) err() error {
	if f.settle(); len(f.errors) == 0 {
		return nil
	}
	return Problems(f.places(f.errors))
}

// places sorts by file and place, drops what is said twice, and adds the lines.
func (f *found) places(list []plug.Problem) []Problem {
	if len(list) == 0 {
		return nil
	}
	lines := map[string][]string{}
	order := map[string]int{}
	for i, file := range f.files {
		lines[file.Name] = strings.Split(string(file.Data), "\n")
		order[file.Name] = i
	}
	out := make([]Problem, 0, len(list))
	for _, p := range list {
		q := Problem{
			File: p.Pos.File, Line: p.Pos.Line, Column: p.Pos.Column, Width: p.Pos.Width,
			Text: printable(p.Text), Hint: printable(p.Hint),
		}
		if l := lines[q.File]; q.Line > 0 && q.Line <= len(l) {
			q.Source = printable(strings.TrimRight(l[q.Line-1], "\r"))
		}
		out = append(out, q)
	}
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(out, func(a, b Problem) bool { return a == b })
}

// printable keeps a file from writing control sequences to a terminal.
func printable(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}
