package scale

import (
	"cmp"
	"slices"
	"time"

	"swell"
)

// Carried is what a scaler knows of a service that a scaler in another process
// needs, so that nothing changes because the process did. What was learned of the
// instances is not part of it: it is learned again within seconds of load, and until
// then the stabilization window of scaling down holds the count.
type Carried struct {
	Decision   swell.Decision // the newest that changed something
	Floor      int            // that was asked for by hand; 0 is none
	FloorUntil time.Time
}

// Carry returns what another scaler is to be seeded with, sorted by service.
func (s *Scaler) Carry() []Carried {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Carried
	for _, sv := range s.services {
		if sv.record.any {
			out = append(out, Carried{sv.record.public, sv.floor, sv.floorUntil})
		}
	}
	slices.SortFunc(out, func(a, b Carried) int { return cmp.Compare(a.Decision.Service, b.Decision.Service) })
	return out
}

// Seed has the scaler go on from where another one was, and publishes its decisions.
// It is called before Run.
func (s *Scaler) Seed(from []Carried, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	decisions := make([]swell.Decision, 0, len(from))
	for _, c := range from {
		sv := &service{floor: c.Floor, floorUntil: c.FloorUntil}
		sv.state.started, sv.state.current = true, c.Decision.Replicas
		sv.state.requested, sv.state.changed = now, now
		sv.record.add(c.Decision)
		s.services[c.Decision.Service] = sv
		decisions = append(decisions, c.Decision)
	}
	if len(decisions) > 0 {
		s.opt.Out.Set(decisions)
	}
}
