package web

import "swell/internal/telemetry"

// Measured returns the hub's figures as the server's source.
func Measured(hub *telemetry.Hub) Stats { return measured{hub} }

type measured struct{ hub *telemetry.Hub }

func traffic(t telemetry.Traffic) Traffic {
	return Traffic{Rate: t.Rate, Errors: t.Errors, P50: t.P50, P95: t.P95, P99: t.P99, Inflight: t.Inflight}
}

func (m measured) Services() map[string]ServiceStat {
	out := map[string]ServiceStat{}
	for _, s := range m.hub.Services() {
		out[s.Service] = ServiceStat{Traffic: traffic(s.Traffic), Waiting: s.Waiting}
	}
	return out
}

func (m measured) Instances() map[string]InstanceStat {
	out := map[string]InstanceStat{}
	for _, s := range m.hub.Instances() {
		out[s.Instance] = InstanceStat{Traffic: traffic(s.Traffic), CPU: s.CPU, Memory: s.Memory}
	}
	return out
}

func (m measured) Routes() map[string]Traffic {
	out := map[string]Traffic{}
	for _, s := range m.hub.Routes() {
		out[s.Route] = traffic(s.Traffic)
	}
	return out
}

func (m measured) Edges() []EdgeStat {
	edges := m.hub.Edges()
	out := make([]EdgeStat, len(edges))
	for i, e := range edges {
		out[i] = EdgeStat{Caller: e.Caller, Callee: e.Callee, Traffic: traffic(e.Traffic)}
	}
	return out
}

func (m measured) History(service string) []Point {
	points := m.hub.History(service)
	out := make([]Point, len(points))
	for i, p := range points {
		out[i] = Point{At: p.At, Traffic: traffic(p.Traffic), Waiting: p.Waiting, Ready: p.Ready, Desired: p.Desired}
	}
	return out
}
