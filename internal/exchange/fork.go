package exchange

import (
	"io"
	"sync/atomic"
)

// Fork is an exchange with the same request as another one, its parent, so that both
// can be under way at a time, each on a goroutine of its own: a hedged attempt, a
// mirrored request. It has a response, a leash and a plane's state of its own.
//
// Begin, then a round, then Join or not, then End, by which time nobody uses it any
// more; then it may begin again. Unless it was detached it shares the bytes of the
// parent's request, so it must end before the parent's Done does, and nobody changes
// those bytes meanwhile (fields may be added to the parent and taken from it: that
// changes no bytes).
type Fork struct {
	Exchange
	leash Leash
	gone  func() bool
	sent  replayed
	join  *joined
	to    *Exchange // whose response it gave
	bytes []byte    // of a detached request
	alone bool      // it was detached
}

// NewFork returns a fork that may begin.
func NewFork() *Fork {
	f := new(Fork)
	f.gone = f.leash.Gone
	return f
}

// Begin makes f a fork of x. body is the whole body of its request, which nobody
// changes any more, if has is set; else there is none. The fork passes no interim
// answers on.
func (f *Fork) Begin(x *Exchange, body []byte, has bool) {
	h, t, rh, rt := f.Request.Header, f.Request.Trailer, f.Response.Header, f.Response.Trailer
	params, notes, ended, marks := f.Params[:0], f.Notes[:0], f.Ended[:0], f.Marks[:0]
	f.Exchange = *x
	h.share(&x.Request.Header)
	t.share(&x.Request.Trailer)
	f.Request.Header, f.Request.Trailer = h, t
	f.Response = Response{Header: rh, Trailer: rt}
	f.Params, f.Notes, f.Ended, f.Marks = append(params, x.Params...), notes, ended, marks
	f.leash.Reset()
	f.Leash, f.Gone, f.Codec, f.Plane, f.Inform, f.Wrote = &f.leash, f.gone, nil, nil, nil, nil
	f.Attempt, f.Request.Expect, f.Request.Body = 0, false, nil
	if has {
		f.sent.b, f.sent.read = body, false
		f.sent.closed.Store(false)
		f.Request.Body = &f.sent
		if f.Request.Length < 0 && t.Len() == 0 {
			f.Request.Length = int64(len(body))
		}
	}
}

// Detach copies what f shares with its parent, but for the body, so that it may
// outlive it.
func (f *Fork) Detach() {
	b := f.bytes[:0]
	keep := func(p []byte) []byte {
		if p == nil {
			return nil
		}
		i := len(b)
		b = append(b, p...)
		return b[i:len(b):len(b)]
	}
	q := &f.Request
	q.Target, q.Host, q.Upgrade = keep(q.Target), keep(q.Host), keep(q.Upgrade)
	for _, h := range []*Header{&q.Header, &q.Trailer} {
		for i := range h.fields {
			h.fields[i].Name, h.fields[i].Value = keep(h.fields[i].Name), keep(h.fields[i].Value)
		}
	}
	f.bytes, f.alone = b, true
}

// SetBody gives a detached fork the body of its parent's request, which came later,
// and copies the trailer.
func (f *Fork) SetBody(body []byte, trailer *Header) {
	q := &f.Request
	f.sent.b, f.sent.read = body, false
	f.sent.closed.Store(false)
	q.Body = &f.sent
	q.Trailer.Reset()
	for _, t := range trailer.fields {
		q.Trailer.AddName(string(t.Name), string(t.Value))
	}
	if q.Trailer.Len() == 0 {
		q.Length = int64(len(body))
	}
}

// Detached reports whether Detach was called since Begin.
func (f *Fork) Detached() bool { return f.alone }

// Leave cuts what the fork does: its client is gone, as far as it can tell. Any
// goroutine may call it between Begin and End.
func (f *Fork) Leave() { f.leash.Leave() }

// Join makes the fork's response that of its parent x, whose own is dropped. The
// response's body goes on reading through the fork, which must not end before x.
func (f *Fork) Join(x *Exchange) {
	x.Response.Drop()
	h, t := x.Response.Header, x.Response.Trailer
	x.Response = f.Response
	f.Response = Response{Header: h, Trailer: t, Status: x.Response.Status}
	f.to = x
	if x.Response.Body != nil {
		// Not pooled: a filter may have it in a body of its own, and close that later.
		f.join = &joined{f: f, x: x, inner: x.Response.Body}
		x.Response.Body = f.join
	}
	x.Notes = append(x.Notes, f.Notes...)
	x.Deadline, x.Endpoint, x.Service, x.Attempt = f.Deadline, f.Endpoint, f.Service, x.Attempt+f.Attempt
}

// End calls what the fork's Ended holds and empties it. What Join gave away is given
// up.
func (f *Fork) End() {
	if f.join != nil {
		f.join.Close()
	}
	if f.to != nil {
		f.Response.Status, f.Response.Bytes = f.to.Response.Status, f.to.Response.Bytes
	}
	for i := len(f.Ended) - 1; i >= 0; i-- {
		f.Ended[i](&f.Exchange)
	}
	f.join, f.to, f.alone = nil, nil, false
	f.Exchange.Reset()
	f.sent.b = nil
	if cap(f.bytes) > 16<<10 {
		f.bytes = nil
	}
}

// replayed is a request body that is in memory. It may be closed while it is read.
type replayed struct {
	b      []byte
	read   bool
	closed atomic.Bool
}

func (r *replayed) Next() ([]byte, error) {
	switch {
	case r.closed.Load():
		return nil, ErrClosed
	case r.read || len(r.b) == 0:
		return nil, io.EOF
	}
	r.read = true
	return r.b, nil
}
func (r *replayed) Ready() bool { return true }
func (r *replayed) Close()      { r.closed.Store(true) }

// joined is the body of a response that a fork got, as its parent reads it: codecs
// put the trailers where the response was when they read its head.
type joined struct {
	f     *Fork
	x     *Exchange
	inner Body // nil once it is over
	err   error
}

func (j *joined) Next() ([]byte, error) {
	if j.inner == nil {
		return nil, j.err
	}
	p, err := j.inner.Next()
	if err != nil {
		j.inner, j.err = nil, err
		if err == io.EOF && j.f.Response.Trailer.Len() > 0 {
			j.x.Response.Trailer.share(&j.f.Response.Trailer)
		}
	}
	return p, err
}

func (j *joined) Ready() bool { return j.inner == nil || j.inner.Ready() }

func (j *joined) Close() {
	if j.inner != nil {
		j.inner.Close()
		j.inner, j.err = nil, ErrClosed
	}
}
