package manifest

import (
	"slices"

	"swell/internal/plug"
)

// merge lays over upon base and returns the result; neither is changed. Mappings
// merge name by name; null takes away what base has; anything else replaces it.
// The gateway's routes are the one list that grows: a route that is named as one
// of base's merges with that, the others follow.
func merge(base, over *plug.Node) *plug.Node { return lay(base, over, nil) }

func lay(base, over *plug.Node, path []string) *plug.Node {
	switch {
	case base == nil || over == nil:
		if over == nil {
			return base
		}
		return over
	case slices.Equal(path, []string{"gateway", "routes"}) && base.Shape == plug.List && over.Shape == plug.List:
		return layRoutes(base, over)
	case base.Shape != plug.Map || over.Shape != plug.Map:
		return over
	}
	out := *base
	out.Fields = slices.Clone(base.Fields)
	for _, f := range over.Fields {
		i := slices.IndexFunc(out.Fields, func(b plug.Field) bool { return b.Name == f.Name })
		switch {
		case i < 0:
			out.Fields = append(out.Fields, f)
		case f.Node.Shape == plug.Null:
			out.Fields = slices.Delete(out.Fields, i, i+1)
		default:
			out.Fields[i] = plug.Field{
				Name: f.Name, Pos: out.Fields[i].Pos,
				Node: lay(out.Fields[i].Node, f.Node, append(slices.Clone(path), f.Name)),
			}
		}
	}
	return &out
}

func layRoutes(base, over *plug.Node) *plug.Node {
	out := *base
	out.Items = slices.Clone(base.Items)
	for _, r := range over.Items {
		i := -1
		if name := r.Get("name"); name != nil && name.Text != "" {
			i = slices.IndexFunc(out.Items, func(b *plug.Node) bool {
				n := b.Get("name")
				return n != nil && n.Text == name.Text
			})
		}
		if i < 0 {
			out.Items = append(out.Items, r)
		} else {
			out.Items[i] = lay(out.Items[i], r, nil)
		}
	}
	return &out
}

// clone copies a tree, so that it can be changed.
func clone(n *plug.Node) *plug.Node {
	if n == nil {
		return nil
	}
	c := *n
	c.Items, c.Fields = nil, nil
	for _, i := range n.Items {
		c.Items = append(c.Items, clone(i))
	}
	for _, f := range n.Fields {
		f.Node = clone(f.Node)
		c.Fields = append(c.Fields, f)
	}
	return &c
}

// without returns n without the named field.
func without(n *plug.Node, name string) *plug.Node {
	if n == nil || n.Get(name) == nil {
		return n
	}
	c := *n
	c.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f plug.Field) bool { return f.Name == name })
	return &c
}
