package h1

import (
	"fmt"
	"io"
	"net"
)

// join answers 101, or a CONNECT, and passes bytes both ways until both sides are done, or one
// is and can't say so to the other without closing.
func (c *conn) join() error {
	r := &c.x.Response
	out := appendStatus(nil, r.Status, r.Reason)
	out = appendFields(out, &r.Header)
	if r.Status == 101 {
		out = append(out, "Connection: Upgrade\r\nUpgrade: "...)
		if r.Upgrade != nil {
			out = append(out, r.Upgrade...)
		} else {
			out = append(out, c.x.Request.Upgrade...)
		}
		out = append(out, '\r', '\n')
	}
	out = append(out, '\r', '\n')
	c.last = true
	r.Sent = true
	c.unwatch()
	if _, err := c.nc.Write(out); err != nil {
		_ = r.Tunnel.Close()
		return c.left(err)
	}
	c.word.enter(piped)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, err := pass(c.nc, r.Tunnel)
		r.Bytes += n
		c.ended(c.nc, err)
	}()
	var err error
	rest := append(c.in.rest(), c.takeWatched()...)
	if len(rest) > 0 {
		_, err = r.Tunnel.Write(rest)
	}
	if err == nil {
		_, err = pass(r.Tunnel, c.nc)
	}
	c.ended(r.Tunnel, err)
	<-done
	_ = r.Tunnel.Close()
	c.close()
	return nil
}

// ended tells to that its peer is done; after an error, or where a connection
// can't be closed by half, it ends all.
func (c *conn) ended(to any, err error) {
	if err == nil && closeWrite(to) == nil {
		return
	}
	_ = c.x.Response.Tunnel.Close()
	c.close()
}

// pass copies until from ends. Between two sockets the system does it.
func pass(to io.Writer, from io.Reader) (n int64, err error) {
	if t, ok := from.(*tunnel); ok {
		if len(t.rest) > 0 {
			k, err := to.Write(t.rest)
			if err != nil {
				return int64(k), fmt.Errorf("tunnel: %w", err)
			}
			n, t.rest = int64(k), nil
		}
		from = t.u.nc
	}
	if t, ok := to.(*tunnel); ok {
		to = t.u.nc
	}
	_, a := to.(*net.TCPConn)
	_, b := from.(*net.TCPConn)
	var k int64
	if a && b {
		k, err = io.Copy(to, from)
	} else {
		buf := larges.Get().(*large)
		defer larges.Put(buf)
		// The wrappers hide what io.Copy would prefer to our buffer.
		k, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:])
	}
	if err != nil {
		err = fmt.Errorf("tunnel: %w", err)
	}
	return n + k, err
}
