package plug_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"swell/internal/plug"
	"swell/internal/unit"
)

// node makes a tree of Go values: maps are [][2]any, to keep the order. Each
// node's line is its number in the order of making.
type maker struct{ line int }

func (m *maker) node(v any) *plug.Node {
	m.line++
	n := &plug.Node{Pos: plug.Pos{Line: m.line}}
	switch v := v.(type) {
	case nil:
	case bool:
		n.Shape, n.Text = plug.Bool, fmt.Sprint(v)
	case int, float64, json.Number:
		n.Shape, n.Text = plug.Number, fmt.Sprint(v)
	case string:
		n.Shape, n.Text = plug.Text, v
	case []any:
		n.Shape = plug.List
		for _, x := range v {
			n.Items = append(n.Items, m.node(x))
		}
	case [][2]any:
		n.Shape = plug.Map
		for _, f := range v {
			c := m.node(f[1])
			n.Fields = append(n.Fields, plug.Field{Name: f[0].(string), Pos: c.Pos, Node: c})
		}
	default:
		panic(v)
	}
	return n
}

func tree(v any) *plug.Node { return new(maker).node(v) }

type inner struct {
	Weight int    `json:"weight" min:"0"`
	Name   string `json:"name"`
}

func (i *inner) Default() { i.Weight = 1 }

type base struct {
	Shared string `json:"shared"`
}

type options struct {
	base
	Text   string            `json:"text"`
	Mode   string            `json:"mode" enum:"fast,safe" later:"magic"`
	Count  int8              `json:"count" min:"1" max:"100"`
	Size   uint16            `json:"size"`
	Ratio  float64           `json:"ratio" max:"2.5"`
	On     bool              `json:"on"`
	Wait   unit.Duration     `json:"wait" min:"10ms"`
	Share  *unit.Percent     `json:"share"`
	Names  []string          `json:"names"`
	Labels map[string]string `json:"labels"`
	Inner  []inner           `json:"inner"`
	One    *inner            `json:"one"`
	By     map[string]inner  `json:"by"`
	Any    any               `json:"any"`
	Raw    json.RawMessage   `json:"raw"`
	Time   time.Time         `json:"time"`
	Hidden string            `json:"-"`
	_      struct{}          `later:"soon"`
}

func TestDecode(t *testing.T) {
	share := unit.Percent(0.2)
	o := options{Text: "kept", Names: []string{"kept"}, On: true}
	problems := plug.Decode(tree([][2]any{
		{"shared", "s"}, {"mode", "safe"}, {"count", 7}, {"size", json.Number("0x10")}, {"ratio", json.Number("2")}, {"on", false},
		{"wait", "1d"}, {"share", "20%"}, {"names", nil}, {"labels", [][2]any{{"a", 1}, {"b", true}, {"c", json.Number("1.10")}}},
		{"inner", []any{[][2]any{{"name", "x"}}, [][2]any{{"weight", 0}}}}, {"one", [][2]any{}}, {"by", [][2]any{{"k", [][2]any{{"name", "y"}}}}},
		{"any", []any{1, "a", true, nil, [][2]any{{"k", 1.5}}}}, {"raw", [][2]any{{"b", 1}, {"a", 2}}}, {"time", "2026-01-02T03:04:05Z"},
	}), &o)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := options{
		base: base{"s"}, Text: "kept", Mode: "safe", Count: 7, Size: 16, Ratio: 2, Wait: unit.Duration(24 * time.Hour), Share: &share,
		Names: []string{"kept"}, Labels: map[string]string{"a": "1", "b": "true", "c": "1.10"},
		Inner: []inner{{1, "x"}, {0, ""}}, One: &inner{Weight: 1}, By: map[string]inner{"k": {1, "y"}},
		Any: []any{json.Number("1"), "a", true, nil, map[string]any{"k": json.Number("1.5")}}, Raw: json.RawMessage(`{"a":2,"b":1}`),
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
}

func TestDecodeProblems(t *testing.T) {
	for _, c := range []struct {
		name       string
		value      any
		text, hint string
	}{
		{"txt", "x", `unknown field "txt"`, `did you mean "text"?`},
		{"Hidden", "x", `unknown field "Hidden"`, "there are: shared, text"},
		{"soon", 1, `"soon" is not in this version`, "leave it out"},
		{"text", []any{}, "text must be text, but it is a list", ""},
		{"text", nil, "text has no value", "leave the line out"},
		{"mode", "fats", `mode can't be "fats"`, `did you mean "fast"?`},
		{"mode", "magic", `mode: "magic" is not in this version`, "there are: fast, safe"},
		{"count", 0, "count must be at least 1, but it is 0", ""},
		{"count", 101, "count must be at most 100, but it is 101", ""},
		{"count", 1000, "count is too large a number: 1000", ""},
		{"count", json.Number("99999999999999999999"), "count is too large", ""},
		{"count", 1.5, "count must be a whole number, but it is 1.5", ""},
		{"count", "7", `count must be a whole number, but it is text ("7")`, "without quotes: 7"},
		{"size", -1, "size must be at least 0", ""},
		{"ratio", 3, "ratio must be at most 2.5", ""},
		{"ratio", "nan", "ratio must be a number", ""},
		{"on", "yes", "on must be true or false", ""},
		{"on", "true", "on must be true or false", "without quotes: true"},
		{"wait", 5, `wait: "5" is not a duration`, "write it as 200ms, 30s, 5m or 1d"},
		{"wait", "5ms", `wait must be at least 10ms, but it is "5ms"`, ""},
		{"wait", true, "wait can't be true", "write it as"},
		{"wait", [][2]any{}, "wait can't be a mapping", "write it as"},
		{"share", "20", `share: "20" is not a percentage`, "20%"},
		{"names", "a b,c", `names must be a list, but it is text ("a b,c")`, `write it as [a, "b,c"]`},
		{"names", []any{nil}, "an entry of names has no value", ""},
		{"labels", []any{}, "labels must be a mapping of names to values, but it is a list", ""},
		{"labels", [][2]any{{"a", []any{}}}, "a must be text, but it is a list", ""},
		{"inner", []any{"x"}, `an entry of inner must be a mapping, but it is text ("x")`, "its fields are: weight, name"},
		{"inner", []any{[][2]any{{"wieght", 1}}}, `unknown field "wieght"`, `did you mean "weight"?`},
		{"time", "noon", "time: parsing time", ""},
	} {
		var o options
		problems := plug.Decode(tree([][2]any{{c.name, c.value}}), &o)
		if len(problems) != 1 || !strings.Contains(problems[0].Text, c.text) || !strings.Contains(problems[0].Hint, c.hint) || problems[0].Pos.Line < 2 {
			t.Errorf("%s: %v: got %+v", c.name, c.value, problems)
		}
	}
	var o options
	if problems := plug.Decode(tree([][2]any{{"a", 1}, {"count", "x"}, {"inner", []any{[][2]any{{"b", 1}}, 3}}, {"mode", ""}}), &o); len(problems) != 5 {
		t.Errorf("not all at once: %+v", problems)
	}
	if problems := plug.Decode(tree("x"), &o); len(problems) != 1 || !strings.Contains(problems[0].Text, "must be a mapping") {
		t.Errorf("no mapping: %+v", problems)
	}
}

// token refuses everything, and tells what.
type token string

func (t *token) UnmarshalText(b []byte) error { return fmt.Errorf("%q is no token", b) }

type wrapped struct{ _ string }

func (w *wrapped) UnmarshalJSON(b []byte) error { return errors.New("no: " + string(b)) }

func TestResolvedValuesAreNotShown(t *testing.T) {
	const secret = "hunter2"
	for _, into := range []any{new(int), new(bool), new(float64), new(token), new(unit.Duration), new([]string), new(map[string]int), new(struct{}), new(wrapped),
		&struct {
			A string `json:"a" enum:"hunter3"`
		}{}} {
		n := &plug.Node{Shape: plug.Text, Text: secret, Written: "${secret:x}", Secret: true}
		if reflect.TypeOf(into).Elem().Kind() == reflect.Struct && reflect.TypeOf(into).Elem().NumField() == 1 && reflect.TypeOf(into) != reflect.TypeFor[*wrapped]() {
			n = &plug.Node{Shape: plug.Map, Fields: []plug.Field{{Name: "a", Node: n}}}
		}
		problems := plug.Decode(n, into)
		if len(problems) != 1 || strings.Contains(fmt.Sprint(problems), "hunter") && !strings.Contains(fmt.Sprint(problems), "hunter3") || strings.Contains(fmt.Sprint(problems), secret) {
			t.Errorf("%T: %+v", into, problems)
		}
	}
	var i int
	if p := plug.Decode(&plug.Node{Shape: plug.Text, Text: "42", Written: "${N}"}, &i); len(p) > 0 || i != 42 {
		t.Errorf("a resolved number: %v, %d", p, i)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"text":"x","count":3}`, `{"inner":[{"weight":1}],"any":[1,{"a":null}]}`, `{"wait":"1s","share":"5%"}`, `[]`, `null`, `"x"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return
		}
		var o options
		if problems := plug.Decode(tree(ordered(v)), &o); len(problems) == 0 {
			if _, err := json.Marshal(o); err != nil {
				t.Errorf("what was decoded can't be written: %v", err)
			}
		}
	})
}

// ordered turns maps into what tree wants.
func ordered(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = ordered(v[i])
		}
	case map[string]any:
		var out [][2]any
		for k, x := range v {
			out = append(out, [2]any{k, ordered(x)})
		}
		return out
	}
	return v
}
