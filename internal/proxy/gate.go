package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"swell"
	"swell/internal/exchange"
	"swell/internal/proxy/h1"
	"swell/internal/proxy/h2"
	"swell/internal/proxy/h3"
)

// gate is how the gateway's listeners treat connections and requests, whichever they
// are: what a snapshot says of them. It changes while they run.
type gate struct {
	ways   atomic.Pointer[ways]
	limits atomic.Pointer[h1.Limits] // complete
}

// ways are what a snapshot says of the gateway's listeners. They are immutable.
type ways struct {
	proxies  []netip.Prefix
	redirect bool   // what comes in the clear is sent to https
	port     string // there: "" or ":8443"
	acme     bool   // but for an authority's challenges
	hsts     string // of Strict-Transport-Security; "" is none
	altSvc   string // of Alt-Svc (RFC 7838): where HTTP/3 is spoken; "" is nowhere
	h2       h2.Limits
	h3       h3.Limits
}

// waysOf returns what a gateway says.
func waysOf(g *swell.Gateway) *ways {
	w := &ways{proxies: g.Proxies}
	t := g.TLS
	if t == nil {
		return w
	}
	w.redirect, w.acme = t.Redirect, t.ACME != nil
	_, port, _ := net.SplitHostPort(t.Listen)
	if port != "443" {
		w.port = ":" + port
	}
	if h := t.HSTS; h.Age > 0 {
		w.hsts = "max-age=" + strconv.FormatInt(int64(h.Age/time.Second), 10)
		if h.Subdomains {
			w.hsts += "; includeSubDomains"
		}
		if h.Preload {
			w.hsts += "; preload"
		}
	}
	if t.HTTP3 {
		w.altSvc = fmt.Sprintf(`h3=":%s"; ma=86400`, port)
	}
	return w
}

// limitsOf returns a gateway's limits; base has what it leaves open.
func limitsOf(g *swell.Gateway, base h1.Limits) h1.Limits {
	m := &g.Limits
	base.Conns, base.PerAddress = cmp.Or(m.Connections, base.Conns), cmp.Or(m.PerAddress, base.PerAddress)
	base.Head, base.Target, base.Fields = cmp.Or(m.Head, base.Head), cmp.Or(m.Target, base.Target), cmp.Or(m.Fields, base.Fields)
	base.HeadTime, base.IdleTime = cmp.Or(m.HeadTime, base.HeadTime), cmp.Or(m.IdleTime, base.IdleTime)
	base.ReadTime, base.WriteTime = cmp.Or(m.ReadTime, base.ReadTime), cmp.Or(m.WriteTime, base.WriteTime)
	return base.WithDefaults()
}

// h2Limits returns the same limits for connections that speak HTTP/2.
func h2Limits(l h1.Limits, streams int) h2.Limits {
	return h2.Limits{
		Streams: streams, Head: l.Head, Target: l.Target, Fields: l.Fields,
		HeadTime: l.HeadTime, IdleTime: l.IdleTime, ReadTime: l.ReadTime, WriteTime: l.WriteTime,
	}
}

// h3Limits returns the same limits for HTTP/3.
func h3Limits(l h1.Limits, streams int) h3.Limits {
	return h3.Limits{
		Conns: l.Conns, PerAddress: l.PerAddress,
		Streams: streams, Head: l.Head, Target: l.Target, Fields: l.Fields,
		HeadTime: l.HeadTime, IdleTime: l.IdleTime, ReadTime: l.ReadTime, WriteTime: l.WriteTime,
	}
}

// set takes what a gateway says into use. Connections and listeners go on.
func (g *gate) set(gw *swell.Gateway, base h1.Limits) {
	l := limitsOf(gw, base)
	g.limits.Store(&l)
	w := waysOf(gw)
	w.h2, w.h3 = h2Limits(l, gw.Limits.Streams), h3Limits(l, gw.Limits.Streams)
	g.ways.Store(w)
}

// acmePath is where an authority checks that a host is ours (RFC 8555, 8.3).
const acmePath = "/.well-known/acme-challenge/"

// handleClear answers a request that came in by the gateway in the clear.
func (f *front) handleClear(x *exchange.Exchange) {
	w := f.plane.gate.ways.Load()
	if w.acme && len(x.Request.Target) > len(acmePath) && string(x.Request.Target[:len(acmePath)]) == acmePath {
		host, _, _ := strings.Cut(string(x.Request.Host), ":")
		if text, ok := f.plane.certs.Server().Challenge(context.Background(), host, string(x.Request.Path())); ok {
			x.Reply(200, "")
			b := []byte(text)
			x.Response.Length, x.Response.Body = int64(len(b)), exchange.Bytes(b)
			return
		}
	}
	if w.redirect && x.Request.Method != "CONNECT" {
		w.toHTTPS(x)
		return
	}
	f.handleGateway(x)
}

// toHTTPS answers with the same place over TLS. The method stays what it is (308).
func (w *ways) toHTTPS(x *exchange.Exchange) {
	host := string(x.Request.Host)
	if host == "" {
		x.Reply(400, "a request in the clear is sent to https, but this one names no host")
		return
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	x.Reply(308, "this is served over https")
	x.Response.Header.Set(exchange.Location, "https://"+host+w.port+string(x.Request.Target))
}

// handleTLS answers a request that came in by the gateway over TLS.
func (f *front) handleTLS(x *exchange.Exchange) {
	w := f.plane.gate.ways.Load()
	f.handleGateway(x)
	if x.Response.Status == 101 {
		return
	}
	h := &x.Response.Header
	if w.hsts != "" {
		h.SetName("Strict-Transport-Security", w.hsts)
	}
	if w.altSvc != "" && x.Request.Major < 3 {
		h.SetName("Alt-Svc", w.altSvc)
	}
}

// wanted are the listeners that a snapshot asks for.
func wanted(snap *swell.Snapshot) []frontKey {
	var out []frontKey
	g := &snap.Gateway
	if g.Listen != "" {
		out = append(out, frontKey{addr: g.Listen})
	}
	if g.TLS != nil {
		out = append(out, frontKey{addr: g.TLS.Listen, tls: true})
		if g.TLS.HTTP3 {
			out = append(out, frontKey{addr: g.TLS.Listen, quic: true})
		}
	}
	for _, t := range g.TCP {
		out = append(out, frontKey{addr: t.Listen, route: "tcp " + t.Listen})
	}
	for _, e := range snap.Edges {
		out = append(out, frontKey{addr: e.Addr, edge: e.Edge})
	}
	return out
}

// refused counts and logs what a codec of this listener did not take.
func (f *front) refused(peer netip.AddrPort, status int, slug h1.Slug, why string) {
	f.refuse(peer, status, string(slug), why)
}

func (f *front) refuse(peer netip.AddrPort, status int, reason, why string) {
	p := f.plane
	caller := f.edge.Caller
	if caller == "" {
		p.opt.Hub.Count("swell_gateway_refused_total", "reason", reason).Add(1)
		caller = swell.GatewayCaller
	}
	if n, ok := p.sparing.may(reason); ok {
		p.opt.Log.Warn("refused", "caller", caller, "peer", peer, "reason", reason, "status", status, "why", why, "more", n)
	}
}

// sparing lets each kind of message through once a second. The kinds are few.
type sparing struct {
	kinds [64]struct {
		name atomic.Pointer[string]
		last atomic.Int64 // on the scale of exchange.Now
		held atomic.Int64
	}
}

// may reports whether a message of this kind may be written now, and how many were
// held back since the last one.
func (s *sparing) may(kind string) (held int64, ok bool) {
	for i := range s.kinds {
		k := &s.kinds[i]
		n := k.name.Load()
		if n == nil {
			if k.name.CompareAndSwap(nil, &kind) {
				k.last.Store(exchange.Now())
				return 0, true
			}
			n = k.name.Load()
		}
		if *n != kind && i < len(s.kinds)-1 { // the last one is all others'
			continue
		}
		last, now := k.last.Load(), exchange.Now()
		if now-last < int64(time.Second) || !k.last.CompareAndSwap(last, now) {
			k.held.Add(1)
			return 0, false
		}
		return k.held.Swap(0), true
	}
	return 0, false
}
