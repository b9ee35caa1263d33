package swell

import (
	"encoding/json"
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
	Listen string  // host:port for HTTP/1.1; "" is no gateway
	Use    []Use   // filters for every route, outermost first
	Routes []Route // as written; precedence is the data plane's matter
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
// headers, then the most query parameters, then the first written.
type Match struct {
	Host    string   // exact, or "*.example.com" for any label in front
	Path    string   // "/a/b" exact, "/a/**" prefix by segment, "/a/{id}/c" one segment each
	Methods []string // sorted
	Headers []Pair   // exact values; sorted by name, names canonical
	Query   []Pair   // exact values; sorted by name
}

// Target is a service that takes a share of a route's requests.
type Target struct {
	Service string
	Weight  int // share among the route's targets; at least 0, 1 if not given
}

// Rewrite changes a request's target before it is forwarded.
type Rewrite struct {
	Prefix *string // replaces what "/**" stood behind; nil leaves the path
	Path   *string // replaces the whole path; nil leaves it
	Host   string  // replaces the Host header; "" leaves it
}

// Redirect answers a request with another place to look.
type Redirect struct {
	Scheme, Host, Path string // "" keeps the request's
	Port               int    // 0 keeps the request's
	Status             int    // 301, 302, 303, 307 or 308
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
	Run      Run      // how Swell runs it; zero if Address is set
	Address  []string // host:port of a service that Swell does not run; sorted
	Protocol string   // "http"
	Health   Health
	Uses     []string // the services that it calls, sorted
	Balance  Use
	Use      []Use // filters for every call to it, outermost first
	Scale    Scale
	Stop     Stop
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
