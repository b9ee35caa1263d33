package plug_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"swell/internal/plug"
)

type speed struct {
	Limit int `json:"limit" doc:"The most."`
}

func kinds() *plug.Kind[int] {
	return plug.NewKind("filter",
		plug.Named("slow", "Slows.", speed{Limit: 5}, func(o speed) (int, error) {
			if o.Limit < 0 {
				return 0, errors.New("limit is below 0")
			}
			return o.Limit, nil
		}),
		plug.Named("fast", "Hurries.", struct{}{}, func(struct{}) (int, error) { return 99, nil }),
	)
}

func TestBuild(t *testing.T) {
	k := kinds()
	for _, c := range []struct {
		name, options, err string
		want               int
	}{
		{"slow", "", "", 5},
		{"slow", `{"limit":7}`, "", 7},
		{"slow", `{"limit":-1}`, "filter slow: limit is below 0", 0},
		{"slow", `{"limt":7}`, "unknown field", 0},
		{"slwo", "", `no filter is named "slwo"; did you mean "slow"? There are: fast, slow`, 0},
		{"compress", "", `no filter is named "compress"; There are: fast, slow`, 0},
	} {
		got, err := k.Build(c.name, json.RawMessage(c.options))
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s %s: %d, %v", c.name, c.options, got, err)
		}
	}
	var c plug.Catalog = k
	o, ok := c.Options("slow")
	if !ok || *o.(*speed) != (speed{5}) || c.Check("slow", o) != nil || c.Check("none", o) == nil || c.Doc("fast") != "Hurries." || c.Noun() != "filter" {
		t.Errorf("the catalog: %v %v", o, ok)
	}
	o.(*speed).Limit = 1
	if again, _ := c.Options("slow"); again.(*speed).Limit != 5 {
		t.Error("options are shared")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"least-connections", "round-robin", "p2c"}
	for name, want := range map[string]string{
		"leastconn": "", "least-connection": "least-connections", "Round-Robin": "round-robin", "rond-robn": "round-robin",
		"pc2": "p2c", "": "", "something": "", strings.Repeat("x", 1000): "",
	} {
		if got := plug.Nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("n", i+10)
	}
	if hint := plug.Hint("x", many); !strings.HasSuffix(hint, ", and 70 more") {
		t.Errorf("hint: %s", hint)
	}
	if hint := plug.Hint("x", nil); hint != "there are none" {
		t.Errorf("hint: %s", hint)
	}
}
