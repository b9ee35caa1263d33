package manifest

import (
	"fmt"
	"net/netip"

	"github.com/invopop/jsonschema"

	"swell/internal/plug"
	"swell/internal/unit"
)

// What a manifest says of the data plane beside its routes.

type tls struct {
	Listen       string        `json:"listen" doc:"host:port; TCP for HTTP/1.1 and HTTP/2, UDP for HTTP/3."`
	HTTP3        bool          `json:"http3" doc:"Whether HTTP/3 is spoken too, and offered by Alt-Svc."`
	Certificates []certificate `json:"certificates" doc:"Certificates, chosen by the name that the client asks for; the first one if none fits. Reread when the files change."`
	ACME         *acme         `json:"acme" doc:"Have a certificate authority issue certificates (RFC 8555), for the exact hosts of the routes."`
	Clients      *clients      `json:"clients" doc:"Ask clients for certificates (mTLS)."`
	Minimum      string        `json:"minimum" enum:"1.2,1.3" doc:"The lowest version of TLS."`
	Redirect     bool          `json:"redirect" doc:"Answer requests in the clear with 308 to https."`
	HSTS         hsts          `json:"hsts" doc:"Strict-Transport-Security on answers over TLS."`
}

// Default implements plug.Defaulter.
func (t *tls) Default() { t.Listen, t.HTTP3, t.Minimum = ":8443", true, "1.2" }

type certificate struct {
	Cert string `json:"cert" doc:"File of the certificate with its chain, in PEM, relative to the manifest's folder."`
	Key  string `json:"key" doc:"File of its key, in PEM."`
}

type acme struct {
	Email     string   `json:"email" doc:"Whom the authority writes to."`
	Directory string   `json:"directory" doc:"URL of the authority's directory; Let's Encrypt's if not given."`
	CA        string   `json:"ca" doc:"File of roots for the directory's own TLS, in PEM; the system's if not given."`
	Hosts     []string `json:"hosts" doc:"Which hosts get certificates; the exact hosts of the routes if not given."`
	Storage   string   `json:"storage" doc:"Folder for keys and certificates, relative to the manifest's folder."`
}

// Default implements plug.Defaulter.
func (a *acme) Default() { a.Storage = ".swell/acme" }

type clients struct {
	CA       string `json:"ca" doc:"File of roots that clients' certificates must lead to, in PEM. Reread when it changes."`
	Required bool   `json:"required" doc:"Whether there is no connection without one; else it is only verified if given."`
}

// Default implements plug.Defaulter.
func (c *clients) Default() { c.Required = true }

type hsts struct {
	Age        unit.Duration `json:"age" max:"17520h" doc:"How long browsers remember to come by https only; 0s is no such field."`
	Subdomains bool          `json:"subdomains" doc:"For all hosts below as well."`
	Preload    bool          `json:"preload" doc:"Let browsers' makers put the host into their lists."`
}

type tcpRoute struct {
	Listen string `json:"listen" doc:"host:port."`
	To     string `json:"to" doc:"The service, whose protocol is tcp."`
}

type limits struct {
	Connections int           `json:"connections" min:"1" max:"10000000" doc:"Connections at a time; beyond it idle ones are closed and new ones wait. 65536 if not given."`
	PerAddress  int           `json:"per-address" min:"1" max:"10000000" doc:"Connections of one client address (of IPv6, one /64) at a time; no bound if not given."`
	Streams     int           `json:"streams" min:"1" max:"100000" doc:"Requests at a time on one connection of HTTP/2 or HTTP/3. 256 if not given."`
	Head        unit.Bytes    `json:"head" min:"4Ki" max:"1Mi" doc:"Of a request's head; more is answered 431. 64Ki if not given."`
	Target      unit.Bytes    `json:"target" min:"1Ki" max:"1Mi" doc:"Of a request's target; more is answered 414. 32Ki if not given."`
	Fields      int           `json:"fields" min:"16" max:"10000" doc:"Fields of a head; more is answered 431. 128 if not given."`
	Body        unit.Bytes    `json:"body" min:"1" doc:"Of a request's body; more is answered 413. No bound if not given; a body-limit on a route takes its place."`
	HeadTime    unit.Duration `json:"head-time" min:"100ms" max:"10m" doc:"For a head to arrive; then 408. 10s if not given."`
	IdleTime    unit.Duration `json:"idle-time" min:"100ms" max:"24h" doc:"Without a request until a connection is closed. 75s if not given."`
	ReadTime    unit.Duration `json:"read-time" min:"100ms" max:"24h" doc:"Without a byte of a body that was announced. 60s if not given."`
	WriteTime   unit.Duration `json:"write-time" min:"100ms" max:"24h" doc:"Without the client taking a byte of the answer. 60s if not given."`
	Drain       unit.Duration `json:"drain" min:"0s" max:"24h" doc:"For what is under way to end when the gateway ends. 30s if not given."`
}

type upstreamTLS struct {
	CA       string `json:"ca" doc:"File of roots that its certificate must lead to, in PEM; the system's if not given."`
	Name     string `json:"name" doc:"The name that its certificate must have; the address's host if not given."`
	Cert     string `json:"cert" doc:"File of a certificate to show to it, in PEM."`
	Key      string `json:"key" doc:"File of that certificate's key."`
	Insecure bool   `json:"insecure" doc:"Do not verify its certificate. For tests only."`
}

type spread struct {
	SlowStart unit.Duration `json:"slow-start" max:"1h" doc:"In which the share of a new instance grows from little to whole."`
	Panic     unit.Percent  `json:"panic" max:"100%" doc:"The share of instances that are in, below which those that were taken out for failing are used as well; only if none is left, if not given."`
	Zones     string        `json:"zones" enum:"prefer" doc:"prefer: instances in the data plane's own zone, as long as they suffice."`
	Subset    int           `json:"subset" min:"0" max:"100000" doc:"How many of the instances each data plane uses; 0 is all."`
}

type outliers struct {
	Consecutive int           `json:"consecutive" min:"0" max:"10000" doc:"Failed or 5xx attempts in a row until it is taken out; 0 never."`
	SuccessRate float64       `json:"success-rate" min:"0" max:"10" doc:"Standard deviations below the mean of all instances' success rates; 0 is not judged."`
	Latency     float64       `json:"latency" min:"0" max:"1000" doc:"Times the median of all instances' latencies; 0 is not judged."`
	Requests    int           `json:"requests" min:"1" max:"1000000" doc:"In an interval, below which success rate and latency are not judged."`
	Interval    unit.Duration `json:"interval" min:"100ms" max:"1h" doc:"Between two judgements by success rate and latency."`
	Base        unit.Duration `json:"base" min:"10ms" max:"1h" doc:"How long it is out the first time; each time in a row doubles it."`
	Longest     unit.Duration `json:"longest" min:"10ms" max:"24h" doc:"How long it is out at most."`
	MaxEjected  unit.Percent  `json:"max-ejected" max:"100%" doc:"The share of the instances that may be out for failing at a time."`
}

type pool struct {
	Connections int           `json:"max" min:"0" max:"1000000" doc:"Connections at a time; requests beyond them wait. 0 is no bound."`
	Pending     int           `json:"pending" min:"0" max:"1000000" doc:"Requests that wait for a connection; more are answered 503."`
	Idle        int           `json:"idle" min:"0" max:"1000000" doc:"Connections kept without a request."`
	IdleTime    unit.Duration `json:"idle-time" min:"10ms" max:"1h" doc:"How long they are kept."`
	Connect     unit.Duration `json:"connect" min:"1ms" max:"5m" doc:"How long connecting may take, TLS included."`
}

// pattern is a text, or a regular expression for all of one.
type pattern struct{ Text, Regex string }

// DecodeNode implements plug.NodeDecoder.
func (p *pattern) DecodeNode(n *plug.Node) []plug.Problem {
	if n.Shape != plug.Map {
		return plug.Decode(n, &p.Text)
	}
	var r struct {
		Regex string `json:"regex"`
	}
	problems := plug.Decode(n, &r)
	if len(problems) == 0 && r.Regex == "" {
		problems = []plug.Problem{{Pos: n.Pos, Text: "this pattern has no regular expression", Hint: "write it as {regex: EXPRESSION}"}}
	}
	p.Regex = r.Regex
	return problems
}

// JSONSchema implements the schema generator's interface.
func (pattern) JSONSchema() *jsonschema.Schema {
	full := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"regex"}, AdditionalProperties: jsonschema.FalseSchema}
	full.Properties.Set("regex", &jsonschema.Schema{Type: "string", Description: "A regular expression (RE2) that all of the text must fit."})
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{scalarText(), full}}
}

// address is host:port, or that with a weight and a zone.
type address struct {
	At     string
	Weight int
	Zone   string
}

// DecodeNode implements plug.NodeDecoder.
func (a *address) DecodeNode(n *plug.Node) []plug.Problem {
	a.Weight = 1
	if n.Shape != plug.Map {
		return plug.Decode(n, &a.At)
	}
	full := fullAddress{Weight: 1}
	problems := plug.Decode(n, &full)
	if n.Get("at") == nil {
		problems = append(problems, plug.Problem{Pos: n.Pos, Text: "this address says not where", Hint: "write it as {at: HOST:PORT, weight: 1, zone: NAME}"})
	}
	*a = address(full)
	return problems
}

type fullAddress struct {
	At     string `json:"at" doc:"host:port."`
	Weight int    `json:"weight" min:"1" max:"10000" doc:"Its share of the requests, beside the others'."`
	Zone   string `json:"zone" doc:"Where it is, for spread.zones."`
}

// JSONSchema implements the schema generator's interface.
func (address) JSONSchema() *jsonschema.Schema {
	full := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"at"}, AdditionalProperties: jsonschema.FalseSchema}
	full.Properties.Set("at", &jsonschema.Schema{Type: "string", Description: "host:port."})
	full.Properties.Set("weight", &jsonschema.Schema{Type: "integer", Minimum: "1", Maximum: "10000", Description: "Its share of the requests, beside the others'."})
	full.Properties.Set("zone", &jsonschema.Schema{Type: "string", Description: "Where it is, for spread.zones."})
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{scalarText(), full}}
}

// prefix is a network.
type prefix netip.Prefix

// DecodeNode implements plug.NodeDecoder.
func (p *prefix) DecodeNode(n *plug.Node) []plug.Problem {
	var s string
	if problems := plug.Decode(n, &s); len(problems) > 0 {
		return problems
	}
	if a, err := netip.ParseAddr(s); err == nil {
		*p = prefix(netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	v, err := netip.ParsePrefix(s)
	if err != nil {
		return []plug.Problem{{Pos: n.Pos, Text: fmt.Sprintf("%s is no network", n.Show()), Hint: "write it as 10.0.0.0/8 or fd00::/8"}}
	}
	*p = prefix(v.Masked())
	return nil
}

// JSONSchema implements the schema generator's interface.
func (prefix) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Examples: []any{"10.0.0.0/8"}}
}
