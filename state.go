package swell

import "time"

// Decision is the replica count that a policy wants for one service, and why.
type Decision struct {
	Service  string
	Replicas int
	By       string // the policy: "concurrency", "rps", "cpu", "latency", "capacity" (learned), "manual", "zero", "bounds", "hold"
	Reason   string // one sentence for people
	Steps    []Step // how the count came about, in order
	At       time.Time
}

// Step is one step of the reasoning behind a decision: signal, target or
// forecast, capacity, limit, result.
type Step struct {
	Name  string  // "signal", "capacity", "want", "pending", "limit", "result", …
	Value float64 // in the unit that Text names
	Text  string
}

// Workload is what a runtime is to make true for one revision of one service.
// A rolling update and a canary are two workloads of one service.
type Workload struct {
	Service  string
	Revision string // hash of Run
	Replicas int
	Run      Run // every reference resolved but ${PORT}
	Health   Health
	Stop     Stop
}

// State is where an instance is in its life. It only grows.
type State int

// The states of an instance.
const (
	Starting State = iota // started, not yet ready
	Ready                 // serves
	Draining              // out of the endpoints, ending
	Gone                  // ended; seen once, then dropped
)

// Instance is one running copy of a service, as a driver saw it.
type Instance struct {
	ID       string // never reused, within a driver's lifetime and across them
	Service  string
	Revision string
	Slot     int // 0 … replicas-1 within a revision
	State    State
	Addr     string    // host:port where it serves; "" while unknown
	PID      int       // of a process; 0 elsewhere
	Created  time.Time // when it was started
	ReadyAt  time.Time // when it became ready; zero before
	Restarts int       // how often its slot was restarted before it
	Reason   string    // why it is not ready, why it ended; for people
}

// Edge is a call relation: Caller declares in its uses that it calls Callee.
type Edge struct{ Caller, Callee string }

// GatewayCaller is the caller's name for requests that come in by the gateway.
const GatewayCaller = "gateway"

// Snapshot is everything that a data plane needs, complete: the newest replaces
// all before it.
type Snapshot struct {
	Version   uint64 // grows with every change
	App       string
	Gateway   Gateway
	Edges     []EdgeAddr // sorted by caller, callee
	Upstreams []Upstream // sorted by service
}

// EdgeAddr is where a caller reaches a callee through the data plane.
type EdgeAddr struct {
	Edge
	Addr string // host:port that the data plane listens on
}

// Upstream is a service as the data plane sees it.
type Upstream struct {
	Service   string
	Protocol  Protocol
	TLS       *UpstreamTLS
	Proxy     int // version of the PROXY protocol; 0 is none
	Balance   Use
	Spread    Spread
	Outliers  Outliers
	Pool      Pool
	Use       []Use
	Health    Health
	Hold      Hold
	Endpoints []Endpoint // the ready instances; sorted by ID
}

// Endpoint is an instance that may get requests.
type Endpoint struct {
	ID       string
	Addr     string // host:port
	Weight   int    // relative share, at least 1
	Zone     string // "" is unknown
	Revision string
}

// Signal is what one source measured of one service (or of one instance of it)
// over the window that ends at At.
type Signal struct {
	Service  string
	Instance string // "" for the service as a whole
	Source   string // "proxy", "driver"
	At       time.Time
	Window   time.Duration

	// From data planes, for a service as a whole.
	Rate     float64 // requests that arrived, per second
	Done     float64 // requests that ended, per second
	Errors   float64 // answers of 5xx and broken exchanges, per second
	Inflight float64 // requests at instances, mean over the window (waiting ones excluded)
	Waiting  int     // requests held for an instance, at At
	Latency  Latency
	Calls    []Calls // Rate by caller; sorted by caller

	// From drivers, for one instance.
	CPU    float64 // cores used, mean over the window
	Memory int64   // bytes resident, at At
}

// Calls are the requests that one caller makes of a service.
type Calls struct {
	Caller string
	Rate   float64 // per second
}

// Latency describes the durations of the requests that ended in a window, from
// the last byte of the request's head in to the last byte of the answer out.
type Latency struct {
	Count         int64
	Mean          time.Duration
	P50, P95, P99 time.Duration
}

// Line is one line that an instance wrote.
type Line struct {
	Seq      uint64 // grows over all lines of a driver
	At       time.Time
	Service  string
	Instance string
	Stream   string // "stdout", "stderr", or "swell" for what the driver says of it
	Text     string
}
