package manifest

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"swell/internal/plug"
)

// Format writes a manifest in its canonical style: fields in the order of the
// reference, two spaces of indentation, lists indented, at most one blank line in
// a row, short collections in braces and brackets as they were. Comments stay
// with what they stand before or behind; what people name (services, variables)
// keeps its order, and so does everything in a file with anchors. The meaning
// is the same, and formatting twice changes nothing more: both are checked, and
// a file for which they can't be kept is returned as it is. The error is of type
// [Problems] if data is not YAML.
func Format(data []byte) ([]byte, error) {
	f := &found{files: []File{{Name: FileName, Data: data}}}
	before := f.read(f.files[0])
	if err := f.err(); err != nil {
		return nil, err
	}
	if before == nil || before.Shape != plug.Map {
		return data, nil
	}
	out, ok := layout(data)
	if !ok || !sameMeaning(before, out) || !slices.Equal(comments(data), comments(out)) {
		return data, nil
	}
	if again, ok := layout(out); !ok || !bytes.Equal(again, out) {
		return data, nil
	}
	return out, nil
}

func sameMeaning(before *plug.Node, out []byte) bool {
	g := &found{}
	after := g.read(File{Name: FileName, Data: out})
	return len(g.errors) == 0 && equal(before, after)
}

// equal compares nodes without their places; the order of fields doesn't matter.
func equal(a, b *plug.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Shape != b.Shape || a.Text != b.Text || len(a.Items) != len(b.Items) || len(a.Fields) != len(b.Fields) {
		return false
	}
	for i := range a.Items {
		if !equal(a.Items[i], b.Items[i]) {
			return false
		}
	}
	other := make(map[string]*plug.Node, len(b.Fields))
	for _, f := range b.Fields {
		other[f.Name] = f.Node
	}
	for _, f := range a.Fields {
		if o, ok := other[f.Name]; !ok || !equal(f.Node, o) {
			return false
		}
	}
	return true
}

// comments are the texts of all comments, sorted.
func comments(data []byte) (out []string) {
	defer func() { _ = recover() }() // the lexer is not ours; see syntax
	for _, tk := range lexer.Tokenize(string(data)) {
		if tk.Type == token.CommentType {
			out = append(out, strings.TrimSpace(tk.Value))
		}
	}
	return sorted(out)
}

// maxPairs bounds the work of finding what each comment speaks of.
const maxPairs = 20_000_000

// entry is one line-worth of the document: a field of a mapping or an item of a
// list, in block style.
type entry struct {
	line, column int
	head         []*comment // on lines of their own, before it
	foot         []*comment // on lines of their own, after all that is in it
	tail         []*comment // behind it on its line
}

type comment struct {
	line, column int
	text         string
	alone        bool // on its line
	blank        bool // after a blank line
}

// printer writes one document.
type printer struct {
	lines    []string // of the source
	comments []*comment
	entries  map[any]*entry // by *ast.MappingValueNode, or item{}
	ordered  []*entry       // in the source's order, outer before inner
	block    map[ast.Node]bool
	anchors  bool
	top, end []*comment // of the document as a whole
	out      strings.Builder
	inline   bool // the next line's indentation is there already
	failed   bool
}

// item is the key of a list's entry.
type item struct {
	list  *ast.SequenceNode
	index int
}

// layout formats data once; false if there is something that it can't write.
func layout(data []byte) (out []byte, ok bool) {
	defer func() {
		if r := recover(); r != nil { // the tree is not ours; see syntax
			out, ok = nil, false
		}
	}()
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\uFEFF")), []byte("\r\n"), []byte("\n"))
	tree, problem := syntax(FileName, data, 0)
	if problem != nil || tree == nil {
		return nil, false
	}
	p := &printer{lines: strings.Split(string(data), "\n"), entries: map[any]*entry{}, block: map[ast.Node]bool{}}
	for _, tk := range lexer.Tokenize(string(data)) {
		switch tk.Type {
		case token.CommentType:
			line := p.line(tk.Position.Line)
			p.comments = append(p.comments, &comment{
				line: tk.Position.Line, column: tk.Position.Column, text: strings.TrimRight(tk.Value, " \t\r"),
				alone: strings.HasPrefix(strings.TrimSpace(line), "#"), blank: p.blank(tk.Position.Line - 1),
			})
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			p.anchors = true
		}
	}
	if len(p.comments)*len(p.lines) > maxPairs {
		return nil, false
	}
	p.collect(tree)
	p.own()
	for i, c := range p.top {
		if c.blank && i > 0 {
			p.out.WriteByte('\n')
		}
		p.out.WriteString("#" + c.text + "\n")
	}
	if len(p.top) > 0 {
		p.out.WriteByte('\n')
	}
	p.value(tree, 0, reflect.TypeFor[document]())
	for i, c := range p.end {
		if c.blank || i == 0 {
			p.out.WriteByte('\n')
		}
		p.out.WriteString("#" + c.text + "\n")
	}
	return []byte(p.out.String()), !p.failed
}

func (p *printer) line(n int) string {
	if n < 1 || n > len(p.lines) {
		return ""
	}
	return p.lines[n-1]
}

func (p *printer) blank(n int) bool { return n >= 1 && strings.TrimSpace(p.line(n)) == "" }

// span is the lines from a node's first token to its last.
func span(n ast.Node) (from, to int) {
	from, to = n.GetToken().Position.Line, n.GetToken().Position.Line
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.End != nil {
			to = n.End.Position.Line
		}
		if n.Start != nil {
			from = n.Start.Position.Line
		}
	case *ast.SequenceNode:
		if n.End != nil {
			to = n.End.Position.Line
		}
		if n.Start != nil {
			from = n.Start.Position.Line
		}
	}
	return from, to
}

// inBlock reports whether a collection is written in block style: as it was, or
// because there are comments in it, or because it is too long for a line.
func (p *printer) inBlock(n ast.Node, flow bool) bool {
	if known, ok := p.block[n]; ok {
		return known
	}
	block := !flow
	if flow {
		from, to := span(n)
		for _, c := range p.comments {
			if c.line >= from && c.line < to {
				block = true
			}
		}
		if text, ok := p.flow(n); !ok || len(text) > 100 {
			block = true
		}
		switch n := n.(type) {
		case *ast.MappingNode:
			block = block && len(n.Values) > 0
		case *ast.SequenceNode:
			block = block && len(n.Values) > 0
		}
	}
	p.block[n] = block
	return block
}

// collect finds the entries of all that is written in block style.
func (p *printer) collect(n ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if p.inBlock(n, n.IsFlowStyle) {
			p.collectFields(n.Values)
		}
	case *ast.MappingValueNode:
		p.collectFields([]*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		if !p.inBlock(n, n.IsFlowStyle) {
			return
		}
		for i, v := range n.Values {
			pos := v.GetToken().Position
			if !n.IsFlowStyle && i < len(n.Entries) && n.Entries[i].Start != nil {
				pos = n.Entries[i].Start.Position
			}
			e := &entry{line: pos.Line, column: pos.Column}
			p.entries[item{n, i}] = e
			p.ordered = append(p.ordered, e)
			p.collect(v)
		}
	case *ast.AnchorNode:
		p.collect(n.Value)
	case *ast.TagNode:
		if n.Value != nil {
			p.collect(n.Value)
		}
	}
}

func (p *printer) collectFields(values []*ast.MappingValueNode) {
	for _, v := range values {
		pos := v.Key.GetToken().Position
		e := &entry{line: pos.Line, column: pos.Column}
		p.entries[v] = e
		p.ordered = append(p.ordered, e)
		if v.Value != nil {
			p.collect(v.Value)
		}
	}
}

// own gives every comment to the entry that it speaks of.
func (p *printer) own() {
	first := 0
	if len(p.ordered) > 0 {
		first = p.ordered[0].line
	}
	// Comments at the top that a blank line parts from the first field speak of
	// the whole file, and so does a modeline.
	header := 0
	for i, c := range p.comments {
		if c.line >= first || !c.alone {
			break
		}
		if p.blank(c.line+1) || strings.Contains(c.text, "yaml-language-server") {
			header = i + 1
		}
	}
	p.top = p.comments[:header]
	for _, c := range p.comments[header:] {
		var before, next *entry
		for _, e := range p.ordered {
			if e.line > c.line {
				next = e
				break
			}
			if !c.alone || e.column <= c.column {
				before = e
			}
		}
		switch {
		case !c.alone && before != nil:
			before.tail = append(before.tail, c)
		case next == nil && (c.column == 1 || before == nil):
			p.end = append(p.end, c)
		case next != nil && (c.column <= next.column || before == nil):
			next.head = append(next.head, c)
		default:
			before.foot = append(before.foot, c)
		}
	}
}

func (p *printer) indent(n int) {
	if p.inline {
		p.inline = false
		return
	}
	p.out.WriteString(strings.Repeat(" ", n))
}

// heads writes what stands before an entry; first is the first of its collection.
func (p *printer) heads(e *entry, indent int, first, apart bool) {
	start := e.line
	if len(e.head) > 0 {
		start = e.head[0].line
	}
	if !first && (apart || p.blank(start-1)) {
		p.out.WriteByte('\n')
	}
	for i, c := range e.head {
		if i > 0 && c.blank {
			p.out.WriteByte('\n')
		}
		p.indent(indent)
		p.out.WriteString("#" + c.text + "\n")
	}
	if len(e.head) > 0 && p.blank(e.line-1) {
		p.out.WriteByte('\n')
	}
}

func (p *printer) feet(e *entry, indent int) {
	for _, c := range e.foot {
		if c.blank {
			p.out.WriteByte('\n')
		}
		p.indent(indent)
		p.out.WriteString("#" + c.text + "\n")
	}
}

// value writes a collection in block style, each line with its newline.
func (p *printer) value(n ast.Node, indent int, t reflect.Type) {
	switch n := n.(type) {
	case *ast.MappingNode:
		p.fields(n.Values, indent, t)
	case *ast.MappingValueNode:
		p.fields([]*ast.MappingValueNode{n}, indent, t)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			e := p.entries[item{n, i}]
			p.heads(e, indent, i == 0, false)
			p.indent(indent)
			p.out.WriteByte('-')
			p.after(v, e, indent, element(t), true)
			p.feet(e, indent)
		}
	default:
		p.failed = true
	}
}

func (p *printer) fields(values []*ast.MappingValueNode, indent int, t reflect.Type) {
	values = p.order(values, t)
	for i, v := range values {
		e := p.entries[v]
		p.heads(e, indent, i == 0, indent == 0 && p.isBlock(v.Value))
		p.field(v, e, indent, t)
	}
}

func (p *printer) field(v *ast.MappingValueNode, e *entry, indent int, t reflect.Type) {
	p.indent(indent)
	p.out.WriteString(p.scalar(v.Key) + ":")
	name := v.Key.GetToken().Value
	p.after(v.Value, e, indent, fieldType(t, name), false)
	p.feet(e, indent)
}

// isBlock reports whether n takes lines of its own.
func (p *printer) isBlock(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.MappingNode:
		return p.inBlock(n, n.IsFlowStyle)
	case *ast.MappingValueNode:
		return true
	case *ast.SequenceNode:
		return p.inBlock(n, n.IsFlowStyle)
	case *ast.AnchorNode:
		return p.isBlock(n.Value)
	case *ast.TagNode:
		return n.Value != nil && p.isBlock(n.Value)
	}
	return false
}

// after writes what follows a key's colon or a list's dash.
func (p *printer) after(n ast.Node, e *entry, indent int, t reflect.Type, dash bool) {
	tail := func() {
		for _, c := range e.tail {
			p.out.WriteString(" #" + c.text)
			if len(e.tail) > 1 {
				p.failed = true
			}
		}
		p.out.WriteByte('\n')
	}
	for {
		switch m := n.(type) {
		case *ast.AnchorNode:
			p.out.WriteString(" &" + nameOf(m.Name))
			n, dash = m.Value, false
			continue
		case *ast.TagNode:
			p.out.WriteString(" " + m.Start.Value)
			n, dash = m.Value, false
			continue
		}
		break
	}
	switch m := n.(type) {
	case nil:
		tail()
	case *ast.NullNode:
		if m.Token.Type != token.ImplicitNullType && strings.TrimSpace(m.Token.Value) != "" && m.Token.Type == token.NullType {
			p.out.WriteString(" " + m.Token.Value)
		}
		tail()
	case *ast.LiteralNode:
		p.literal(m, indent, tail)
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		if !p.isBlock(m) {
			text, ok := p.flow(m)
			p.failed = p.failed || !ok
			p.out.WriteString(" " + text)
			tail()
			return
		}
		if values := mappingValues(m); dash && len(e.tail) == 0 && len(values) > 0 && len(p.entries[p.order(values, t)[0]].head) == 0 {
			// The first field stands behind the dash.
			p.out.WriteByte(' ')
			values = p.order(values, t)
			p.inline = true
			p.fields(values, indent+2, t)
			return
		}
		tail()
		p.value(m, indent+2, t)
	default:
		p.out.WriteString(" " + p.scalar(n))
		tail()
	}
}

func mappingValues(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// literal writes a block scalar; a folded one becomes text in quotes or a literal
// one, which means the same.
func (p *printer) literal(n *ast.LiteralNode, indent int, tail func()) {
	text := n.Value.Value
	if strings.TrimSpace(text) == "" || strings.ContainsAny(text, "\r\t") || strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\n") || !strings.Contains(text, "\n") {
		p.out.WriteString(" " + doubleQuoted(text))
		tail()
		return
	}
	body := strings.TrimRight(text, "\n")
	head := map[int]string{0: "|-", 1: "|"}[len(text)-len(body)]
	if head == "" {
		head = "|+"
	}
	p.out.WriteString(" " + head)
	tail()
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			p.indent(indent + 2)
		}
		p.out.WriteString(line + "\n")
	}
	for range len(text) - len(body) - 1 {
		p.out.WriteByte('\n')
	}
}
