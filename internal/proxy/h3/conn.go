package h3

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// conn is a client's connection. It has an HTTP/3 server of its own: so each drains
// by itself.
type conn struct {
	d           *door
	qc          *quic.Conn
	h           http3.Server
	limits      Limits
	peer, local netip.AddrPort

	mu       sync.Mutex
	active   int // streams under way
	draining bool
	lonely   *time.Timer // runs while draining without a stream
}

func newConn(d *door, qc *quic.Conn) *conn {
	c := &conn{d: d, qc: qc, limits: d.Live().complete(), peer: addrPort(qc.RemoteAddr()), local: addrPort(qc.LocalAddr())}
	if e, ok := qc.Context().Value(entryKey{}).(*entry); ok {
		d.opened(e)
	}
	// Heads up to twice the limit are read to be refused with a word; beyond, quic-go
	// answers 431 by itself.
	c.h = http3.Server{Handler: c, MaxHeaderBytes: 2 * c.limits.Head, IdleTimeout: c.limits.IdleTime}
	return c
}

const noError = quic.ApplicationErrorCode(http3.ErrCodeNoError)

// serve serves the connection until it has ended and all its streams have.
func (c *conn) serve() {
	drained := make(chan struct{})
	stop := context.AfterFunc(c.d.ctx, func() {
		defer close(drained)
		c.drain()
	})
	if err := c.h.ServeQUICConn(c.qc); errors.Is(err, http.ErrServerClosed) {
		_ = c.qc.CloseWithError(noError, "")
	}
	if !stop() {
		<-drained
	}
}

// drain tells the client to begin no more requests, and ends the connection when
// those under way are over, or their time is.
func (c *conn) drain() {
	most := c.d.DrainTime
	if c.d.DrainFor != nil {
		most = c.d.DrainFor()
	}
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	c.mu.Lock()
	c.draining = true
	c.lonely = time.AfterFunc(c.d.Linger, cancel)
	if c.active > 0 {
		c.lonely.Stop()
	}
	c.mu.Unlock()
	_ = c.h.Shutdown(ctx) // what it says of the time is no news
	c.mu.Lock()
	c.lonely.Stop()
	c.mu.Unlock()
}

func (c *conn) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active++
	if c.draining {
		c.lonely.Stop()
	}
}

func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	if c.draining && c.active == 0 {
		c.lonely.Reset(c.d.Linger)
	}
}

// ServeHTTP serves one request, on its stream's goroutine.
func (c *conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.enter()
	defer c.leave()
	s := c.d.streams.Get().(*stream)
	s.begin(c, w, r)
	broken := s.run()
	s.recycle()
	c.d.streams.Put(s)
	if broken {
		panic(http.ErrAbortHandler) // resets the stream: no client takes this for a whole answer
	}
}
