package h2

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// respond is answer, for which a body that panics is a body that breaks.
func (s *stream) respond() (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.c.s.Log.Error("answer", "panic", r, "target", string(s.x.Request.Target), "stack", string(debug.Stack()))
			s.abort(frames.InternalError)
			err = fmt.Errorf("answer: panic: %v", r)
		}
	}()
	return s.answer()
}

// answer adds x.Response to what the connection writes. An error means that the
// client doesn't get all of it, and can tell.
func (s *stream) answer() error {
	x := &s.x
	q, r := &x.Request, &x.Response
	if r.Tunnel != nil && (r.Status == 101 || q.Method == "CONNECT" && r.Status/100 == 2) {
		return s.join()
	}
	if r.Status == 101 {
		x.Reply(500, "switched protocols without a tunnel")
	}
	bodiless := q.Method == "HEAD" || r.Status == 204 || r.Status == 304 || r.Body == nil
	if r.Body == nil && q.Method != "HEAD" && r.Status != 304 {
		r.Length = 0
	}
	s.head = s.appendHead(s.head[:0])
	r.Sent = true
	if err := s.sendHead(bodiless); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return s.left(err)
	}
	if bodiless {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil
	}
	for {
		if !r.Body.Ready() {
			if err := s.c.w.Flush(); err != nil {
				return s.broke(err)
			}
		}
		p, err := r.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			s.abort(codeOf(err))
			return err
		}
		if r.Length >= 0 && r.Bytes+int64(len(p)) > r.Length {
			r.Body.Close()
			s.abort(frames.InternalError)
			return exchange.ErrLong
		}
		if err := s.out.Data(p); err != nil {
			return s.broke(err)
		}
		r.Bytes += int64(len(p))
	}
	if r.Length >= 0 && r.Bytes < r.Length {
		s.abort(frames.InternalError)
		return exchange.ErrShort
	}
	if r.Trailer.Len() > 0 {
		if s.head = frames.AppendFields(s.head[:0], &r.Trailer); len(s.head) > 0 {
			return s.left(s.out.Head(true, s.head))
		}
	}
	return s.left(s.out.End())
}

// sendHead adds the answer's head; after it there are no interim ones.
func (s *stream) sendHead(end bool) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.answering = true // another goroutine may be about to say 100
	return s.out.Head(end, s.head)
}

// codeOf is the code for a body that broke.
func codeOf(err error) frames.Code {
	var f *frames.Error
	if errors.As(err, &f) && f.Stream != 0 && (f.Code == frames.Cancel || f.Code == frames.EnhanceYourCalm) {
		return f.Code // of an upstream that speaks HTTP/2, too
	}
	return frames.InternalError
}

// left is what an error of sending means.
func (s *stream) left(err error) error {
	if err == nil {
		return nil
	}
	s.c.mu.Lock()
	s.lose(err)
	s.c.mu.Unlock()
	return fmt.Errorf("%w: %w", exchange.ErrGone, err)
}

// broke ends an answer that the client didn't take.
func (s *stream) broke(err error) error {
	err = s.left(err)
	s.x.Response.Body.Close()
	return err
}

// abort ends the stream within an answer, so that the client can't take it for a
// whole one.
func (s *stream) abort(code frames.Code) {
	s.c.mu.Lock()
	s.out.Reset(code)
	s.dead = true
	s.c.mu.Unlock()
}

// appendHead appends the answer's field section.
func (s *stream) appendHead(out []byte) []byte {
	q, r := &s.x.Request, &s.x.Response
	out = frames.AppendStatus(out, r.Status)
	out = frames.AppendFields(out, &r.Header)
	if !r.Header.Has(exchange.Date) {
		out = frames.AppendDate(out)
	}
	switch {
	case r.Status == 204:
	case r.Status == 304 || q.Method == "HEAD" && r.Length < 0:
		if r.Length > 0 {
			out = frames.AppendLength(out, r.Length)
		}
	case r.Length >= 0:
		out = frames.AppendLength(out, r.Length)
	}
	return out
}
