package h3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"swell/internal/exchange"
)

// respond is answer, for which a body that panics is a body that breaks.
func (s *stream) respond() (broken bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.c.d.Log.Error("answer", "panic", r, "target", string(s.x.Request.Target), "stack", string(debug.Stack()))
			broken, err = true, fmt.Errorf("answer: panic: %v", r)
		}
	}()
	x := &s.x
	q, r := &x.Request, &x.Response
	if r.Tunnel != nil && (r.Status == 101 || q.Method == "CONNECT" && r.Status/100 == 2) {
		return false, s.join()
	}
	if r.Status == 101 {
		x.Reply(500, "switched protocols without a tunnel")
	}
	err = s.answer()
	return err != nil, err
}

// answer writes x.Response. An error means that the client doesn't get all of it,
// and must be told by the end of the stream.
func (s *stream) answer() error {
	q, r := &s.x.Request, &s.x.Response
	bodiless := q.Method == "HEAD" || r.Status == 204 || r.Status == 304 || r.Body == nil
	if r.Body == nil && q.Method != "HEAD" && r.Status != 304 {
		r.Length = 0
	}
	s.head(r.Status)
	r.Sent = true
	if bodiless {
		if r.Body != nil {
			r.Body.Close()
		}
		return s.wrote(s.flush())
	}
	for {
		if !r.Body.Ready() {
			if err := s.flush(); err != nil {
				return s.broke(err)
			}
		}
		p, err := r.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if r.Length >= 0 && r.Bytes+int64(len(p)) > r.Length {
			r.Body.Close()
			return exchange.ErrLong
		}
		if err := s.write(s.w, p); err != nil {
			return s.broke(err)
		}
	}
	if r.Length >= 0 && r.Bytes < r.Length {
		return exchange.ErrShort
	}
	if r.Trailer.Len() > 0 {
		if err := s.flush(); err != nil { // before it, quic-go would take them for fields
			return s.wrote(err)
		}
		h := s.w.Header()
		for _, f := range r.Trailer.Fields() {
			name := http.TrailerPrefix + http.CanonicalHeaderKey(string(f.Name))
			h[name] = append(h[name], string(f.Value))
		}
	}
	return nil
}

// head writes the answer's head; after it there are no interim ones. It is sent
// with the first of the body, or by flush.
func (s *stream) head(status int) {
	q, r := &s.x.Request, &s.x.Response
	s.heads.Lock()
	defer s.heads.Unlock()
	s.answering = true
	h := s.w.Header()
	fill(h, &r.Header)
	if !r.Header.Has(exchange.ContentType) {
		h["Content-Type"] = nil // it is not guessed
	}
	h["Content-Length"] = nil // nor is this, but where it is known
	switch {
	case r.Status == 204:
	case r.Status == 304 || q.Method == "HEAD":
		if r.Length > 0 || r.Length == 0 && q.Method == "HEAD" && r.Body == nil && r.Status != 304 {
			h["Content-Length"] = []string{strconv.FormatInt(r.Length, 10)}
		}
	case r.Length >= 0:
		h["Content-Length"] = []string{strconv.FormatInt(r.Length, 10)}
	}
	s.w.WriteHeader(status)
}

// fill adds fields to a header of net/http's.
func fill(h http.Header, from *exchange.Header) {
	for _, f := range from.Fields() {
		name := f.ID.Name()
		switch f.ID {
		case exchange.None:
			name = string(f.Name)
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.TransferEncoding,
			exchange.Upgrade, exchange.ContentLength, exchange.TE:
			continue // a filter may have set one; here they mean nothing
		case exchange.Trailer:
			continue // quic-go would take the fields that it names for trailers
		}
		h[name] = append(h[name], string(f.Value))
	}
}

// flush sends what is held back.
func (s *stream) flush() error {
	_ = s.w.SetWriteDeadline(time.Now().Add(s.c.limits.WriteTime))
	return s.w.FlushError()
}

// mostAtOnce is what must be taken in WriteTime.
const mostAtOnce = 16 << 10

// write sends p in pieces that each have their time.
func (s *stream) write(w io.Writer, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), mostAtOnce)
		_ = s.w.SetWriteDeadline(time.Now().Add(s.c.limits.WriteTime))
		n, err := w.Write(p[:n])
		s.x.Response.Bytes += int64(n)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// wrote is what an error of writing means.
func (s *stream) wrote(err error) error {
	if err == nil {
		return nil
	}
	s.slow = s.slow || errors.Is(err, os.ErrDeadlineExceeded)
	s.leash.Leave()
	return fmt.Errorf("%w: %w", exchange.ErrGone, err)
}

// broke ends an answer that the client didn't take.
func (s *stream) broke(err error) error {
	err = s.wrote(err)
	s.x.Response.Body.Close()
	return err
}

// interim sends an interim answer. It is what x.Inform is.
func (s *stream) interim(status int, h *exchange.Header) error {
	if status < 100 || status > 199 || status == 101 || status == 100 && !s.x.Request.Expect {
		return nil
	}
	s.heads.Lock()
	defer s.heads.Unlock()
	if s.answering || status == 100 && s.informed {
		return nil
	}
	s.informed = s.informed || status == 100
	out := s.w.Header()
	if h != nil {
		fill(out, h)
	}
	_ = s.w.SetWriteDeadline(time.Now().Add(s.c.limits.WriteTime))
	s.w.WriteHeader(status)
	clear(out)
	if s.r.Context().Err() != nil {
		return exchange.ErrGone
	}
	return nil
}
