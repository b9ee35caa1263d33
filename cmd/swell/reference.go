package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reference turns the JSON Schema of a manifest into its reference page in
// Markdown. Names, types, defaults and meanings are the schema's; the worked
// examples and what a schema can't say are in referencetext.go. It fails if the schema
// can't be read, or has a filter or balancer without a worked example there.
func reference(schema []byte) (string, error) {
	root := &schemaNode{}
	if err := json.Unmarshal(schema, root); err != nil {
		return "", fmt.Errorf("read the schema: %w", err)
	}
	p := &page{defs: root.Defs}
	p.prose(referenceIntro)
	p.object("", "The top", root)
	for len(p.queue) > 0 { // what is within an object comes right behind it
		next, rest := p.queue[0], p.queue[1:]
		p.queue = nil
		p.object(next.path, next.path, next.node)
		p.queue = append(p.queue, rest...)
	}
	p.prose(referenceNotations)
	for _, kind := range []struct{ def, title, noun string }{{"use", "Filters", "filter"}, {"balance", "Balancers", "balancer"}} {
		if err := p.named(kind.def, kind.title, kind.noun); err != nil {
			return "", err
		}
	}
	p.prose(referenceEnd)
	return strings.TrimSpace(p.out.String()) + "\n", nil
}

// schemaNode is the part of JSON Schema that the manifest's schema uses.
type schemaNode struct {
	Ref         string                 `json:"$ref"`
	Defs        map[string]*schemaNode `json:"$defs"`
	Type        string                 `json:"type"`
	Description string                 `json:"description"`
	Pattern     string                 `json:"pattern"`
	Default     json.RawMessage        `json:"default"`
	Const       any                    `json:"const"`
	Enum        []any                  `json:"enum"`
	Minimum     json.Number            `json:"minimum"`
	Maximum     json.Number            `json:"maximum"`
	Properties  schemaFields           `json:"properties"`
	Extra       *schemaNode            `json:"additionalProperties"`
	Items       *schemaNode            `json:"items"`
	AnyOf       []*schemaNode          `json:"anyOf"`
	OneOf       []*schemaNode          `json:"oneOf"`
	AllOf       []*schemaNode          `json:"allOf"`
}

// UnmarshalJSON also reads true and false, which are schemas that say nothing here.
func (n *schemaNode) UnmarshalJSON(b []byte) error {
	if string(b) == "true" || string(b) == "false" {
		return nil
	}
	type plain schemaNode // without methods
	return json.Unmarshal(b, (*plain)(n))
}

// schemaField is a property with its name.
type schemaField struct {
	name string
	node *schemaNode
}

// schemaFields are properties in the order of the schema, which is the structs'.
type schemaFields []schemaField

// UnmarshalJSON reads an object and keeps its order.
func (f *schemaFields) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := d.Token(); err != nil {
		return err
	}
	*f = schemaFields{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		node := &schemaNode{}
		if err := d.Decode(node); err != nil {
			return err
		}
		*f = append(*f, schemaField{fmt.Sprint(name), node})
	}
	return nil
}

// choices are what a value may be: alternatives, flattened, without the empty
// value and the text with a reference, which the page mentions once for all.
func (n *schemaNode) choices() []*schemaNode {
	var out []*schemaNode
	for _, c := range append(slices.Clone(n.AnyOf), n.OneOf...) {
		if c.Type == "null" || c.Type == "string" && c.Pattern == `\$\{` {
			continue
		}
		out = append(out, c.choices()...)
	}
	for _, c := range n.AllOf {
		if c.Properties != nil {
			return c.choices()
		}
	}
	if out == nil && n.AnyOf == nil && n.OneOf == nil {
		out = []*schemaNode{n}
	}
	return out
}

// page is the page being written, with the objects that still need a section.
type page struct {
	out   strings.Builder
	defs  map[string]*schemaNode
	queue []section
}

type section struct {
	path string
	node *schemaNode
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// prose writes text of this file, in which ´ stands for `.
func (p *page) prose(s string) { p.line("%s\n", strings.ReplaceAll(strings.TrimSpace(s), "´", "`")) }

// object writes the section of an object: where it stands, and its fields.
func (p *page) object(path, title string, n *schemaNode) {
	p.line("### %s\n", title)
	if n.Description != "" {
		p.line("%s\n", n.Description)
	}
	if note := referenceNotes[path]; note != "" {
		p.prose(note)
	}
	p.fields(path, n)
}

func (p *page) fields(path string, n *schemaNode) {
	p.line("| field | value | default | meaning |\n|---|---|---|---|")
	for _, f := range n.Properties {
		inner := f.name
		if path != "" {
			inner = path + "." + f.name
		}
		p.line("| `%s` | %s | %s | %s |", f.name, cell(p.value(inner, f.node)), cell(showDefault(f.node.Default)), cell(f.node.Description))
	}
	p.line("")
}

// value says what a field may hold. Objects in it get a section of their own.
func (p *page) value(path string, n *schemaNode) string {
	var out []string
	for _, c := range n.choices() {
		text := p.choice(path, c, n.Description)
		if rest, ok := strings.CutPrefix(text, "list of "); ok && rest == strings.Join(out, " or ") {
			text = "list of these"
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, " or ")
}

func (p *page) choice(path string, n *schemaNode, doc string) string {
	switch name := strings.TrimPrefix(n.Ref, "#/$defs/"); {
	case n.Ref == "":
	case name == "use":
		return "[filter](#filters)"
	case name == "balance":
		return "[balancer](#balancers)"
	case name == "text":
		return "text"
	case name == "part":
		return "a part of a manifest"
	default:
		return "[" + name + "](#quantities)"
	}
	switch {
	case n.Properties != nil:
		p.later(path, &schemaNode{Description: doc, Properties: n.Properties})
		return "[" + path + "](#" + anchor(path) + ")"
	case len(n.Enum) > 0:
		var words []string
		for _, e := range n.Enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, ", ")
	case n.Const != nil:
		return fmt.Sprintf("`%v`", n.Const)
	case n.Type == "array" && n.Items != nil:
		if len(n.Items.choices()) == 1 {
			return "list of " + p.value(path+"[]", n.Items)
		}
		return "list of " + p.value(path, n.Items)
	case n.Type == "object" && n.Extra != nil:
		return "mapping of " + p.value(path+".NAME", n.Extra)
	case n.Type == "integer":
		return "whole number" + bounds(n)
	case n.Type == "number":
		return "number" + bounds(n)
	case n.Type == "boolean":
		return "`true` or `false`"
	case n.Type == "string":
		return "text"
	}
	return "anything"
}

// later notes an object for a section, once.
func (p *page) later(path string, n *schemaNode) {
	if !slices.ContainsFunc(p.queue, func(s section) bool { return s.path == path }) {
		p.queue = append(p.queue, section{path, n})
	}
}

func bounds(n *schemaNode) string {
	switch {
	case n.Minimum != "" && n.Maximum != "":
		return ", " + plain(n.Minimum) + " to " + plain(n.Maximum)
	case n.Minimum != "":
		return ", at least " + plain(n.Minimum)
	case n.Maximum != "":
		return ", at most " + plain(n.Maximum)
	}
	return ""
}

// plain writes a number without an exponent.
func plain(n json.Number) string {
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// showDefault writes a default as a manifest does.
func showDefault(raw json.RawMessage) string {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return ""
	}
	var write func(any) string
	write = func(v any) string {
		switch v := v.(type) {
		case []any:
			var items []string
			for _, i := range v {
				items = append(items, write(i))
			}
			return "[" + strings.Join(items, ", ") + "]"
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		case string: // Go writes five minutes as 5m0s
			for _, zero := range []string{"m0s", "h0m"} {
				if s, ok := strings.CutSuffix(v, zero); ok {
					v = s + zero[:1]
				}
			}
			return v
		}
		b, _ := json.Marshal(v) // it came from JSON
		return string(b)
	}
	return "`" + write(v) + "`"
}

// cell makes text fit for a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "*", `\*`).Replace(s)
}

// anchor is what a link to a heading says.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r == ' ':
			return '-'
		}
		return -1
	}, heading)
}

// named writes the filters or the balancers, with their options and examples.
func (p *page) named(def, title, noun string) error {
	p.line("## %s\n", title)
	p.prose(referenceNotes[def])
	if p.defs[def] == nil {
		return fmt.Errorf("the schema has no %s", strings.ToLower(title))
	}
	for _, n := range p.defs[def].AnyOf {
		if len(n.Properties) != 1 {
			continue // the name alone, which is said once for all
		}
		name := n.Properties[0].name
		example, ok := referenceExamples[name]
		if !ok {
			return fmt.Errorf("%s %s has no worked example for the reference", noun, name)
		}
		p.line("### %s\n\n%s\n", name, n.Description)
		for _, options := range n.Properties[0].node.choices() {
			if len(options.Properties) == 0 {
				p.line("It has no options.\n")
				continue
			}
			p.fields(name, options)
			for ; len(p.queue) > 0; p.queue = p.queue[1:] {
				next := p.queue[0]
				p.line("<a id=\"%s\"></a>`%s`: %s\n", anchor(next.path), next.path, next.node.Description)
				p.fields(next.path, next.node)
			}
		}
		p.prose(example)
	}
	return nil
}
