package manifest

import (
	"cmp"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"swell"
	"swell/internal/plug"
)

// maxServices bounds one application; it also keeps every check fast.
const maxServices = 1000

// builder turns a decoded document into an application, and checks on the way
// what single values can't show.
type builder struct {
	*found
	root     *plug.Node // of the merged and expanded files
	options  Options
	doc      *document
	services []string // names, sorted: also of services that are wrong in themselves

	mentioned map[string]bool // services that filters send requests to
}

// known reports whether there is a service of that name.
func (b *builder) known(name string) bool {
	_, ok := slices.BinarySearch(b.services, name)
	return ok
}

// at is the place of what path names in the document, or of the nearest thing
// above that is there: of a value if it is a scalar, else of its name.
func (b *builder) at(path ...any) plug.Pos {
	n, pos := b.root, b.root.Pos
	for _, p := range path {
		switch p := p.(type) {
		case string:
			if n.Shape != plug.Map {
				return pos
			}
			i := slices.IndexFunc(n.Fields, func(f plug.Field) bool { return f.Name == p })
			if i < 0 {
				return pos
			}
			n, pos = n.Fields[i].Node, n.Fields[i].Pos
			if n.Shape != plug.Map && n.Shape != plug.List && n.Shape != plug.Null {
				pos = n.Pos
			}
		case int:
			if p >= len(n.Items) {
				return pos
			}
			n = n.Items[p]
			pos = n.Pos
		}
	}
	return pos
}

// has reports whether the document says something at path.
func (b *builder) has(path ...string) bool {
	n := b.root
	for _, p := range path {
		if n = n.Get(p); n == nil {
			return false
		}
	}
	return n.Shape != plug.Null
}

// hidden reports whether the value at path must not be shown.
func (b *builder) hidden(path ...any) bool {
	n := b.root.Find(path...)
	return n != nil && n.Written != ""
}

// number is the number at path as a message may show it.
func (b *builder) number(n int, path ...any) string {
	if b.hidden(path...) {
		return b.root.Find(path...).Show()
	}
	return strconv.Itoa(n)
}

// hint suggests one of the known names for name, which n holds, unless the
// suggestion would tell what a reference stands for.
func (b *builder) hint(name string, n *plug.Node, known []string) string {
	if n != nil && n.Written != "" {
		name = ""
	}
	return plug.Hint(name, known)
}

// show is the text at path as a message may show it.
func (b *builder) show(text string, path ...any) string {
	n := b.root.Find(path...)
	if n != nil && n.Written != "" {
		return n.Show()
	}
	return strconv.Quote(text)
}

func (b *builder) app(policy swell.Policy) swell.App {
	app := swell.App{Name: b.doc.App, Policy: cmp.Or(swell.Policy(b.doc.Policy), policy)}
	switch wrong := label(app.Name); {
	case !b.has("app"):
		app.Name = asLabel(filepath.Base(folder(b.root.Pos.File)))
	case wrong != "":
		hint := ""
		if !b.hidden("app") {
			hint = "for example " + strconv.Quote(asLabel(app.Name))
		}
		b.fail(b.at("app"), hint, "app %s %s", b.show(app.Name, "app"), wrong)
	}
	if len(b.services) == 0 {
		b.fail(b.at("services"), "name at least one: services: {web: {command: [./web]}}", "there are no services")
	}
	if len(b.services) > maxServices {
		b.fail(b.at("services"), "", "%d services; at most %d are possible", len(b.services), maxServices)
		return app
	}
	for _, name := range b.services {
		app.Services = append(app.Services, b.service(name, b.doc.Services[name]))
	}
	app.Gateway = b.gateway(&b.doc.Gateway)
	b.circles(app.Services)
	b.unused(app)
	return app
}

func (b *builder) service(name string, in service) swell.Service {
	where := func(path ...any) plug.Pos { return b.at(append([]any{"services", name}, path...)...) }
	show := func(text string, path ...any) string {
		return b.show(text, append([]any{"services", name}, path...)...)
	}
	out := swell.Service{Name: name, Protocol: swell.Protocol(in.Protocol)}
	switch wrong := label(name); {
	case wrong != "":
		b.fail(b.key("services", name), "for example "+strconv.Quote(asLabel(name)), "the service's name %q %s", name, wrong)
	case name == swell.GatewayCaller:
		b.fail(b.key("services", name), "", "%q is what the way in from outside is called; a service needs another name", name)
	}
	run, address := b.has("services", name, "command"), b.has("services", name, "address")
	switch {
	case run && address:
		b.fail(where("address"), "leave one of them out", "service %s has a command and an address: either Swell runs it, or it is elsewhere", name)
	case !run && !address:
		b.fail(where(), "add command: [PROGRAM, ARGUMENT, …], or address: [HOST:PORT] if it runs elsewhere", "service %s has neither a command nor an address", name)
	}
	if run {
		out.Run = b.run(name, in)
	}
	if address {
		out.Address = b.address(name, in)
	}
	out.Health = b.health(name, in.Health)
	for i, callee := range in.Uses {
		switch {
		case callee == name:
			b.fail(where("uses", i), "leave it out", "service %s uses itself", name)
		case !b.known(callee):
			b.fail(where("uses", i), b.hint(callee, b.root.Find("services", name, "uses", i), b.services), "no service is named %s", show(callee, "uses", i))
		case slices.Contains(in.Uses[:i], callee):
			b.fail(where("uses", i), "leave one out", "%s is in uses twice", show(callee, "uses", i))
		default:
			out.Uses = append(out.Uses, callee)
		}
	}
	slices.Sort(out.Uses)
	b.upstream(name, in, &out)
	out.Balance = b.balance(in.Balance)
	out.Use = b.uses(b.options.Filters, in.Use, "filter")
	out.Stop = swell.Stop{Drain: in.Stop.Drain.D(), Grace: in.Stop.Grace.D()}
	out.Scale = b.scale(name, in)
	return out
}

// key is the place of a name, whatever its value.
func (b *builder) key(path ...string) plug.Pos {
	n := b.root
	for i, p := range path {
		for _, f := range n.Fields {
			if f.Name == p {
				if i == len(path)-1 {
					return f.Pos
				}
				n = f.Node
				break
			}
		}
	}
	return n.Pos
}

func (b *builder) run(name string, in service) swell.Run {
	where := func(path ...any) plug.Pos { return b.at(append([]any{"services", name}, path...)...) }
	out := swell.Run{Command: in.Command, Port: in.Port}
	file := where("command").File
	out.Dir = folder(file)
	if in.Dir != "" {
		if out.Dir = in.Dir; !filepath.IsAbs(out.Dir) {
			out.Dir = filepath.Join(folder(where("dir").File), out.Dir)
		}
	} else if b.has("services", name, "dir") {
		b.fail(where("dir"), "write . for the manifest's folder", "dir is empty")
	}
	switch {
	case len(in.Command) == 0:
		b.fail(where("command"), "write it as [PROGRAM, ARGUMENT, …]", "the command is empty")
	case in.Command[0] == "":
		b.fail(where("command", 0), "", "the command's program is empty")
	default:
		b.program(name, out.Dir, in)
	}
	for i, arg := range in.Command {
		b.text(arg, where("command", i), name, in)
	}
	env := b.root.Get("services").Get(name).Get("env")
	if env == nil {
		env = &plug.Node{}
	}
	for _, f := range env.Fields {
		value, ok := in.Env[f.Name]
		if !ok {
			continue
		}
		if f.Name == "" || strings.ContainsAny(f.Name, "=\x00") {
			b.fail(f.Pos, "", "%q can't be the name of an environment variable", f.Name)
		}
		if f.Name == "PORT" && in.Port == 0 {
			b.warn(f.Pos, "write port: NUMBER if the program listens on a fixed port", "PORT is set for each instance; a value of yours hides where it is to listen")
		}
		b.text(value, f.Node.Pos, name, in)
		out.Env = append(out.Env, swell.Pair{Name: f.Name, Value: value})
	}
	slices.SortFunc(out.Env, func(a, b swell.Pair) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// text checks one text that a program gets.
func (b *builder) text(s string, pos plug.Pos, name string, in service) {
	if strings.ContainsRune(s, 0) {
		b.fail(pos, "", "a zero byte can't be handed to a program")
	}
	for rest := s; ; {
		_, after, ok := strings.Cut(rest, "${edge:")
		if !ok {
			return
		}
		ref, after, _ := strings.Cut(after, "}")
		callee, _, _ := strings.Cut(ref, ".")
		if !slices.Contains(in.Uses, callee) {
			hint := "add it: uses: [" + strings.Join(append(slices.Clone(in.Uses), callee), ", ") + "]"
			if !b.known(callee) {
				hint = plug.Hint(callee, b.services)
			}
			b.fail(pos, hint, "${edge:%s}: service %s does not use %s", ref, name, callee)
		}
		rest = after
	}
}

// program warns if the service's program is not there now; it may yet be built.
func (b *builder) program(name, dir string, in service) {
	find := b.options.FindProgram
	if find == nil {
		find = findProgram
	}
	program := in.Command[0]
	if strings.Contains(program, "${") {
		return
	}
	if err := find(dir, program); err != nil {
		pos := b.at("services", name, "command", 0)
		if b.hidden("services", name, "command", 0) || b.hidden("services", name, "dir") {
			err = errors.New("the reason is not shown, as a value from the environment or a secret is part of the path")
		}
		b.warn(pos, "is it built?", "service %s: its program %s is not there: %v", name, b.show(program, "services", name, "command", 0), err)
	}
}

func (b *builder) address(name string, in service) []swell.Address {
	where := func(path ...any) plug.Pos { return b.at(append([]any{"services", name}, path...)...) }
	if len(in.Address) == 0 {
		b.fail(where("address"), "write it as [HOST:PORT]", "address names no place")
	}
	var out []swell.Address
	for i, a := range in.Address {
		path := []any{"services", name, "address", i}
		if n := b.root.Find(path...); n != nil && n.Shape == plug.Map {
			path = append(path, "at")
		}
		shown := b.show(a.At, path...)
		switch wrong := hostPort(a.At, false); {
		case a.At == "" && len(path) > 4: // it was said that at is missing
		case strings.HasPrefix(a.At, "dns:"):
			b.fail(where("address", i), "write HOST:PORT", "address %s: finding instances by DNS is not in this version", shown)
		case wrong != "":
			b.fail(where("address", i), "write it as 10.0.0.7:8080", "address %s %s", shown, wrong)
		case slices.ContainsFunc(out, func(o swell.Address) bool { return o.Addr == a.At }):
			b.fail(where("address", i), "", "address %s is there twice", shown)
		}
		out = append(out, swell.Address{Addr: a.At, Weight: a.Weight, Zone: a.Zone})
	}
	for _, field := range []string{"dir", "env", "port", "resources", "stop"} {
		if b.has("services", name, field) {
			b.warn(b.key("services", name, field), "", "%s has no effect: Swell does not run service %s", field, name)
		}
	}
	if n := b.root.Get("services").Get(name).Get("scale"); n != nil {
		for _, f := range n.Fields {
			if f.Name != "hold" {
				b.warn(f.Pos, "", "scale.%s has no effect: Swell does not run service %s", f.Name, name)
			}
		}
	}
	slices.SortFunc(out, func(a, b swell.Address) int { return cmp.Compare(a.Addr, b.Addr) })
	return out
}

func (b *builder) health(name string, in health) swell.Health {
	out := swell.Health{
		Kind: "tcp", Interval: in.Interval.D(), Timeout: in.Timeout.D(), Failures: in.Failures, Start: in.Start.D(),
	}
	where := func(path ...any) plug.Pos { return b.at(append([]any{"services", name, "health"}, path...)...) }
	kinds := 0
	if b.has("services", name, "health", "path") {
		kinds++
		out.Kind, out.Path = "http", in.Path
		if wrong := plainPath(strings.SplitN(in.Path, "?", 2)[0]); wrong != "" {
			b.fail(where("path"), "write it as /healthz", "the health path %s %s", b.show(in.Path, "services", name, "health", "path"), wrong)
		}
	}
	if in.GRPC != nil {
		kinds++
		out.Kind, out.Path = "grpc", string(*in.GRPC)
	}
	if in.TCP {
		kinds++
		out.Kind, out.Path = "tcp", ""
	}
	if kinds > 1 {
		b.fail(where(), "keep one of path, grpc and tcp", "health is found out in one way, but here are %d", kinds)
	}
	return out
}

// balance compiles a service's balancer; without one it is p2c.
func (b *builder) balance(in *use) swell.Use {
	if in == nil {
		in = &use{Name: "p2c", node: &plug.Node{Shape: plug.Text, Text: "p2c"}}
		if b.options.Balancers == nil {
			return swell.Use{Name: "p2c"}
		}
	}
	if in.Name == "" {
		return swell.Use{}
	}
	return b.use(b.options.Balancers, *in, "balancer")
}

func (b *builder) uses(catalog plug.Catalog, in []use, noun string) []swell.Use {
	var out []swell.Use
	for _, u := range in {
		if u.Name != "" {
			out = append(out, b.use(catalog, u, noun))
		}
	}
	return out
}

// use decodes, checks and writes in canonical JSON one named thing with options.
func (b *builder) use(catalog plug.Catalog, u use, noun string) swell.Use {
	out := swell.Use{Name: u.Name}
	var options any
	ok := false
	if catalog != nil {
		options, ok = catalog.Options(u.Name)
	}
	if !ok {
		var names []string
		if catalog != nil {
			names = catalog.Names()
		}
		b.fail(u.pos, b.hint(u.Name, u.node, names), "no %s is named %s", noun, b.named(u))
		return out
	}
	if u.options != nil {
		if u.options.Pos.Line == 0 {
			u.options.Pos = u.pos
		}
		if problems := plug.Decode(u.options, options); len(problems) > 0 {
			for i := range problems {
				if strings.HasPrefix(problems[i].Text, "this must be") {
					problems[i].Text = "the options of " + u.Name + strings.TrimPrefix(problems[i].Text, "this")
				}
			}
			b.errors = append(b.errors, problems...)
			return out
		}
	}
	if err := catalog.Check(u.Name, options); err != nil {
		text := err.Error()
		if u.options != nil && u.options.Hidden() {
			text = "its options don't fit together (the reason is not shown, as a value from the environment or a secret is part of them)"
		}
		text = strings.TrimPrefix(text, noun+" "+u.Name+": ")
		b.fail(u.pos, "", "%s %s: %s", noun, u.Name, text)
		return out
	}
	if r, ok := options.(interface{ Services() []string }); ok {
		for _, s := range r.Services() {
			if !b.known(s) {
				at := u.options.Holding(s)
				b.fail(cmp.Or(at, u.options).Pos, b.hint(s, at, b.services), "%s %s: no service is named %q", noun, u.Name, s)
			}
			b.mentioned[s] = true
		}
	}
	j, err := json.Marshal(options)
	if err != nil {
		b.fail(u.pos, "", "%s %s: its options can't be written as JSON: %v", noun, u.Name, err)
		return out
	}
	out.Options = j
	return out
}

// named is a use's name as a message may show it.
func (b *builder) named(u use) string {
	if u.node != nil && u.node.Written != "" {
		return u.node.Show()
	}
	return strconv.Quote(u.Name)
}
