package sim

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"
)

// A chart's size and margins.
const (
	chartWidth  = 1040.0
	chartHeight = 210.0
	chartLeft   = 56.0
	chartBottom = 24.0
	chartTop    = 8.0
)

// course draws load, capacity and bad requests over time. most is the top of the
// axis, the same for all charts that are to be compared.
func course(s *Series, most float64) string {
	if s == nil || len(s.Load) == 0 || most <= 0 {
		return ""
	}
	top, step := axis(most)
	n := len(s.Load)
	width, height := chartWidth-chartLeft-8, chartHeight-chartTop-chartBottom
	x := func(i float64) float64 { return chartLeft + width*i/float64(n) }
	y := func(v float64) float64 { return chartTop + height*(1-min(v, top)/top) }
	var b strings.Builder
	open(&b, chartWidth, chartHeight, "load and capacity over time")
	for v := 0.0; v <= top*1.001; v += step {
		line(&b, chartLeft, y(v), chartWidth-8, y(v))
		text(&b, chartLeft-6, y(v)+4, "end", short(v))
	}
	ticks(&b, s, x)
	fmt.Fprintf(&b, `<path class="load" d="M%.1f %.1f`, x(0), y(0))
	for i, v := range s.Load {
		fmt.Fprintf(&b, "L%.1f %.1f", x(float64(i)+0.5), y(v))
	}
	fmt.Fprintf(&b, `L%.1f %.1fZ"/><path class="cap" d="`, x(float64(n)), y(0))
	for i, v := range s.Capacity {
		command := byte('L')
		if i == 0 {
			command = 'M'
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", command, x(float64(i)+0.5), y(v))
	}
	b.WriteString(`"/>`)
	for i, v := range s.Bad {
		if v > 0 {
			// The square root lets a few show as well.
			h := max(3, height*math.Sqrt(v)/3)
			fmt.Fprintf(&b, `<rect class="bad" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%.1f %% bad</title></rect>`,
				x(float64(i)), y(0)-h, max(1, width/float64(n)), h, 100*v)
		}
	}
	b.WriteString("</svg>")
	return b.String()
}

// ticks writes the times below a course.
func ticks(b *strings.Builder, s *Series, x func(float64) float64) {
	span := time.Duration(float64(len(s.Load)) * s.Step * float64(time.Second))
	every, layout := 7*24*time.Hour, "Jan 2"
	for _, c := range []struct {
		every  time.Duration
		layout string
	}{{time.Minute, "15:04"}, {10 * time.Minute, "15:04"}, {time.Hour, "15:04"}, {6 * time.Hour, "Jan 2 15:04"}, {24 * time.Hour, "Jan 2"}, {2 * 24 * time.Hour, "Jan 2"}} {
		if span/c.every <= 12 {
			every, layout = c.every, c.layout
			break
		}
	}
	for t := s.Start.Truncate(every).Add(every); t.Before(s.Start.Add(span)); t = t.Add(every) {
		at := x(t.Sub(s.Start).Seconds() / s.Step)
		line(b, at, chartTop, at, chartHeight-chartBottom)
		if at < chartWidth-40 {
			text(b, at, chartHeight-8, "middle", t.Format(layout))
		}
	}
}

// curve draws bad requests (logarithmic) over cost, a line for each policy.
func curve(scores []*Score) string {
	const width, height, left, bottom, top, right = 1040.0, 380.0, 72.0, 44.0, 12.0, 110.0
	const least = 0.001 // percent; less is drawn as that
	low, high, worst := math.Inf(1), 0.0, 1.0
	for _, s := range scores {
		low, high, worst = min(low, s.Cost), max(high, s.Cost), max(worst, s.Bad)
	}
	low = min(1, low)
	high = max(min(high, 6), low+0.5) // what is dearer is left to the table
	worst = math.Pow(10, math.Ceil(math.Log10(worst)))
	x := func(v float64) float64 { return left + (width-left-right)*(min(v, high)-low)/(high-low) }
	y := func(v float64) float64 {
		return top + (height-top-bottom)*(math.Log10(worst)-math.Log10(max(v, least)))/(math.Log10(worst)-math.Log10(least))
	}
	var b strings.Builder
	open(&b, width, height, "bad requests over cost")
	for v := least; v <= worst*1.001; v *= 10 {
		line(&b, left, y(v), width-right, y(v))
		text(&b, left-6, y(v)+4, "end", fmt.Sprintf("%.3g %%", v))
	}
	_, step := axis(high - low)
	for v := math.Ceil(low/step) * step; v <= high*1.0001; v += step {
		line(&b, x(v), top, x(v), height-bottom)
		text(&b, x(v), height-bottom+16, "middle", fmt.Sprintf("%.3g ×", v))
	}
	text(&b, (left+width-right)/2, height-6, "middle", "instance-hours over the ideal")
	var names []string
	points := map[string][]*Score{}
	for _, s := range scores {
		name, _, _ := strings.Cut(s.Policy, "@")
		if points[name] == nil {
			names = append(names, name)
		}
		points[name] = append(points[name], s)
	}
	for i, name := range names {
		colour := fmt.Sprintf("hsl(%d 70%% 50%%)", hue(i))
		p := points[name]
		slices.SortFunc(p, func(a, z *Score) int { return int(1e6 * (a.Target - z.Target)) })
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
		for _, s := range p {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(s.Cost), y(s.Bad))
		}
		b.WriteString(`"/>`)
		for _, s := range p {
			fmt.Fprintf(&b, `<circle fill="%s" r="4" cx="%.1f" cy="%.1f"><title>%s: %.2f %% bad at %.2f ×</title></circle>`,
				colour, x(s.Cost), y(s.Bad), html.EscapeString(s.Policy), s.Bad, s.Cost)
		}
		at := top + 14 + 20*float64(i)
		fmt.Fprintf(&b, `<rect fill="%s" x="%.0f" y="%.0f" width="12" height="12" rx="2"/>`, colour, width-right+14, at-10)
		text(&b, width-right+32, at, "start", name)
	}
	b.WriteString("</svg>")
	return b.String()
}

// hue is the colour of the i-th policy.
func hue(i int) int { return (212 + i*67) % 360 }

// axis returns the end of an axis that shows most, and the step of its lines.
func axis(most float64) (top, step float64) {
	step = math.Pow(10, math.Floor(math.Log10(most)))
	switch {
	case most/step < 2:
		step /= 4
	case most/step < 5:
		step /= 2
	}
	return math.Ceil(most/step) * step, step
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

func open(b *strings.Builder, width, height float64, label string) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, width, height, label)
}

func line(b *strings.Builder, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<path class="axis" d="M%.1f %.1fL%.1f %.1f"/>`, x1, y1, x2, y2)
}

func text(b *strings.Builder, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, html.EscapeString(s))
}
