package h1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// client speaks to a server in raw bytes.
type client struct {
	testing.TB
	net.Conn
	r *bufio.Reader
}

func newClient(t testing.TB, nc net.Conn) *client { return &client{t, nc, bufio.NewReader(nc)} }

func (c *client) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.Fatalf("send: %v", err)
	}
}

// head reads a head as it stands on the wire, "" if the connection ended.
func (c *client) head() string {
	c.Helper()
	var b strings.Builder
	for {
		l, err := c.r.ReadString('\n')
		b.WriteString(l)
		if err != nil {
			if b.Len() > 0 && !errors.Is(err, io.EOF) {
				c.Logf("within %q: %v", b.String(), err)
			}
			return b.String()
		}
		if l == "\r\n" {
			return b.String()
		}
	}
}

// reply reads a whole answer to a request of that method.
func (c *client) reply(method string) (*http.Response, string, error) {
	c.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, "", fmt.Errorf("read answer: %w", err)
	}
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// want reads an answer and checks its status and body.
func (c *client) want(method string, status int, body string) *http.Response {
	c.Helper()
	res, b, err := c.reply(method)
	if err != nil {
		c.Fatal(err)
	}
	if res.StatusCode != status || b != body {
		c.Fatalf("answer %d %q, want %d %q", res.StatusCode, b, status, body)
	}
	return res
}

// closed checks that the connection ends without another byte.
func (c *client) closed() {
	c.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.Fatalf("byte %q after the end", b)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.Fatal("the connection was kept")
	}
}

// origin is an upstream in raw bytes: each connection is served by serve.
func origin(t testing.TB, serve func(c *client)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
			go func() {
				defer nc.Close()
				serve(newClient(t, nc))
			}()
		}
	}()
	return l.Addr().String()
}

func newReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }
