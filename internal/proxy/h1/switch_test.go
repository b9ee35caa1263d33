package h1

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"swell/internal/exchange"
)

// TestConnect opens a tunnel through the proxy to one that opens it in turn: bytes
// behind the heads belong to the tunnel, and each side can end its half.
func TestConnect(t *testing.T) {
	up := origin(t, func(c *client) {
		h := c.head()
		if !strings.HasPrefix(h, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n") {
			t.Errorf("the upstream got %q", h)
		}
		c.send("HTTP/1.1 200 Fine\r\nX-A: b\r\n\r\nhello ")
		b, err := io.ReadAll(c.r)
		if err != nil {
			t.Error(err)
		}
		c.send(strings.ToUpper(string(b)))
	})
	c := dial(t, newRig(t, up).addr)
	c.send("CONNECT db:5432 HTTP/1.1\r\nHost: other\r\nUser-Agent: t\r\n\r\nearly ")
	if h := c.head(); h != "HTTP/1.1 200 Fine\r\nX-A: b\r\n\r\n" {
		t.Fatalf("answered %q", h)
	}
	c.send("late")
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c.r); string(b) != "hello EARLY LATE" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestConnectRefused(t *testing.T) {
	up := origin(t, func(c *client) {
		c.head()
		c.send("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno")
	})
	c := dial(t, newRig(t, up).addr)
	c.send("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n" + get) // what was meant for the tunnel
	if res := c.want("CONNECT", 407, "no"); !res.Close {
		t.Error("the connection would go on")
	}
	c.closed()
}

// TestHalfClosedClient: one that sent its request and closed its half gets its
// answer; one that is gone is noticed all the same.
func TestHalfClosedClient(t *testing.T) {
	t.Run("waits", func(t *testing.T) {
		up := origin(t, func(c *client) {
			for c.head() != "" {
				time.Sleep(300 * time.Millisecond)
				c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
		r := newRig(t, up, func(r *rig, _ *PoolOptions) { r.server.Limits.HalfTime = 10 * time.Second })
		c := dial(t, r.addr)
		c.send(get + get)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.want("GET", 200, "ok")
		c.want("GET", 200, "ok")
		c.closed()
	})
	t.Run("reads on for longer than is waited in silence", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			for range 10 {
				time.Sleep(100 * time.Millisecond)
				c.send("!")
			}
		})
		r := newRig(t, up, func(r *rig, _ *PoolOptions) { r.server.Limits.HalfTime = 600 * time.Millisecond })
		c := dial(t, r.addr)
		c.send(get)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.want("GET", 200, "!!!!!!!!!!")
	})
	for name, reset := range map[string]bool{"is gone without a word": false, "is gone with a reset": true} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			up := origin(t, func(c *client) {
				c.head()
				_, _ = c.r.ReadByte()
				close(ended)
			})
			r := newRig(t, up, func(r *rig, _ *PoolOptions) {
				r.server.Limits.HalfTime = 50 * time.Millisecond
				if reset {
					r.server.Limits.HalfTime = time.Hour
				}
			})
			c := dial(t, r.addr)
			c.send(get)
			if reset {
				_ = c.Conn.(*net.TCPConn).SetLinger(0)
			}
			_ = c.Close()
			select {
			case <-ended:
			case <-time.After(15 * time.Second):
				t.Fatal("the upstream's connection was not cut")
			}
			_ = r.stop()
			if d := r.done(); len(d) != 1 || !errors.Is(d[0], exchange.ErrGone) {
				t.Errorf("Done was told %v", d)
			}
		})
	}
}

// TestKeylessWebSocket: a WebSocket that was opened by HTTP/2 has no key; the
// upstream is given one, and its answer checked and relieved of what it means.
func TestKeylessWebSocket(t *testing.T) {
	for name, right := range map[string]bool{"right accept": true, "wrong accept": false} {
		t.Run(name, func(t *testing.T) {
			up := origin(t, func(c *client) {
				h := c.head()
				_, rest, ok := strings.Cut(h, "\r\nSec-WebSocket-Key: ")
				key, _, _ := strings.Cut(rest, "\r\n")
				if b, err := base64.StdEncoding.DecodeString(key); !ok || err != nil || len(b) != 16 {
					t.Errorf("the upstream got %q", h)
				}
				if !strings.Contains(h, "\r\nSec-WebSocket-Version: 13\r\n") || !strings.Contains(h, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n") {
					t.Errorf("the upstream got %q", h)
				}
				if !right {
					key += "x"
				}
				sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
					base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
				_, _ = io.Copy(c.Conn, c.r)
			})
			p := NewPool(PoolOptions{})
			defer p.Close()
			x := &exchange.Exchange{Request: exchange.Request{Method: "GET", Target: []byte("/"), Host: []byte("x"), Upgrade: []byte("websocket")}}
			err := p.RoundTrip(x, up)
			defer x.Response.Drop()
			if !right {
				if !errors.Is(err, exchange.ErrMalformed) {
					t.Errorf("a wrong answer gave %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := x.Response.Header.Lookup("Sec-WebSocket-Accept"); ok || x.Request.Header.Len() != 0 {
				t.Error("the key is not the client's matter")
			}
			if v, _ := x.Response.Header.Lookup("Sec-WebSocket-Protocol"); string(v) != "chat" {
				t.Errorf("protocol %q", v)
			}
			_, _ = io.WriteString(x.Response.Tunnel, "ping")
			b := make([]byte, 4)
			if _, err := io.ReadFull(x.Response.Tunnel, b); err != nil || string(b) != "ping" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}
