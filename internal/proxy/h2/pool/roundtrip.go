package pool

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// mostTries bounds how often one RoundTrip sends a request that the upstream did
// not take, as it says, or that did not leave.
const mostTries = 3

// RoundTrip sends x.Request to addr and returns once the head of the answer is in
// x.Response, whose body (or Tunnel) streams; interim answers go to x.Inform.
// x.Response must be empty (Drop). It obeys x.Deadline and x.IdleTimeout, for the
// answer's body too. It sends a request again only if the upstream has not
// processed it: if it said so (REFUSED_STREAM, GOAWAY), or none of it was written.
// The error is an [*exchange.AttemptError].
//
// The request's body may still be read after it returned, by another goroutine, as
// long as the answer streams: until the response's body was closed or gave an
// error (io.EOF included), nobody else may touch x.Request.Body and Trailer.
func (p *Pool) RoundTrip(x *exchange.Exchange, addr string) error {
	h := p.host(addr)
	t := trip{x: x, s: streams.Get().(*stream)}
	t.s.x, t.s.l = x, x.Leash
	defer t.free()
	for try := 1; ; try++ {
		c, err := h.take(x)
		if err != nil {
			return &exchange.AttemptError{Addr: addr, Phase: exchange.PhaseDial, Safe: !t.consumed, Err: err}
		}
		phase, err := t.attempt(c)
		if err == nil {
			t.s = nil
			return nil
		}
		t.s.finish()
		x.Response.Header.Reset()
		t.consumed = t.consumed || t.s.beyond
		var r *refused
		no := errors.As(err, &r)
		if no && !t.s.beyond && try < mostTries && !(x.Leash != nil && x.Leash.Gone()) {
			continue
		}
		return &exchange.AttemptError{Addr: addr, Phase: phase, Reused: t.reused, Safe: no && !t.consumed, Err: err}
	}
}

// trip is one RoundTrip under way.
type trip struct {
	x        *exchange.Exchange
	s        *stream
	built    bool   // the start of the body is in the stash
	size     int    // of what is there
	complete bool   // all of the body is
	consumed bool   // something of the body was read
	extra    []byte // what was read after it and found no room there
	left     int64  // of the body, after both
	body     error  // the request's body broke before anything was sent
	reused   bool
}

func (t *trip) free() {
	if t.s != nil { // an error, or a panic of a body
		if t.s.c != nil {
			t.s.finish()
		}
		t.s.free()
	}
}

// attempt makes the exchange a stream of c, where a place is reserved, and waits for
// the head of its answer.
func (t *trip) attempt(c *conn) (exchange.Phase, error) {
	x, s := t.x, t.s
	q := &x.Request
	s.clear()
	s.c = c
	s.head = q.Method == "HEAD"
	s.connect = q.Method == "CONNECT" || q.Upgrade != nil && q.Body == nil
	if !t.built {
		t.build()
	}
	if t.body != nil { // the client's fault, before anything was sent
		c.giveBack()
		s.ends = true
		return exchange.PhaseWrite, t.body
	}
	s.scrap = appendHead(s.scrap[:0], q, c.scheme, c.host.addr, s.connect)
	if s.l != nil && !s.l.Hold(s) {
		c.giveBack()
		s.ends = true
		return exchange.PhaseDial, exchange.ErrGone
	}
	if err := t.open(c); err != nil {
		s.ends = true
		if s.l != nil {
			s.l.Release()
		}
		return exchange.PhaseWrite, err
	}
	c.pool.sweep.wake()
	if x.Wrote != nil {
		x.Wrote(x)
	}
	return t.head(c)
}

// open makes the stream and queues its head, and of its body what is there.
func (t *trip) open(c *conn) error {
	s, q := t.s, &t.x.Request
	c.mu.Lock()
	var err error
	switch {
	case s.err != nil: // the client left just now
		err = s.err
	case c.err != nil:
		err = &refused{c.err}
	case c.leaving || c.next > lastID:
		err = &refused{fmt.Errorf("%w: it takes no more streams", exchange.ErrClosed)}
		c.leaving = true
	case s.connect && q.Method != "CONNECT" && !c.extended:
		err = errNoTunnel
	}
	if err != nil {
		c.free()
		c.done()
		return err
	}
	s.id = c.next
	c.next += 2
	c.streams[s.id] = s
	s.at, s.heard = c.queued, c.heard
	s.window = int64(c.initial)
	s.size = firstWindow
	s.in.Open(firstWindow, firstWindow)
	if !t.x.Deadline.IsZero() {
		s.deadline = exchange.At(t.x.Deadline)
	}
	s.idle = int64(t.x.IdleTimeout)
	t.reused, c.used = c.used, true
	if c.resize {
		c.resize = false
		s.scrap = append([]byte{frames.ResizeTable}, s.scrap...)
	}
	all := q.Body == nil && !s.connect
	c.put(frames.AppendSection(c.out, s.id, all, c.frame, s.scrap))
	s.sentEnd = all
	if q.Body != nil && !s.connect {
		var b []byte
		if s.stash != nil {
			b = s.stash[:t.size]
		}
		whole := t.complete && q.Trailer.Len() == 0
		b = b[s.push(b, whole):]
		if t.complete && len(b) == 0 && !s.sentEnd {
			s.close(&q.Trailer)
		}
		if !s.sentEnd {
			s.sent = &sender{s: s, q: q, pending: b, extra: t.extra, complete: t.complete, left: t.left, done: make(chan struct{})}
			if q.Expect {
				s.sent.start, s.sent.patience = make(chan bool, 1), c.pool.o.ExpectTime
			}
			go s.sent.run()
		}
	}
	c.done()
	return nil
}

// build puts into the stash what is ready of the body.
func (t *trip) build() {
	q := &t.x.Request
	t.built, t.left = true, q.Length
	if q.Body == nil || q.Expect || t.s.connect {
		return
	}
	s := t.s
	for q.Body.Ready() {
		t.consumed = true
		p, err := q.Body.Next()
		if err == io.EOF {
			if t.left > 0 {
				err = exchange.ErrShort
			} else {
				t.complete = true
				return
			}
		}
		if err == nil && t.left >= 0 {
			if t.left -= int64(len(p)); t.left < 0 {
				err = exchange.ErrLong
			}
		}
		if err != nil {
			t.body = fmt.Errorf("%w: %w", exchange.ErrRequest, err)
			if s.l != nil && s.l.Gone() {
				t.body = exchange.ErrGone
			}
			return
		}
		if s.stash == nil {
			s.stash = stashs.Get().(*large)
		}
		if t.size+len(p) > len(s.stash) {
			t.extra = p
			return
		}
		t.size += copy(s.stash[t.size:], p)
		if t.size > len(s.stash)/2 {
			return
		}
	}
}

// appendHead appends the fields of a request.
func appendHead(out []byte, q *exchange.Request, scheme, addr string, connect bool) []byte {
	h := &q.Header
	if connect {
		out = frames.AppendPseudo(out, frames.Method, "CONNECT")
		if q.Upgrade != nil {
			out = frames.AppendPseudo(out, frames.Protocol, q.Upgrade)
			// The handshake of WebSocket over HTTP/1.1 has no place here (RFC 8441, 5).
			h = new(exchange.Header)
			for _, f := range q.Header.Fields() {
				h.Append(f.ID, f.Name, f.Value)
			}
			h.DelName(webSocketKey)
		}
	} else {
		out = frames.AppendPseudo(out, frames.Method, q.Method)
	}
	if !connect || q.Upgrade != nil {
		out = frames.AppendPseudo(out, frames.Scheme, scheme)
		out = frames.AppendPseudo(out, frames.Path, q.Target)
	}
	if len(q.Host) > 0 {
		out = frames.AppendPseudo(out, frames.Authority, q.Host)
	} else {
		out = frames.AppendPseudo(out, frames.Authority, addr)
	}
	out = frames.AppendFields(out, h)
	switch {
	case connect:
	case q.Body == nil:
		if q.Method == "POST" || q.Method == "PUT" || q.Method == "PATCH" {
			out = frames.AppendLength(out, 0)
		}
	case q.Length >= 0:
		out = frames.AppendLength(out, q.Length)
	}
	if q.Expect {
		out = frames.AppendField(out, exchange.Expect, expectName, continues)
	}
	return out
}

var expectName, continues = []byte("expect"), []byte("100-continue")

// head waits for the final head of the answer and makes x.Response of it.
func (t *trip) head(c *conn) (exchange.Phase, error) {
	s, x := t.s, t.x
	r := &x.Response
	c.mu.Lock()
	for i := 0; ; i++ {
		for i >= len(s.heads) && s.err == nil {
			c.mu.Unlock()
			<-s.wake
			c.mu.Lock()
		}
		if i >= len(s.heads) {
			return t.failed(c)
		}
		h := s.heads[i]
		if h.status >= 200 && s.err != nil && s.first == len(s.chunks) {
			return t.failed(c) // nothing of it is worth passing on
		}
		r.Header.Reset()
		for _, f := range s.fields.Fields()[h.from:h.to] {
			r.Header.Append(f.ID, f.Name, f.Value)
		}
		if h.status >= 200 {
			t.final(c, h)
			return 0, nil
		}
		c.mu.Unlock()
		t.interim(h.status)
		c.mu.Lock()
	}
}

// failed says why no head came, and gives c.mu back.
func (t *trip) failed(c *conn) (exchange.Phase, error) {
	s := t.s
	err := s.err
	phase := exchange.PhaseWait
	switch {
	case errors.Is(err, exchange.ErrMalformed), errors.Is(err, exchange.ErrHeadTooLarge), len(s.heads) > 0:
		phase = exchange.PhaseHead
	case c.offered <= s.at:
		phase = exchange.PhaseWrite
	}
	c.mu.Unlock()
	return phase, s.blame(err)
}

// interim passes an interim answer on.
func (t *trip) interim(status int) {
	if status == 100 {
		if !t.x.Request.Expect {
			return
		}
		if t.s.sent != nil {
			t.s.sent.go100()
		}
	}
	if t.x.Inform != nil {
		_ = t.x.Inform(status, &t.x.Response.Header) // a client that left is noticed elsewhere
	}
}

// final makes x.Response of the final head, whose fields it has, and gives c.mu
// back.
func (t *trip) final(c *conn, h head) {
	s, x := t.s, t.x
	r, q := &x.Response, &x.Request
	r.Status = h.status
	if s.connect && h.status < 300 && s.err == nil {
		s.deadline, s.idle = 0, 0
		c.mu.Unlock()
		if s.l != nil {
			s.l.Release()
		}
		s.x, s.l = nil, nil
		if q.Upgrade != nil {
			r.Status, r.Upgrade = 101, q.Upgrade
			if key, ok := q.Header.Lookup(webSocketKey); ok {
				r.Header.SetName("Sec-WebSocket-Accept", accept(key))
			}
		}
		r.Tunnel = &tunnel{s: s}
		return
	}
	bodiless := s.head || h.status == 204 || h.status == 304
	whole := s.gotEnd && s.first == len(s.chunks) && s.trailer < 0
	c.mu.Unlock()
	r.Memory = s
	if s.sent != nil {
		s.sent.answered()
	}
	switch {
	case s.head || h.status == 304:
		r.Length = h.length
	case !bodiless && !whole:
		r.Length = h.length
	}
	if bodiless || whole {
		s.eof = io.EOF
		s.finish()
	} else {
		r.Body = s
	}
}

const webSocketKey = "Sec-WebSocket-Key"

// accept answers the key of a WebSocket's handshake over HTTP/1.1 (RFC 6455, 4.2.2),
// which the upstream never saw.
func accept(key []byte) string {
	sum := sha1.Sum(append(append([]byte(nil), key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.EncodeToString(sum[:])
}
