package pool

import (
	"fmt"
	"io"
	"sync/atomic"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

var (
	errNoTunnel = fmt.Errorf("%w: extended CONNECT (RFC 8441), by which WebSocket and the like go over HTTP/2", exchange.ErrUnsupported)
	none        exchange.Header
)

// tunnel is the upstream's side of a stream that CONNECT made. One goroutine may
// read while another writes.
type tunnel struct {
	s    *stream
	rest []byte
	done atomic.Bool
}

// Read reads what the upstream sends; io.EOF after it sent its last.
func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.rest) == 0 {
		s := t.s
		if s.cur != nil {
			s.cur.free()
			s.cur = nil
		}
		c := s.c
		c.mu.Lock()
		for {
			if s.pop() {
				t.rest = s.cur.b[:s.cur.w]
				s.consume(s.cur.w)
				break
			}
			err := s.err
			if err == nil && s.gotEnd {
				err = io.EOF
			}
			if err != nil {
				c.mu.Unlock()
				return 0, err
			}
			c.mu.Unlock()
			<-s.wake
			c.mu.Lock()
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// Write sends p.
func (t *tunnel) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := t.s.send(p, false, &none, false); err != nil {
		return 0, exchange.ErrClosed
	}
	return len(p), nil
}

// CloseWrite tells the upstream that nothing more comes.
func (t *tunnel) CloseWrite() error {
	if t.s.send(nil, true, &none, false) != nil {
		return exchange.ErrClosed
	}
	return nil
}

// Close ends both directions. It may be called by both.
func (t *tunnel) Close() error {
	if t.done.Swap(true) {
		return nil
	}
	s := t.s
	s.c.mu.Lock()
	if !s.gone {
		s.cut(frames.Cancel, exchange.ErrClosed)
	}
	s.c.done()
	return nil
}
