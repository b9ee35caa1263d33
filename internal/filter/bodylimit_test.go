package filter_test

import (
	"fmt"
	"strings"
	"testing"

	"swell/internal/exchange"
	"swell/internal/filter"
	"swell/internal/filter/filtertest"
)

// taking is a service behind the data plane's check of announced lengths.
func taking(x *exchange.Exchange) error {
	if x.BodyLimit > 0 && x.Request.Length > x.BodyLimit {
		return filter.TooLarge(x)
	}
	body, err := filtertest.ReadAll(x.Request.Body)
	if err != nil {
		return &filter.Failure{Cause: filter.Request, Err: err}
	}
	x.Reply(200, fmt.Sprint(len(body)))
	return nil
}

func TestBodyLimit(t *testing.T) {
	for _, c := range []struct {
		name    string
		limits  []string // outermost first
		size    int
		chunked bool
		want    string
	}{
		{"less", []string{"10"}, 9, false, "200"},
		{"as much", []string{"10"}, 10, false, "200"},
		{"more, announced", []string{"10"}, 11, false, "body-limit"},
		{"less, not announced", []string{"10"}, 10, true, "200"},
		{"more, not announced", []string{"10"}, 11, true, "body-limit"},
		{"the innermost allows more", []string{"10", "100"}, 50, false, "200"},
		{"the innermost allows more, not announced", []string{"10", "100"}, 50, true, "200"},
		{"the innermost allows less", []string{"100", "10"}, 50, false, "body-limit"},
		{"the innermost allows less, not announced", []string{"100", "10"}, 50, true, "body-limit"},
		{"none", []string{"10"}, 0, false, "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env, counts := counted()
			round := filter.Round(taking)
			for i := len(c.limits) - 1; i >= 0; i-- {
				round = build(t, "body-limit", `{"max":"`+c.limits[i]+`"}`)(env)(round)
			}
			round = build(t, "retry", ``)(filter.Env{})(round)
			for range 3 { // pooled memory
				x := filtertest.Exchange("PUT", "/", strings.Repeat("x", c.size))
				if c.chunked {
					x.Request.Length = -1
					x.Request.Body = &pieces{strings.Split(strings.Repeat("x", c.size), "")}
				}
				err := round(x)
				if got := fmt.Sprint(ending(x, err)); got != c.want {
					t.Errorf("%s (%v), want %s", got, err, c.want)
				}
				filtertest.End(x)
			}
			want := 0
			if c.want != "200" {
				want = 3
			}
			if got := counts.of("swell_body_limit_refused_total"); got != want {
				t.Errorf("%d are counted", got)
			}
		})
	}
}
