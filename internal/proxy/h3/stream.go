package h3

import (
	"context"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"swell/internal/exchange"
)

// answerer is what quic-go gives to write an answer to.
type answerer interface {
	http.ResponseWriter
	FlushError() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// stream is one exchange under way. It is pooled.
type stream struct {
	c     *conn
	w     answerer
	r     *http.Request
	x     exchange.Exchange
	leash exchange.Leash
	body  body
	slow  bool // the answer was not taken in time

	heads     sync.Mutex // held while a head is written
	informed  bool       // 100 Continue went out
	answering bool       // the answer's head did

	left chan struct{} // told when the leash was told that the client left

	// Made once, so that using them allocates nothing.
	inform func(int, *exchange.Header) error
	isGone func() bool
}

func newStream() *stream {
	s := &stream{left: make(chan struct{}, 1)}
	s.inform, s.isGone = s.interim, s.leash.Gone
	s.body.init(s)
	return s
}

// begin readies the stream.
func (s *stream) begin(c *conn, w http.ResponseWriter, r *http.Request) {
	s.c, s.w, s.r = c, w.(answerer), r
	s.slow, s.informed, s.answering = false, false, false
	s.leash.Reset()
	s.body.reset()
	x := &s.x
	x.Peer, x.Hop, x.Local, x.TLS, x.Caller = c.peer, c.peer, c.local, r.TLS, c.d.Caller
	x.Inform, x.Gone, x.Leash, x.Codec = s.inform, s.isGone, &s.leash, &s.body
	x.Start = exchange.Now()
}

// recycle makes the stream ready to be kept.
func (s *stream) recycle() {
	s.x.Request.Body = nil
	s.x.Reset()
	s.c, s.w, s.r = nil, nil, nil
}

// run handles the request; true says that the answer broke and the stream must too.
func (s *stream) run() (broken bool) {
	d, x := s.c.d, &s.x
	stop := context.AfterFunc(s.r.Context(), func() {
		s.leash.Leave()
		s.left <- struct{}{}
	})
	bad := s.place()
	switch {
	case bad != nil:
		x.Reply(bad.status, bad.why)
	case len(x.Request.Target) == 1 && x.Request.Target[0] == '*':
		x.Reply(200, "")
		x.Response.Header.AddName("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")
	default:
		s.handle()
	}
	late := s.body.late()
	if late && (x.Response.Status >= 400 || x.Response.Status == 0) { // what else came of it
		x.Reply(slowBody.status, slowBody.why)
	}
	broken, err := s.respond()
	switch {
	case bad != nil:
		s.c.refused(bad)
	case late:
		s.c.refused(slowBody)
	case s.slow:
		s.c.refused(slowReader)
	}
	if d.Done != nil && bad == nil {
		d.Done(x, err)
	}
	x.Response.Drop() // ends the body's sender, too
	if !stop() {
		<-s.left
	}
	s.body.end()
	return broken
}

// handle runs the server's Handle; a panic makes the answer 500.
func (s *stream) handle() {
	defer func() {
		if r := recover(); r != nil {
			s.c.d.Log.Error("exchange", "panic", r, "target", string(s.x.Request.Target), "stack", string(debug.Stack()))
			s.x.Reply(500, "internal error")
		}
	}()
	s.c.d.Handle(&s.x)
	if st := s.x.Response.Status; st < 200 && st != 101 {
		s.x.Reply(500, "no answer was made")
	}
}

func (c *conn) refused(r *refusal) {
	if c.d.Refused != nil {
		c.d.Refused(c.peer, r.status, r.slug, r.why)
	}
}

// refusal is why a request can't be taken: an answer.
type refusal struct {
	status    int
	slug, why string
}

var (
	badTarget  = &refusal{400, "target", "malformed request target"}
	longTarget = &refusal{414, "target-length", "request target too long"}
	badMethod  = &refusal{501, "method", "method not supported"}
	badHost    = &refusal{400, "host", "a request has exactly one valid host"}
	largeHead  = &refusal{431, "head-length", "request header too large"}
	slowBody   = &refusal{408, "slow-body", "request body took too long"}
	slowReader = &refusal{408, "slow-reader", "the answer was not taken in time"}
)

// place makes the exchange's request of what quic-go read (RFC 9114, 4.3.1; RFC 9220),
// which has checked the syntax of fields, and that there is one Content-Length at
// most.
func (s *stream) place() *refusal {
	q, r, l := &s.x.Request, s.r, &s.c.limits
	q.Major, q.Method, q.Host, q.Length = 3, r.Method, []byte(r.Host), r.ContentLength
	if len(q.Method) > 32 {
		return badMethod
	}
	n, size := 0, len(r.Method)+len(r.RequestURI)+len(r.Host)+4*32+len(":method:path:authority:scheme")
	for name, values := range r.Header {
		id := exchange.Identify([]byte(name))
		for _, v := range values {
			n++
			size += len(name) + len(v) + 32
			switch id {
			case exchange.Host, exchange.ContentLength, exchange.HTTP2Settings:
				continue
			case exchange.Expect:
				q.Expect = q.Expect || strings.EqualFold(v, "100-continue")
				continue
			}
			q.Header.AddName(name, strings.Trim(v, " \t"))
		}
	}
	if n > l.Fields || size > l.Head {
		return largeHead
	}
	if !validHost(r.Host) {
		return badHost
	}
	target := r.RequestURI
	if r.Method == http.MethodConnect {
		if r.Proto == "HTTP/3.0" { // of an extended CONNECT it is what :protocol says
			q.Target, q.Length = []byte("/"), 0
			return nil
		}
		q.Method, q.Upgrade, q.Length = "GET", []byte(r.Proto), 0
	}
	switch {
	case len(target) > l.Target:
		return longTarget
	case target == "*" && q.Method == http.MethodOptions:
	case target == "" || target[0] != '/' || !validTarget(target):
		return badTarget
	}
	q.Target = []byte(target)
	if q.Upgrade != nil {
		return nil
	}
	// A field section does not say whether a body follows. Where it would be unusual,
	// it is waited for: it, or the end of the stream, comes with the next packet.
	switch q.Method {
	case "GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT":
		if q.Length < 0 && s.body.none() {
			q.Length = 0
		}
	}
	if q.Length != 0 {
		q.Body = &s.body
	}
	return nil
}

// validTarget reports that t has only bytes of a target, and whole escapes in its
// path.
func validTarget(t string) bool {
	path := true
	for i := 0; i < len(t); i++ {
		switch c := t[i]; {
		case c <= ' ' || c >= 0x7f || c == '#':
			return false
		case c == '?':
			path = false
		case c == '%' && path:
			if i+2 >= len(t) || !isHex(t[i+1]) || !isHex(t[i+2]) {
				return false
			}
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// validHost reports that h is a host with or without a port.
func validHost(h string) bool {
	if h == "" || len(h) > 270 {
		return false
	}
	name, port, has := h, "", false
	if h[0] == '[' {
		end := strings.IndexByte(h, ']')
		if end < 0 {
			return false
		}
		if a, err := netip.ParseAddr(h[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
			return false
		}
		name = ""
		if port = h[end+1:]; port != "" {
			if port[0] != ':' {
				return false
			}
			port, has = port[1:], true
		}
	} else {
		if name, port, has = strings.Cut(h, ":"); name == "" {
			return false
		}
	}
	for _, c := range []byte(name) {
		if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '.' || c == '_' || c == '~') {
			return false
		}
	}
	number := 0
	for _, c := range []byte(port) {
		if c < '0' || c > '9' || number > 65535 {
			return false
		}
		number = number*10 + int(c-'0')
	}
	return !has || len(port) <= 5 && number <= 65535
}
