package telemetry

import "time"

// Traffic is what requests looked like over a window. Rates are per second,
// durations in seconds.
type Traffic struct {
	Rate     float64 `json:"rate"`     // requests that arrived
	Done     float64 `json:"done"`     // requests that ended
	Errors   float64 `json:"errors"`   // of those, answers of 5xx and broken exchanges
	Mean     float64 `json:"mean"`     // latency; 0 if no request ended
	P50      float64 `json:"p50"`      // latency
	P95      float64 `json:"p95"`      // latency
	P99      float64 `json:"p99"`      // latency
	Inflight float64 `json:"inflight"` // mean of the requests at work
	In       float64 `json:"in"`       // bytes of request bodies
	Out      float64 `json:"out"`      // bytes of response bodies
}

// ServiceStat is the traffic of a service over the last ten seconds, from all
// callers. Inflight counts the attempts at its instances, not the waiting ones.
type ServiceStat struct {
	Service string `json:"service"`
	Traffic
	Waiting int `json:"waiting"` // requests held for an instance, now
	Ready   int `json:"ready"`
	Desired int `json:"desired"`
}

// EdgeStat is the traffic from a caller to a callee over the last ten seconds.
type EdgeStat struct {
	Caller string `json:"caller"`
	Callee string `json:"callee"`
	Traffic
}

// RouteStat is the traffic of one of the gateway's routes over the last ten
// seconds, to all its services.
type RouteStat struct {
	Route string `json:"route"`
	Traffic
}

// InstanceStat is the traffic of attempts at one instance over the last ten
// seconds, and what it uses.
type InstanceStat struct {
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Traffic
	CPU    float64 `json:"cpu"`    // cores; 0 if unknown
	Memory int64   `json:"memory"` // bytes; 0 if unknown
}

// Point is one second of a service.
type Point struct {
	At time.Time `json:"at"` // its end
	Traffic
	Waiting int `json:"waiting"` // at its end
	Ready   int `json:"ready"`
	Desired int `json:"desired"`
}
