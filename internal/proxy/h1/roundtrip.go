package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"swell/internal/exchange"
)

// How much of a request's body may be written before the answer is looked at: as
// much as a socket takes without blocking, and of a connection in memory, whose
// writes block, only what every reader reads at once.
const (
	inlineSocket = largeSize
	inlineMemory = smallSize
)

// mostInterims bounds the interim answers to one request.
const mostInterims = 64

// answer is an answer on its way: the memory of its head and the source of its
// body. It outlives its hold on the connection, which ends with the body.
type answer struct {
	in   reader
	u    *upstream       // nil once the body ended
	l    *exchange.Leash // the client's; nil if there is none
	keep bool            // the connection may be used again
	err  error           // what Next returns once u is nil
}

var answers = sync.Pool{New: func() any { return new(answer) }}

// RoundTrip sends x.Request to addr and returns once the head of the answer is in
// x.Response, whose body (or Tunnel) streams; interim answers go to x.Inform.
// x.Response must be empty (Drop). It obeys x.Deadline, for the answer's body
// too. It never sends a request twice. The error is an [*exchange.AttemptError].
//
// The request's body may still be read after it returned, by another goroutine,
// when the upstream answers early: until the response's body was closed or gave
// an error (io.EOF included), nobody else may touch x.Request.Body and Trailer.
func (p *Pool) RoundTrip(x *exchange.Exchange, addr string) error {
	h := p.host(addr)
	var deadline int64
	if !x.Deadline.IsZero() {
		deadline = exchange.At(x.Deadline)
	}
	t := trip{x: x, a: answers.Get().(*answer)}
	defer t.free()
	for {
		u, err := p.get(x, addr, h)
		if err != nil {
			return &exchange.AttemptError{Addr: addr, Phase: exchange.PhaseDial, Safe: !t.consumed, Err: err}
		}
		t.a.u, t.a.l, t.a.in.nc = u, x.Leash, u.in
		u.deadline.Store(deadline)
		t.a.in.wait, t.s.waiting = nil, nil
		if x.IdleTimeout > 0 {
			t.a.in.wait, t.s.waiting = &u.reading, &u.writing
			u.patience.Store(int64(x.IdleTimeout))
		}
		p.sweep.wake()
		if x.Leash != nil && !x.Leash.Hold(u) {
			t.a.finish(false)
			return &exchange.AttemptError{Addr: addr, Phase: exchange.PhaseDial, Safe: !t.consumed, Err: exchange.ErrGone}
		}
		reused := u.used
		werr := t.send(u)
		t.a.keep = werr == nil
		if werr != nil && t.body == nil && t.s.wrote == 0 && reused && u.reason.Load() == nil {
			// The upstream closed just now, and nothing reached it: as if it were stale.
			t.a.finish(false)
			continue
		}
		if t.body != nil { // the client's fault, before anything was sent
			t.a.finish(false)
			return &exchange.AttemptError{Addr: addr, Phase: exchange.PhaseWrite, Reused: reused, Err: t.body}
		}
		phase, err := t.head(u)
		if err == nil {
			t.a = nil
			return nil
		}
		if werr != nil && phase == exchange.PhaseWait {
			phase = exchange.PhaseWrite
		}
		t.a.finish(false)
		x.Response.Header.Reset()
		return &exchange.AttemptError{Addr: addr, Phase: phase, Reused: reused,
			Safe: t.s.wrote == 0 && !t.consumed, Err: err}
	}
}

// trip is one RoundTrip under way.
type trip struct {
	x        *exchange.Exchange
	a        *answer
	s        sink
	small    *small // the sink's buffer: one of both
	large    *large
	built    bool  // the head, and what was ready of the body, is in the sink
	complete bool  // so is all of the body
	consumed bool  // something of the body was read
	body     error // the request's body broke before anything was sent
	pending  []byte
	key      []byte // of a WebSocket whose client came without one
}

func (t *trip) free() {
	if t.small != nil {
		smalls.Put(t.small)
	}
	if t.large != nil {
		larges.Put(t.large)
	}
	if t.a != nil { // an error, or a panic of a body
		t.a.Release()
	}
}

// send writes the head and what is ready of the body, and has a sender see to the
// rest. An error of the upstream's is for the caller to weigh: there may be an
// answer all the same.
func (t *trip) send(u *upstream) error {
	if !t.built {
		t.build(u)
		if t.body != nil {
			return nil
		}
	}
	out := t.s.out
	t.s.to = u.out
	if err := t.s.write(out); err != nil {
		return err
	}
	if t.x.Wrote != nil {
		t.x.Wrote(t.x)
	}
	if !t.complete {
		u.sender = send(u, t.x, t.pending, t.s.chunked, t.s.left)
	}
	return nil
}

// build puts the head into the sink, and of the body what is ready and fits.
func (t *trip) build(u *upstream) {
	q := &t.x.Request
	t.built = true
	most := inlineSocket
	if u.raw == nil {
		most = inlineMemory
	}
	if q.Body == nil || q.Expect || q.Length >= 0 && q.Length < smallSize/2 || most == inlineMemory {
		t.small = smalls.Get().(*small)
		t.s.out = t.small[:0]
	} else {
		t.large = larges.Get().(*large)
		t.s.out = t.large[:0]
	}
	if q.Major != 1 && is(q.Upgrade, "websocket") && !hasKey(&q.Header) {
		t.key = newKey()
	}
	t.s.out = appendRequest(t.s.out, q, u.host.addr, t.key)
	if q.Body == nil {
		t.complete = true
		return
	}
	t.s.chunked, t.s.left = q.Length < 0, q.Length
	if q.Expect {
		return
	}
	for q.Body.Ready() {
		t.consumed = true
		p, err := q.Body.Next()
		if err == io.EOF {
			if err = t.s.end(&q.Trailer); err == nil {
				t.complete = true
				return
			}
		}
		if err != nil {
			t.body = t.blame(err)
			return
		}
		if len(t.s.out)+len(p)+32 > min(most, cap(t.s.out)) {
			t.pending = p
			return
		}
		if err := t.s.piece(p); err != nil {
			t.body = t.blame(err)
			return
		}
	}
}

// blame says whose fault a broken request body is.
func (t *trip) blame(err error) error {
	if t.a.l != nil && t.a.l.Gone() {
		return exchange.ErrGone
	}
	return fmt.Errorf("%w: %w", exchange.ErrRequest, err)
}

// head reads up to the final answer's head and makes x.Response of it.
func (t *trip) head(u *upstream) (exchange.Phase, error) {
	x, a, o := t.x, t.a, &u.pool.o
	in := &a.in
	in.head = newHead(0, o.Head)
	in.b, in.r, in.w = in.head, 0, 0
	r := &x.Response
	var m meta
	phase, interims, fresh := exchange.PhaseWait, 0, 0
	for {
		if bytes.IndexByte(in.b[fresh:in.w], '\n') >= 0 {
			m = meta{}
			r.Header.Reset()
			n, bad := answerHead(in.b[in.r:in.w], &r.Header, &m, o.Fields, x.Request.Method == "HEAD")
			switch {
			case bad == manyFields:
				return exchange.PhaseHead, exchange.ErrHeadTooLarge
			case bad != nil:
				return exchange.PhaseHead, fmt.Errorf("%w: %s", exchange.ErrMalformed, bad.why)
			}
			in.r += n
			if n > 0 && (m.status >= 200 || m.status == 101) {
				break
			}
			if n > 0 {
				if interims++; interims > mostInterims {
					return exchange.PhaseHead, fmt.Errorf("%w: too many interim answers", exchange.ErrMalformed)
				}
				t.interim(u, m.status)
				fresh = in.r
				continue
			}
		}
		fresh = in.w
		if in.w == len(in.b) && !in.grow(o.Head) {
			return exchange.PhaseHead, exchange.ErrHeadTooLarge
		} else if in.w < fresh {
			fresh = in.w
		}
		if in.w == 0 {
			// Others go first: mostly the answer is there then, and asking the kernel in
			// vain, parking and waking are saved (a fifth of an exchange's CPU).
			runtime.Gosched()
		}
		if in.wait != nil {
			in.wait.Add(1)
		}
		n, err := u.in.Read(in.b[in.w:])
		if in.wait != nil {
			in.wait.Add(1)
		}
		in.w += n
		if n > 0 {
			phase = exchange.PhaseHead
		} else if err != nil {
			return phase, t.broken(u, err)
		}
	}
	if s := u.sender; s != nil {
		s.answered()
	}
	if m.status == 101 || x.Request.Method == "CONNECT" && m.status < 300 {
		if x.Request.Upgrade == nil && m.status == 101 {
			return exchange.PhaseHead, fmt.Errorf("%w: switches protocols unasked", exchange.ErrMalformed)
		}
		if t.key != nil && m.status == 101 && !accepted(&r.Header, t.key) {
			return exchange.PhaseHead, fmt.Errorf("%w: Sec-WebSocket-Accept is not what the key asks for", exchange.ErrMalformed)
		}
		if u.word.enter(piped) {
			return exchange.PhaseHead, u.cause(exchange.ErrTimeout)
		}
		if a.l != nil {
			a.l.Release()
		}
		a.u = nil
		r.Status, r.Reason, r.Memory = m.status, m.reason, a
		r.Tunnel, r.Upgrade = &tunnel{u: u, rest: in.rest()}, m.upgrade
		return 0, nil
	}
	r.Status, r.Reason, r.Memory = m.status, m.reason, a
	in.begin(&m, &r.Trailer, o.Fields)
	a.keep = a.keep && !m.close
	switch {
	case m.framing == chunked || m.framing == byClose:
		r.Length = -1
	case m.sized && m.status != 204:
		r.Length = m.length
	case x.Request.Method == "HEAD" || m.status == 304:
		r.Length = -1
	}
	if m.framing == none {
		a.err = io.EOF
		a.finish(true)
	} else {
		r.Body = a
	}
	return 0, nil
}

// interim passes an interim answer on.
func (t *trip) interim(u *upstream, status int) {
	if status == 100 {
		if !t.x.Request.Expect {
			return
		}
		if u.sender != nil {
			u.sender.go100()
		}
	}
	if t.x.Inform != nil {
		_ = t.x.Inform(status, &t.x.Response.Header) // a client that left is noticed elsewhere
	}
}

// broken says why no head came.
func (t *trip) broken(u *upstream, err error) error {
	err = u.cause(err)
	if s := u.sender; s != nil && errors.Is(err, exchange.ErrRequest) {
		<-s.done
		return t.blame(s.err)
	}
	return err
}

// grow makes room for more of a head; false if it has all that it may.
func (in *reader) grow(most int) bool {
	if in.r > 0 {
		in.w = copy(in.b, in.b[in.r:in.w])
		in.r = 0
		return true
	}
	if len(in.head) >= most {
		return false
	}
	b := newHead(len(in.head), most)
	copy(b, in.b[:in.w])
	freeHead(in.head)
	in.head, in.b = b, b
	return true
}

// Next returns the next bytes of the answer's body, as exchange.Body has it.
func (a *answer) Next() ([]byte, error) {
	if a.u == nil {
		return nil, a.err
	}
	p, err := a.in.next()
	if err == nil {
		return p, nil
	}
	if err == io.EOF {
		a.err = err
		a.finish(true)
	} else {
		a.err = &exchange.AttemptError{Addr: a.u.host.addr, Phase: exchange.PhaseBody, Err: a.u.cause(err)}
		a.finish(false)
	}
	return nil, a.err
}

// Ready reports that Next would return at once.
func (a *answer) Ready() bool { return a.u == nil || a.in.ready() }

// Close gives up what is left.
func (a *answer) Close() {
	if a.u != nil {
		a.err = exchange.ErrClosed
		a.finish(false)
	}
}

// finish lets go of the connection, which is used again if the exchange went well.
func (a *answer) finish(well bool) {
	u := a.u
	a.u = nil
	if s := u.sender; s != nil {
		u.sender = nil
		well = s.stop() && well
	}
	if a.l != nil {
		a.l.Release()
	}
	if well && a.keep && len(a.in.rest()) == 0 {
		u.pool.put(u)
	} else {
		u.close()
	}
}

// Release gives up what is left, and the memory.
func (a *answer) Release() {
	a.Close()
	a.in.free()
	*a = answer{}
	answers.Put(a)
}
