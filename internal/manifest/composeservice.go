package manifest

import (
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"swell/internal/plug"
)

// What nodes are made of when a project is written as a manifest.

func textAt(pos plug.Pos, s string) *plug.Node {
	return &plug.Node{Shape: plug.Text, Text: s, Pos: pos}
}
func numberAt(pos plug.Pos, s string) *plug.Node {
	return &plug.Node{Shape: plug.Number, Text: s, Pos: pos}
}
func listAt(pos plug.Pos, items ...*plug.Node) *plug.Node {
	return &plug.Node{Shape: plug.List, Items: items, Pos: pos}
}
func mapAt(pos plug.Pos) *plug.Node { return &plug.Node{Shape: plug.Map, Pos: pos} }

func set(n *plug.Node, name string, pos plug.Pos, v *plug.Node) {
	n.Fields = append(n.Fields, plug.Field{Name: name, Pos: pos, Node: v})
}

var swellRef = regexp.MustCompile(`^\$\{(PORT\}|edge:|secret:)`)

// literal escapes what Compose has expanded already, but for Swell's own references.
func literal(s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '$' && !swellRef.MatchString(s[i:]) {
			b.WriteByte('$')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// honoured are the fields of a Compose service that are translated, or that mean
// nothing where there are no containers and can be left out without a change.
var honoured = map[string]bool{
	"command": true, "entrypoint": true, "environment": true, "env_file": true, "ports": true, "expose": true,
	"depends_on": true, "healthcheck": true, "deploy": true, "scale": true, "working_dir": true,
	"stop_grace_period": true, "cpus": true, "mem_limit": true, "profiles": true, "extends": true, "init": true,
	"image": true, "build": true, "restart": true,
}

func (c *compose) manifest(p *types.Project) *plug.Node {
	top := plug.Pos{File: c.files[0].Name}
	root := mapAt(top)
	set(root, "app", top, textAt(cmp.Or(c.value("name"), plug.Pos{File: top.File}), asLabel(p.Name)))
	services := mapAt(c.place("services"))
	set(root, "services", services.Pos, services)
	for _, field := range slices.Sorted(maps.Keys(topFields(c.raw))) {
		switch {
		case slices.Contains([]string{"services", "name", "include"}, field) || strings.HasPrefix(field, "x-"):
		case field == "version": // Compose itself calls it obsolete
		default:
			c.warn(c.place(field), "", "%s has no effect: this version runs commands on this machine, without containers", field)
		}
	}
	names := slices.Sorted(maps.Keys(p.Services))
	for _, name := range names {
		set(services, name, c.place("services", name), c.service(p.Services[name], name, p.WorkingDir))
	}
	if gateway := c.gateway(p, names); gateway != nil {
		set(root, "gateway", gateway.Pos, gateway)
	}
	for _, name := range slices.Sorted(maps.Keys(p.DisabledServices)) {
		c.warn(c.place("services", name), "choose one of its profiles: "+strings.Join(p.DisabledServices[name].Profiles, ", "), "service %s is left out, as its profile is not chosen", name)
	}
	return merge(root, c.words())
}

func topFields(raw []*plug.Node) map[string]bool {
	out := map[string]bool{}
	for _, n := range raw {
		if n == nil {
			continue
		}
		for _, f := range n.Fields {
			out[f.Name] = true
		}
	}
	return out
}

// value is the place of the value at path, zero if it is not written.
func (c *compose) value(path ...string) plug.Pos {
	var out plug.Pos
	for _, n := range c.raw {
		for _, p := range path {
			n = n.Get(p)
		}
		if n != nil {
			out = n.Pos
		}
	}
	return out
}

func (c *compose) service(in types.ServiceConfig, name, dir string) *plug.Node {
	at := func(path ...string) plug.Pos { return c.place(append([]string{"services", name}, path...)...) }
	out := mapAt(at())
	words := c.words("services", name)

	argv := append(slices.Clone([]string(in.Entrypoint)), in.Command...)
	field := "command"
	if len(in.Command) == 0 {
		field = "entrypoint"
	}
	elsewhere := words.Get("command") != nil || words.Get("address") != nil
	switch {
	case len(argv) > 0:
		if words.Get("address") == nil {
			list := listAt(at(field))
			for _, a := range argv {
				list.Items = append(list.Items, textAt(at(field), literal(a)))
			}
			set(out, "command", at(field), list)
		}
	case !elsewhere:
		what := "image"
		if in.Image == "" {
			what = "build"
		}
		c.fail(at(what), "give it a command to run on this machine, or x-swell: {address: [HOST:PORT]} if it runs elsewhere", "service %s has no command: this version runs commands, not images", name)
		set(out, "command", at(what), listAt(at(what), textAt(at(what), "true"))) // so that nothing more is said of it
	}
	if (in.Image != "" || in.Build != nil) && (len(argv) > 0 || elsewhere) {
		what := "image"
		if in.Image == "" {
			what = "build"
		}
		c.warn(at(what), "", "%s is not used: service %s runs its command on this machine", what, name)
	}
	if in.WorkingDir != "" {
		switch _, err := os.Stat(in.WorkingDir); {
		case filepath.IsAbs(in.WorkingDir) && err != nil:
			c.warn(at("working_dir"), "", "working_dir %q is not on this machine: service %s runs in the Compose file's folder", in.WorkingDir, name)
		default:
			set(out, "dir", at("working_dir"), textAt(at("working_dir"), literal(in.WorkingDir)))
		}
	}
	if out.Get("dir") == nil && words.Get("dir") == nil && words.Get("address") == nil {
		set(out, "dir", at(), textAt(at(), literal(dir)))
	}
	c.environment(out, in, name, argv)
	c.relations(out, in, name)
	c.health(out, in.HealthCheck, name)
	c.deploy(out, in, name)
	if in.StopGracePeriod != nil {
		stop := mapAt(at("stop_grace_period"))
		set(stop, "grace", stop.Pos, textAt(stop.Pos, time.Duration(*in.StopGracePeriod).String()))
		set(out, "stop", stop.Pos, stop)
	}
	if in.Restart == "no" || strings.HasPrefix(in.Restart, "on-failure") {
		c.warn(at("restart"), "", "restart: %s is not honoured: an instance that ends is replaced", in.Restart)
	}
	c.unheard(in, name)
	return merge(out, words)
}

func (c *compose) environment(out *plug.Node, in types.ServiceConfig, name string, argv []string) {
	at := func(path ...string) plug.Pos { return c.place(append([]string{"services", name}, path...)...) }
	env := mapAt(at("environment"))
	port := strings.Contains(strings.Join(argv, " "), "PORT")
	for _, key := range slices.Sorted(maps.Keys(in.Environment)) {
		pos, v := at("environment", key), in.Environment[key]
		if v == nil {
			value, ok := c.lookup(key)
			if !ok {
				c.warn(pos, "", "environment: %s has no value here, and the environment has none either", key)
				continue
			}
			v = &value
		}
		if key == "PORT" {
			port = true
			if !strings.Contains(*v, "${PORT}") {
				c.warn(pos, "set x-swell: {port: NUMBER} if the program listens on a fixed port", "PORT is set by Swell for each instance of service %s, not to %q", name, *v)
				continue
			}
		}
		port = port || strings.Contains(*v, "${PORT}")
		set(env, key, pos, textAt(pos, literal(*v)))
	}
	if len(env.Fields) > 0 {
		set(out, "env", env.Pos, env)
	}
	for _, file := range in.EnvFiles {
		c.extra = append(c.extra, file.Path)
	}
	if (len(in.Ports) > 0 || len(in.Expose) > 0) && !port && c.words("services", name).Get("port") == nil {
		what := "ports"
		if len(in.Ports) == 0 {
			what = "expose"
		}
		c.warn(at(what), "set x-swell: {port: NUMBER} if its port is fixed", "service %s must listen on $PORT, which Swell chooses for each instance", name)
	}
}

func (c *compose) relations(out *plug.Node, in types.ServiceConfig, name string) {
	at := c.place("services", name, "depends_on")
	uses := listAt(at)
	for _, callee := range slices.Sorted(maps.Keys(in.DependsOn)) {
		pos := c.place("services", name, "depends_on", callee)
		if n := in.DependsOn[callee].Condition; n == types.ServiceConditionCompletedSuccessfully {
			c.warn(pos, "", "depends_on: %s is not waited for until it has ended: a service is what keeps running", callee)
			continue
		}
		uses.Items = append(uses.Items, textAt(pos, callee))
	}
	if len(uses.Items) > 0 {
		set(out, "uses", at, uses)
	}
}

var (
	probeURL  = regexp.MustCompile(`https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::[^/\s"'|;&]*)?(/[^\s"'|;&)]*)?`)
	probeTool = regexp.MustCompile(`\b(curl|wget)\b`)
)

func (c *compose) health(out *plug.Node, in *types.HealthCheckConfig, name string) {
	if in == nil || in.Disable {
		return
	}
	at := func(path ...string) plug.Pos {
		return c.place(append([]string{"services", name, "healthcheck"}, path...)...)
	}
	health := mapAt(at())
	test := strings.Join(in.Test, " ")
	switch m := probeURL.FindStringSubmatch(test); {
	case test == "" || in.Test[0] == "NONE":
	case m != nil && probeTool.MatchString(test):
		set(health, "path", at("test"), textAt(at("test"), literal(cmp.Or(m[1], "/"))))
	case strings.Contains(test, "grpc_health_probe") || strings.Contains(test, "grpc-health-probe"):
		set(health, "grpc", at("test"), &plug.Node{Shape: plug.Bool, Text: "true", Pos: at("test")})
	case strings.Contains(test, "nc -z"):
	default:
		c.warn(at("test"), "write x-swell: {health: {path: /healthz}}", "the health check of service %s is not an HTTP request that could be recognised: an instance is taken for healthy if it takes connections", name)
	}
	span := func(field, to string, d *types.Duration, least time.Duration) {
		if d != nil && time.Duration(*d) > least {
			set(health, to, at(field), textAt(at(field), time.Duration(*d).String()))
		}
	}
	span("interval", "interval", in.Interval, 0)
	span("timeout", "timeout", in.Timeout, 0)
	span("start_period", "start", in.StartPeriod, time.Minute)
	if in.Retries != nil && *in.Retries > 0 {
		set(health, "failures", at("retries"), numberAt(at("retries"), strconv.FormatUint(*in.Retries, 10)))
	}
	if in.StartInterval != nil {
		c.warn(at("start_interval"), "", "healthcheck.start_interval is not honoured: a new instance is asked several times a second")
	}
	if len(health.Fields) > 0 {
		set(out, "health", health.Pos, health)
	}
}

func (c *compose) deploy(out *plug.Node, in types.ServiceConfig, name string) {
	at := func(path ...string) plug.Pos { return c.place(append([]string{"services", name}, path...)...) }
	replicas, pos := in.Scale, at("scale")
	cpus, memory := float64(in.CPUS), int64(in.MemLimit)
	cpuPos, memoryPos := at("cpus"), at("mem_limit")
	if d := in.Deploy; d != nil {
		if d.Replicas != nil {
			replicas, pos = d.Replicas, at("deploy", "replicas")
		}
		if l := d.Resources.Limits; l != nil {
			if l.NanoCPUs > 0 {
				cpus, cpuPos = float64(l.NanoCPUs), at("deploy", "resources", "limits", "cpus")
			}
			if l.MemoryBytes > 0 {
				memory, memoryPos = int64(l.MemoryBytes), at("deploy", "resources", "limits", "memory")
			}
			c.leftover(l, []string{"cpus", "memory"}, name, "deploy", "resources", "limits")
		}
		c.leftover(d.Resources, []string{"limits"}, name, "deploy", "resources")
		c.leftover(d, []string{"replicas", "resources"}, name, "deploy")
	}
	if replicas != nil {
		scale := mapAt(pos)
		set(scale, "min", pos, numberAt(pos, strconv.Itoa(*replicas)))
		set(scale, "max", pos, numberAt(pos, strconv.Itoa(max(*replicas, 10))))
		set(out, "scale", pos, scale)
	}
	if cpus > 0 || memory > 0 {
		resources := mapAt(cpuPos)
		if cpus > 0 {
			set(resources, "cpu", cpuPos, textAt(cpuPos, strconv.FormatFloat(cpus, 'f', -1, 32)))
		}
		if memory > 0 {
			set(resources, "memory", memoryPos, textAt(memoryPos, strconv.FormatInt(memory, 10)))
		}
		set(out, "resources", cpuPos, resources)
	}
}

// unheard warns of every field of a service that is set and not honoured.
func (c *compose) unheard(in types.ServiceConfig, name string) {
	for _, field := range slices.Sorted(maps.Keys(written(in))) {
		if honoured[field] || strings.HasPrefix(field, "x-") {
			continue
		}
		if field == "networks" && c.value("services", name, "networks") == (plug.Pos{}) {
			continue // Compose adds the default one itself
		}
		c.warn(c.place("services", name, field), "", "%s of service %s has no effect: this version runs commands on this machine, without containers", field, name)
	}
}

// leftover warns of the fields of v, at path in a service, that are not known.
func (c *compose) leftover(v any, known []string, name string, path ...string) {
	for _, field := range slices.Sorted(maps.Keys(written(v))) {
		if !slices.Contains(known, field) {
			c.warn(c.place(append(append([]string{"services", name}, path...), field)...), "", "%s.%s of service %s has no effect", strings.Join(path, "."), field, name)
		}
	}
}

// written returns the fields of a Compose struct that say something.
func written(v any) map[string]bool {
	out := map[string]bool{}
	b, err := json.Marshal(v)
	if err != nil {
		return out
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return out
	}
	for name, value := range fields {
		switch string(value) {
		case "null", "{}", "[]", `""`, "0", "false":
		default:
			out[name] = true
		}
	}
	return out
}

// gateway publishes the first published port; a gateway has one listener here.
func (c *compose) gateway(p *types.Project, names []string) *plug.Node {
	slices.SortStableFunc(names, func(a, b string) int { // as in the file
		x, y := c.place("services", a), c.place("services", b)
		return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line))
	})
	var out *plug.Node
	var first string
	for _, name := range names {
		pos := c.place("services", name, "ports")
		for _, port := range p.Services[name].Ports {
			switch {
			case port.Published == "" || c.words("services", name).Get("address") != nil:
			case port.Protocol != "" && port.Protocol != "tcp":
				c.warn(pos, "", "port %s/%s of service %s is not published: the gateway speaks HTTP over TCP", port.Published, port.Protocol, name)
			case out != nil:
				c.warn(pos, "add a route for it: x-swell: {gateway: {routes: […]}} at the top", "port %s of service %s is not published: the gateway listens on %s, for service %s", port.Published, name, out.Get("listen").Text, first)
			default:
				published, _, _ := strings.Cut(port.Published, "-")
				first, out = name, mapAt(pos)
				set(out, "listen", pos, textAt(pos, net.JoinHostPort(port.HostIP, published)))
				route, match := mapAt(pos), mapAt(pos)
				set(match, "path", pos, textAt(pos, "/**"))
				set(route, "match", pos, match)
				set(route, "to", pos, textAt(pos, name))
				set(out, "routes", pos, listAt(pos, route))
				if published != port.Published {
					c.warn(pos, "", "of the ports %s of service %s only the first is published", port.Published, name)
				}
			}
		}
	}
	return out
}
