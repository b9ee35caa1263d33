package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// parser finds the time of a line of an access log.
type parser func(line []byte) (time.Time, bool)

// parseCommon finds the time of a line in the common (or combined) form:
// host ident user [02/Jan/2006:15:04:05 -0700] "request" status bytes.
func parseCommon(line []byte) (time.Time, bool) {
	_, after, ok := bytes.Cut(line, []byte("["))
	text, _, ok2 := bytes.Cut(after, []byte("]"))
	if !ok || !ok2 || len(text) > 40 {
		return time.Time{}, false
	}
	t, err := time.Parse("02/Jan/2006:15:04:05 -0700", string(text))
	return t, err == nil
}

// parseJSON finds the time of a line of Swell's access log.
func parseJSON(line []byte) (time.Time, bool) {
	// The time comes first in what Swell writes; anything else is decoded.
	if text, ok := bytes.CutPrefix(line, []byte(`{"time":"`)); ok {
		if text, _, ok = bytes.Cut(text, []byte(`"`)); ok && len(text) <= 40 {
			if t, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
				return t, bytes.HasSuffix(line, []byte("}"))
			}
		}
	}
	var e struct {
		Time time.Time `json:"time"`
	}
	err := json.Unmarshal(line, &e)
	return e.Time, err == nil && !e.Time.IsZero()
}

func jsonEntry(line []byte) bool {
	_, ok := parseJSON(bytes.TrimSpace(line))
	return ok
}

// readLog counts the lines of an access log by second, in any order. A line in a
// thousand may be damaged, and is skipped.
func readLog(r *bufio.Reader, name string, parse parser) (*Load, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	counts := map[int64]int64{}
	n, bad, firstBad := 0, 0, 0
	first, last := int64(0), int64(0)
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		t, ok := parse(line)
		if !ok {
			if bad++; bad == 1 {
				firstBad = n
			}
			continue
		}
		s := t.Unix()
		if len(counts) == 0 {
			first, last = s, s
		}
		first, last = min(first, s), max(last, s)
		if last-first > maxSpan {
			return nil, fmt.Errorf("%s:%d: its lines are more than %d days apart", name, n, maxSpan/86400)
		}
		counts[s]++
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, fmt.Errorf("%s:%d: the line is longer than 1 MiB", name, n+1)
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if bad > 1+n/1000 {
		return nil, fmt.Errorf("%s:%d: this line, and %d more of %d, is none of an access log", name, firstBad, bad-1, n)
	}
	span := int(last-first) + 1
	if span < 2 {
		return nil, fmt.Errorf("%s: all its lines are of one second; a trace needs more", name)
	}
	at, rate := make([]float64, span), make([]float64, span)
	for i := range at {
		at[i], rate[i] = float64(i), float64(counts[first+int64(i)])
	}
	l, err := newLoad(name, float64(first), at, rate, float64(span))
	if err == nil && bad > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("%d of %d lines were no entries and were skipped", bad, n))
	}
	return l, err
}
