package swell

import (
	"encoding/json"
	"net/netip"
	"time"
)

// App is one application as its people wrote it, with every default filled in.
// Its only writer is the manifest (a file, the API's apply, later GitOps).
type App struct {
	Name     string
	Policy   Policy
	Gateway  Gateway
	Services []Service // sorted by name, names are unique
}

// Policy says what happens to a call along an edge that nobody declared.
type Policy string

// The policies for undeclared edges.
const (
	Enforce Policy = "enforce" // refused
	Audit   Policy = "audit"   // passed and reported
)

// Gateway is the way in from outside.
type Gateway struct {
	Listen string     // host:port for HTTP/1.1 and HTTP/2 in the clear; "" is none
	TLS    *TLS       // nil: none
	TCP    []TCPRoute // listeners whose connections are passed on as they are
	// Proxies are the prefixes from which the PROXY protocol (v1 or v2) is expected at
	// every listener of the gateway, and Forwarded fields are believed.
	Proxies []netip.Prefix
	Limits  Limits
	Use     []Use   // filters for every route, outermost first
	Routes  []Route // as written; precedence is the data plane's matter
}

// TLS is a gateway's listener for HTTPS: HTTP/1.1 and HTTP/2 over TCP, HTTP/3 over
// UDP at the same port.
type TLS struct {
	Listen       string // host:port
	HTTP3        bool
	Certificates []Certificate // reread when the files change; by SNI, the first one else
	ACME         *ACME         // nil: none
	Clients      *Clients      // nil: clients are not asked for certificates
	Minimum      string        // version: "1.2" or "1.3"
	Redirect     bool          // requests in the clear are answered 308 to https
	HSTS         HSTS          // zero: none
}

// Certificate is a chain and its key in PEM files, by absolute paths.
type Certificate struct{ Cert, Key string }

// ACME has a certificate authority issue certificates (RFC 8555).
type ACME struct {
	Email     string
	Directory string   // URL of the CA's directory; "" is Let's Encrypt's
	CA        string   // PEM file of roots for the directory's own TLS; "" is the system's
	Hosts     []string // sorted; the exact hosts of the routes if none are given
	Storage   string   // folder, absolute
}

// Clients says what clients' certificates are good for (mTLS).
type Clients struct {
	CA       string // PEM file of roots, reread when it changes
	Required bool   // without a valid one there is no connection; else it is only verified if given
}

// HSTS is the Strict-Transport-Security field of answers over TLS (RFC 6797).
type HSTS struct {
	Age        time.Duration // 0: no field
	Subdomains bool
	Preload    bool
}

// TCPRoute passes connections on to a service.
type TCPRoute struct {
	Listen  string // host:port
	Service string
}

// Limits bound what the clients of a gateway may take. Every zero is the codec's default.
type Limits struct {
	Connections int           // at a time
	PerAddress  int           // connections of one client address at a time
	Streams     int           // at a time in one HTTP/2 or HTTP/3 connection
	Head        int           // bytes of a request's head
	Target      int           // bytes of a request target
	Fields      int           // fields of a head
	Body        int64         // bytes of a request's body; a route's body-limit overrides it
	HeadTime    time.Duration // for a head
	IdleTime    time.Duration // between requests
	ReadTime    time.Duration // without a byte of an announced body
	WriteTime   time.Duration // without the client taking a byte of the answer
	Drain       time.Duration // for what is under way when the gateway ends
}

// Route sends the requests that match to services.
type Route struct {
	Name     string // unique; made from the match where none is given
	Match    Match
	To       []Target // none if Redirect is set
	Rewrite  Rewrite
	Redirect *Redirect
	Use      []Use // filters, outermost first, inside the gateway's own
}

// Match says which requests a route takes. An empty field takes all. Precedence
// among routes is Gateway API's: the most exact host, then the exact path before
// the one with segments before the longest prefix, then a method, then the most
// headers, then the most query parameters, then the first written. A path by
// regular expression comes after the prefixes, but before what takes any path.
type Match struct {
	Host    string   // exact, or "*.example.com" for any labels in front
	Path    string   // "/a/b" exact, "/a/**" prefix by segment, "/a/{id}/c" one segment each
	Regex   string   // RE2 for the whole path, instead of Path
	Methods []string // sorted
	Headers []Value  // sorted by name, names canonical
	Query   []Value  // sorted by name
}

// Value is a name with what its value must be: exactly Exact, or all of it like
// Regex (RE2) if that is given.
type Value struct{ Name, Exact, Regex string }

// Target is a service that takes a share of a route's requests.
type Target struct {
	Service string
	Weight  int // share among the route's targets; at least 0, 1 if not given
}

// Rewrite changes a request's target before it is forwarded.
type Rewrite struct {
	Prefix *string // replaces what "/**" stood behind; nil leaves the path
	Path   *string // replaces the whole path, with "{name}" and "$1" filled in from the match; nil leaves it
	Host   string  // replaces the Host header; "" leaves it
}

// Redirect answers a request with another place to look.
type Redirect struct {
	Scheme, Host, Path string  // "" keeps the request's; Path is filled in as Rewrite.Path is
	Prefix             *string // instead of Path: replaces what "/**" stood behind; nil leaves the path
	Port               int     // 0 is the port of a Scheme that is given, else the request's
	Status             int     // 301, 302, 303, 307 or 308
}

// Pair is a name with a value.
type Pair struct{ Name, Value string }

// Use attaches a named behaviour (a filter, a balancer) with its options.
// Options is the options struct in canonical JSON: every default filled in,
// keys in the struct's order; it was checked when the manifest was read.
type Use struct {
	Name    string
	Options json.RawMessage
}

// Service is a set of interchangeable instances behind one name.
type Service struct {
	Name     string
	Run      Run       // how Swell runs it; zero if Address is set
	Address  []Address // of a service that Swell does not run; sorted
	Protocol Protocol
	TLS      *UpstreamTLS // nil: in the clear
	Proxy    int          // version of the PROXY protocol that connections to it begin with; 0 is none
	Health   Health
	Uses     []string // the services that it calls, sorted
	Balance  Use
	Spread   Spread
	Outliers Outliers
	Pool     Pool
	Use      []Use // filters for every call to it, outermost first
	Scale    Scale
	Stop     Stop
}

// Protocol is what a service speaks.
type Protocol string

// The protocols of services.
const (
	HTTP  Protocol = "http"  // HTTP/1.1
	HTTP2 Protocol = "http2" // HTTP/2: by ALPN over TLS, by prior knowledge in the clear
	GRPC  Protocol = "grpc"  // HTTP2 whose failures are gRPC's: a status in trailers
	TCP   Protocol = "tcp"   // whatever: connections are passed on
)

// Address is where a service that Swell does not run can be reached.
type Address struct {
	Addr   string // host:port
	Weight int    // relative share, at least 1
	Zone   string // "" is unknown
}

// UpstreamTLS says how a service is spoken to by TLS. Files are absolute, PEM, and
// reread when they change.
type UpstreamTLS struct {
	CA       string      // roots; "" is the system's
	Name     string      // that its certificate must have, and SNI; "" is the address's host
	Cert     Certificate // shown to it; zero is none
	Insecure bool        // its certificate is not verified
}

// Spread says which endpoints a data plane spreads requests over.
type Spread struct {
	SlowStart time.Duration // in which a new endpoint's share grows from little to whole; 0: at once
	Panic     float64       // share of endpoints that are in, below which ejected ones are used as well; 0: only if none is left
	Zones     string        // "prefer": endpoints of the data plane's own zone as long as they suffice; "" is all alike
	Subset    int           // each data plane uses so many of the endpoints; 0 is all
}

// Outliers say when an endpoint that does badly is taken out for a while. Zero
// fields judge nothing.
type Outliers struct {
	Consecutive int           // failed or 5xx attempts in a row
	SuccessRate float64       // standard deviations below the mean of all endpoints' success rates (Envoy's outlier detection)
	Latency     float64       // times the median of all endpoints' mean latencies
	Requests    int           // in an interval, below which an endpoint is not judged by its rates
	Interval    time.Duration // between two judgements by rates
	Base        time.Duration // how long it is out the first time; doubled each time in a row
	Longest     time.Duration
	MaxEjected  float64 // share of the endpoints that may be out at a time
}

// Pool bounds the connections from one data plane to one endpoint.
type Pool struct {
	Connections int           // at a time; more requests wait for one (HTTP/1.1), share one (HTTP/2) or are refused (TCP); 0 is no bound
	Pending     int           // requests that wait for a connection; more are refused
	Idle        int           // kept without a request
	IdleTime    time.Duration // for how long
	Connect     time.Duration // for a connection to be made, TLS included
}

// Run says how an instance is started. A revision is the hash of a Run.
type Run struct {
	Command []string // program and arguments; "${PORT}" in them is the instance's port
	Dir     string   // working directory, absolute
	Env     []Pair   // sorted by name; "${PORT}" as in Command
	Port    int      // where the program listens by itself; 0: it obeys $PORT
}

// Health says how it is found out that an instance can serve.
type Health struct {
	Kind     string        // "http", "tcp" or "grpc"
	Path     string        // for http; for grpc the service's name
	Interval time.Duration // between checks of a ready instance
	Timeout  time.Duration // of one check
	Failures int           // consecutive ones until a ready instance is taken for dead
	Start    time.Duration // how long a new instance may take to be ready
}

// Stop says how an instance is ended: it leaves the endpoints, its exchanges end
// (at most Drain), it gets SIGTERM, and after Grace SIGKILL.
type Stop struct {
	Drain time.Duration
	Grace time.Duration
}

// Scale bounds and steers the replica count of a service.
type Scale struct {
	Min, Max int // Min 0: to zero, requests wait for the first instance
	SLO      SLO
	Targets  Targets
	Up, Down Behavior
	Idle     time.Duration // without a request before the last instance goes (Min 0)
	Hold     Hold
	CPU      float64 // cores that one instance may use, from resources; 0 is unknown
	Memory   int64   // bytes that one instance may use, from resources; 0 is unknown
}

// SLO is the goal that users feel. Zero fields are no goal.
type SLO struct {
	Quantile float64       // of Latency, in (0, 1): 0.95 for p95
	Latency  time.Duration // at that quantile
}

// Targets are per-instance goals. Zero fields are no target; with several, the
// one that wants the most instances decides.
type Targets struct {
	Concurrency float64 // requests in flight for one instance
	RPS         float64 // requests per second for one instance
	CPU         float64 // share of Scale.CPU (of one core if that is unknown), 0.7 for 70 %
}

// Behavior limits how the replica count moves in one direction.
type Behavior struct {
	Stabilization time.Duration // up: the least, down: the most that was wanted in it counts
	Percent       int           // most change in Period, percent of the count at its start; 0 is no limit
	Pods          int           // most change in Period, instances; 0 is no limit; the larger of the two holds
	Period        time.Duration
}

// Hold bounds the requests that wait for a service without an instance.
type Hold struct {
	Max     int           // requests
	Timeout time.Duration // how long each waits at most
}
