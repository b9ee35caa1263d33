package proxy

import (
	"cmp"
	"context"
	"time"

	"swell"
)

// longestDrain is what servers of connections allow for a drain where the listener
// that accepted the connection cuts it.
const longestDrain = 30 * 24 * time.Hour

// HandOver tells the plane, before Run's context ends, that another process listens
// at the same sockets and goes on. Then the drain closes all listeners at once, those
// of edges among them: who calls there finds the other process. And it may take up to
// so long instead of what a gateway's limits say, as nobody waits for it: streams and
// tunnels end when their clients end them.
func (p *Plane) HandOver(most time.Duration) { p.handed.Store(int64(most)) }

// lingers is how long a drain after HandOver waits for the next request of an idle
// connection, which is answered and the connection closed: a client that sent one as
// the connection was closed could not tell whether to send it again.
const lingers = 10 * time.Second

// drainTime is how long a drain that begins now may take, and how long idle
// connections linger; zeros are the servers' defaults.
func (p *Plane) drainTime() (drain, linger time.Duration) {
	if d := p.handed.Load(); d > 0 {
		return time.Duration(d), lingers
	}
	d := p.opt.Drain
	if t := p.table.Load(); t != nil {
		d = cmp.Or(t.snapshot.Gateway.Limits.Drain, d)
	}
	return d, 0
}

// quicDrainTime is drainTime of listeners for QUIC. After HandOver it is next to
// nothing: two processes read from one UDP socket, and each packet reaches but one of
// them, so that neither old connections nor new ones would get far.
func (p *Plane) quicDrainTime() time.Duration {
	if p.handed.Load() > 0 {
		return 10 * time.Millisecond
	}
	d, _ := p.drainTime()
	return cmp.Or(d, 30*time.Second)
}

// stopAll has all listeners stop to accept.
func (p *Plane) stopAll(fronts map[frontKey]*front) {
	for _, f := range fronts {
		f.stop()
	}
}

// Leave takes an instance out of use and waits until nothing is in flight to it, as
// Quiet does. It is for a plane that drains after HandOver, to which no snapshots
// come any more.
func (p *Plane) Leave(ctx context.Context, instance string) error {
	p.use1.Lock()
	if t := p.table.Load(); t != nil {
		for _, to := range t.services {
			to.service.drop(instance)
		}
	}
	p.use1.Unlock()
	p.tell()
	return p.Quiet(ctx, instance)
}

// drop takes one endpoint out of the service.
func (s *service) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := make([]swell.Endpoint, 0, len(s.endpoints))
	for _, e := range s.endpoints {
		if e.ID != id {
			rest = append(rest, e.spec)
		}
	}
	gone, changed := s.change(rest)
	if changed {
		s.regroup()
	}
	for _, e := range gone {
		e.drop()
	}
}
