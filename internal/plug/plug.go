// Package plug makes things of one kind by name: named constructors with typed,
// strictly decoded options, whose structs give the schema and the reference.
package plug

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Entry is one named constructor of T.
type Entry[T any] struct {
	name  string
	doc   string
	fresh func() any           // a pointer to options, defaults filled in
	build func(any) (T, error) // of such a pointer
}

// Named makes an entry: build gets options that started as defaults. O is a
// struct whose fields have json tags, types of package unit for quantities, and
// a `doc:"…"` tag each; build checks what types can't.
func Named[T, O any](name, doc string, defaults O, build func(O) (T, error)) Entry[T] {
	return Entry[T]{
		name: name, doc: doc,
		fresh: func() any { o := defaults; return &o },
		build: func(o any) (T, error) { return build(*o.(*O)) },
	}
}

// Kind is a set of things that can be named: the filters, the balancers.
type Kind[T any] struct {
	noun    string
	entries map[string]Entry[T]
	names   []string
}

// NewKind makes a kind. noun is what messages call it: "filter".
func NewKind[T any](noun string, entries ...Entry[T]) *Kind[T] {
	k := &Kind[T]{noun: noun, entries: map[string]Entry[T]{}}
	for _, e := range entries {
		k.entries[e.name] = e
		k.names = append(k.names, e.name)
	}
	slices.Sort(k.names)
	return k
}

// Catalog is a kind without its type: what a manifest needs to check a use of it.
type Catalog interface {
	Noun() string
	Names() []string                      // sorted
	Doc(name string) string               // one sentence
	Options(name string) (any, bool)      // a pointer to fresh options with defaults
	Check(name string, options any) error // whether options of that type make one
}

// Noun returns what messages call the kind.
func (k *Kind[T]) Noun() string { return k.noun }

// Names returns the names, sorted.
func (k *Kind[T]) Names() []string { return k.names }

// Doc returns the entry's sentence.
func (k *Kind[T]) Doc(name string) string { return k.entries[name].doc }

// Options returns a pointer to fresh options with defaults; false for an unknown name.
func (k *Kind[T]) Options(name string) (any, bool) {
	e, ok := k.entries[name]
	if !ok {
		return nil, false
	}
	return e.fresh(), true
}

// Check reports whether options, a pointer as Options returns it, make one.
func (k *Kind[T]) Check(name string, options any) error {
	e, ok := k.entries[name]
	if !ok {
		return k.unknown(name)
	}
	_, err := e.build(options)
	return err
}

// Build makes the named one with options in JSON, strictly decoded onto the
// defaults; nil means the defaults.
func (k *Kind[T]) Build(name string, options json.RawMessage) (T, error) {
	var none T
	e, ok := k.entries[name]
	if !ok {
		return none, k.unknown(name)
	}
	o := e.fresh()
	if len(options) > 0 {
		d := json.NewDecoder(bytes.NewReader(options))
		d.DisallowUnknownFields()
		if err := d.Decode(o); err != nil {
			return none, fmt.Errorf("%s %s: %w", k.noun, name, err)
		}
	}
	t, err := e.build(o)
	if err != nil {
		return none, fmt.Errorf("%s %s: %w", k.noun, name, err)
	}
	return t, nil
}

func (k *Kind[T]) unknown(name string) error {
	return fmt.Errorf("no %s is named %q%s", k.noun, name, Suggest(name, k.names))
}

// Suggest ends a message about an unknown name: the nearest known one, if it is
// near, and all there are.
func Suggest(name string, known []string) string {
	hint := Hint(name, known)
	if strings.HasPrefix(hint, "there are") {
		hint = "There" + strings.TrimPrefix(hint, "there")
	}
	return "; " + hint
}

// Hint is [Suggest] as a sentence of its own: `did you mean "port"? There are: …`.
func Hint(name string, known []string) string {
	const most = 30
	all := "here are: " + strings.Join(known[:min(len(known), most)], ", ")
	if len(known) > most {
		all += fmt.Sprintf(", and %d more", len(known)-most)
	}
	if len(known) == 0 {
		all = "here are none"
	}
	if n := Nearest(name, known); n != "" {
		return fmt.Sprintf("did you mean %q? T%s", n, all)
	}
	return "t" + all
}

// Nearest returns the known name with the least edit distance to name, if that is
// at most a third of its length (and at least allows two), else "".
func Nearest(name string, known []string) string {
	best, at := "", max(2, len(name)/3)+1
	if name == "" || len(name) > 100 { // no slip of the pen, and dear to compare
		return ""
	}
	for _, k := range known {
		if len(k)-len(name) >= at || len(name)-len(k) >= at {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
