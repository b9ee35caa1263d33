package plug

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one mistake that a person made in a document.
type Problem struct {
	Pos  Pos
	Text string // what is wrong
	Hint string // what would be right; "" if Text says it
}

// NodeDecoder is a type that reads itself from a node, for values that may be
// written in several shapes.
type NodeDecoder interface {
	DecodeNode(n *Node) []Problem
}

// Defaulter is a type that fills in its defaults before it is decoded.
type Defaulter interface{ Default() }

// Decode reads n into the value that into points to, and returns all that is
// wrong, in the document's order. What n does not mention keeps its value, so
// defaults are filled in before; values that Decode itself makes (elements of
// lists and mappings, targets of nil pointers) get theirs by [Defaulter].
//
// Structs name their fields by json tags. Further tags: enum:"a,b" lists the
// texts that are allowed, min:"1" and max:"10" are bounds (in the field's own
// notation, so min:"1ms" for a duration). later:"x,y" on a blank field or beside
// enum names words that are known, but not in this version. A field of a
// mapping that the struct hasn't is a problem with a suggestion.
//
// Text fields take any scalar as it was written, number fields only numbers, and
// types with UnmarshalText any scalar but true and false. An empty value (null)
// leaves a struct, list, mapping or pointer as it was, and is a problem elsewhere.
func Decode(n *Node, into any) []Problem {
	var d decoder
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("plug: Decode into %T, which is no pointer", into))
	}
	d.value(n, v.Elem(), "this", "")
	return d.problems
}

type decoder struct{ problems []Problem }

func (d *decoder) fail(pos Pos, hint, format string, args ...any) {
	d.problems = append(d.problems, Problem{Pos: pos, Hint: hint, Text: fmt.Sprintf(format, args...)})
}

var (
	nodeDecoder = reflect.TypeFor[NodeDecoder]()
	textDecoder = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonDecoder = reflect.TypeFor[json.Unmarshaler]()
	rawMessage  = reflect.TypeFor[json.RawMessage]()
)

// value decodes n into v. label is what messages call it; tag is the struct
// field's.
func (d *decoder) value(n *Node, v reflect.Value, label string, tag reflect.StructTag) {
	if v.Kind() == reflect.Pointer && !reflect.PointerTo(v.Type()).Implements(nodeDecoder) {
		if n.Shape == Null {
			return
		}
		if v.IsNil() {
			v.Set(fresh(v.Type().Elem()))
		}
		d.value(n, v.Elem(), label, tag)
		return
	}
	ptr := reflect.PointerTo(v.Type())
	switch {
	case ptr.Implements(nodeDecoder):
		d.problems = append(d.problems, v.Addr().Interface().(NodeDecoder).DecodeNode(n)...)
		return
	case v.Type() == rawMessage:
		b, err := json.Marshal(n.value())
		if err != nil {
			d.fail(n.Pos, "", "%s can't be written as JSON", label)
			return
		}
		v.SetBytes(b)
		return
	case ptr.Implements(textDecoder):
		d.text(n, v, label, tag)
		return
	case ptr.Implements(jsonDecoder):
		b, err := json.Marshal(n.value())
		if err == nil {
			err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(b)
		}
		if err != nil {
			d.fail(n.Pos, "", "%s: %s", label, quiet(n, err))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, label)
	case reflect.Map:
		d.mapping(n, v, label)
	case reflect.Slice:
		d.list(n, v, label)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			if x := n.value(); x != nil {
				v.Set(reflect.ValueOf(x))
			}
		}
	default:
		d.scalar(n, v, label, tag)
	}
}

func (d *decoder) structure(n *Node, v reflect.Value, label string) {
	if n.Shape == Null {
		return
	}
	fields, later := Fields(v.Type())
	if n.Shape != Map {
		names := make([]string, 0, len(fields))
		for _, f := range fields {
			names = append(names, f.Name)
		}
		hint := ""
		if len(names) > 0 {
			hint = "its fields are: " + strings.Join(names, ", ")
		}
		d.fail(n.Pos, hint, "%s must be a mapping, but it is %s", label, n.describe())
		return
	}
	for _, f := range n.Fields {
		i := slices.IndexFunc(fields, func(o FieldInfo) bool { return o.Name == f.Name })
		if i >= 0 {
			d.value(f.Node, v.FieldByIndex(fields[i].Index), f.Name, fields[i].Tag)
			continue
		}
		if slices.Contains(later, f.Name) {
			d.fail(f.Pos, "leave it out", "%q is not in this version", f.Name)
			continue
		}
		names := make([]string, 0, len(fields))
		for _, o := range fields {
			names = append(names, o.Name)
		}
		if len(names) == 0 {
			d.fail(f.Pos, label+" has no fields", "unknown field %q", f.Name)
			continue
		}
		d.fail(f.Pos, Hint(f.Name, names), "unknown field %q", f.Name)
	}
}

func (d *decoder) mapping(n *Node, v reflect.Value, label string) {
	if n.Shape == Null {
		return
	}
	if n.Shape != Map {
		d.fail(n.Pos, "", "%s must be a mapping of names to values, but it is %s", label, n.describe())
		return
	}
	t := v.Type()
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(t, len(n.Fields)))
	}
	for _, f := range n.Fields {
		key := reflect.New(t.Key()).Elem()
		k := &Node{Shape: Text, Text: f.Name, Pos: f.Pos}
		before := len(d.problems)
		d.value(k, key, "the name", "")
		elem := fresh(t.Elem()).Elem()
		d.value(f.Node, elem, f.Name, "")
		if len(d.problems) == before || t.Key().Kind() == reflect.String {
			v.SetMapIndex(key, elem)
		}
	}
}

func (d *decoder) list(n *Node, v reflect.Value, label string) {
	if n.Shape == Null {
		return
	}
	if n.Shape != List {
		hint := ""
		if n.scalar() && scalarType(v.Type().Elem()) {
			items := strings.Fields(n.Text)
			if n.Written != "" {
				items = strings.Fields(n.Written)
			}
			if len(items) <= 8 {
				hint = "write it as " + flow(items)
			}
		}
		d.fail(n.Pos, hint, "%s must be a list, but it is %s", label, n.describe())
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		out.Index(i).Set(fresh(v.Type().Elem()).Elem())
		d.value(item, out.Index(i), "an entry of "+label, "")
	}
	v.Set(out)
}

// flow writes items as a YAML list in brackets.
func flow(items []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, s := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if strings.ContainsAny(s, ",:[]{}#&*!|>'\"%@`$ ") {
			s = strconv.Quote(s)
		}
		b.WriteString(s)
	}
	return b.String() + "]"
}

// text decodes a scalar into a type that reads itself from text.
func (d *decoder) text(n *Node, v reflect.Value, label string, tag reflect.StructTag) {
	u := v.Addr().Interface().(encoding.TextUnmarshaler)
	if n.Shape == Bool && n.Written == "" && v.Kind() != reflect.Bool && v.Kind() != reflect.String || !n.scalar() {
		hint := ""
		if err := fresh(v.Type()).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte("?")); err != nil {
			if _, after, ok := strings.Cut(err.Error(), "; "); ok {
				hint = after
			}
		}
		d.fail(n.Pos, hint, "%s can't be %s", label, n.describe())
		return
	}
	if err := u.UnmarshalText([]byte(n.Text)); err != nil {
		if n.Written != "" {
			// The error may hold the value. What the type says of the text as it
			// was written holds none.
			other := fresh(v.Type()).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Written))
			if other == nil {
				other = errors.New("the value that " + n.Show() + " stands for is not possible here")
			}
			err = other
		}
		text, hint, _ := strings.Cut(err.Error(), "; ")
		d.fail(n.Pos, hint, "%s: %s", label, text)
		return
	}
	d.bounds(n, v, label, tag)
}

func (d *decoder) scalar(n *Node, v reflect.Value, label string, tag reflect.StructTag) {
	if n.Shape == Null {
		d.fail(n.Pos, "write a value, or leave the line out", "%s has no value", label)
		return
	}
	wrong := func(want string) {
		hint := ""
		if n.Shape == Text && n.Written == "" {
			if _, ok := number(n.Text); ok || n.Text == "true" || n.Text == "false" {
				hint = "write it without quotes: " + n.Text
			}
		}
		d.fail(n.Pos, hint, "%s must be %s, but it is %s", label, want, n.describe())
	}
	loose := n.Written != "" // of any scalar shape
	switch v.Kind() {
	case reflect.String:
		if !n.scalar() {
			wrong("text")
			return
		}
		if enum := tag.Get("enum"); enum != "" {
			all := strings.Split(enum, ",")
			if !slices.Contains(all, n.Text) {
				if slices.Contains(strings.Split(tag.Get("later"), ","), n.Text) && n.Text != "" {
					d.fail(n.Pos, "there are: "+strings.Join(all, ", "), "%s: %s is not in this version", label, n.Show())
				} else {
					hint := Hint(n.Text, all)
					if n.Written != "" { // the nearest would tell of the value
						hint = Hint("", all)
					}
					d.fail(n.Pos, hint, "%s can't be %s", label, n.Show())
				}
				return
			}
		}
		v.SetString(n.Text)
	case reflect.Bool:
		if n.Shape == Bool || loose && (n.Text == "true" || n.Text == "false") {
			v.SetBool(strings.EqualFold(n.Text, "true"))
			return
		}
		wrong("true or false")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := whole(n.Text)
		if n.Shape != Number && !loose || err != nil && !errors.Is(err, strconv.ErrRange) {
			wrong("a whole number")
			return
		}
		if err != nil || v.OverflowInt(i) {
			d.fail(n.Pos, "", "%s is too large a number: %s", label, n.Show())
			return
		}
		v.SetInt(i)
		d.bounds(n, v, label, tag)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, err := whole(n.Text)
		if n.Shape != Number && !loose || err != nil && !errors.Is(err, strconv.ErrRange) {
			wrong("a whole number")
			return
		}
		if err != nil || i < 0 || v.OverflowUint(uint64(i)) {
			d.fail(n.Pos, "", "%s must be at least 0, and not too large a number, but it is %s", label, n.Show())
			return
		}
		v.SetUint(uint64(i))
		d.bounds(n, v, label, tag)
	case reflect.Float32, reflect.Float64:
		f, err := decimal(n.Text)
		if n.Shape != Number && !loose || err != nil || v.OverflowFloat(f) {
			wrong("a number")
			return
		}
		v.SetFloat(f)
		d.bounds(n, v, label, tag)
	default:
		panic(fmt.Sprintf("plug: options can't hold a %s", v.Type()))
	}
}

// bounds checks the tags min and max.
func (d *decoder) bounds(n *Node, v reflect.Value, label string, tag reflect.StructTag) {
	for _, b := range []struct{ name, word string }{{"min", "at least"}, {"max", "at most"}} {
		text := tag.Get(b.name)
		if text == "" {
			continue
		}
		limit := fresh(v.Type()).Elem()
		var at decoder
		at.value(&Node{Shape: Number, Text: text}, limit, b.name, "")
		if len(at.problems) > 0 {
			panic(fmt.Sprintf("plug: the tag %s:%q does not fit %s", b.name, text, v.Type()))
		}
		if c, ok := order(v, limit); ok && (b.name == "min" && c < 0 || b.name == "max" && c > 0) {
			d.fail(n.Pos, "", "%s must be %s %s, but it is %s", label, b.word, text, n.Show())
			return
		}
	}
}

// order compares two numbers of one type.
func order(a, b reflect.Value) (int, bool) {
	switch {
	case a.CanInt():
		return compare(a.Int(), b.Int()), true
	case a.CanUint():
		return compare(a.Uint(), b.Uint()), true
	case a.CanFloat():
		return compare(a.Float(), b.Float()), true
	}
	return 0, false
}

func compare[T int64 | uint64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// fresh returns a pointer to a new t with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.Default()
	}
	return v
}

func scalarType(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface:
		return reflect.PointerTo(t).Implements(textDecoder)
	}
	return true
}

// quiet is err without what a reference in n stood for.
func quiet(n *Node, err error) string {
	if n.Hidden() {
		return "not possible here (the reason is not shown, as a value from the environment or a secret is part of it)"
	}
	return err.Error()
}

// FieldInfo is one field of a struct that documents name.
type FieldInfo struct {
	Name  string
	Index []int // for reflect's FieldByIndex
	Type  reflect.Type
	Tag   reflect.StructTag
}

// Fields returns the fields of the struct t in their order, embedded structs'
// among them, and the words that are known for later versions.
func Fields(t reflect.Type) (fields []FieldInfo, later []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			if s := f.Tag.Get("later"); s != "" {
				later = append(later, strings.Split(s, ",")...)
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			inner, more := Fields(f.Type)
			for _, in := range inner {
				in.Index = append([]int{i}, in.Index...)
				fields = append(fields, in)
			}
			later = append(later, more...)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields = append(fields, FieldInfo{Name: name, Index: []int{i}, Type: f.Type, Tag: f.Tag})
	}
	return fields, later
}

// whole reads an integer as YAML 1.2 writes it, and with underscores.
func whole(text string) (int64, error) {
	if !utf8.ValidString(text) || text == "" {
		return 0, strconv.ErrSyntax
	}
	s := strings.TrimPrefix(text, "+")
	// A leading zero is no octal number in YAML 1.2: 010 is ten.
	if digits := strings.TrimLeft(strings.TrimPrefix(s, "-"), "0"); digits != "" && digits[0] >= '0' && digits[0] <= '9' {
		if strings.HasPrefix(s, "-") {
			digits = "-" + digits
		}
		s = digits
	}
	return strconv.ParseInt(s, 0, 64)
}

// decimal reads a finite decimal number.
func decimal(text string) (float64, error) {
	if strings.ContainsAny(text, "xXpPnN") { // no hexadecimal floats, no nan and inf
		if i, err := whole(text); err == nil {
			return float64(i), nil
		}
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(strings.TrimPrefix(text, "+"), 64)
}
