package plug

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Shape is what a node looks like, before anything is known about what it is
// meant to be.
type Shape int

// The shapes of nodes.
const (
	Null   Shape = iota // nothing was written, or null
	Bool                // true or false
	Number              // an integer or a decimal number
	Text                // any other scalar, and all in quotes
	List                // a sequence
	Map                 // a mapping
)

// String names the shape for people.
func (s Shape) String() string {
	switch s {
	case Null:
		return "empty"
	case Bool:
		return "true or false"
	case Number:
		return "a number"
	case Text:
		return "text"
	case List:
		return "a list"
	case Map:
		return "a mapping"
	}
	return "unknown"
}

// Pos is a place in a file. Line and Column count from 1, columns in characters;
// Line 0 is an unknown place.
type Pos struct {
	File   string
	Line   int
	Column int
	Width  int // characters that are meant; 0 is unknown
}

// Node is one value of a document, with its place: what a reader of some format
// makes, and [Decode] turns into Go values.
type Node struct {
	Shape  Shape
	Text   string // of a scalar: as it was written, without quotes
	Pos    Pos
	Items  []*Node // of a list
	Fields []Field // of a mapping, in order; names are unique

	// Written is what stood there if Text was put together from references to
	// the environment or to secrets. Such a text takes any scalar shape, and no
	// message shows it: messages show Written.
	Written string
	Secret  bool // Text holds a secret
}

// Field is one entry of a mapping.
type Field struct {
	Name string
	Pos  Pos // of the name
	Node *Node
}

// Get returns the value of the named field, nil if n is nil, no mapping, or
// without it.
func (n *Node) Get(name string) *Node {
	if n == nil || n.Shape != Map {
		return nil
	}
	for i := range n.Fields {
		if n.Fields[i].Name == name {
			return n.Fields[i].Node
		}
	}
	return nil
}

// Find walks down by names and by indexes (int) and returns the last node that
// is there: the place to point at when something below is wrong or missing.
func (n *Node) Find(path ...any) *Node {
	for _, p := range path {
		var next *Node
		switch p := p.(type) {
		case string:
			next = n.Get(p)
		case int:
			if n != nil && p >= 0 && p < len(n.Items) {
				next = n.Items[p]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Show is a scalar as a message may show it: text in quotes, shortened, and never
// what a reference stood for.
func (n *Node) Show() string {
	s := n.Text
	if n.Written != "" {
		s = n.Written
	}
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	if n.Written == "" && (n.Shape == Number || n.Shape == Bool) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// describe says what n is: `text ("abc")`, "a list".
func (n *Node) describe() string {
	switch n.Shape {
	case Bool, Number:
		return n.Show()
	case Text:
		return "text (" + n.Show() + ")"
	}
	return n.Shape.String()
}

// scalar reports whether n is one value that is there.
func (n *Node) scalar() bool { return n.Shape == Bool || n.Shape == Number || n.Shape == Text }

// hidden reports whether n holds, at any depth, a text that messages must not show.
func (n *Node) hidden() (any, secret bool) {
	if n == nil {
		return false, false
	}
	any, secret = n.Written != "", n.Secret
	for _, i := range n.Items {
		a, s := i.hidden()
		any, secret = any || a, secret || s
	}
	for _, f := range n.Fields {
		a, s := f.Node.hidden()
		any, secret = any || a, secret || s
	}
	return any, secret
}

// Hidden reports whether n holds, at any depth, a value that was put together
// from references, so that no message may show it.
func (n *Node) Hidden() bool { any, _ := n.hidden(); return any }

// value is n as encoding/json would make it: nil, bool, json.Number, string,
// []any, map[string]any.
func (n *Node) value() any {
	switch n.Shape {
	case Bool:
		return strings.EqualFold(n.Text, "true")
	case Number:
		if v, ok := number(n.Text); ok {
			return v
		}
		return n.Text
	case Text:
		return n.Text
	case List:
		out := make([]any, len(n.Items))
		for i, v := range n.Items {
			out[i] = v.value()
		}
		return out
	case Map:
		out := make(map[string]any, len(n.Fields))
		for _, f := range n.Fields {
			out[f.Name] = f.Node.value()
		}
		return out
	}
	return nil
}

// number is text as JSON writes it, if it is a finite number.
func number(text string) (json.Number, bool) {
	if i, err := whole(text); err == nil {
		return json.Number(fmt.Sprint(i)), true
	}
	if f, err := decimal(text); err == nil {
		if b, err := json.Marshal(f); err == nil {
			return json.Number(b), true
		}
	}
	return "", false
}

// Holding returns the scalar at or below n whose text is s; nil if there is none.
func (n *Node) Holding(s string) *Node {
	if n == nil {
		return nil
	}
	if n.scalar() && n.Text == s {
		return n
	}
	for _, c := range n.Items {
		if f := c.Holding(s); f != nil {
			return f
		}
	}
	for _, c := range n.Fields {
		if f := c.Node.Holding(s); f != nil {
			return f
		}
	}
	return nil
}
