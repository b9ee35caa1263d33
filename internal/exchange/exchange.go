// Package exchange holds one request and its response, whatever version of HTTP
// carries them: what codecs fill and filters read and change.
package exchange

import (
	"crypto/tls"
	"io"
	"net/netip"
	"time"
)

// Exchange is one request and its response on their way through a data plane.
// It belongs to one goroutine at a time. Codecs pool it: nobody may keep it, or
// any byte slice of it, after the codec's Done.
type Exchange struct {
	Request  Request
	Response Response

	Peer    netip.AddrPort       // the client's address
	Hop     netip.AddrPort       // of the connection itself: Peer, or the proxy that said who Peer is (by the PROXY protocol)
	Local   netip.AddrPort       // the listener's address
	TLS     *tls.ConnectionState // of the client's connection; nil in the clear
	Caller  string               // the calling service, or swell.GatewayCaller
	Route   string               // the route that took it; "" on an edge
	Service string               // the service that it goes to
	Params  []Param              // what "{name}" segments of the route's path matched

	Start    int64     // when the request's head was complete, ns of Now
	Deadline time.Time // when it must have ended; zero is never. Set by filters, kept by codecs
	// AttemptTimeout bounds one attempt until the end of its answer; 0 is no bound. Set by filters, kept by the data plane.
	AttemptTimeout time.Duration
	// IdleTimeout bounds how long neither side of an attempt may be silent; 0 is no
	// bound. Set by filters, kept by upstreams' codecs.
	IdleTimeout time.Duration
	Attempt     int    // attempts made so far
	Endpoint    string // ID of the endpoint of the last attempt
	Prefer      string // ID of the endpoint that is to get it if it can; "" is any

	TraceID, SpanID [16]byte // W3C trace context of this hop; SpanID in the first 8 bytes
	Sampled         bool

	// Inform passes an interim response (1xx but 101) on to the client at once.
	// The server's codec sets it. It does nothing for HTTP/1.0 clients.
	Inform func(status int, h *Header) error
	// Gone tells whether the client is known to have left.
	Gone func() bool
	// Notes are the filters' facts for the access log: "retry", "connect" …
	Notes []Param

	// Wrote, if set, is called by the upstream's codec when the head of the request
	// (and what of its body was there) has been written to the upstream: from
	// RoundTrip's own goroutine, at most once for each attempt.
	Wrote func(*Exchange)
	// Ended holds what is called when the answer was sent or broke, last added
	// first. Filters add functions that were made once, not closures for each
	// exchange.
	Ended []func(*Exchange)

	// Marks are what the exchange has met that must not be done to it twice, such as a
	// limit that it counts against already. Their filters find them by identity.
	Marks []any
	// BodyLimit bounds the bytes of the request's body; 0 is no bound. Set by filters,
	// the innermost last, and kept by theirs.
	BodyLimit int64

	// Leash is the client's; nil if nobody can leave.
	Leash *Leash
	// Codec is the server's codec which made the exchange; nil if there is none.
	Codec Codec
	// Plane is the state that belongs to the data plane.
	Plane any
}

// Param is a name with a value.
type Param struct{ Name, Value string }

// Request is what the client asked.
type Request struct {
	Method  string // as sent; interned for the known ones
	Target  []byte // the raw request target, byte for byte: "/a%2Fb?x=1"
	Host    []byte // from the Host header or the absolute target
	Major   int    // of HTTP: 1, 2 or 3; 0 of what is not HTTP (a TCP connection)
	Minor   int    // of HTTP/1.x
	Header  Header // end-to-end fields; hop-by-hop ones are taken out by the codec
	Length  int64  // of the body; 0 none, -1 unknown (chunked)
	Body    Body   // nil if there is none
	Trailer Header // complete once Body gave io.EOF
	Bytes   int64  // of the body, read from the client so far
	Expect  bool   // the client waits for 100 Continue before it sends Body
	// Upgrade is the protocol that it asks to switch to, by Upgrade in HTTP/1.1 or by
	// an extended CONNECT (RFC 8441, RFC 9220), which is a GET here; nil is none. A
	// plain CONNECT has the method, no Target but "/", and Host.
	Upgrade []byte
}

// Path returns the target's path, raw: all before "?".
func (r *Request) Path() []byte {
	for i, c := range r.Target {
		if c == '?' {
			return r.Target[:i]
		}
	}
	return r.Target
}

// Query returns the target's query, raw, without "?"; nil if there is none.
func (r *Request) Query() []byte {
	for i, c := range r.Target {
		if c == '?' {
			return r.Target[i+1:]
		}
	}
	return nil
}

// Response is what the client is answered. Until the codec sends it, filters
// may replace it as a whole.
type Response struct {
	Status  int // 0: there is none yet
	Reason  []byte
	Header  Header // end-to-end fields
	Length  int64  // of the body; 0 none, -1 unknown
	Body    Body   // nil if there is none
	Trailer Header // complete once Body gave io.EOF
	Close   bool   // the client's connection must end after it
	Sent    bool   // its head went to the client: no retry any more
	Bytes   int64  // of the body, sent to the client so far

	// Tunnel is the upstream's side of a connection that switched protocols
	// (Status 101, or 200 to CONNECT): the server's codec joins it to the client's. It
	// has CloseWrite() error where it can be closed by half.
	Tunnel  io.ReadWriteCloser
	Upgrade []byte // the protocol that it switched to; with Status 101

	// Memory is what the header's bytes lie in, if a codec lent it. Drop releases
	// it. Whoever moves the header elsewhere copies it or moves Memory along.
	Memory Memory
}

// Memory is lent to a response by the codec that read it.
type Memory interface{ Release() }

// Body is a source of bytes with back pressure: nothing is read from the network
// before Next asks for it.
type Body interface {
	// Next returns the next bytes, at least one, valid until the next call. The
	// end is io.EOF; a body that was cut short is any other error, never io.EOF.
	Next() ([]byte, error)
	// Ready reports that Next would return without waiting for the network.
	Ready() bool
	// Close gives up what is left. It may be called at any time, more than once.
	Close()
}

// Drop closes the response's body and tunnel and empties it, so that another
// attempt can fill it.
func (r *Response) Drop() {
	if r.Body != nil {
		r.Body.Close()
	}
	if r.Tunnel != nil {
		_ = r.Tunnel.Close()
	}
	if r.Memory != nil {
		r.Memory.Release()
	}
	h, t := r.Header, r.Trailer
	h.Reset()
	t.Reset()
	*r = Response{Header: h, Trailer: t}
}

// Reply makes the response a short one of our own, in plain text. It drops what
// was there.
func (x *Exchange) Reply(status int, text string) {
	r := &x.Response
	r.Drop()
	r.Status = status
	r.Header.Set(ContentType, "text/plain; charset=utf-8")
	if text == "" {
		return
	}
	b := append([]byte(text), '\n')
	r.Length, r.Body = int64(len(b)), Bytes(b)
}

// Note adds a fact for the access log.
func (x *Exchange) Note(name, value string) { x.Notes = append(x.Notes, Param{name, value}) }

// Mark notes that the exchange has met m; false if it had before.
func (x *Exchange) Mark(m any) bool {
	for _, have := range x.Marks {
		if have == m {
			return false
		}
	}
	x.Marks = append(x.Marks, m)
	return true
}

// Unmark takes a mark back.
func (x *Exchange) Unmark(m any) {
	for i, have := range x.Marks {
		if have == m {
			x.Marks = append(x.Marks[:i], x.Marks[i+1:]...)
			return
		}
	}
}

// Reset empties x for another request and keeps its memory.
func (x *Exchange) Reset() {
	rq, rs := &x.Request, &x.Response
	if rq.Body != nil {
		rq.Body.Close()
	}
	rs.Drop()
	h, t := rq.Header, rq.Trailer
	h.Reset()
	t.Reset()
	*x = Exchange{
		Request:  Request{Header: h, Trailer: t},
		Response: Response{Header: rs.Header, Trailer: rs.Trailer},
		Params:   x.Params[:0], Notes: x.Notes[:0], Ended: x.Ended[:0], Marks: x.Marks[:0],
	}
}

// Bytes returns a body that is b.
func Bytes(b []byte) Body { return &fixed{b} }

type fixed struct{ b []byte }

func (f *fixed) Next() ([]byte, error) {
	if len(f.b) == 0 {
		return nil, io.EOF
	}
	b := f.b
	f.b = nil
	return b, nil
}
func (f *fixed) Ready() bool { return true }
func (f *fixed) Close()      { f.b = nil }

var epoch = time.Now()

// Now returns nanoseconds of the monotonic clock since the process began.
func Now() int64 { return int64(time.Since(epoch)) }

// At returns the moment t on the scale of Now.
func At(t time.Time) int64 { return Now() + int64(time.Until(t)) }
