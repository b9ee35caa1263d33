// Package unit reads and writes the quantities of manifests and options:
// durations, sizes, CPU, rates and percentages. Each type is text in JSON and YAML.
package unit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration, written as Go writes it ("200ms", "1m30s"), and
// with "d" and "w" for days and weeks.
type Duration time.Duration

// MarshalText writes d as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if f, err := strconv.ParseFloat(n, 64); err == nil && f >= 0 && f < 36500 {
			*d = Duration(f * float64(24*time.Hour))
			return nil
		}
	}
	if n, ok := strings.CutSuffix(s, "w"); ok {
		if f, err := strconv.ParseFloat(n, 64); err == nil && f >= 0 && f < 5200 {
			*d = Duration(f * float64(7*24*time.Hour))
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it as 200ms, 30s, 5m or 1d", s)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative; a duration is at least 0s", s)
	}
	*d = Duration(v)
	return nil
}

// Percent is a share: "20%" is 0.2. A bare number is refused, as it could mean both.
type Percent float64

// MarshalText writes p with a percent sign.
func (p Percent) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(p)*100, 'g', 12, 64) + "%"), nil
}

// UnmarshalText reads a percentage of at least 0.
func (p *Percent) UnmarshalText(b []byte) error {
	n, ok := strings.CutSuffix(string(b), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
	if !ok || err != nil || !(f >= 0) || f > 1e6 {
		return fmt.Errorf("%q is not a percentage; write it as 20%%", b)
	}
	*p = Percent(f / 100)
	return nil
}

// Rate is a number per second: "100/s", "30/m", "1000/h".
type Rate float64

// MarshalText writes r per second.
func (r Rate) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(r), 'g', 12, 64) + "/s"), nil
}

// UnmarshalText reads a rate; a bare number is per second.
func (r *Rate) UnmarshalText(b []byte) error {
	n, per, ok := strings.Cut(string(b), "/")
	f, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
	div := map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86400}[per]
	if !ok {
		div = 1
	}
	if err != nil || div == 0 || !(f >= 0) || f > 1e12 {
		return fmt.Errorf("%q is not a rate; write it as 100/s, 30/m or 1000/h", b)
	}
	*r = Rate(f / div)
	return nil
}

// CPU is a number of cores: "2", "0.5" or "500m", as in Kubernetes.
type CPU float64

// MarshalText writes c in thousandths of a core.
func (c CPU) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(c)*1000, 'f', 0, 64) + "m"), nil
}

// UnmarshalText reads a number of cores.
func (c *CPU) UnmarshalText(b []byte) error {
	n, milli := strings.CutSuffix(string(b), "m")
	f, err := strconv.ParseFloat(n, 64)
	if milli {
		f /= 1000
	}
	if err != nil || !(f >= 0) || f > 1e7 {
		return fmt.Errorf("%q is not an amount of CPU; write it as 500m, 0.5 or 2", b)
	}
	*c = CPU(f)
	return nil
}

// Bytes is a size: "64Ki", "256Mi", "1G", or a bare number of bytes, as in Kubernetes.
type Bytes int64

var scales = []struct {
	suffix string
	n      float64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

// MarshalText writes the largest binary unit that is exact.
func (v Bytes) MarshalText() ([]byte, error) {
	for i := 3; i >= 0; i-- {
		if n := int64(scales[i].n); v != 0 && int64(v)%n == 0 {
			return []byte(strconv.FormatInt(int64(v)/n, 10) + scales[i].suffix), nil
		}
	}
	return []byte(strconv.FormatInt(int64(v), 10)), nil
}

// UnmarshalText reads a size.
func (v *Bytes) UnmarshalText(b []byte) error {
	s, mul := string(b), 1.0
	for _, sc := range scales {
		if n, ok := strings.CutSuffix(s, sc.suffix); ok {
			s, mul = n, sc.n
			break
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0) || f*mul > 1<<62 {
		return fmt.Errorf("%q is not a size; write it as 64Ki, 256Mi or 1Gi", b)
	}
	*v = Bytes(f * mul)
	return nil
}

// D is d as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }
