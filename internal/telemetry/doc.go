// Package telemetry turns what happens on the data plane's hooks into metrics,
// signals and logs: counts and latencies for each route, service, edge and
// instance at /metrics, one signal a second for each service, the last ten
// minutes for pages, W3C trace context, and access log lines.
//
// A [Hub] holds it all. Whoever compiles a table of routes asks it for a [Meter]
// for each thing that is measured, a [Counter] for each event and a [Wait] for
// each waiting room, and keeps the pointers: on the path of a request there is no
// look-up, no lock and no allocation, only atomic additions spread over shards.
// One loop, [Hub.Run], reads them once a second.
//
// Times on the hot path are nanoseconds of exchange.Now.
package telemetry
