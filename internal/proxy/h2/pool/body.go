package pool

import (
	"errors"
	"fmt"
	"io"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// Next returns the next bytes of the answer's body, as exchange.Body has it.
func (s *stream) Next() ([]byte, error) {
	if s.cur != nil {
		s.cur.free()
		s.cur = nil
	}
	if s.eof != nil {
		return nil, s.eof
	}
	c := s.c
	c.mu.Lock()
	for {
		if s.pop() {
			s.consume(s.cur.w)
			return s.cur.b[:s.cur.w], nil
		}
		if s.err != nil || s.gotEnd {
			break
		}
		c.mu.Unlock()
		<-s.wake
		c.mu.Lock()
	}
	if err := s.err; err != nil {
		c.mu.Unlock()
		s.eof = &exchange.AttemptError{Addr: c.host.addr, Phase: exchange.PhaseBody, Err: s.blame(err)}
	} else {
		if s.trailer >= 0 {
			for _, f := range s.fields.Fields()[s.trailer:] {
				s.x.Response.Trailer.Append(f.ID, f.Name, f.Value)
			}
		}
		c.mu.Unlock()
		s.eof = io.EOF
	}
	s.finish()
	return nil, s.eof
}

// pop makes the next piece the current one; false if there is none.
func (s *stream) pop() bool {
	if s.first == len(s.chunks) {
		return false
	}
	s.cur = s.chunks[s.first]
	s.chunks[s.first] = nil
	if s.first++; s.first == len(s.chunks) {
		s.chunks, s.first = s.chunks[:0], 0
	}
	return true
}

// consume opens the window for n bytes that were read, and gives mu back.
func (s *stream) consume(n int) {
	c := s.c
	if s.gone || s.gotEnd || c.err != nil {
		c.mu.Unlock()
		return
	}
	s.read += n
	if s.read >= s.size && len(s.chunks) == 0 && s.size < c.pool.o.Window {
		// The reader keeps up, and there is much to read.
		s.size = min(2*s.size, c.pool.o.Window)
		s.in.Grow(s.size)
	}
	grant := s.in.Consume(n + s.owed)
	s.owed = 0
	if grant == 0 {
		c.mu.Unlock()
		return
	}
	c.put(frames.AppendWindowUpdate(c.out, s.id, grant))
	c.done()
}

// Ready reports that Next would return at once.
func (s *stream) Ready() bool {
	if s.eof != nil {
		return true
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.first < len(s.chunks) || s.ended()
}

// Close gives up what is left.
func (s *stream) Close() {
	if s.eof == nil {
		s.eof = exchange.ErrClosed
		s.finish()
	}
}

// finish lets go of the exchange and of what is left of it.
func (s *stream) finish() {
	if s.ends {
		return
	}
	s.ends = true
	if s.sent != nil {
		s.sent.halt()
		s.beyond = s.sent.read.Load()
		s.sent = nil
	}
	if s.l != nil {
		s.l.Release()
	}
	c := s.c
	c.mu.Lock()
	s.drop()
	if !s.gone {
		s.cut(frames.Cancel, exchange.ErrClosed)
	}
	c.done()
}

// Release gives up what is left, and the memory.
func (s *stream) Release() {
	s.Close()
	s.free()
}

// free gives the memory back. Nobody knows the stream any more.
func (s *stream) free() {
	if s.cur != nil {
		s.cur.free()
	}
	if s.stash != nil {
		stashs.Put(s.stash)
		s.stash = nil
	}
	s.x, s.l = nil, nil
	s.clear()
	if cap(s.mem) > 16<<10 {
		s.mem = nil
	}
	if cap(s.scrap) > 16<<10 {
		s.scrap = nil
	}
	streams.Put(s)
}

// blame says whose fault a failure is, if the request's body broke.
func (s *stream) blame(err error) error {
	if s.sent == nil || !errors.Is(err, exchange.ErrRequest) {
		return err
	}
	<-s.sent.done
	if s.l != nil && s.l.Gone() {
		return exchange.ErrGone
	}
	return fmt.Errorf("%w: %w", exchange.ErrRequest, s.sent.err)
}
