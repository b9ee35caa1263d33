package h2

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// key adds what a WebSocket handshake of HTTP/1.1 has and that by HTTP/2 has not
// (RFC 8441, 5), in case that the upstream speaks the former.
func key(q *exchange.Request) {
	const name = "sec-websocket-key"
	if _, has := q.Header.Lookup(name); has || !strings.EqualFold(string(q.Upgrade), "websocket") {
		return
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	q.Header.AddName(name, base64.StdEncoding.EncodeToString(b[:]))
}

// buffer is what a tunnel is read into.
type buffer [16 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// join answers 200 and passes bytes both ways until both sides are done: DATA is
// what the tunnel carries, END_STREAM its end by half (RFC 8441, 5; RFC 9113, 8.5).
func (s *stream) join() error {
	c, r := s.c, &s.x.Response
	out := frames.AppendStatus(s.head[:0], 200)
	r.Header.DelName("sec-websocket-accept") // to a key that the client knows nothing of
	s.head = frames.AppendFields(out, &r.Header)
	r.Sent = true
	c.mu.Lock()
	s.tunnel = true
	c.mu.Unlock()
	err := s.sendHead(false)
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		_ = r.Tunnel.Close()
		return s.left(err)
	}
	in := &inbound{s: s}
	in.wg.Add(1)
	c.s.crew.do(in)
	err = s.fromTunnel()
	if err != nil {
		_ = r.Tunnel.Close()
		s.Close()
	}
	in.wg.Wait()
	_ = r.Tunnel.Close()
	if errors.Is(in.err, exchange.ErrGone) {
		return in.err
	}
	if in.whole { // the tunnel was closed because it can't be by half
		return s.left(s.out.End())
	}
	if err == nil {
		err = in.err
	}
	if err != nil {
		s.abort(frames.ConnectError)
	}
	return err
}

// fromTunnel passes on what the upstream says.
func (s *stream) fromTunnel() error {
	r := &s.x.Response
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for {
		n, err := r.Tunnel.Read(b[:])
		if n > 0 {
			if err := s.out.Data(b[:n]); err != nil {
				return s.left(err)
			}
			if err := s.c.w.Flush(); err != nil {
				return s.left(err)
			}
			r.Bytes += int64(n)
		}
		if err == io.EOF {
			if err := s.out.End(); err != nil {
				return s.left(err)
			}
			_ = s.c.w.Flush()
			return nil
		}
		if err != nil {
			return fmt.Errorf("tunnel: %w", err)
		}
	}
}

// inbound passes on what the client says.
type inbound struct {
	s     *stream
	wg    sync.WaitGroup
	err   error
	whole bool // the client was done, and the tunnel had to be closed
}

func (in *inbound) run() {
	defer in.wg.Done()
	s := in.s
	t := s.x.Response.Tunnel
	for {
		p, err := s.Next()
		if err == io.EOF {
			if h, ok := t.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil {
				return
			}
			in.whole = true
			_ = t.Close()
			return
		}
		if err == errShut { // the other direction broke
			return
		}
		if err != nil {
			in.err = fmt.Errorf("%w: %w", exchange.ErrGone, err)
			_ = t.Close()
			return
		}
		if _, err := t.Write(p); err != nil {
			in.err = fmt.Errorf("tunnel: %w", err)
			_ = t.Close()
			return
		}
	}
}
