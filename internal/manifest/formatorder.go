package manifest

import (
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"swell/internal/plug"
)

// order sorts the fields of a struct as it has them; others keep their order.
func (p *printer) order(values []*ast.MappingValueNode, t reflect.Type) []*ast.MappingValueNode {
	if p.anchors || t == nil || t.Kind() != reflect.Struct {
		return values
	}
	index := map[string]int{}
	fields, _ := plug.Fields(t)
	for i, f := range fields {
		index[f.Name] = i - len(fields)
	}
	out := slices.Clone(values)
	slices.SortStableFunc(out, func(a, b *ast.MappingValueNode) int {
		return index[a.Key.GetToken().Value] - index[b.Key.GetToken().Value]
	})
	return out
}

// fieldType is the type of a field's value; nil if its order is not ours.
func fieldType(t reflect.Type, name string) reflect.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind() == reflect.Map:
		return element(t)
	case t.Kind() != reflect.Struct:
		return nil
	}
	fields, _ := plug.Fields(t)
	for _, f := range fields {
		if f.Name == name {
			return plain(f.Type)
		}
	}
	return nil
}

func element(t reflect.Type) reflect.Type {
	if t == nil || t.Kind() != reflect.Slice && t.Kind() != reflect.Map {
		return nil
	}
	return plain(t.Elem())
}

// plain is the type whose fields give the order of what is written for t.
func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[overlay]():
		return reflect.TypeFor[document]()
	case reflect.TypeFor[use]():
		return nil
	}
	return t
}
