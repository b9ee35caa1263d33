package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// client sends requests by net/http.
type client struct {
	transport *http.Transport
	timeout   time.Duration
	opened    atomic.Int64 // connections
}

func newClient(o *Options) *client {
	c := &client{timeout: o.Timeout}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: o.Timeout}).DialContext
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	c.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err == nil {
				c.opened.Add(1)
			}
			return conn, err
		},
		MaxIdleConns: o.MaxInflight, MaxIdleConnsPerHost: o.MaxInflight, IdleConnTimeout: 30 * time.Second,
		DisableKeepAlives: o.NoKeepAlive, DisableCompression: true, Protocols: &protocols,
		MaxResponseHeaderBytes: 1 << 20,
	}
	return c
}

// sender is what one worker sends with; it belongs to one goroutine.
type sender struct {
	*client
	buf   []byte
	conns int // that the request has been given
	trace *httptrace.ClientTrace
}

func (c *client) sender() *sender {
	s := &sender{client: c, buf: make([]byte, 32<<10)}
	s.trace = &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { s.conns++ }}
	return s
}

// send sends a request and reads all of its answer.
func (s *sender) send(ctx context.Context, t *Target) (o outcome) {
	s.conns = 0
	run := ctx
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(ctx, s.trace), s.timeout)
	defer cancel()
	r, err := t.request(ctx)
	if err != nil {
		return outcome{kind: "request", text: err.Error()}
	}
	resp, err := s.transport.RoundTrip(r)
	if err == nil {
		o.status = resp.StatusCode
		for err == nil {
			var n int
			n, err = resp.Body.Read(s.buf)
			o.bytes += int64(n)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		_ = resp.Body.Close()
	}
	o.retried = s.conns > 1
	switch {
	case err == nil && o.status < 400:
	case err == nil:
		o.kind, o.text = fmt.Sprintf("status %d", o.status), fmt.Sprintf("%s %s: %s", r.Method, r.URL, resp.Status)
	case run.Err() != nil:
		o.gave = true
	default:
		o.kind, o.text = kind(err), fmt.Sprintf("%s %s: %v", r.Method, r.URL, err)
	}
	return o
}

// kind names a failure without an answer.
func kind(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial" && !op.Timeout():
		return "connect"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "timeout"
	}
	return "broken"
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// prepare checks a target and fills in its defaults.
func (t *Target) prepare() error {
	if t.Method == "" {
		t.Method = http.MethodGet
	}
	u, err := url.Parse(t.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q is not the URL of a target; write it as http://127.0.0.1:8080/path", t.URL)
	}
	if t.Weight < 0 {
		return fmt.Errorf("target %s: a weight of %d means nothing; it is at least 0", t.URL, t.Weight)
	}
	_, err = http.NewRequest(t.Method, t.URL, nil)
	if err != nil {
		return fmt.Errorf("target %s: %w", t.URL, err)
	}
	t.url = u
	t.header = t.Header.Clone()
	if t.header == nil {
		t.header = http.Header{}
	}
	t.host = t.header.Get("Host") // net/http takes it from a field of its own
	t.header.Del("Host")
	if t.header.Get("User-Agent") == "" {
		t.header.Set("User-Agent", "swell-load")
	}
	return nil
}

// request makes a request. It shares the target's headers, which a client does
// not change.
func (t *Target) request(ctx context.Context) (*http.Request, error) {
	r := (&http.Request{
		Method: t.Method, URL: t.url, Host: t.host, Header: t.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if len(t.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(t.Body))
		r.ContentLength = int64(len(t.Body))
	}
	return r, nil
}
