package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"swell/internal/unit"
)

// Startup is how long instances take to be ready: always the same time, any in a
// range alike, or log-normally distributed, as it is where images are pulled.
type Startup struct {
	text     string
	low, top time.Duration
	mu, sd   float64 // of the logarithm of seconds, if sd > 0
}

// ParseStartup reads "30s", "20s-60s" or "p50=20s,p95=60s".
func ParseStartup(s string) (Startup, error) {
	st := Startup{text: s}
	duration := func(text string) (time.Duration, error) {
		var d unit.Duration
		err := d.UnmarshalText([]byte(strings.TrimSpace(text)))
		if err == nil && d.D() > 24*time.Hour {
			err = fmt.Errorf("%s is too long for a start; it is at most 24h", text)
		}
		return d.D(), err
	}
	var err error
	if p50, p95, ok := strings.Cut(s, ","); ok {
		a, aok := strings.CutPrefix(strings.TrimSpace(p50), "p50=")
		b, bok := strings.CutPrefix(strings.TrimSpace(p95), "p95=")
		if !aok || !bok {
			return st, fmt.Errorf("%q is no start-up time; write it as 30s, 20s-60s or p50=20s,p95=60s", s)
		}
		if st.low, err = duration(a); err == nil {
			st.top, err = duration(b)
		}
		if err == nil && (st.low <= 0 || st.top <= st.low) {
			err = fmt.Errorf("%q: p95 must be more than p50, and that more than 0s", s)
		}
		if err != nil {
			return st, err
		}
		st.mu = math.Log(st.low.Seconds())
		st.sd = math.Log(st.top.Seconds()/st.low.Seconds()) / 1.6448536 // the normal distribution's 95th percentile
		return st, nil
	}
	low, top, ranged := strings.Cut(s, "-")
	if st.low, err = duration(low); err != nil {
		return st, err
	}
	st.top = st.low
	if ranged {
		if st.top, err = duration(top); err == nil && st.top < st.low {
			err = fmt.Errorf("%q: the range ends before it begins", s)
		}
	}
	return st, err
}

// String is what was parsed.
func (s Startup) String() string { return s.text }

// draw is the time that one instance takes.
func (s Startup) draw(rnd *rand.Rand) time.Duration {
	switch {
	case s.sd > 0:
		x := math.Exp(s.mu + s.sd*rnd.NormFloat64())
		return time.Duration(min(x, 86400) * float64(time.Second))
	case s.top > s.low:
		return s.low + time.Duration(rnd.Int64N(int64(s.top-s.low)+1))
	}
	return s.low
}
