// Package scale decides how many instances each service gets: scaling policies,
// one to a file, and the loop that asks them.
//
// A decision is a deterministic function of an [Input] (what is known now) and
// of a [State] (what was learned before), so that whatever was decided can be
// replayed and explained. The law is the same for every target:
//
//	need = (arrivals + backlog / drain time) / capacity of one instance
//
// Arrivals, not completions, are the demand: a saturated service completes what
// it can and hides the rest. Requests beyond what the instances should hold are
// a backlog that is to be gone some time after the next instance is up; they
// are not counted as concurrency one to one, which would start ten times the
// instances that the load needs. As the need is absolute, instances that are
// still starting are counted by construction.
//
// The targets differ only in where the capacity comes from: it is given (rps),
// follows from the latency (concurrency) or from the cost of a request (cpu),
// or is learned while the service runs (latency, and the default).
package scale
