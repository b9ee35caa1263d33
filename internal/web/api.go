package web

import (
	"fmt"
	"strings"
	"time"

	"swell/internal/plan"
)

// The types of the JSON API, of the server and of the client. Names are in
// snake_case, durations in seconds, rates per second, memory in bytes, CPU in
// cores, times in RFC 3339. Every list is sorted as its endpoint says.

// AppInfo is the answer to GET /api/v1/app.
type AppInfo struct {
	Name     string    `json:"name"` // "" until a manifest was applied
	Policy   string    `json:"policy"`
	Listen   string    `json:"listen"` // of the gateway; "" is no gateway
	Services int       `json:"services"`
	Routes   int       `json:"routes"`
	Version  string    `json:"version"` // of Swell
	Started  time.Time `json:"started"`
	Trouble  string    `json:"trouble"` // why the last plan could not be made true; "" if it could
}

// Status says in one word how a service or an instance does.
type Status string

// The statuses of a service.
const (
	OK       Status = "ok"       // as many instances are ready as are wanted
	Scaling  Status = "scaling"  // serves, and more instances are on their way
	Pending  Status = "starting" // none is ready yet
	Failing  Status = "failing"  // instances end or do not get ready
	Idle     Status = "idle"     // scaled to zero: the next request starts one
	External Status = "external" // not run by Swell
)

// Traffic is what requests looked like over the last ten seconds or so.
type Traffic struct {
	Rate     float64 `json:"rate"`     // requests per second
	Errors   float64 `json:"errors"`   // 5xx and broken exchanges per second
	P50      float64 `json:"p50"`      // seconds; 0 if there was no request
	P95      float64 `json:"p95"`      // seconds
	P99      float64 `json:"p99"`      // seconds
	Inflight float64 `json:"inflight"` // requests at instances
}

// Service is one entry of GET /api/v1/services, sorted by name.
type Service struct {
	Name     string `json:"name"`
	Status   Status `json:"status"`
	Ready    int    `json:"ready"`
	Starting int    `json:"starting"`
	Draining int    `json:"draining"`
	Desired  int    `json:"desired"`
	Min      int    `json:"min"`
	Max      int    `json:"max"`
	Traffic
	Waiting  int      `json:"waiting"`            // requests held for an instance
	Address  []string `json:"address,omitempty"`  // of a service that Swell does not run
	Protocol string   `json:"protocol"`           // "http"
	Uses     []string `json:"uses"`               // sorted
	Goals    []string `json:"goals"`              // what scales it, for people: "p95 ≤ 200ms"
	SLO      float64  `json:"slo,omitempty"`      // goal for the latency at Quantile, seconds
	Quantile float64  `json:"quantile,omitempty"` // 0.95
	By       string   `json:"by,omitempty"`       // the policy that decided last
	Reason   string   `json:"reason,omitempty"`   // why, in one sentence

	// Spark is the rate of the last seconds, oldest first; only in the first
	// event of a stream, whose later events carry the newest rate.
	Spark []float64 `json:"spark,omitempty"`
}

// ServiceDetail is the answer to GET /api/v1/services/{name}.
type ServiceDetail struct {
	Service
	Instances []Instance `json:"instances"`
	Callers   []Edge     `json:"callers"`
	Callees   []Edge     `json:"callees"`
	Decision  *Decision  `json:"decision,omitempty"` // the newest
}

// Instance is one entry of GET /api/v1/instances, sorted by service, then slot,
// then age.
type Instance struct {
	ID       string     `json:"id"`
	Service  string     `json:"service"`
	Revision string     `json:"revision"`
	Slot     int        `json:"slot"`
	State    string     `json:"state"` // "starting", "ready", "draining", "gone"
	Addr     string     `json:"addr"`
	PID      int        `json:"pid,omitempty"`
	Created  time.Time  `json:"created"`
	ReadyAt  *time.Time `json:"ready_at,omitempty"`
	Restarts int        `json:"restarts"`
	Reason   string     `json:"reason,omitempty"`
	CPU      float64    `json:"cpu"`    // cores in use
	Memory   int64      `json:"memory"` // bytes resident
	Traffic
}

// Edge is one entry of GET /api/v1/edges, sorted by caller, then callee.
type Edge struct {
	Caller   string `json:"caller"` // "gateway" for requests from outside
	Callee   string `json:"callee"`
	Declared bool   `json:"declared"` // by a route or by the caller's uses
	Traffic
}

// Route is one entry of GET /api/v1/routes, in the order in which they are tried.
type Route struct {
	Name     string        `json:"name"`
	Match    string        `json:"match"` // for people: "GET shop.example/api/**"
	To       []RouteTarget `json:"to"`
	Redirect string        `json:"redirect,omitempty"`
	Rewrite  string        `json:"rewrite,omitempty"`
	Use      []string      `json:"use"` // filters of the gateway and the route, outermost first
	Traffic
}

// RouteTarget is a service with its share of a route's requests, between 0 and 1.
type RouteTarget struct {
	Service string  `json:"service"`
	Share   float64 `json:"share"`
}

// RouteMatch says which route a URL would take: GET /api/v1/routes?url=&method=.
type RouteMatch struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Route  *Route `json:"route,omitempty"` // nil: none, it would be 404
}

// Decision is one entry of GET /api/v1/decisions, oldest first.
type Decision struct {
	Service  string    `json:"service"`
	Replicas int       `json:"replicas"`
	Previous *int      `json:"previous,omitempty"` // what the decision before it wanted
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Steps    []Step    `json:"steps"`
	At       time.Time `json:"at"`
}

// Step is one step of the reasoning behind a decision.
type Step struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Text  string  `json:"text"`
}

// Point is one second of a service, an entry of
// GET /api/v1/services/{name}/history, oldest first.
type Point struct {
	At time.Time `json:"at"`
	Traffic
	Waiting int `json:"waiting"`
	Ready   int `json:"ready"`
	Desired int `json:"desired"`
}

// Line is one line of output: GET /api/v1/logs, oldest first, and the events of
// /api/v1/logs/stream (a list of them each).
type Line struct {
	Seq      uint64    `json:"seq"`
	At       time.Time `json:"at"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	Stream   string    `json:"stream"` // "stdout", "stderr" or "swell"
	Text     string    `json:"text"`
}

// LogQuery chooses lines. Empty fields choose all.
type LogQuery struct {
	Service  string
	Instance string
	Q        string // is in the text, whatever the case
	N        int    // the last so many that match; 0 is 200
	Since    uint64 // only for following: lines after this Seq; 0 begins with the last N
}

// Frame is an event of GET /api/v1/stream: all that the dashboard shows, but for
// logs and histories.
type Frame struct {
	At        time.Time  `json:"at"`
	Tick      bool       `json:"tick"` // the one of this second; the others tell of a change in between
	App       AppInfo    `json:"app"`
	Services  []Service  `json:"services"`
	Instances []Instance `json:"instances"`
	Edges     []Edge     `json:"edges"`
	Routes    []Route    `json:"routes"`

	// Points is the newest second of each service, by name: the next point of its
	// history. Only with a tick.
	Points map[string]Point `json:"points,omitempty"`

	// Decisions are the newest hundred, oldest first; null if they are those of
	// the event before.
	Decisions []Decision `json:"decisions"`
}

// ScaleRequest is the body of POST /api/v1/services/{name}/scale.
type ScaleRequest struct {
	Replicas int    `json:"replicas"`      // the least, whatever the policies want; 0 takes a floor back
	For      string `json:"for,omitempty"` // a duration as Go writes it; "" is 10m
}

// ScaleResult is the answer to it.
type ScaleResult struct {
	Service  string    `json:"service"`
	Replicas int       `json:"replicas"`
	Until    time.Time `json:"until"`
}

// ApplyResult is the answer to POST /api/v1/apply.
type ApplyResult struct {
	App      string        `json:"app"`
	Applied  bool          `json:"applied"` // false for a dry run
	Changes  []plan.Change `json:"changes"`
	Warnings []Problem     `json:"warnings"`
}

// Problem is one thing that is wrong in a manifest.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1; 0 is unknown
	Column int    `json:"column,omitempty"` // from 1, in characters
	Width  int    `json:"width,omitempty"`  // characters that are meant, from Column on
	Text   string `json:"text"`             // what is wrong
	Hint   string `json:"hint,omitempty"`   // what would be right
	Source string `json:"source,omitempty"` // the offending line
}

// String is the problem as file:line:column: text (hint).
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:", p.Line)
			if p.Column > 0 {
				fmt.Fprintf(&b, "%d:", p.Column)
			}
		}
		b.WriteByte(' ')
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Invalid is the error of a manifest that can't be applied; Apply of [Options]
// returns it, and so does [Client.Apply].
type Invalid struct{ Problems []Problem }

// Error lists the problems, one on a line.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Error is what the API answers when it refuses, as {"error": {…}}.
type Error struct {
	Status   int       `json:"status"`  // of the HTTP answer
	Message  string    `json:"message"` // for people
	Problems []Problem `json:"problems,omitempty"`
}

// Error is the message.
func (e *Error) Error() string { return e.Message }
