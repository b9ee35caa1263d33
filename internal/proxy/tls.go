package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"swell"
	"swell/internal/exchange"
	"swell/internal/proxy/cert"
)

// ready opens a connection of the gateway: it reads the PROXY header where one is
// due, and does the TLS handshake on the listener for it. The server bounds its time.
func (f *front) ready(_ context.Context, nc net.Conn) (net.Conn, netip.AddrPort, *tls.ConnectionState, error) {
	p := f.plane
	var peer netip.AddrPort
	if w := p.gate.ways.Load(); len(w.proxies) > 0 {
		hop := addrOf(nc)
		if within(w.proxies, hop.Addr()) {
			var err error
			if peer, err = readProxy(nc); err != nil {
				if err != io.EOF { // it came to look whether somebody listens
					f.refuse(hop, 0, "proxy-header", err.Error())
				}
				return nil, peer, nil, err
			}
		}
	}
	if !f.tls {
		return nc, peer, nil, nil
	}
	c := p.certs.Server().Config()
	if c == nil {
		return nil, peer, nil, net.ErrClosed // TLS was taken out of the manifest
	}
	tc := tls.Server(nc, c)
	if err := tc.Handshake(); err != nil {
		f.shook(nc, peer, err)
		return nil, peer, nil, err
	}
	state := tc.ConnectionState()
	if state.NegotiatedProtocol == acmeALPN {
		_ = tc.Close()
		return nil, peer, nil, net.ErrClosed // the handshake was all that was wanted
	}
	if state.Version == tls.VersionTLS13 {
		p.shook13.Add(1)
	} else {
		p.shook12.Add(1)
	}
	return tc, peer, &state, nil
}

const acmeALPN = "acme-tls/1"

func addrOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	a, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	return a
}

// notTLS answers who speaks HTTP where TLS is spoken.
const notTLS = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nthis port speaks TLS: ask it with https://\n"

// likeHTTP reports whether a request of HTTP/1 may begin like this.
func likeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO", "TRACE", "CONNE":
		return true
	}
	return false
}

// shook counts and logs a handshake that failed.
func (f *front) shook(nc net.Conn, peer netip.AddrPort, err error) {
	p := f.plane
	why := shakeResult(err)
	if why == "left" {
		return // a check whether somebody listens, or a client that changed its mind
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && likeHTTP(record.RecordHeader) {
		_, _ = io.WriteString(nc, notTLS)
	}
	p.opt.Hub.Count("swell_tls_handshakes_total", "result", why, "version", "").Add(1)
	if n, ok := p.sparing.may("tls " + why); ok {
		if !peer.IsValid() {
			peer = addrOf(nc)
		}
		p.opt.Log.Warn("a TLS handshake failed", "peer", peer, "result", why, "error", err, "more", n)
	}
}

// shakeResult names the kind of a handshake's failure.
func shakeResult(err error) string {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var op *net.OpError
	text := err.Error()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return "left"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &record):
		return "not-tls"
	case errors.As(err, &verify), errors.As(err, &unknown), strings.Contains(text, "client didn't provide a certificate"):
		return "client-certificate"
	case errors.As(err, &op) && op.Op == "remote error":
		return "refused-by-client" // it does not like our certificate, mostly
	case strings.Contains(text, "unsupported versions"):
		return "version"
	case strings.Contains(text, "no cipher suite"), strings.Contains(text, "no supported elliptic"), strings.Contains(text, "key exchange"):
		return "algorithms"
	case strings.Contains(text, "application protocol"):
		return "protocol"
	case errors.Is(err, cert.ErrNone):
		return "no-certificate"
	}
	return "other"
}

// dialer returns what connects to the service's endpoints: by TCP, with a PROXY
// header in front if the service wants one, then TLS if it speaks that. HTTP/2 over
// TLS must be agreed on by ALPN.
func (p *Plane) dialer(u *swell.Upstream) (func(ctx context.Context, addr string) (net.Conn, error), error) {
	var protos []string
	shared := false // a connection carries requests of several clients
	switch u.Protocol {
	case swell.HTTP2, swell.GRPC:
		protos, shared = []string{"h2"}, true
	case "", swell.HTTP:
		protos = []string{"http/1.1"}
	}
	return p.dialerFor(u, protos, shared)
}

// prober returns the dialer for checks of health that speak HTTP/1.1.
func (p *Plane) prober(u *swell.Upstream) (func(ctx context.Context, addr string) (net.Conn, error), error) {
	return p.dialerFor(u, []string{"http/1.1"}, false)
}

func (p *Plane) dialerFor(u *swell.Upstream, protos []string, shared bool) (func(ctx context.Context, addr string) (net.Conn, error), error) {
	if u.TLS == nil && u.Proxy == 0 {
		return p.opt.Dial, nil
	}
	var client *cert.Client
	if u.TLS != nil {
		var err error
		if client, err = p.certs.Client(*u.TLS, protos...); err != nil {
			return nil, err
		}
	}
	dial, version := p.opt.Dial, u.Proxy
	return func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		if version != 0 {
			on := ctx
			if shared { // it is nobody's alone: the header says that we speak for ourselves
				on = exchange.WithExchange(ctx, nil)
			}
			if err := sendProxy(on, nc, version); err != nil {
				return nil, err
			}
		}
		if client == nil {
			return nc, nil
		}
		return client.Handshake(ctx, nc, addr)
	}, nil
}
