package manifest

import (
	"fmt"

	"github.com/invopop/jsonschema"

	"swell/internal/plug"
	"swell/internal/unit"
)

// document is a swell.yaml as people write it. The structs here are the
// reference of its fields: names, bounds, defaults and the sentence about each;
// the schema and the decoder both follow them.
type document struct {
	App      string             `json:"app" doc:"The application's name: lower-case letters, digits and dashes. Without it, the name of the manifest's folder."`
	Policy   string             `json:"policy" enum:"enforce,audit" doc:"What happens to a call that no service declares in its uses: enforce refuses it, audit lets it pass and reports it."`
	Gateway  gateway            `json:"gateway" doc:"The way in from outside."`
	Services map[string]service `json:"services" doc:"The services by name."`
	Profiles map[string]overlay `json:"profiles" doc:"Overlays by name, for environments: each is a part of a manifest that is merged over it when its profile is chosen."`
	_        struct{}           `later:"egress"`
}

type gateway struct {
	Listen  string     `json:"listen" doc:"Where requests come in, host:port, over HTTP/1.1 or HTTP/2 in the clear. :8080 if there are routes and no tls."`
	TLS     *tls       `json:"tls" doc:"Where requests come in over TLS: HTTP/1.1, HTTP/2 and HTTP/3."`
	TCP     []tcpRoute `json:"tcp" doc:"Listeners whose connections are passed on to a service as they are."`
	Proxies []prefix   `json:"proxies" doc:"Networks of load balancers in front, as 10.0.0.0/8: connections from there must begin with the PROXY protocol (version 1 or 2), and their Forwarded fields are believed."`
	Limits  limits     `json:"limits" doc:"Bounds on what clients may take."`
	Use     []use      `json:"use" doc:"Filters for every route, outermost first."`
	Routes  []route    `json:"routes" doc:"Which requests go where. The most specific match wins, whatever the order."`
}

type route struct {
	Name     string    `json:"name" doc:"The route's name in metrics and logs; made from the match if it is not given."`
	Match    match     `json:"match" doc:"Which requests the route takes; an empty one takes all."`
	To       targets   `json:"to" doc:"The service that gets the requests, or several with their weights."`
	Rewrite  *rewrite  `json:"rewrite" doc:"What changes in a request before it is forwarded."`
	Redirect *redirect `json:"redirect" doc:"Answer with another place to look, instead of forwarding."`
	Use      []use     `json:"use" doc:"Filters, outermost first, inside the gateway's own."`
	_        struct{}  `later:"compose,transcode"`
}

type match struct {
	Host    string             `json:"host" doc:"The host, exact or with *. for any label in front: shop.example, *.shop.example."`
	Path    pattern            `json:"path" doc:"The path: exact /a/b, with everything below it /a/**, with a name for any one segment /a/{id}, or {regex: EXPRESSION} (RE2) for all of it."`
	Methods []string           `json:"methods" doc:"The methods; none means all."`
	Headers map[string]pattern `json:"headers" doc:"Headers that must be there with exactly these values, or {regex: EXPRESSION} for all of the value."`
	Query   map[string]pattern `json:"query" doc:"Query parameters that must be there with exactly these values, or {regex: EXPRESSION}."`
}

type rewrite struct {
	Prefix *string `json:"prefix" doc:"Takes the place of what stands before /** in the path of the match."`
	Path   *string `json:"path" doc:"Takes the place of the whole path; {name} and $1 stand for what the match's path found."`
	Host   string  `json:"host" doc:"Takes the place of the Host header."`
}

type redirect struct {
	Scheme string  `json:"scheme" enum:"http,https" doc:"The other scheme; the request's own if not given."`
	Host   string  `json:"host" doc:"The other host; the request's own if not given."`
	Path   string  `json:"path" doc:"The other path, where {name} and $1 stand for what the match's path found; the request's own if not given."`
	Prefix *string `json:"prefix" doc:"Takes the place of what stands before /** in the path of the match, instead of path."`
	Port   int     `json:"port" min:"1" max:"65535" doc:"The other port; the request's own if not given."`
	Status int     `json:"status" doc:"301, 302, 303, 307 or 308."`
}

// Default implements plug.Defaulter.
func (r *redirect) Default() { r.Status = 302 }

type service struct {
	Command   []string          `json:"command" doc:"The program that is run for each instance, and its arguments. A program with a slash is relative to dir. ${PORT} is the instance's port."`
	Dir       string            `json:"dir" doc:"The working directory, relative to the manifest's folder; that folder if not given."`
	Env       map[string]string `json:"env" doc:"Environment variables. PORT and the addresses of the services in uses are set anyway."`
	Port      int               `json:"port" min:"1" max:"65535" doc:"Where the program listens by itself. Without it, it listens on $PORT, and there can be several instances of it."`
	Address   []address         `json:"address" doc:"Where the service is, host:port, if Swell does not run it. In place of command."`
	Isolation string            `json:"isolation" enum:"auto,none" later:"namespace" doc:"How instances are kept apart."`
	Protocol  string            `json:"protocol" enum:"http,http2,grpc,tcp" doc:"What it speaks: http is HTTP/1.1, http2 is HTTP/2 (by ALPN over TLS, else by prior knowledge), grpc is http2 whose failures are gRPC's, tcp is anything: connections are passed on."`
	TLS       *upstreamTLS      `json:"tls" doc:"How it is spoken to by TLS; {} verifies its certificate by the system's roots. Not given: in the clear."`
	Proxy     string            `json:"proxy-protocol" enum:"v1,v2" doc:"Connections to it begin with the PROXY protocol, which tells the client's address; over HTTP each request then has a connection of its own."`
	Health    health            `json:"health" doc:"How it is found out that an instance can serve: by path, grpc or tcp, which is the default."`
	Uses      []string          `json:"uses" doc:"The services that it calls."`
	Resources resources         `json:"resources" doc:"What one instance may use."`
	Spread    spread            `json:"spread" doc:"Over which of its instances requests are spread."`
	Outliers  outliers          `json:"outliers" doc:"When an instance that does badly is taken out for a while."`
	Pool      pool              `json:"connections" doc:"Bounds on the connections from one data plane to one instance."`
	Balance   *use              `json:"balance" doc:"How requests are spread over its instances: a balancer's name, or its name with options."`
	Use       []use             `json:"use" doc:"Filters for every call to it, from anyone, outermost first."`
	Stop      stop              `json:"stop" doc:"How an instance is ended."`
	Scale     scale             `json:"scale" doc:"How many instances there are."`
	_         struct{}          `later:"image,build,volumes,secrets,egress"`
}

// Default implements plug.Defaulter.
func (s *service) Default() {
	s.Isolation, s.Protocol = "auto", "http"
	s.Outliers = outliers{Consecutive: 5, Requests: 100, Interval: ms(10_000), Base: ms(1000), Longest: ms(30_000), MaxEjected: 0.5}
	s.Pool = pool{Pending: 1024, Idle: 256, IdleTime: ms(4000), Connect: ms(5000)}
	s.Health = health{Interval: ms(1000), Timeout: ms(500), Failures: 3, Start: ms(60_000)}
	s.Stop = stop{Drain: ms(15_000), Grace: ms(10_000)}
	s.Scale.Min, s.Scale.Max = 1, 10
	s.Scale.Idle = ms(5 * 60_000)
	s.Scale.Hold = hold{Max: 10_000, Timeout: ms(60_000)}
	s.Scale.Behavior.Up = behavior{Period: ms(15_000)}
	s.Scale.Behavior.Down = behavior{Stabilization: ms(5 * 60_000), Period: ms(15_000)}
}

// ms is a duration in milliseconds.
func ms(n int64) unit.Duration { return unit.Duration(n * 1_000_000) }

type health struct {
	Path     string        `json:"path" doc:"Ask this path over HTTP; an answer of 200 to 399 is healthy."`
	TCP      bool          `json:"tcp" doc:"Healthy is whoever takes a connection. The default."`
	GRPC     *grpcName     `json:"grpc" doc:"Ask the gRPC health service: for the service of this name, or true for the server as a whole."`
	Interval unit.Duration `json:"interval" min:"10ms" doc:"Between two checks of a ready instance."`
	Timeout  unit.Duration `json:"timeout" min:"1ms" doc:"Of one check."`
	Failures int           `json:"failures" min:"1" max:"100" doc:"Failed checks in a row until a ready instance is taken for dead."`
	Start    unit.Duration `json:"start" min:"1ms" doc:"How long a new instance may take until it is ready."`
}

// grpcName is a gRPC service's name; true is the empty one.
type grpcName string

// DecodeNode implements plug.NodeDecoder.
func (g *grpcName) DecodeNode(n *plug.Node) []plug.Problem {
	if n.Shape == plug.Bool && n.Text == "true" {
		return nil
	}
	if n.Shape == plug.Bool || n.Shape == plug.Null {
		return []plug.Problem{{Pos: n.Pos, Text: "grpc must be a gRPC service's name or true"}}
	}
	var s string
	problems := plug.Decode(n, &s)
	*g = grpcName(s)
	return problems
}

// JSONSchema implements the schema generator's interface.
func (grpcName) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Const: true}}}
}

type resources struct {
	CPU    unit.CPU   `json:"cpu" min:"1m" doc:"Cores: 500m, 0.5, 2."`
	Memory unit.Bytes `json:"memory" min:"1Mi" doc:"Memory: 256Mi, 1Gi."`
}

type stop struct {
	Drain unit.Duration `json:"drain" max:"1h" doc:"How long its requests may take to end, once no new ones come."`
	Grace unit.Duration `json:"grace" max:"1h" doc:"How long the program may take from SIGTERM until it is killed."`
}

type scale struct {
	Min      int           `json:"min" min:"0" max:"1000" doc:"The fewest instances. 0: to zero, and requests wait for the first one."`
	Max      int           `json:"max" min:"1" max:"1000" doc:"The most instances."`
	SLO      slo           `json:"slo" doc:"The goal that users feel; enough by itself, what an instance can carry is learned."`
	Targets  scaleTargets  `json:"targets" doc:"Goals for each instance; the one that wants the most instances decides."`
	Behavior behaviors     `json:"behavior" doc:"How fast the number of instances moves."`
	Idle     unit.Duration `json:"idle" min:"1s" doc:"How long without a request before the last instance goes, if min is 0."`
	Hold     hold          `json:"hold" doc:"Bounds on the requests that wait for a first instance."`
	_        struct{}      `later:"predict,schedule,vertical"`
}

type slo struct {
	Latency map[string]unit.Duration `json:"latency" doc:"The longest that a share of the requests may take, by quantile: p95: 200ms."`
	_       struct{}                 `later:"errors"`
}

type scaleTargets struct {
	Concurrency float64      `json:"concurrency" min:"0.01" max:"1000000" doc:"Requests in flight for one instance."`
	RPS         float64      `json:"rps" min:"0.01" max:"1000000000" doc:"Requests per second for one instance."`
	CPU         unit.Percent `json:"cpu" min:"1%" max:"1000%" doc:"Use of resources.cpu, or of one core without it: 70%."`
	_           struct{}     `later:"queue,promql,memory"`
}

type behaviors struct {
	Up   behavior `json:"up" doc:"More instances."`
	Down behavior `json:"down" doc:"Fewer instances."`
}

type behavior struct {
	Stabilization unit.Duration `json:"stabilization" max:"24h" doc:"How far back recommendations count: going up the least of them, going down the most."`
	Percent       int           `json:"percent" min:"0" max:"1000000" doc:"The most change in a period, in percent of the number at its start; 0 is no limit."`
	Pods          int           `json:"pods" min:"0" max:"1000" doc:"The most change in a period, in instances; 0 is no limit. With percent, the larger counts."`
	Period        unit.Duration `json:"period" min:"1s" max:"24h" doc:"The period for percent and pods."`
}

type hold struct {
	Max     int           `json:"max" min:"1" max:"1000000" doc:"The most requests that wait; others are answered 503 at once."`
	Timeout unit.Duration `json:"timeout" min:"1ms" max:"1h" doc:"How long a request waits at most."`
}

// targets are a route's: a name, a list of names, or a list with weights.
type targets []target

type target struct {
	Service string `json:"service" doc:"The service's name."`
	Weight  int    `json:"weight" min:"0" max:"1000000" doc:"Its share among the route's weights."`
	node    *plug.Node
}

// Default implements plug.Defaulter.
func (t *target) Default() { t.Weight = 1 }

// DecodeNode implements plug.NodeDecoder.
func (t *targets) DecodeNode(n *plug.Node) []plug.Problem {
	items := []*plug.Node{n}
	if n.Shape == plug.List {
		items = n.Items
	}
	if n.Shape == plug.Null || len(items) == 0 {
		return []plug.Problem{{Pos: n.Pos, Text: "to names no service", Hint: "write to: SERVICE, or a list of {service: NAME, weight: 1}"}}
	}
	var problems []plug.Problem
	*t = make(targets, len(items))
	for i, item := range items {
		to := &(*t)[i]
		to.Default()
		if to.node = item; item.Shape == plug.Map {
			type plain target // without methods
			p := plain(*to)
			problems = append(problems, plug.Decode(item, &p)...)
			*to = target(p)
			if item.Get("service") == nil {
				problems = append(problems, plug.Problem{Pos: item.Pos, Text: "this target names no service", Hint: "add service: NAME"})
			} else {
				to.node = item.Get("service")
			}
			continue
		}
		if item.Shape == plug.List || item.Shape == plug.Null {
			problems = append(problems, plug.Problem{Pos: item.Pos, Text: fmt.Sprintf("a target must be a service's name or {service: NAME, weight: 1}, but it is %s", item.Shape)})
			continue
		}
		to.Service = item.Text
	}
	return problems
}

// use attaches something named with options: a name, or a name with a mapping.
type use struct {
	Name    string
	options *plug.Node // nil for none
	node    *plug.Node // the whole of it
	pos     plug.Pos   // of the name
}

// DecodeNode implements plug.NodeDecoder.
func (u *use) DecodeNode(n *plug.Node) []plug.Problem {
	u.node, u.pos = n, n.Pos
	switch {
	case n.Shape == plug.Text && n.Text != "":
		u.Name = n.Text
		return nil
	case n.Shape == plug.Map && len(n.Fields) == 1:
		u.Name, u.pos = n.Fields[0].Name, n.Fields[0].Pos
		if u.options = n.Fields[0].Node; u.options.Shape == plug.Null {
			u.options = nil
		}
		return nil
	case n.Shape == plug.Map && len(n.Fields) > 1:
		p := plug.Problem{Pos: n.Fields[1].Pos, Text: fmt.Sprintf("one name an entry, but after %q there is %q", n.Fields[0].Name, n.Fields[1].Name)}
		p.Hint = fmt.Sprintf("indent %q further if it is an option of %q, or give it an entry of its own", n.Fields[1].Name, n.Fields[0].Name)
		return []plug.Problem{p}
	}
	return []plug.Problem{{Pos: n.Pos, Text: "this must be a name, or a name with options", Hint: "write it as NAME or {NAME: {option: value}}"}}
}

// overlay is a profile: a part of a manifest, merged over the rest.
type overlay struct{}

// DecodeNode implements plug.NodeDecoder. What a profile holds is read when it
// is merged; here only its shape is.
func (*overlay) DecodeNode(n *plug.Node) []plug.Problem {
	if n.Shape != plug.Map && n.Shape != plug.Null {
		return []plug.Problem{{Pos: n.Pos, Text: "a profile must be a mapping, a part of a manifest"}}
	}
	return nil
}
