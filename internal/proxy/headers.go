package proxy

import (
	"bytes"
	"errors"
	"net/netip"

	"swell/internal/exchange"
	"swell/internal/telemetry"
)

// via is what this hop adds to Via: the version that the request came in, and who
// passes it on.
func via(r *exchange.Request) string {
	switch {
	case r.Major == 2:
		return "2 swell"
	case r.Major == 3:
		return "3 swell"
	case r.Major == 1 && r.Minor == 0:
		return "1.0 swell"
	}
	return "1.1 swell"
}

// arrive marks a request that came in by the gateway. What a client claims about who
// asked is replaced, as anybody can claim anything; what one of the gateway's trusted
// proxies says is continued, and the client is then the one that it names.
func (t *table) arrive(st *state, x *exchange.Exchange) {
	proxies := t.snapshot.Gateway.Proxies
	hop := x.Hop.Addr()
	if !hop.IsValid() {
		hop = x.Peer.Addr()
	}
	if !within(proxies, hop) {
		st.mark(x, true)
		return
	}
	st.mark(x, false)
	if a := origin(x.Request.Header.Get(exchange.ForwardedFor), proxies); a.IsValid() {
		x.Peer = netip.AddrPortFrom(a, 0)
	}
}

// within reports whether an address is in one of the prefixes.
func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) || p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// origin returns the last address of an X-Forwarded-For list that is not one of the
// proxies': the others were added by proxies that are trusted, this one was seen by
// the last of them. The first address is the client's if all are proxies', and
// nothing beyond what can't be read is believed.
func origin(list []byte, proxies []netip.Prefix) (a netip.Addr) {
	for list != nil {
		last := list
		if i := bytes.LastIndexByte(list, ','); i >= 0 {
			last, list = list[i+1:], list[:i]
		} else {
			list = nil
		}
		next, err := parseHop(bytes.TrimSpace(last))
		if err != nil {
			break
		}
		if a = next; !within(proxies, a) {
			break
		}
	}
	return a
}

// parseHop reads an address of X-Forwarded-For, which some write with a port.
func parseHop(b []byte) (netip.Addr, error) {
	if len(b) > 64 {
		return netip.Addr{}, errors.New("too long for an address")
	}
	if i := bytes.IndexByte(b, ']'); len(b) > 0 && b[0] == '[' && i > 0 {
		b = b[1:i]
	} else if i := bytes.IndexByte(b, ':'); i > 0 && bytes.IndexByte(b[i+1:], ':') < 0 {
		b = b[:i]
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err
}

// mark puts onto a request what a proxy adds to it: who asked and how (Forwarded,
// RFC 7239, and the X-Forwarded fields that came before it), Via (RFC 9110, 7.6.3),
// a request ID, and the trace context of this hop. With fresh, what the request says
// itself about who asked is left out; on an edge the caller is ours, and its claims
// are continued.
func (st *state) mark(x *exchange.Exchange, fresh bool) {
	h := &x.Request.Header
	var forwarded, xfor, xhost, xproto, viaHas, id, trace []byte
	has := false
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case exchange.Forwarded:
			forwarded, has = join(forwarded, f.Value), true
		case exchange.ForwardedFor:
			xfor, has = join(xfor, f.Value), true
		case exchange.ForwardedHost:
			xhost, has = f.Value, true
		case exchange.ForwardedProto:
			xproto, has = f.Value, true
		case exchange.Via:
			viaHas = join(viaHas, f.Value)
		case exchange.RequestID:
			id = f.Value
		case exchange.Traceparent:
			trace = f.Value
		}
	}
	if has {
		h.Del(exchange.Forwarded)
		h.Del(exchange.ForwardedFor)
		h.Del(exchange.ForwardedHost)
		h.Del(exchange.ForwardedProto)
		if fresh {
			forwarded, xfor, xhost, xproto = nil, nil, nil, nil
		}
	}
	peer := x.Peer.Addr().Unmap()
	proto := "http"
	if x.TLS != nil {
		proto = "https"
	}

	b := st.text[:0]
	if len(xfor) > 0 {
		b = append(append(b, xfor...), ", "...)
	}
	b = appendAddr(b, peer)
	h.AddBytes(exchange.ForwardedFor, b)
	if len(xhost) > 0 {
		h.AddBytes(exchange.ForwardedHost, xhost)
	} else if len(x.Request.Host) > 0 {
		h.AddBytes(exchange.ForwardedHost, x.Request.Host)
	}
	if len(xproto) > 0 {
		h.AddBytes(exchange.ForwardedProto, xproto)
	} else {
		h.Add(exchange.ForwardedProto, proto)
	}

	b = b[:0]
	if len(forwarded) > 0 {
		b = append(append(b, forwarded...), ", "...)
	}
	b = append(b, "for="...)
	if peer.Is6() {
		b = append(b, `"[`...)
		b = appendAddr(b, peer)
		b = append(b, `]"`...)
	} else {
		b = appendAddr(b, peer)
	}
	if safeHost(x.Request.Host) {
		b = append(append(append(b, `;host="`...), x.Request.Host...), '"')
	}
	b = append(append(b, ";proto="...), proto...)
	h.AddBytes(exchange.Forwarded, b)

	if len(viaHas) > 0 {
		b = append(append(append(b[:0], viaHas...), ", "...), via(&x.Request)...)
		h.SetBytes(exchange.Via, b)
	} else {
		h.Add(exchange.Via, via(&x.Request))
	}

	// Trace context: the trace goes on, or begins here; the span is this hop's.
	var ok bool
	if trace != nil {
		if x.TraceID, _, x.Sampled, ok = telemetry.ParseTraceparent(trace); !ok {
			// Without a valid parent, the state of the other vendors means nothing.
			h.Del(exchange.Tracestate)
		}
		h.Del(exchange.Traceparent)
	}
	if !ok {
		x.TraceID = telemetry.NewTraceID()
	}
	span := telemetry.NewSpanID()
	x.SpanID = [16]byte{}
	copy(x.SpanID[:8], span[:])
	b = telemetry.AppendTraceparent(b[:0], x.TraceID, span, x.Sampled)
	h.AddBytes(exchange.Traceparent, b)
	if id == nil {
		h.AddBytes(exchange.RequestID, b[3:35]) // the trace ID: one number to look for everywhere
	}
	st.text = b
}

// join makes one list of two values of the same field. It allocates only where a
// field comes twice.
func join(a, b []byte) []byte {
	if a == nil {
		return b
	}
	out := make([]byte, 0, len(a)+2+len(b))
	return append(append(append(out, a...), ", "...), b...)
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, "unknown"...)
	}
	return a.AppendTo(b)
}

// safeHost reports whether a host can stand in a quoted string as it is.
func safeHost(h []byte) bool {
	for _, c := range h {
		if c == '"' || c == '\\' || c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(h) > 0
}
