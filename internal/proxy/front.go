package proxy

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"swell"
	"swell/internal/proxy/h1"
)

// frontKey tells listeners apart; the zero edge and no route is the gateway's.
type frontKey struct {
	addr  string
	edge  swell.Edge
	route string // of a TCP listener of the gateway: its name in metrics
}

// front is one listener with its server.
type front struct {
	plane *Plane
	frontKey
	round atomic.Pointer[edgeRound]

	listener net.Listener
	stop     func()
	ended    chan struct{}
}

// open opens the listener and starts nothing.
func (p *Plane) open(w frontKey) (*front, error) {
	name := gatewayName
	if w.edge != (swell.Edge{}) {
		name = edgeName(w.edge)
	}
	l, err := p.opt.Book.Listen(name, w.addr)
	if err != nil {
		return nil, err
	}
	return &front{plane: p, frontKey: w, listener: l, ended: make(chan struct{})}, nil
}

// start begins to serve.
func (f *front) start() {
	p := f.plane
	s := &h1.Server{Handle: f.handleGateway, Done: p.done, Limits: p.opt.Limits, DrainTime: p.opt.Drain, Log: p.opt.Log, Caller: swell.GatewayCaller}
	if f.edge != (swell.Edge{}) {
		s.Handle, s.Caller = f.handleEdge, f.edge.Caller
	}
	if f.edge != (swell.Edge{}) || f.route != "" {
		s.Take = f.takeTCP
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	go func() {
		defer close(f.ended)
		if err := s.Serve(ctx, f.listener); err != nil && ctx.Err() == nil {
			select {
			case p.died <- fmt.Errorf("serve %s: %w", f.addr, err):
			default:
			}
		}
	}()
}
