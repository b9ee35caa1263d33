package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"swell"
)

// Change is one difference between two apps.
type Change struct {
	Op   string `json:"op"`   // "+" added, "-" removed, "~" changed
	What string `json:"what"` // "service catalog", "route …", "gateway"
	Text string `json:"text"` // what differs: "scale.max: 10 → 20"; "" for whole things
	Roll bool   `json:"roll"` // running instances are replaced one after the other
}

// String is the change as one line.
func (c Change) String() string {
	s := c.Op + " " + c.What
	if c.Text != "" {
		s += ": " + c.Text
	}
	if c.Roll {
		s += " (rolling update)"
	}
	return s
}

// Diff returns what turns the old app into the new, services first, in order of
// name. Values of environment variables, arguments and options of filters are
// not shown: they may be secrets.
func Diff(old, new swell.App) []Change {
	var out []Change
	byName := func(s swell.Service) string { return s.Name }
	pairUp(old.Services, new.Services, byName, func(a, b *swell.Service) {
		switch {
		case a == nil:
			out = append(out, Change{Op: "+", What: "service " + b.Name, Text: summary(*b)})
		case b == nil:
			out = append(out, Change{Op: "-", What: "service " + a.Name})
		default:
			for _, text := range fields("", reflect.ValueOf(*a), reflect.ValueOf(*b)) {
				roll := strings.HasPrefix(text, "run.") || strings.HasPrefix(text, "uses")
				out = append(out, Change{Op: "~", What: "service " + a.Name, Text: text, Roll: roll})
			}
		}
	})
	pairUp(old.Gateway.Routes, new.Gateway.Routes, func(r swell.Route) string { return r.Name }, func(a, b *swell.Route) {
		switch {
		case a == nil:
			out = append(out, Change{Op: "+", What: "route " + b.Name})
		case b == nil:
			out = append(out, Change{Op: "-", What: "route " + a.Name})
		default:
			for _, text := range fields("", reflect.ValueOf(*a), reflect.ValueOf(*b)) {
				out = append(out, Change{Op: "~", What: "route " + a.Name, Text: text})
			}
		}
	})
	og, ng := old.Gateway, new.Gateway
	og.Routes, ng.Routes = nil, nil
	for _, text := range fields("", reflect.ValueOf(og), reflect.ValueOf(ng)) {
		out = append(out, Change{Op: "~", What: "gateway", Text: text})
	}
	if old.Name != new.Name {
		out = append(out, Change{Op: "~", What: "app", Text: fmt.Sprintf("name: %s → %s", old.Name, new.Name)})
	}
	if old.Policy != new.Policy {
		out = append(out, Change{Op: "~", What: "app", Text: fmt.Sprintf("policy: %s → %s", old.Policy, new.Policy)})
	}
	return out
}

func summary(s swell.Service) string {
	if len(s.Address) > 0 {
		at := make([]string, len(s.Address))
		for i, a := range s.Address {
			at[i] = a.Addr
		}
		return "at " + strings.Join(at, ", ")
	}
	return fmt.Sprintf("%d to %d instances", s.Scale.Min, s.Scale.Max)
}

// pairUp calls f for every name that either list has, sorted.
func pairUp[T any](a, b []T, name func(T) string, f func(a, b *T)) {
	at := map[string][2]*T{}
	for i := range a {
		at[name(a[i])] = [2]*T{&a[i], nil}
	}
	for i := range b {
		p := at[name(b[i])]
		p[1] = &b[i]
		at[name(b[i])] = p
	}
	names := make([]string, 0, len(at))
	for n := range at {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		f(at[n][0], at[n][1])
	}
}

// fields lists the leaves in which two values of one struct type differ.
func fields(path string, a, b reflect.Value) []string {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return nil
	}
	if a.Kind() == reflect.Struct {
		var out []string
		for i := range a.NumField() {
			p := strings.ToLower(a.Type().Field(i).Name)
			if path != "" {
				p = path + "." + p
			}
			out = append(out, fields(p, a.Field(i), b.Field(i))...)
		}
		return out
	}
	switch x := a.Interface().(type) {
	case []swell.Pair:
		if path == "run.env" {
			return env(x, b.Interface().([]swell.Pair))
		}
	case []swell.Use:
		return uses(path, x, b.Interface().([]swell.Use))
	case json.RawMessage:
		return []string{path + " changed"}
	}
	if path == "run.command" {
		return []string{path + " changed"}
	}
	return []string{fmt.Sprintf("%s: %s → %s", path, show(a), show(b))}
}

// env names the variables that differ and keeps their values to itself.
func env(a, b []swell.Pair) []string {
	var out []string
	pairUp(a, b, func(p swell.Pair) string { return p.Name }, func(a, b *swell.Pair) {
		switch {
		case a == nil:
			out = append(out, "run.env: "+b.Name+" added")
		case b == nil:
			out = append(out, "run.env: "+a.Name+" removed")
		case a.Value != b.Value:
			out = append(out, "run.env: "+a.Name+" changed")
		}
	})
	return out
}

// uses names the filters that come and go, and where only options differ says so.
func uses(path string, a, b []swell.Use) []string {
	names := func(us []swell.Use) string {
		out := make([]string, len(us))
		for i, u := range us {
			out[i] = u.Name
		}
		return "[" + strings.Join(out, " ") + "]"
	}
	if x, y := names(a), names(b); x != y {
		return []string{fmt.Sprintf("%s: %s → %s", path, x, y)}
	}
	return []string{path + ": options changed"}
}

func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case string:
		if x == "" {
			return "none"
		}
		return x
	case []string:
		return "[" + strings.Join(x, " ") + "]"
	}
	if (v.Kind() == reflect.Slice || v.Kind() == reflect.Pointer) && v.IsNil() {
		return "none"
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Pointer {
		b, err := json.Marshal(v.Interface())
		if err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v.Interface())
}
