package manifest

import (
	"cmp"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"swell"
	"swell/internal/plug"
)

// methods are those that people mean; others are taken too, in capitals.
var methods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

func (b *builder) gateway(in *gateway) swell.Gateway {
	out := swell.Gateway{Listen: in.Listen, Use: b.uses(b.options.Filters, in.Use, "filter")}
	switch {
	case in.Listen == "" && len(in.Routes) > 0 && !b.has("gateway", "listen") && in.TLS == nil:
		out.Listen = ":8080"
	case b.has("gateway", "listen"):
		if wrong := hostPort(in.Listen, true); wrong != "" {
			b.fail(b.at("gateway", "listen"), `write it as ":8080" or "127.0.0.1:8080"`, "listen %s %s", b.show(in.Listen, "gateway", "listen"), wrong)
		}
	}
	b.listeners(in, &out)
	names := map[string]int{} // to the route's index
	matches := map[string]int{}
	for i, r := range in.Routes {
		route := b.route(i, r)
		if r.Name != "" {
			if j, ok := names[r.Name]; ok {
				b.fail(b.at("gateway", "routes", i, "name"), fmt.Sprintf("the route on line %d has it", b.at("gateway", "routes", j).Line), "two routes are named %s", b.show(r.Name, "gateway", "routes", i, "name"))
			}
			names[r.Name] = i
		}
		text := describe(route.Match)
		if j, ok := matches[text]; ok {
			b.warn(b.at("gateway", "routes", i, "match"), "", "this route takes the same requests as the one on line %d, which comes first: it will never be used", b.at("gateway", "routes", j).Line)
		} else {
			matches[text] = i
		}
		out.Routes = append(out.Routes, route)
	}
	last := map[string]int{}
	for i := range out.Routes {
		if out.Routes[i].Name != "" {
			continue
		}
		base := short(out.Routes[i].Match)
		name := base
		for {
			if last[base]++; last[base] > 1 {
				name = fmt.Sprintf("%s#%d", base, last[base])
			}
			if _, taken := names[name]; !taken {
				break
			}
		}
		names[name], out.Routes[i].Name = i, name
	}
	return out
}

// short names a match in a few words: what most routes differ by.
func short(m swell.Match) string {
	s := m.Host + cmp.Or(m.Path, m.Regex, "/**")
	if len(m.Methods) > 0 {
		s = strings.Join(m.Methods, ",") + " " + s
	}
	return s
}

// describe writes all of a match, so that equal matches have equal texts.
func describe(m swell.Match) string {
	return fmt.Sprintf("%q %q %q %q %q %q", m.Host, cmp.Or(m.Path, "/**"), m.Regex, m.Methods, m.Headers, m.Query)
}

func (b *builder) route(i int, in route) swell.Route {
	where := func(path ...any) plug.Pos { return b.at(append([]any{"gateway", "routes", i}, path...)...) }
	has := func(field string) bool {
		n := b.root.Find("gateway", "routes", i).Get(field)
		return n != nil && n.Shape != plug.Null
	}
	out := swell.Route{Name: in.Name, Match: b.match(i, in.Match), Use: b.uses(b.options.Filters, in.Use, "filter")}
	if strings.ContainsFunc(in.Name, func(r rune) bool { return r < ' ' }) {
		b.fail(where("name"), "", "a route's name can't have control characters")
	}
	switch {
	case has("to") && has("redirect"):
		b.fail(where("redirect"), "leave one of them out", "a route forwards or redirects, but this one has both to and redirect")
	case !has("to") && !has("redirect"):
		b.fail(where(), "add to: SERVICE, or redirect: {…}", "this route leads nowhere: it has neither to nor redirect")
	}
	sum := 0
	for j, t := range in.To {
		if t.node == nil || t.Service == "" && t.node.Shape == plug.Map {
			continue
		}
		if !b.known(t.Service) {
			b.fail(t.node.Pos, b.hint(t.Service, t.node, b.services), "no service is named %s", t.node.Show())
		}
		if slices.ContainsFunc(in.To[:j], func(o target) bool { return o.Service == t.Service }) {
			b.fail(t.node.Pos, "give it one weight", "%s is twice in one route", t.node.Show())
		}
		sum += t.Weight
		out.To = append(out.To, swell.Target{Service: t.Service, Weight: t.Weight})
	}
	if len(out.To) > 0 && sum == 0 {
		b.fail(where("to"), "give at least one a weight above 0", "all weights are 0, so no service gets a request")
	}
	if in.Redirect != nil {
		out.Redirect = b.redirect(i, in.Redirect)
	}
	if w := in.Rewrite; w != nil {
		out.Rewrite = swell.Rewrite{Prefix: w.Prefix, Path: w.Path, Host: w.Host}
		if has("redirect") {
			b.fail(b.routeKey(i, "rewrite"), "redirect has a path of its own", "a redirect is not forwarded, so rewrite has no effect")
		}
		if w.Prefix != nil && w.Path != nil {
			b.fail(where("rewrite", "path"), "keep one of prefix and path", "rewrite has a prefix and a path")
		}
		if w.Prefix != nil {
			b.prefix(i, *w.Prefix, "rewrite")
		}
		if w.Path != nil {
			if wrong := plainPath(*w.Path); wrong != "" {
				b.fail(where("rewrite", "path"), "", "the path %s %s", b.show(*w.Path, "gateway", "routes", i, "rewrite", "path"), wrong)
			}
		}
		if w.Host != "" {
			if wrong := hostPort(w.Host, false); host(w.Host, false) != "" && wrong != "" {
				b.fail(where("rewrite", "host"), "", "the host %s %s", b.show(w.Host, "gateway", "routes", i, "rewrite", "host"), host(w.Host, false))
			}
		}
	}
	return out
}

// prefix checks what takes the place of a match's prefix, in a rewrite or redirect.
func (b *builder) prefix(i int, prefix, in string) {
	at := b.at("gateway", "routes", i, in, "prefix")
	if wrong := plainPath(prefix); wrong != "" {
		b.fail(at, "write / for none", "the prefix %s %s", b.show(prefix, "gateway", "routes", i, in, "prefix"), wrong)
	}
	if p := b.doc.Gateway.Routes[i].Match.Path; p.Regex != "" || p.Text != "" && !strings.HasSuffix(p.Text, "/**") {
		b.fail(at, "end the match's path with /**, or give a path", "there is no prefix to be replaced, as the path of the match has none: %s", b.show(cmp.Or(p.Text, p.Regex), "gateway", "routes", i, "match", "path"))
	}
}

// routeKey is the place of a field's name in a route.
func (b *builder) routeKey(i int, field string) plug.Pos {
	n := b.root.Find("gateway", "routes", i)
	for _, f := range n.Fields {
		if f.Name == field {
			return f.Pos
		}
	}
	return n.Pos
}

func (b *builder) redirect(i int, in *redirect) *swell.Redirect {
	where := func(field string) plug.Pos { return b.at("gateway", "routes", i, "redirect", field) }
	show := func(text, field string) string { return b.show(text, "gateway", "routes", i, "redirect", field) }
	if in.Scheme == "" && in.Host == "" && in.Path == "" && in.Prefix == nil && in.Port == 0 {
		b.fail(b.routeKey(i, "redirect"), "give it a scheme, host, path or port", "this redirect leads to where the request was")
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, in.Status) {
		b.fail(where("status"), "there are: 301, 302, 303, 307, 308", "a redirect can't have the status %s", b.number(in.Status, "gateway", "routes", i, "redirect", "status"))
	}
	if in.Host != "" {
		if wrong := host(in.Host, false); wrong != "" {
			b.fail(where("host"), "", "the host %s %s", show(in.Host, "host"), wrong)
		}
	}
	if in.Path != "" {
		if wrong := plainPath(in.Path); wrong != "" {
			b.fail(where("path"), "", "the path %s %s", show(in.Path, "path"), wrong)
		}
	}
	if in.Prefix != nil {
		if in.Path != "" {
			b.fail(where("path"), "keep one of prefix and path", "redirect has a prefix and a path")
		}
		b.prefix(i, *in.Prefix, "redirect")
	}
	return &swell.Redirect{Scheme: in.Scheme, Host: in.Host, Path: in.Path, Prefix: in.Prefix, Port: in.Port, Status: in.Status}
}

func (b *builder) match(i int, in match) swell.Match {
	where := func(path ...any) plug.Pos { return b.at(append([]any{"gateway", "routes", i, "match"}, path...)...) }
	show := func(text string, path ...any) string {
		return b.show(text, append([]any{"gateway", "routes", i, "match"}, path...)...)
	}
	out := swell.Match{Host: strings.ToLower(in.Host), Path: in.Path.Text, Regex: in.Path.Regex}
	if in.Host != "" {
		if wrong := host(in.Host, true); wrong != "" {
			b.fail(where("host"), "write it as shop.example or *.shop.example", "the host %s %s", show(in.Host, "host"), wrong)
		}
	}
	if n := b.root.Find("gateway", "routes", i).Get("match"); in.Path.Regex != "" {
		b.regex(in.Path.Regex, "gateway", "routes", i, "match", "path")
	} else if in.Path.Text != "" || n != nil && n.Get("path") != nil {
		if wrong, hint := pathPattern(in.Path.Text); wrong != "" {
			if b.hidden("gateway", "routes", i, "match", "path") { // wrong may quote a part of it
				wrong = "is no path that can be matched"
			}
			b.fail(where("path"), hint, "the path %s %s", show(in.Path.Text, "path"), wrong)
		}
	}
	for j, m := range in.Methods {
		switch upper := strings.ToUpper(m); {
		case !isToken(m):
			b.fail(where("methods", j), "there are: "+strings.Join(methods, ", "), "%s is no method", show(m, "methods", j))
		case m != upper:
			b.fail(where("methods", j), "write "+upper, "the method %s must be in capitals", show(m, "methods", j))
		case slices.Contains(out.Methods, m):
			b.fail(where("methods", j), "", "the method %s is there twice", show(m, "methods", j))
		default:
			if near := plug.Nearest(m, methods); near != "" && near != m {
				b.warn(where("methods", j), fmt.Sprintf("did you mean %s?", near), "the method %s is not a common one", show(m, "methods", j))
			}
			out.Methods = append(out.Methods, m)
		}
	}
	slices.Sort(out.Methods)
	out.Headers = b.pairs(i, "headers", in.Headers, func(name string) (string, string) {
		switch {
		case !isToken(name):
			return name, "is no header's name"
		case strings.EqualFold(name, "host"):
			return name, "is not matched as a header: write host: in the match"
		}
		return textproto.CanonicalMIMEHeaderKey(name), ""
	})
	out.Query = b.pairs(i, "query", in.Query, func(name string) (string, string) {
		if name == "" {
			return name, "is no query parameter's name"
		}
		return name, ""
	})
	return out
}

// pairs returns the names and values of a match's field, sorted by name.
func (b *builder) pairs(i int, field string, in map[string]pattern, name func(string) (canonical, wrong string)) []swell.Value {
	n := b.root.Find("gateway", "routes", i).Get("match").Get(field)
	if n == nil {
		return nil
	}
	var out []swell.Value
	for _, f := range n.Fields {
		value, ok := in[f.Name]
		canonical, wrong := name(f.Name)
		switch {
		case !ok:
			continue
		case wrong != "":
			b.fail(f.Pos, "", "%q %s", f.Name, wrong)
		case slices.ContainsFunc(out, func(p swell.Value) bool { return p.Name == canonical }):
			b.fail(f.Pos, "", "%s is there twice", canonical)
		case value.Regex != "":
			b.regex(value.Regex, "gateway", "routes", i, "match", field, f.Name)
		case strings.ContainsFunc(value.Text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			b.fail(f.Node.Pos, "", "the value for %s has control characters", canonical)
		}
		out = append(out, swell.Value{Name: canonical, Exact: value.Text, Regex: value.Regex})
	}
	slices.SortFunc(out, func(a, b swell.Value) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
