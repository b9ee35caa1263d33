package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"swell"
	"swell/internal/exchange"
	"swell/internal/proxy/h1"
	"swell/internal/proxy/h2"
	"swell/internal/proxy/h3"
)

// frontKey tells listeners apart; the zero edge, no route and no TLS is the
// gateway's in the clear.
type frontKey struct {
	addr  string
	edge  swell.Edge
	route string // of a TCP listener of the gateway: its name in metrics
	tls   bool   // the gateway's for HTTPS
	quic  bool   // the gateway's for HTTP/3, over UDP
}

// front is one listener with its server.
type front struct {
	plane *Plane
	frontKey
	round atomic.Pointer[edgeRound]

	listener net.Listener   // nil with quic
	packets  net.PacketConn // nil without
	stop     func()
	ended    chan struct{}
}

// open opens the listener and starts nothing.
func (p *Plane) open(w frontKey) (*front, error) {
	name := gatewayName
	if w.edge != (swell.Edge{}) {
		name = edgeName(w.edge)
	}
	f := &front{plane: p, frontKey: w, ended: make(chan struct{})}
	var err error
	if w.quic {
		f.packets, err = p.opt.Book.ListenPacket(name, w.addr)
	} else {
		f.listener, err = p.opt.Book.Listen(name, w.addr)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// close closes a listener that was opened and not started.
func (f *front) close() {
	if f.quic {
		_ = f.packets.Close()
	} else {
		_ = f.listener.Close()
	}
}

// start begins to serve.
func (f *front) start() {
	p := f.plane
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	serve := f.serveTCP
	if f.quic {
		serve = f.serveQUIC
	}
	go func() {
		defer close(f.ended)
		if err := serve(ctx); err != nil && ctx.Err() == nil {
			select {
			case p.died <- fmt.Errorf("serve %s: %w", f.addr, err):
			default:
			}
		}
	}()
}

// serveTCP serves what comes by TCP: HTTP/1.1 and HTTP/2, over TLS or in the clear,
// or plain TCP.
func (f *front) serveTCP(ctx context.Context) error {
	p := f.plane
	s := &h1.Server{Done: p.done, DrainTime: p.opt.Drain, DrainFor: p.drainTime, Log: p.opt.Log, Refused: f.refused}
	if f.edge != (swell.Edge{}) {
		s.Handle, s.Caller, s.Limits = f.handleEdge, f.edge.Caller, p.opt.Limits
	} else {
		s.Handle, s.Caller, s.Live, s.Open = f.handleClear, swell.GatewayCaller, &p.gate.limits, f.ready
		if f.tls {
			s.Handle = f.handleTLS
		}
	}
	s.HTTP2 = f.http2(s.Handle, s.Caller)
	if f.edge != (swell.Edge{}) || f.route != "" {
		s.Take = f.takeTCP
	}
	return s.Serve(ctx, f.listener)
}

// serveQUIC serves HTTP/3.
func (f *front) serveQUIC(ctx context.Context) error {
	p := f.plane
	s := &h3.Server{
		Handle: f.handleTLS, Done: p.done, Refused: f.refuse, Caller: swell.GatewayCaller, Log: p.opt.Log,
		Live:     func() h3.Limits { return p.gate.ways.Load().h3 },
		DrainFor: p.quicDrainTime,
	}
	return s.Serve(ctx, f.packets, p.certs.Server().QUIC())
}

// http2 returns what serves this listener's connections that speak HTTP/2. When the
// gateway's limits change, those that come thereafter are served by another server,
// with the new ones.
func (f *front) http2(handle func(*exchange.Exchange), caller string) func(context.Context, net.Conn, netip.AddrPort, *tls.ConnectionState, []byte) {
	p := f.plane
	build := func(l h2.Limits) *h2.Server {
		return &h2.Server{Handle: handle, Done: p.done, Refused: f.refuse, Caller: caller, Limits: l, DrainTime: longestDrain, Log: p.opt.Log}
	}
	if f.edge != (swell.Edge{}) {
		return build(h2Limits(p.opt.Limits, 0)).Serve
	}
	type made struct {
		limits h2.Limits
		server *h2.Server
	}
	var newest atomic.Pointer[made]
	return func(ctx context.Context, nc net.Conn, peer netip.AddrPort, state *tls.ConnectionState, read []byte) {
		l, m := p.gate.ways.Load().h2, newest.Load()
		if m == nil || m.limits != l {
			next := &made{l, build(l)}
			if newest.CompareAndSwap(m, next) {
				m = next
			} else {
				m = newest.Load()
			}
		}
		m.server.Serve(ctx, nc, peer, state, read)
	}
}
