// Package bench generates load and measures what users would feel under it.
//
// The load is open: when each request is to be sent is decided beforehand, by a
// [Shape], and its latency is counted from that moment. A server that stalls
// therefore shows in the latency of all the requests that it kept waiting; a
// generator that waits for the answer before it sends the next request would
// hide them (coordinated omission). A request that can't be sent, because too many
// are in flight, counts as failed.
//
// Requests go by net/http's client, HTTP/1.1: a judge that shares no code with
// the data plane that it judges. What is kept of a run is bounded, however long
// it is.
package bench
