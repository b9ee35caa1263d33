package h1

import (
	"io"
	"sync/atomic"

	"swell/internal/exchange"
)

// mostAtOnce bounds one write, so that a slow reader's progress is seen.
const mostAtOnce = 64 << 10

// sink writes a message's head and body in as few writes as their coming allows.
type sink struct {
	to      io.Writer
	out     []byte         // what is not yet written; its capacity is the buffer
	waiting *atomic.Uint32 // odd while a write is under way; may be nil
	chunked bool
	left    int64 // of a body with a length
	wrote   int64 // bytes that left
}

// piece adds bytes of the body.
func (s *sink) piece(p []byte) error {
	if s.chunked {
		for len(p) > 0 {
			q := p[:min(len(p), cap(s.out)-32)]
			p = p[len(q):]
			if len(s.out)+len(q)+32 > cap(s.out) {
				if err := s.flush(); err != nil {
					return err
				}
			}
			s.out = appendChunkHead(s.out, len(q))
			s.out = append(s.out, q...)
			s.out = append(s.out, '\r', '\n')
		}
		return nil
	}
	if s.left -= int64(len(p)); s.left < 0 {
		return exchange.ErrLong
	}
	if len(s.out)+len(p) > cap(s.out) {
		if err := s.flush(); err != nil {
			return err
		}
		for len(p) >= cap(s.out)/2 && len(p) > 0 {
			q := p[:min(len(p), mostAtOnce)]
			p = p[len(q):]
			if err := s.write(q); err != nil {
				return err
			}
		}
	}
	s.out = append(s.out, p...)
	return nil
}

// end adds what stands behind the body.
func (s *sink) end(trailer *exchange.Header) error {
	if s.chunked {
		s.out = appendChunkEnd(s.out, trailer)
	} else if s.left > 0 {
		return exchange.ErrShort
	}
	return nil
}

// flush writes what is there.
func (s *sink) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.write(s.out)
	s.out = s.out[:0]
	return err
}

func (s *sink) write(p []byte) error {
	if s.waiting != nil {
		s.waiting.Add(1)
		defer s.waiting.Add(1)
	}
	n, err := s.to.Write(p)
	s.wrote += int64(n)
	return err
}
