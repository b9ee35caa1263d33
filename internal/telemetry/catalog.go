package telemetry

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one of those that /metrics shows.
type metric struct {
	name   string
	kind   string // "counter", "gauge" or "histogram"
	labels []string
	help   string
	desc   *prometheus.Desc
}

// The metrics that are made from meters, waiting rooms, replicas and usage.
var (
	requests        = define("swell_requests_total", "counter", "Requests that ended, by caller, service and status code; code 0 is an exchange that broke, 499 a client that left.", "caller", "service", "code")
	requestSeconds  = define("swell_request_duration_seconds", "histogram", "Time from the end of the request's head to the end of the answer.", "caller", "service")
	requestInflight = define("swell_requests_in_flight", "gauge", "Requests that have begun and not ended, waiting ones included.", "caller", "service")
	requestBytes    = define("swell_request_body_bytes_total", "counter", "Bytes of request bodies that came from callers.", "caller", "service")
	responseBytes   = define("swell_response_body_bytes_total", "counter", "Bytes of response bodies that went to callers.", "caller", "service")

	routeRequests = define("swell_route_requests_total", "counter", "Requests of the gateway that ended, by route, service and status code.", "route", "service", "code")
	routeSeconds  = define("swell_route_request_duration_seconds", "histogram", "Time from the end of the request's head to the end of the answer, by route.", "route", "service")
	routeInflight = define("swell_route_requests_in_flight", "gauge", "Requests of the gateway that have begun and not ended, by route.", "route", "service")

	instanceRequests = define("swell_instance_requests_total", "counter", "Attempts at an instance that ended, by status code.", "service", "instance", "code")
	instanceSeconds  = define("swell_instance_request_duration_seconds", "histogram", "Duration of the attempts at an instance.", "service", "instance")
	instanceInflight = define("swell_instance_requests_in_flight", "gauge", "Attempts at an instance that have begun and not ended.", "service", "instance")
	instanceCPU      = define("swell_instance_cpu_cores", "gauge", "CPU that an instance uses, in cores.", "service", "instance")
	instanceMemory   = define("swell_instance_memory_bytes", "gauge", "Resident memory of an instance.", "service", "instance")

	heldRequests = define("swell_held_requests", "gauge", "Requests that wait for an instance of a service.", "service")
	holdSeconds  = define("swell_hold_wait_seconds", "histogram", "How long requests waited for an instance.", "service")
	holds        = define("swell_holds_total", "counter", "Requests that waited for an instance, by how the wait ended.", "service", "outcome")

	replicas = define("swell_replicas", "gauge", "Instances of a service that are ready, and that are desired.", "service", "state")

	certificateExpiry = define("swell_certificate_expiry_seconds", "gauge", "When a certificate of the gateway expires, as seconds since 1970, by its first name.", "name")

	buildInfo = define("swell_build_info", "gauge", "Always 1; the labels say which build of Swell this is.", "version", "goversion")
	series    = define("swell_metric_series", "gauge", "Meters and counters that are held, of which there is a limit.", "kind")
)

// The events that are counted by Hub.Count.
var _ = []*metric{
	define("swell_retries_total", "counter", "Attempts after the first one, by what made them necessary.", "service", "reason"),
	define("swell_retries_refused_total", "counter", "Attempts that would have been made again, but for the reason named.", "service", "reason"),
	define("swell_endpoint_ejections_total", "counter", "Times that an endpoint was taken out of the balancing by its behaviour.", "service", "reason"),
	define("swell_endpoint_readmissions_total", "counter", "Times that an endpoint that was taken out was let in again.", "service"),
	define("swell_hedges_total", "counter", "Attempts that hedge made besides one that was slow.", "service", "route"),
	define("swell_hedges_won_total", "counter", "Attempts of hedge whose answer was the first.", "service", "route"),
	define("swell_hedges_refused_total", "counter", "Attempts that hedge did not make as its budget was spent.", "service", "route"),
	define("swell_circuit_state", "gauge", "State of a circuit breaker: 0 closed, 1 open, 2 half-open.", "service", "route"),
	define("swell_circuit_changes_total", "counter", "Times that a circuit breaker came into a state.", "service", "route", "state"),
	define("swell_circuit_refused_total", "counter", "Requests that a circuit breaker did not let through.", "service", "route"),
	define("swell_concurrency_queued_total", "counter", "Requests that waited for a place among those in flight.", "service", "route"),
	define("swell_concurrency_refused_total", "counter", "Requests that got no place among those in flight, by reason: full, timeout, gone.", "service", "route", "reason"),
	define("swell_body_limit_refused_total", "counter", "Requests whose body was larger than a body-limit allows.", "service", "route"),
	define("swell_fallbacks_total", "counter", "Requests that a fallback answered, by kind: last-good, service, status.", "service", "route", "kind"),
	define("swell_mirrored_total", "counter", "Copies of requests for a mirror's service, by outcome: answered, failed, body (too large, or cut short), full (too many in flight).", "service", "outcome"),
	define("swell_faults_total", "counter", "Faults that were made on purpose, by kind: delay, abort.", "service", "route", "kind"),
	define("swell_affinity_total", "counter", "Requests with an affinity cookie, by outcome: kept, moved to another instance, invalid.", "service", "route", "outcome"),
	define("swell_scaling_decisions_total", "counter", "Changes of the desired replica count, by the policy that made them and their direction.", "service", "by", "direction"),
	define("swell_gateway_not_ready_total", "counter", "Requests that came before the data plane had a configuration, and were answered 503."),
	define("swell_gateway_unmatched_total", "counter", "Requests that no route takes, answered 404 or 405."),
	define("swell_gateway_refused_total", "counter", "Connections and requests of the gateway's clients that were malformed or over a bound, by what was wrong.", "reason"),
	define("swell_tls_handshakes_total", "counter", "TLS handshakes with the gateway's clients, by result (ok, or what failed) and by version where it was agreed on.", "result", "version"),
	define("swell_hold_refused_total", "counter", "Requests that were answered 503 at once because the waiting room was full."),
	define("swell_snapshots_refused_total", "counter", "Configurations that the data plane could not use; the last good one stayed."),
	define("swell_access_log_dropped_total", "counter", "Lines of the access log that were dropped as their writer could not keep up."),
}

var catalog map[string]*metric

func define(name, kind, help string, labels ...string) *metric {
	m := &metric{name, kind, labels, help, prometheus.NewDesc(name, help, labels, nil)}
	if catalog == nil {
		catalog = map[string]*metric{}
	}
	catalog[name] = m
	return m
}

// describe makes the description of a counter. An event that the catalog doesn't
// know, or with other labels, is shown as well.
func (c *Counter) describe() *prometheus.Desc {
	names := make([]string, 0, len(c.labels)/2)
	for i := 0; i < len(c.labels); i += 2 {
		names = append(names, c.labels[i])
	}
	help := "Events that the data plane counted."
	if m := catalog[c.name]; m != nil {
		help = m.help
	}
	return prometheus.NewDesc(c.name, help, names, nil)
}

func (c *Counter) values() []string {
	out := make([]string, 0, len(c.labels)/2)
	for i := 1; i < len(c.labels); i += 2 {
		out = append(out, c.labels[i])
	}
	return slices.Clip(out)
}
