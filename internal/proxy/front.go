package proxy

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"swell"
	"swell/internal/proxy/h1"
)

// front is one listener with its server.
type front struct {
	plane *Plane
	addr  string
	edge  *swell.Edge // nil for the gateway
	round atomic.Pointer[edgeRound]

	listener net.Listener
	stop     func()
	ended    chan struct{}
}

// open opens the listener and starts nothing.
func (p *Plane) open(addr string, edge *swell.Edge) (*front, error) {
	name := gatewayName
	if edge != nil {
		name = edgeName(*edge)
	}
	l, err := p.opt.Book.Listen(name, addr)
	if err != nil {
		return nil, err
	}
	return &front{plane: p, addr: addr, edge: edge, listener: l, ended: make(chan struct{})}, nil
}

// start begins to serve.
func (f *front) start() {
	p := f.plane
	s := &h1.Server{Handle: f.handleGateway, Done: p.done, Limits: p.opt.Limits, DrainTime: p.opt.Drain, Log: p.opt.Log, Caller: swell.GatewayCaller}
	if f.edge != nil {
		s.Handle, s.Caller = f.handleEdge, f.edge.Caller
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
