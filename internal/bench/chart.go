package bench

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// blocks are the eighths of a cell.
var blocks = []rune(" ▁▂▃▄▅▆▇█")

// Chart draws a series as columns from 0 to its highest value: height lines of
// width characters each, without a line break at the end. If there are more values
// than columns, a column shows the highest of its values; if there are fewer, each
// takes several columns. What is not a number, or below 0, counts as 0.
func Chart(series []float64, width, height int) string {
	if width < 1 || height < 1 {
		return ""
	}
	columns := make([]float64, width)
	top := 0.0
	for x := range columns {
		from := x * len(series) / width
		to := max((x+1)*len(series)/width, from+1)
		for _, v := range series[min(from, len(series)):min(to, len(series))] {
			if v > columns[x] && !math.IsInf(v, 0) {
				columns[x] = v
			}
		}
		top = max(top, columns[x])
	}
	var b strings.Builder
	for y := height - 1; y >= 0; y-- {
		for _, v := range columns {
			eighths := 0
			if top > 0 {
				eighths = int(math.Round(v / top * float64(height*8)))
			}
			if v > 0 {
				eighths = max(eighths, 1) // what is there is seen
			}
			b.WriteRune(blocks[min(max(eighths-y*8, 0), 8)])
		}
		if y > 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Bars draws a histogram, a line for each bucket: its upper end, a bar of at most
// width characters, its count.
func Bars(buckets []Bucket, width int) string {
	var top int64
	for _, b := range buckets {
		top = max(top, b.Count)
	}
	if top == 0 || width < 1 {
		return ""
	}
	lines := make([]string, len(buckets))
	for i, b := range buckets {
		eighths := int(math.Round(float64(b.Count) / float64(top) * float64(width*8)))
		if b.Count > 0 {
			eighths = max(eighths, 1)
		}
		bar := strings.Repeat("█", eighths/8)
		if eighths%8 > 0 {
			bar += string([]rune("▏▎▍▌▋▊▉")[eighths%8-1])
		}
		lines[i] = fmt.Sprintf("≤ %6s │%s %d", short(b.UpTo), bar, b.Count)
	}
	return strings.Join(lines, "\n")
}

// short writes a bucket's end, which has one or two digits that are not 0.
func short(s float64) string {
	return time.Duration(math.Round(s*1e6) * 1e3).String()
}
