package h3

import (
	"fmt"
	"io"
	"sync"
	"time"

	"swell/internal/exchange"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// join answers 200 and passes bytes both ways until both sides are done: DATA is
// what the tunnel carries, the end of a side of the stream its end by half (RFC 9114,
// 4.4; RFC 9220).
func (s *stream) join() error {
	r := &s.x.Response
	defer r.Tunnel.Close()
	r.Length = -1
	r.Header.DelName("Sec-WebSocket-Accept") // has no meaning here
	s.head(200)
	r.Sent = true
	_ = s.w.SetWriteDeadline(time.Now().Add(s.c.limits.WriteTime))
	st, err := s.w.(http3.HTTPStreamer).HTTPStream()
	if err != nil {
		return s.wrote(err)
	}
	var wg sync.WaitGroup
	var inErr error
	wg.Go(func() { inErr = s.toTunnel(st) })
	err = s.fromTunnel(st)
	if err != nil {
		_ = r.Tunnel.Close()
		st.CancelWrite(quic.StreamErrorCode(http3.ErrCodeConnectError))
		st.CancelRead(quic.StreamErrorCode(http3.ErrCodeConnectError))
	}
	wg.Wait()
	st.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	if inErr != nil {
		return inErr
	}
	return err
}

// fromTunnel passes on what the upstream says.
func (s *stream) fromTunnel(st *http3.Stream) error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for {
		n, err := s.x.Response.Tunnel.Read(b[:])
		if n > 0 {
			if err := s.write(st, b[:n]); err != nil {
				return s.wrote(err)
			}
		}
		if err == io.EOF {
			return s.wrote(st.Close())
		}
		if err != nil {
			return fmt.Errorf("tunnel: %w", err)
		}
	}
}

// toTunnel passes on what the client says.
func (s *stream) toTunnel(st *http3.Stream) error {
	t := s.x.Response.Tunnel
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for {
		n, err := st.Read(b[:])
		if n > 0 {
			s.x.Request.Bytes += int64(n)
			if _, err := t.Write(b[:n]); err != nil {
				_ = t.Close()
				return fmt.Errorf("tunnel: %w", err)
			}
		}
		if err == io.EOF {
			if h, ok := t.(interface{ CloseWrite() error }); !ok || h.CloseWrite() != nil {
				_ = t.Close()
			}
			return nil
		}
		if err != nil {
			_ = t.Close()
			return fmt.Errorf("%w: %w", exchange.ErrGone, err)
		}
	}
}
