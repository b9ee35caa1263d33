package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// maxJSON bounds the answer of a range query that is read.
const maxJSON = 256 << 20

// matrix is the answer of Prometheus' /api/v1/query_range, or its data alone, as
// promtool prints it.
type matrix struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	series
	Data *series `json:"data"`
}

type series struct {
	Type   string `json:"resultType"`
	Result []struct {
		Values [][2]any `json:"values"`
	} `json:"result"`
}

// readPrometheus reads a matrix. Its values are requests a second (or any gauge of
// demand); series are added up; what is missing, or no number, is bridged by a
// straight line.
func readPrometheus(r io.Reader, name string) (*Load, error) {
	var m matrix
	limited := &io.LimitedReader{R: r, N: maxJSON + 1}
	if err := json.NewDecoder(limited).Decode(&m); err != nil {
		if limited.N <= 0 {
			return nil, fmt.Errorf("%s: the answer of a range query is at most %d MiB", name, maxJSON>>20)
		}
		return nil, fmt.Errorf("%s is no answer of a Prometheus range query: %w", name, err)
	}
	if m.Status == "error" {
		return nil, fmt.Errorf("%s is the answer of a query that failed: %s", name, m.Error)
	}
	data := m.series
	if m.Data != nil {
		data = *m.Data
	}
	if data.Type != "matrix" {
		return nil, fmt.Errorf("%s: the result is of type %q; a range query's is \"matrix\"", name, data.Type)
	}
	sum := map[float64]float64{}
	for _, s := range data.Result {
		for i, v := range s.Values {
			ts, ok := v[0].(float64)
			text, isText := v[1].(string)
			x, err := strconv.ParseFloat(text, 64)
			if !ok || !isText || err != nil || math.Abs(ts) > 1e12 {
				return nil, fmt.Errorf("%s: value %d of a series is %v; it must be a time and a number as text", name, i+1, v)
			}
			if math.IsNaN(x) || math.IsInf(x, 0) {
				continue
			}
			if x < 0 || x > 1e12 {
				return nil, fmt.Errorf("%s: %v at %v is no load; it must be from 0 to 1e12", name, x, ts)
			}
			sum[ts] += x
		}
	}
	times := make([]float64, 0, len(sum))
	for ts := range sum {
		times = append(times, ts)
	}
	slices.Sort(times)
	if len(times) < 2 {
		return nil, fmt.Errorf("%s: a trace needs two samples; it has %d", name, len(times))
	}
	at, rate := make([]float64, len(times)), make([]float64, len(times))
	for i, ts := range times {
		at[i], rate[i] = ts-times[0], sum[ts]
	}
	last := len(at) - 1
	l, err := newLoad(name, times[0], at, rate, at[last]+at[last]-at[last-1])
	if err == nil {
		copy(l.at, at) // samples are of their moments
	}
	return l, err
}
