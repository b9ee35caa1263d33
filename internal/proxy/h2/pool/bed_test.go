package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"swell/internal/exchange"
)

// patience bounds everything that should be fast: tests run on loaded machines.
const patience = 30 * time.Second

// serve starts a server of net/http that speaks HTTP/2 by prior knowledge.
func serve(t testing.TB, handle http.HandlerFunc, change ...func(*http.Server)) (addr string, srv *http.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv = &http.Server{Handler: handle, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	for _, f := range change {
		f(srv)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return l.Addr().String(), srv
}

// newPool makes a pool that the test's end closes, and counts what it dials.
func newPool(t testing.TB, o Options) (*Pool, *atomic.Int64) {
	t.Helper()
	var dials atomic.Int64
	dial := o.Dial
	o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		dials.Add(1)
		if dial != nil {
			return dial(ctx, addr)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
	p := New(o)
	t.Cleanup(func() {
		p.Close()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			p.mu.Lock()
			n := len(p.conns)
			p.mu.Unlock()
			if n == 0 {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%d connections are left after Close", n)
				return
			}
		}
	})
	return p, &dials
}

// request makes an exchange as a codec would.
func request(method, target string, body exchange.Body) *exchange.Exchange {
	x := &exchange.Exchange{Start: exchange.Now(), Leash: new(exchange.Leash)}
	x.Gone = x.Leash.Gone
	q := &x.Request
	q.Method, q.Target, q.Host, q.Major = method, []byte(target), []byte("shop.example"), 2
	if body != nil {
		q.Body, q.Length = body, -1
	}
	return x
}

// pipe is a body that a test writes while it is read.
type pipe struct {
	mu     sync.Mutex
	cond   *sync.Cond
	b      []byte
	err    error // after b
	broken bool  // interrupted
	out    []byte
}

func newPipe() *pipe { p := new(pipe); p.cond = sync.NewCond(&p.mu); return p }

func (p *pipe) write(s string) {
	p.mu.Lock()
	p.b = append(p.b, s...)
	p.mu.Unlock()
	p.cond.Broadcast()
}
func (p *pipe) end(err error) { p.mu.Lock(); p.err = err; p.mu.Unlock(); p.cond.Broadcast() }

var errInterrupted = errors.New("interrupted")

func (p *pipe) Next() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.b) == 0 && p.err == nil && !p.broken {
		p.cond.Wait()
	}
	if p.broken {
		return nil, errInterrupted
	}
	if len(p.b) == 0 {
		return nil, p.err
	}
	p.out = append(p.out[:0], p.b...)
	p.b = p.b[:0]
	return p.out, nil
}
func (p *pipe) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.b) > 0 || p.err != nil
}
func (p *pipe) Close()     { p.Interrupt() }
func (p *pipe) Interrupt() { p.mu.Lock(); p.broken = true; p.mu.Unlock(); p.cond.Broadcast() }
func (p *pipe) Resume()    { p.mu.Lock(); p.broken = false; p.mu.Unlock() }

// readAll reads a body to its end.
func readAll(b exchange.Body) (string, error) {
	if b == nil {
		return "", nil
	}
	var out []byte
	for {
		p, err := b.Next()
		if err == io.EOF {
			return string(out), nil
		}
		if err != nil {
			return string(out), err
		}
		if len(p) == 0 {
			return string(out), errors.New("an empty piece")
		}
		out = append(out, p...)
	}
}

// get makes a GET and returns its status and body.
func get(p *Pool, addr, target string) (int, string, error) {
	x := request("GET", target, nil)
	defer x.Reset()
	if err := p.RoundTrip(x, addr); err != nil {
		return 0, "", err
	}
	s, err := readAll(x.Response.Body)
	return x.Response.Status, s, err
}

// peer is an upstream by hand: one connection, frame by frame.
type peer struct {
	*http2.Framer
	t  testing.TB
	nc net.Conn

	enc *hpack.Encoder
	buf *buffer
}

type buffer struct{ b []byte }

func (b *buffer) Write(p []byte) (int, error) { b.b = append(b.b, p...); return len(p), nil }

// script starts an upstream whose nth connection is served by the nth function, the
// last one for all that follow.
func script(t testing.TB, conns ...func(*peer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for i := 0; ; i++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, nc)
			mu.Unlock()
			serve := conns[min(i, len(conns)-1)]
			wg.Go(func() {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(2 * patience))
				q := &peer{t: t, nc: nc, Framer: http2.NewFramer(nc, nc), buf: new(buffer)}
				q.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				q.enc = hpack.NewEncoder(q.buf)
				q.AllowIllegalWrites = true
				b := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(nc, b); err != nil {
					return
				}
				serve(q)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, nc := range open {
			_ = nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// begin sends settings.
func (q *peer) begin(s ...http2.Setting) { _ = q.WriteSettings(s...) }

// head reads frames until a request's head came; nil at the end.
func (q *peer) head() *http2.MetaHeadersFrame {
	for {
		f, err := q.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = q.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = q.WritePing(true, f.Data)
			}
		}
	}
}

// next reads frames until one that concerns a stream and is more than a window; nil at
// the end.
func (q *peer) next() http2.Frame {
	for {
		f, err := q.ReadFrame()
		if err != nil {
			return nil
		}
		if h := f.Header(); h.StreamID != 0 && h.Type != http2.FrameWindowUpdate {
			return f
		}
	}
}

// section encodes fields, names and values alternating.
func (q *peer) section(kv ...string) []byte {
	q.buf.b = q.buf.b[:0]
	for i := 0; i+1 < len(kv); i += 2 {
		_ = q.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return append([]byte(nil), q.buf.b...)
}

// answer sends a head.
func (q *peer) answer(id uint32, end bool, kv ...string) {
	_ = q.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: q.section(kv...), EndHeaders: true, EndStream: end})
}

// linger reads until the connection ends.
func (q *peer) linger() {
	for {
		if _, err := q.ReadFrame(); err != nil {
			var se http2.StreamError
			if !errors.As(err, &se) {
				return
			}
		}
	}
}

// attempt finds the AttemptError in err.
func attempt(t testing.TB, err error) *exchange.AttemptError {
	t.Helper()
	var e *exchange.AttemptError
	if !errors.As(err, &e) {
		t.Fatalf("the error is %T: %v", err, err)
	}
	return e
}

// within fails the test if f takes too long.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

type (
	httpWriter  = http.ResponseWriter
	httpRequest = http.Request
)
