package manifest

import (
	"encoding/json"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// flow is a value on one line; false if it can't be on one.
func (p *printer) flow(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case nil:
		return "", true
	case *ast.NullNode:
		if n.Token.Type == token.NullType {
			return n.Token.Value, true
		}
		return "", true
	case *ast.MappingNode:
		parts := make([]string, 0, len(n.Values))
		for _, v := range n.Values {
			value, ok := p.flow(v.Value)
			if !ok {
				return "", false
			}
			parts = append(parts, strings.TrimSpace(p.scalar(v.Key)+": "+value))
		}
		return "{" + strings.Join(parts, ", ") + "}", true
	case *ast.MappingValueNode: // a field as an item of a list in brackets
		value, ok := p.flow(n.Value)
		return "{" + strings.TrimSpace(p.scalar(n.Key)+": "+value) + "}", ok
	case *ast.SequenceNode:
		parts := make([]string, 0, len(n.Values))
		for _, v := range n.Values {
			value, ok := p.flow(v)
			if !ok || value == "" {
				return "", false
			}
			parts = append(parts, value)
		}
		return "[" + strings.Join(parts, ", ") + "]", true
	case *ast.AnchorNode:
		value, ok := p.flow(n.Value)
		return strings.TrimSpace("&" + nameOf(n.Name) + " " + value), ok
	case *ast.TagNode:
		value, ok := p.flow(n.Value)
		return strings.TrimSpace(n.Start.Value + " " + value), ok
	case *ast.LiteralNode:
		return "", false
	}
	return p.scalar(n), true
}

// scalar is a scalar, alias or key as it was written, on one line.
func (p *printer) scalar(n ast.Node) string {
	switch n := n.(type) {
	case *ast.AliasNode:
		name := "*" + nameOf(n.Value)
		return name
	case *ast.MergeKeyNode:
		return "<<"
	case *ast.StringNode:
		switch n.Token.Type {
		case token.SingleQuoteType:
			if !strings.Contains(n.Value, "\n") {
				return "'" + strings.ReplaceAll(n.Value, "'", "''") + "'"
			}
		case token.DoubleQuoteType:
			if raw := strings.TrimSpace(n.Token.Origin); len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' && !strings.Contains(raw, "\n") {
				return raw
			}
		default:
			if !strings.Contains(n.Value, "\n") && n.Value == strings.TrimSpace(n.Value) && n.Value != "" {
				return n.Value
			}
		}
		return doubleQuoted(n.Value)
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return n.GetToken().Value
	}
	p.failed = true
	return ""
}

// doubleQuoted writes any text in double quotes, as JSON does, which YAML reads.
func doubleQuoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
