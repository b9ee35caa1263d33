package bench

import (
	"strings"
	"testing"
)

func TestThresholds(t *testing.T) {
	r := &Report{Requests: 1000, OK: 995, Failed: 5, Retried: 2,
		Rate:    Rate{Intended: 100, Achieved: 97},
		Latency: Latency{Mean: 0.02, P50: 0.01, P90: 0.05, P95: 0.08, P99: 0.15, P999: 0.3, Max: 1},
	}
	for text, want := range map[string]Verdict{
		"p99<200ms":        {Value: 0.15, Pass: true},
		"p99 <= 150ms":     {Value: 0.15, Pass: true},
		" p99 < 150ms ":    {Value: 0.15},
		"p99.9<0.2s":       {Value: 0.3},
		"p50<1m":           {Value: 0.01, Pass: true},
		"p90>49ms":         {Value: 0.05, Pass: true},
		"p95<=80ms":        {Value: 0.08, Pass: true},
		"mean==20ms":       {Value: 0.02, Pass: true},
		"max<1s":           {Value: 1},
		"failed<=0":        {Value: 5},
		"failed==5":        {Value: 5, Pass: true},
		"failed<0.1%":      {Value: 0.005},
		"failed<1%":        {Value: 0.005, Pass: true},
		"retried<=2":       {Value: 2, Pass: true},
		"unfinished<=0":    {Value: 0, Pass: true},
		"unfinished<=0.0%": {Value: 0, Pass: true},
		"rate>=95%":        {Value: 0.97, Pass: true},
		"rate>=98%":        {Value: 0.97},
		"rate>=90/s":       {Value: 97, Pass: true},
		"rate>=6000/m":     {Value: 97},
	} {
		th, err := ParseThreshold(text)
		if err != nil {
			t.Error(err)
			continue
		}
		want.Threshold = strings.TrimSpace(text)
		if got := th.Check(r); got != want || th.String() != want.Threshold {
			t.Errorf("%+v, want %+v", got, want)
		}
		if th.Check(&Report{}).Pass {
			t.Errorf("%s: nothing was measured, and it passes", text)
		}
	}
}

func TestAThresholdSaysWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		"p99":          `has no operator; write it as p99<200ms`,
		"p99=2ms":      `"=" is not an operator`,
		"p99<200":      `"200" is not a duration`,
		"p99<10%":      `"10%" is not a duration`,
		"p98<200ms":    `nothing is measured as "p98"; there are mean, p50`,
		"p98<200%":     `nothing is measured as "p98"`,
		"failed<=":     `"" is neither a number of requests nor a share`,
		"failed<=-1":   `"-1" is neither`,
		"failed<=x%":   `"x%" is not a percentage`,
		"rate>=fast":   `"fast" is not a rate`,
		"rate>=NaN%":   `is not a percentage`,
		"<5":           `nothing is measured as ""`,
		"failed<=<=10": `is neither`,
	} {
		_, err := ParseThreshold(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", in, err, want)
		}
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, s := range []string{"p99<200ms", "failed<=0", "failed<0.1%", "rate>=95%", "rate > 5/m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		th, err := ParseThreshold(s)
		if err != nil {
			return
		}
		again, err := ParseThreshold(th.String())
		if err != nil || again != th {
			t.Fatalf("%q read again is %+v, %v", th, again, err)
		}
		th.Check(&Report{Requests: 1})
	})
}
