package manifest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"

	"swell/internal/plug"
	"swell/internal/unit"
)

// reference is the pattern of a text that ${…} fills in: it may stand for any scalar.
const reference = `\$\{`

// Schema returns the JSON Schema (2020-12) of a manifest, with the filters' and
// balancers' options: what editors complete and check by. It follows the structs
// that the decoder follows; only what a schema can't say (which services there
// are, circles, ports) is left to Parse.
func Schema(o Options) ([]byte, error) {
	g := &schemer{filters: o.Filters, balancers: o.Balancers}
	g.reflector = &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, RequiredFromJSONSchemaTags: true, Mapper: g.special,
	}
	s := g.object(reflect.TypeFor[document](), reflect.ValueOf(document{}))
	s.Version = jsonschema.Version
	s.Title = "Swell manifest"
	s.Description = "An application of services that Swell makes elastic."
	s.Definitions = quantities()
	s.Definitions["use"] = g.named(o.Filters, "A filter: its name, or its name with options.")
	s.Definitions["balance"] = g.named(o.Balancers, "A balancer: its name, or its name with options.")
	s.Definitions["part"] = &jsonschema.Schema{Type: "object", Description: "A part of a manifest, merged over the rest."}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(b, '\n'), nil
}

type schemer struct {
	reflector          *jsonschema.Reflector
	filters, balancers plug.Catalog
}

// of returns the schema of a value of type t; def is what it is by default, for
// the fields of structs.
func (g *schemer) of(t reflect.Type, def reflect.Value) *jsonschema.Schema {
	if s := g.special(t); s != nil {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem(), fresh(t.Elem()))
	case reflect.Struct:
		return g.object(t, def)
	case reflect.Map:
		s := &jsonschema.Schema{Type: "object", AdditionalProperties: g.entry(t.Elem())}
		return nullable(s)
	case reflect.Slice:
		return nullable(&jsonschema.Schema{Type: "array", Items: g.entry(t.Elem())})
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &jsonschema.Schema{Type: "integer"}
	case reflect.Float32, reflect.Float64:
		return &jsonschema.Schema{Type: "number"}
	case reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	case reflect.String:
		return scalarText()
	}
	return g.reflector.ReflectFromType(t)
}

// entry is the schema of what a list or mapping holds.
func (g *schemer) entry(t reflect.Type) *jsonschema.Schema { return g.of(t, fresh(t)) }

// scalarText takes every scalar, as the decoder does where text is wanted.
func scalarText() *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/$defs/text"} }

// quantities are the notations of package unit, and of text.
func quantities() jsonschema.Definitions {
	text := func(pattern string, examples ...any) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: pattern + "|" + reference, Examples: examples}
	}
	or := func(s ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: s} }
	number := &jsonschema.Schema{Type: "number", Minimum: "0"}
	return jsonschema.Definitions{
		"text":     or(&jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"}),
		"duration": or(text(`^[+]?[0-9.]+(ns|us|µs|ms|s|m|h|d|w)([0-9.]+(ns|us|µs|ms|s|m|h))*$|^0$`, "200ms", "30s", "5m"), &jsonschema.Schema{Const: 0}),
		"percent":  text(`^[0-9.]+\s*%$`, "70%"),
		"rate":     or(text(`^[0-9.]+\s*(/[smhd])?$`, "100/s"), number),
		"cpu":      or(text(`^[0-9.]+m?$`, "500m"), number),
		"bytes":    or(text(`^[0-9.]+(Ki|Mi|Gi|Ti|k|K|M|G|T)?$`, "256Mi"), number),
	}
}

// orReference also takes a text with a reference where s takes none.
func orReference(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "string", Pattern: reference}}}
}

// nullable also takes an empty value, which leaves the default.
func nullable(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
}

// special are the types whose notation is their own.
func (g *schemer) special(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[use]():
		return &jsonschema.Schema{Ref: "#/$defs/use"}
	case reflect.TypeFor[overlay]():
		return &jsonschema.Schema{Ref: "#/$defs/part"}
	case reflect.TypeFor[targets]():
		one := scalarText()
		full := g.entry(reflect.TypeFor[target]())
		full = &jsonschema.Schema{AllOf: []*jsonschema.Schema{full, {Required: []string{"service"}}}}
		item := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, full}}
		least := uint64(1)
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, full, {Type: "array", Items: item, MinItems: &least}}}
	case reflect.TypeFor[grpcName]():
		return grpcName("").JSONSchema()
	case reflect.TypeFor[unit.Duration]():
		return &jsonschema.Schema{Ref: "#/$defs/duration"}
	case reflect.TypeFor[unit.Percent]():
		return &jsonschema.Schema{Ref: "#/$defs/percent"}
	case reflect.TypeFor[unit.Rate]():
		return &jsonschema.Schema{Ref: "#/$defs/rate"}
	case reflect.TypeFor[unit.CPU]():
		return &jsonschema.Schema{Ref: "#/$defs/cpu"}
	case reflect.TypeFor[unit.Bytes]():
		return &jsonschema.Schema{Ref: "#/$defs/bytes"}
	}
	ptr := reflect.PointerTo(t)
	switch {
	case t.Kind() == reflect.Pointer:
		return nil
	case ptr.Implements(reflect.TypeFor[plug.NodeDecoder]()), ptr.Implements(reflect.TypeFor[json.Unmarshaler]()) && !ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		if custom, ok := reflect.New(t).Interface().(interface{ JSONSchema() *jsonschema.Schema }); ok {
			return custom.JSONSchema()
		}
		return &jsonschema.Schema{} // anything
	case ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return scalarText()
	}
	return nil
}

// object is the schema of a struct whose defaults are def.
func (g *schemer) object(t reflect.Type, def reflect.Value) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	fields, _ := plug.Fields(t)
	for _, f := range fields {
		value := def.FieldByIndex(f.Index)
		var p *jsonschema.Schema
		switch {
		case f.Type == reflect.TypeFor[*use]():
			p = &jsonschema.Schema{Ref: "#/$defs/balance"}
		case f.Tag.Get("enum") != "":
			p = &jsonschema.Schema{Type: "string"}
			for e := range strings.SplitSeq(f.Tag.Get("enum"), ",") {
				p.Enum = append(p.Enum, e)
			}
			p = orReference(p)
		default:
			p = g.of(f.Type, value)
			if p.Type == "integer" || p.Type == "number" {
				p.Minimum, p.Maximum = number(f.Tag.Get("min")), number(f.Tag.Get("max"))
			}
			if p.Type == "integer" || p.Type == "number" || p.Type == "boolean" {
				p = orReference(p)
			} else if p.Type == "object" {
				p = nullable(p)
			}
		}
		p.Description = f.Tag.Get("doc")
		if d := defaultOf(f.Type, value); d != nil {
			p.Default = d
		}
		s.Properties.Set(f.Name, p)
	}
	return s
}

// number is a bound as JSON writes it; "" if there is none.
func number(text string) json.Number {
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return ""
	}
	return json.Number(text)
}

// defaultOf is what a field's default looks like in a manifest; nil if it says nothing.
func defaultOf(t reflect.Type, v reflect.Value) any {
	if !v.CanInterface() || v.IsZero() || t.Kind() == reflect.Pointer || t.Kind() == reflect.Struct {
		return nil
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return nil
	}
	return json.RawMessage(b)
}

// fresh is a new t with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(plug.Defaulter); ok {
		d.Default()
	}
	return v.Elem()
}

// named is the schema of a use: the name alone, or one name with its options.
func (g *schemer) named(catalog plug.Catalog, doc string) *jsonschema.Schema {
	s := &jsonschema.Schema{Description: doc}
	if catalog == nil {
		s.Not = &jsonschema.Schema{}
		return s
	}
	for _, name := range catalog.Names() {
		options, ok := catalog.Options(name)
		if !ok {
			continue
		}
		v := reflect.ValueOf(options).Elem()
		full := &jsonschema.Schema{
			Type: "object", Description: catalog.Doc(name), Required: []string{name},
			Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema,
		}
		full.Properties.Set(name, nullable(g.of(v.Type(), v)))
		s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Const: name, Description: catalog.Doc(name)}, full)
	}
	return s
}
