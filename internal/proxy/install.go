package proxy

import (
	"context"
	"fmt"
	"slices"

	"swell"
	"swell/internal/proxy/cert"
)

// install takes a snapshot into use, as a whole or not at all.
func (p *Plane) install(snap *swell.Snapshot) error {
	err := p.tryInstall(snap)
	if err != nil {
		p.refusals.Add(1)
		err = fmt.Errorf("snapshot %d: %w", snap.Version, err)
	}
	if p.opt.Refused != nil {
		p.opt.Refused(err)
	}
	return err
}

func (p *Plane) tryInstall(snap *swell.Snapshot) error {
	p.use1.Lock()
	defer p.use1.Unlock()
	old := p.table.Load()
	t, err := p.compile(snap, old)
	if err != nil {
		return err
	}

	var keys *cert.Prepared
	if g := &snap.Gateway; g.TLS != nil {
		if keys, err = p.certs.Server().Prepare(g.TLS, g.Listen); err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
	}

	// Listeners before anything is changed: one that can't be had refuses it all.
	fronts := map[frontKey]*front{}
	var opened []*front
	for _, w := range wanted(snap) {
		f := p.fronts[w]
		if f == nil {
			if f, err = p.open(w); err != nil {
				for _, f := range opened {
					f.close()
				}
				return err
			}
			opened = append(opened, f)
		}
		fronts[w] = f
	}

	for i := range snap.Upstreams {
		u := &snap.Upstreams[i]
		t.services[u.Service].service.update(u, t.balancer[u.Service], t.via[u.Service])
	}
	for w, f := range fronts {
		switch {
		case w.edge != (swell.Edge{}):
			f.round.Store(t.edges[w.edge])
		case w.route != "":
			f.round.Store(t.tcp[w.route])
		}
	}
	p.gate.set(&snap.Gateway, p.opt.Limits)
	p.certs.Server().Use(keys)
	p.table.Store(t)
	for _, f := range opened {
		f.start()
	}
	for w, f := range p.fronts {
		if fronts[w] == nil {
			p.retire(f)
		}
	}
	p.fronts = fronts
	if old != nil {
		for name, to := range old.services {
			if now := t.services[name]; now == nil {
				to.service.close()
			}
		}
	}
	p.tell()
	return nil
}

// retire drains a listener that is not needed any more, in the background.
func (p *Plane) retire(f *front) {
	f.stop()
	if p.spawnWait(func() { <-f.ended }) {
		return
	}
	<-f.ended
}

// spawnWait waits for something in the background; false if the plane has ended.
func (p *Plane) spawnWait(wait func()) bool {
	p.tasks.Lock()
	defer p.tasks.Unlock()
	if p.running == nil {
		return false
	}
	p.wg.Go(wait)
	return true
}

// enter notes an endpoint, for Quiet.
func (p *Plane) enter(e *endpoint) {
	p.tasks.Lock()
	defer p.tasks.Unlock()
	if !slices.Contains(p.known[e.ID], e) {
		p.known[e.ID] = append(p.known[e.ID], e)
	}
}

// tell wakes those who wait for a change of the table, and forgets the endpoints
// that are done.
func (p *Plane) tell() {
	p.tasks.Lock()
	defer p.tasks.Unlock()
	for id, list := range p.known {
		list = slices.DeleteFunc(list, func(e *endpoint) bool {
			select {
			case <-e.done:
				return true
			default:
				return false
			}
		})
		if len(list) == 0 {
			delete(p.known, id)
		} else {
			p.known[id] = list
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Quiet returns once no table of the plane holds the instance and no exchange with
// it is in flight, nil then, or ctx's error. An instance that the plane does not
// know is quiet.
func (p *Plane) Quiet(ctx context.Context, instance string) error {
	for {
		p.tasks.Lock()
		list, changed := slices.Clone(p.known[instance]), p.changed
		p.tasks.Unlock()
		busy := false
		for _, e := range list {
			if !e.gone.Load() {
				busy = true
				continue
			}
			select {
			case <-e.done:
			case <-ctx.Done():
				return fmt.Errorf("wait until nothing is in flight to %s: %w", instance, ctx.Err())
			}
		}
		if !busy {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s leaves the endpoints: %w", instance, ctx.Err())
		}
	}
}
