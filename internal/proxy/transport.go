package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"reflect"

	"swell"
	"swell/internal/exchange"
	"swell/internal/proxy/h1"
	"swell/internal/proxy/h2/pool"
)

// transport carries exchanges to endpoints, by one protocol, over connections that
// it keeps.
type transport interface {
	// RoundTrip sends x.Request to addr and returns once the head of the answer is in
	// x.Response, which was empty; its body or tunnel streams. Interim answers go to
	// x.Inform. It obeys x.Deadline, for the body too, and x.IdleTimeout, holds
	// x.Leash as long as something is under way, calls x.Wrote, and never sends a
	// request twice. Its error is an [*exchange.AttemptError].
	RoundTrip(x *exchange.Exchange, addr string) error
	// Keep closes the idle connections to all other addresses, and those in use when
	// their exchanges end.
	Keep(addrs []string)
	// Close is Keep(nil); RoundTrip fails afterwards.
	Close()
}

// transportBox holds a transport with what made it.
type transportBox struct {
	transport
	protocol swell.Protocol
	tls      *swell.UpstreamTLS
	proxy    int
	pool     swell.Pool
	// dial connects to an endpoint as the service's own transport does, probe for a
	// check of health that speaks HTTP/1.1.
	dial, probe func(ctx context.Context, addr string) (net.Conn, error)
}

// same reports whether the box is what u wants.
func (b *transportBox) same(u *swell.Upstream) bool {
	return b.protocol == u.Protocol && b.proxy == u.Proxy && b.pool == u.Pool && reflect.DeepEqual(b.tls, u.TLS)
}

// newTransport makes the transport that u wants.
func (p *Plane) newTransport(u *swell.Upstream) (*transportBox, error) {
	box := &transportBox{protocol: u.Protocol, tls: u.TLS, proxy: u.Proxy, pool: u.Pool}
	dial, err := p.dialer(u)
	if err != nil {
		return nil, err
	}
	box.dial = dial
	if box.probe, err = p.prober(u); err != nil {
		return nil, err
	}
	switch u.Protocol {
	case "", swell.HTTP:
		o := p.opt.Pool
		o.Dial, o.Single = dial, u.Proxy != 0
		o.Conns, o.Pending = u.Pool.Connections, cmp.Or(u.Pool.Pending, -1)
		if u.Pool.Idle > 0 {
			o.Idle = u.Pool.Idle
		}
		if u.Pool.IdleTime > 0 {
			o.IdleTime = u.Pool.IdleTime
		}
		if u.Pool.Connect > 0 {
			o.DialTime = u.Pool.Connect
		}
		box.transport = h1.NewPool(o)
	case swell.HTTP2, swell.GRPC:
		box.transport = pool.New(pool.Options{
			Dial: dial, DialTime: u.Pool.Connect, Conns: u.Pool.Connections, Pending: u.Pool.Pending,
			IdleTime: u.Pool.IdleTime, Head: p.opt.Pool.Head, Fields: p.opt.Pool.Fields,
		})
	case swell.TCP:
		box.transport = &tcpTransport{dial: dial, time: cmp.Or(u.Pool.Connect, tcpDialTime), most: u.Pool.Connections}
	default:
		return nil, fmt.Errorf("protocol %q is none of http, http2, grpc, tcp", u.Protocol)
	}
	return box, nil
}
