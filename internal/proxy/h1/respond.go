package h1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"

	"swell/internal/exchange"
)

// respond is answer, for which a body that panics is a body that breaks.
func (c *conn) respond() (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.door.Log.Error("answer", "panic", r, "target", string(c.x.Request.Target), "stack", string(debug.Stack()))
			c.abort(true)
			err = fmt.Errorf("answer: panic: %v", r)
		}
	}()
	return c.answer()
}

// answer sends x.Response. An error means that the client did not get all of it,
// and can tell.
func (c *conn) answer() error {
	x := c.x
	q, r := &x.Request, &x.Response
	if c.leash.Gone() { // nobody takes it
		return c.left(errLeft)
	}
	if q.Expect {
		c.mu.Lock()
		c.answering = true
		c.mu.Unlock()
	}
	if r.Status == 101 || q.Method == "CONNECT" && r.Status/100 == 2 {
		if r.Tunnel != nil {
			return c.join()
		}
		x.Reply(500, "switched protocols without a tunnel")
	}
	bodiless := q.Method == "HEAD" || r.Status == 204 || r.Status == 304 || r.Body == nil
	if r.Body == nil && q.Method != "HEAD" && r.Status != 304 {
		r.Length = 0
	}
	s := sink{to: c.out, waiting: &c.writing}
	if bodiless || r.Length >= 0 && r.Length < smallSize*3/4 {
		b := smalls.Get().(*small)
		defer smalls.Put(b)
		s.out = b[:0]
	} else {
		b := larges.Get().(*large)
		defer larges.Put(b)
		s.out = b[:0]
	}
	ends := !bodiless && r.Length < 0 && q.Minor == 0 // the end of the connection ends the body
	s.chunked = !bodiless && r.Length < 0 && !ends
	s.left = r.Length
	if ends {
		s.left = 1<<63 - 1
	}
	c.last = c.last || r.Close || ends || c.m.close || c.door.draining.Load() || c.unwanted()
	s.out = c.appendHead(s.out, s.chunked)
	r.Sent = true
	if bodiless {
		if r.Body != nil {
			r.Body.Close()
		}
		return c.left(s.flush())
	}
	for {
		if !r.Body.Ready() {
			if err := s.flush(); err != nil {
				return c.broke(err, ends)
			}
		}
		p, err := r.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			_ = s.flush() // what came is theirs
			c.abort(ends)
			return err
		}
		if err := s.piece(p); errors.Is(err, exchange.ErrLong) {
			r.Body.Close()
			c.abort(ends)
			return err
		} else if err != nil {
			return c.broke(err, ends)
		}
		r.Bytes += int64(len(p))
	}
	if !ends {
		if err := s.end(&r.Trailer); err != nil {
			_ = s.flush()
			c.abort(ends)
			return err
		}
	}
	return c.left(s.flush())
}

var errLeft = errors.New("before it was answered")

// left is what an error of writing to the client means.
func (c *conn) left(err error) error {
	if err == nil {
		return nil
	}
	c.leave()
	return fmt.Errorf("%w: %w", exchange.ErrGone, err)
}

// broke ends an answer that the client didn't take.
func (c *conn) broke(err error, ends bool) error {
	err = c.left(err)
	c.x.Response.Body.Close()
	c.abort(ends)
	return err
}

// abort ends the connection within an answer, so that the client can't take it
// for a whole one: where only the connection's end would say so, by a reset.
func (c *conn) abort(ends bool) {
	if t, ok := c.nc.(*net.TCPConn); ok && ends {
		_ = t.SetLinger(0)
	}
	c.close()
}

// unwanted reports that more of the request's body is to come than is worth
// reading, as nobody did: the connection ends instead.
func (c *conn) unwanted() bool {
	if c.whole.Load() {
		return false
	}
	q := &c.x.Request
	if q.Expect && !c.informed {
		return true
	}
	if c.leash.Held() { // it may be on its way there still
		return c.x.Response.Status >= 400
	}
	return q.Length-q.Bytes > mostSkip // of chunked ones nobody knows
}

// appendHead appends the answer's head.
func (c *conn) appendHead(out []byte, chunked bool) []byte {
	q, r := &c.x.Request, &c.x.Response
	out = appendStatus(out, r.Status, r.Reason)
	out = appendFields(out, &r.Header)
	if !r.Header.Has(exchange.Date) {
		out = appendDate(out)
	}
	switch {
	case r.Status == 204:
	case r.Status == 304 || q.Method == "HEAD" && r.Length < 0:
		if r.Length > 0 {
			out = appendLength(out, r.Length)
		}
	case chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	case r.Length >= 0:
		out = appendLength(out, r.Length)
	}
	if c.last {
		out = append(out, "Connection: close\r\n"...)
	} else if q.Minor == 0 {
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	return append(out, '\r', '\n')
}
