package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"swell/internal/plug"
)

// Bounds on what is read, so that no file can make Swell eat memory or time.
const (
	maxFile  = 1 << 20 // bytes of one file
	maxDepth = 100     // mappings and lists within each other
	maxNodes = 100_000 // values, after aliases are put in place
)

// syntax parses data into the YAML tree of its only document, with comments if
// mode asks for them. A nil tree without a problem is an empty document.
func syntax(name string, data []byte, mode parser.Mode) (node ast.Node, problem *plug.Problem) {
	at := func(line, column int, format string, args ...any) *plug.Problem {
		return &plug.Problem{Pos: plug.Pos{File: name, Line: line, Column: column, Width: 1}, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(data) > maxFile:
		return nil, at(0, 0, "the file has %d bytes; at most %d are read", len(data), maxFile)
	case !utf8.Valid(data):
		line, column := badByte(data)
		return nil, at(line, column, "this is not UTF-8 text")
	case bytes.IndexByte(data, 0) >= 0:
		line := 1 + bytes.Count(data[:bytes.IndexByte(data, 0)], []byte("\n"))
		return nil, at(line, 1, "a zero byte can't be in a manifest")
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	// The parser is not ours and reads what anybody wrote: should it break, that
	// is a file which can't be read, not the end of a process that serves.
	defer func() {
		if r := recover(); r != nil {
			node, problem = nil, at(1, 1, "this is no YAML that can be read")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if line, column, deep := tooDeep(tokens); deep {
		return nil, at(line, column, "nested more than %d levels deep", maxDepth)
	}
	tree, err := parser.Parse(tokens, mode, parser.AllowDuplicateMapKey())
	if err != nil {
		text, line, column := err.Error(), 1, 1
		if y := yaml.Error(nil); errors.As(err, &y) {
			text = y.GetMessage()
			if tk := y.GetToken(); tk != nil && tk.Position != nil {
				line, column = tk.Position.Line, tk.Position.Column
			}
		}
		text, _, _ = strings.Cut(text, "\n")
		p := at(line, column, "this is not YAML: %s", text)
		if strings.Contains(text, "tab") || strings.Contains(text, `'\t'`) {
			p.Hint = "indent with spaces"
		}
		return nil, p
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if doc.Body.Type() == ast.DirectiveType {
			p := at(1, 1, "a manifest has no %% directives")
			return nil, p
		}
		if node != nil {
			tk := doc.Body.GetToken()
			if m, ok := doc.Body.(*ast.MappingNode); ok && len(m.Values) > 0 {
				tk = m.Values[0].Key.GetToken()
			}
			pos := tk.Position
			p := at(pos.Line, pos.Column, "a second document in one file")
			p.Hint = "put it into a file of its own; several files merge"
			return nil, p
		}
		node = doc.Body
	}
	return node, nil
}

// badByte finds the first byte that is not UTF-8.
func badByte(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			return line, column
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[n:]
	}
	return line, column
}

// tooDeep looks for nesting that would make the recursive parser use much stack:
// brackets within brackets, deep indentation, and chains of indicators in a line.
func tooDeep(tokens token.Tokens) (line, column int, deep bool) {
	open, chain := 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			open++
		case token.MappingEndType, token.SequenceEndType:
			open = max(0, open-1)
		}
		switch tk.Type {
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.MappingValueType:
			if chain++; tk.Prev != nil && tk.Prev.Position.Line != tk.Position.Line {
				chain = 1
			}
		case token.StringType:
			if tk.Prev == nil || tk.Prev.Type != token.AnchorType {
				chain = 0
			}
		}
		first := tk.Prev == nil || tk.Prev.Position.Line < tk.Position.Line
		if open > maxDepth || chain > maxDepth || first && tk.Position.Column > 20*maxDepth {
			return tk.Position.Line, tk.Position.Column, true
		}
	}
	return 0, 0, false
}

// reader turns a YAML tree into nodes.
type reader struct {
	*found
	file    string
	anchors map[string]*plug.Node
	open    map[string]bool // anchors whose value is being read
	nodes   int
	full    bool // nodes ran out, and that was said
}

// read parses one file into nodes; nil if it is empty or no YAML.
func (f *found) read(file File) *plug.Node {
	tree, problem := syntax(file.Name, file.Data, 0)
	if problem != nil {
		f.errors = append(f.errors, *problem)
		return nil
	}
	if tree == nil {
		return nil
	}
	r := &reader{found: f, file: file.Name, anchors: map[string]*plug.Node{}, open: map[string]bool{}}
	return r.node(tree, 0)
}

func (r *reader) pos(n ast.Node) plug.Pos {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return plug.Pos{File: r.file}
	}
	return r.tokenPos(n.GetToken())
}

func (r *reader) tokenPos(tk *token.Token) plug.Pos {
	width := utf8.RuneCountInString(strings.TrimSpace(tk.Origin))
	if strings.Contains(strings.TrimSpace(tk.Origin), "\n") || width == 0 {
		width = 1
	}
	return plug.Pos{File: r.file, Line: tk.Position.Line, Column: tk.Position.Column, Width: width}
}

// take counts one more value, and says so if there are too many.
func (r *reader) take(n int, pos plug.Pos) bool {
	r.nodes += n
	if r.nodes <= maxNodes {
		return true
	}
	if !r.full {
		r.full = true
		r.fail(pos, "", "more than %d values, with every alias put in place", maxNodes)
	}
	return false
}

func (r *reader) node(n ast.Node, depth int) *plug.Node {
	pos := r.pos(n)
	null := &plug.Node{Pos: pos}
	if n == nil || !r.take(1, pos) {
		return null
	}
	if depth > maxDepth {
		r.fail(pos, "", "nested more than %d levels deep", maxDepth)
		return null
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return null
	case *ast.BoolNode:
		return &plug.Node{Shape: plug.Bool, Text: n.Token.Value, Pos: pos}
	case *ast.IntegerNode:
		return &plug.Node{Shape: plug.Number, Text: n.Token.Value, Pos: pos}
	case *ast.FloatNode:
		return &plug.Node{Shape: plug.Number, Text: n.Token.Value, Pos: pos}
	case *ast.InfinityNode:
		return &plug.Node{Shape: plug.Text, Text: n.Token.Value, Pos: pos}
	case *ast.NanNode:
		return &plug.Node{Shape: plug.Text, Text: n.Token.Value, Pos: pos}
	case *ast.StringNode:
		return &plug.Node{Shape: plug.Text, Text: n.Value, Pos: pos}
	case *ast.LiteralNode:
		if n.Value == nil {
			return &plug.Node{Shape: plug.Text, Pos: pos}
		}
		return &plug.Node{Shape: plug.Text, Text: n.Value.Value, Pos: pos}
	case *ast.TagNode:
		return r.tagged(n, pos, depth)
	case *ast.AnchorNode:
		name := nameOf(n.Name)
		if name == "" {
			r.fail(pos, "", "an anchor needs a name")
			return null
		}
		r.open[name] = true
		v := r.node(n.Value, depth+1)
		delete(r.open, name)
		r.anchors[name] = v
		return v
	case *ast.AliasNode:
		name := nameOf(n.Value)
		if r.open[name] {
			r.fail(pos, "", "*%s stands within what it means", name)
			return null
		}
		v, ok := r.anchors[name]
		if !ok {
			names := make([]string, 0, len(r.anchors))
			for a := range r.anchors {
				names = append(names, a)
			}
			hint := "an anchor stands before its aliases: &" + name
			if near := plug.Nearest(name, sorted(names)); near != "" {
				hint = fmt.Sprintf("did you mean *%s?", near)
			}
			r.fail(pos, hint, "no anchor is named %q", name)
			return null
		}
		return r.copy(v, pos, depth)
	case *ast.SequenceNode:
		out := &plug.Node{Shape: plug.List, Pos: pos}
		for _, v := range n.Values {
			out.Items = append(out.Items, r.node(v, depth+1))
		}
		return out
	case *ast.MappingValueNode:
		return r.fields(pos, []*ast.MappingValueNode{n}, depth)
	case *ast.MappingNode:
		return r.fields(pos, n.Values, depth)
	case *ast.CommentGroupNode:
		return null
	}
	r.fail(pos, "", "this can't be in a manifest")
	return null
}

// nameOf is the name of an anchor or alias.
func nameOf(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

// tagged reads a value with a tag; only those of YAML's core are understood.
func (r *reader) tagged(n *ast.TagNode, pos plug.Pos, depth int) *plug.Node {
	v := r.node(n.Value, depth+1)
	if v.Pos.Line == 0 {
		v.Pos = pos
	}
	switch tag := n.Start.Value; tag {
	case "!!str", "!":
		if v.Shape == plug.Bool || v.Shape == plug.Number || v.Shape == plug.Null {
			v.Shape = plug.Text
		}
	case "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
	default:
		r.fail(pos, "leave it out", "the tag %s has no meaning in a manifest", tag)
	}
	return v
}

// copy returns v as it is used by an alias at pos, counting what it holds.
func (r *reader) copy(v *plug.Node, pos plug.Pos, depth int) *plug.Node {
	if !r.take(1, pos) || depth > maxDepth {
		return &plug.Node{Pos: pos}
	}
	c := *v
	c.Items, c.Fields = nil, nil
	for _, i := range v.Items {
		c.Items = append(c.Items, r.copy(i, pos, depth+1))
	}
	for _, f := range v.Fields {
		f.Node = r.copy(f.Node, pos, depth+1)
		c.Fields = append(c.Fields, f)
	}
	return &c
}

func (r *reader) fields(pos plug.Pos, values []*ast.MappingValueNode, depth int) *plug.Node {
	out := &plug.Node{Shape: plug.Map, Pos: pos}
	if len(values) > 0 {
		if p := r.pos(values[0].Key); p.Line > 0 {
			out.Pos = p
		}
	}
	index := map[string]int{}
	var merged []*plug.Node
	for _, v := range values {
		at := r.pos(v.Key)
		if v.Key.IsMergeKey() {
			merged = append(merged, r.merges(v.Value, depth)...)
			continue
		}
		if r.full {
			break
		}
		key := r.node(v.Key, depth+1)
		if k, ok := v.Key.(*ast.MappingKeyNode); ok {
			key = r.node(k.Value, depth+1)
		}
		if key.Shape == plug.List || key.Shape == plug.Map || key.Shape == plug.Null {
			r.fail(at, "", "a name must be text, but it is %s", key.Shape)
			continue
		}
		if i, ok := index[key.Text]; ok {
			r.fail(at, fmt.Sprintf("it is there on line %d already", out.Fields[i].Pos.Line), "%s stands twice in one mapping", key.Show())
			continue
		}
		index[key.Text] = len(out.Fields)
		value := r.node(v.Value, depth+1)
		if value.Pos.Line == 0 || value.Shape == plug.Null {
			value.Pos = at
		}
		out.Fields = append(out.Fields, plug.Field{Name: key.Text, Pos: at, Node: value})
	}
	for _, m := range merged { // what is written wins over what is merged, the first over the later
		for _, f := range m.Fields {
			if _, ok := index[f.Name]; !ok {
				index[f.Name] = len(out.Fields)
				out.Fields = append(out.Fields, f)
			}
		}
	}
	return out
}

// merges reads the value of a merge key: a mapping, or a list of such.
func (r *reader) merges(n ast.Node, depth int) []*plug.Node {
	v := r.node(n, depth+1)
	list := []*plug.Node{v}
	if v.Shape == plug.List {
		list = v.Items
	}
	for _, m := range list {
		if m.Shape != plug.Map {
			r.fail(r.pos(n), "", "<< takes a mapping or a list of mappings, but it is %s", m.Shape)
			return nil
		}
	}
	return list
}
