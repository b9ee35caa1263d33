package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
)

// memory is a listener of connections in memory.
type memory struct {
	conns chan net.Conn
	shut  chan struct{}
	once  sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), shut: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.shut:
		return nil, net.ErrClosed
	}
}
func (m *memory) Close() error   { m.once.Do(func() { close(m.shut) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (m *memory) Dial(ctx context.Context, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case m.conns <- b:
		return a, nil
	case <-m.shut:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// world is a proxy and an upstream, all in memory and in virtual time.
type world struct {
	t      *testing.T
	front  *memory
	back   *memory
	server *Server
	pool   *Pool
	mu     sync.Mutex
	errs   []error // of RoundTrip
	dones  []error
	drain  func()
}

// virtual runs f against a proxy whose upstream connections are served by serve.
func virtual(t *testing.T, serve func(c *client), f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, front: newMemory(), back: newMemory()}
		w.pool = NewPool(PoolOptions{Dial: w.back.Dial})
		w.server = &Server{
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Handle: func(x *exchange.Exchange) {
				if string(x.Request.Path()) == "/panic" {
					panic("boom")
				}
				if string(x.Request.Path()) == "/deadline" {
					x.Deadline = time.Now().Add(2 * time.Second)
				}
				if err := w.pool.RoundTrip(x, "up"); err != nil {
					w.mu.Lock()
					w.errs = append(w.errs, err)
					w.mu.Unlock()
					x.Reply(exchange.Status(err), "")
				}
			},
			Done: func(_ *exchange.Exchange, err error) { w.mu.Lock(); w.dones = append(w.dones, err); w.mu.Unlock() },
		}
		var all sync.WaitGroup
		all.Go(func() {
			for {
				nc, err := w.back.Accept()
				if err != nil {
					return
				}
				all.Go(func() { defer nc.Close(); serve(newClient(t, nc)) })
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.server.Serve(ctx, w.front) }()
		w.drain = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			w.pool.Close()
			_ = w.back.Close()
		})
		defer all.Wait()
		defer w.drain()
		f(w)
	})
}

func (w *world) dial() *client {
	nc, err := w.front.Dial(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = nc.Close() })
	return newClient(w.t, nc)
}

func (w *world) phase(p exchange.Phase, is error) {
	w.t.Helper()
	if len(w.errs) != 1 {
		w.t.Fatalf("errors %v", w.errs)
	}
	var e *exchange.AttemptError
	if !errors.As(w.errs[0], &e) || e.Phase != p || !errors.Is(e, is) {
		w.t.Errorf("error %v, want %s: %v", w.errs[0], p, is)
	}
}

func TestVirtualTime(t *testing.T) {
	slow := func(d time.Duration) func(c *client) {
		return func(c *client) {
			for c.head() != "" {
				time.Sleep(d)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
			}
		}
	}
	run := func(name string, serve func(c *client), f func(w *world)) {
		t.Run(name, func(t *testing.T) { virtual(t, serve, f) })
	}

	run("keep-alive and a slow answer", slow(5*time.Second), func(w *world) {
		c := w.dial()
		for range 3 {
			c.send(get)
			c.want("GET", 200, "!")
		}
	})
	run("an idle connection ends", slow(0), func(w *world) {
		c := w.dial()
		c.send(get)
		c.want("GET", 200, "!")
		at := time.Now()
		c.closed()
		if d := time.Since(at); d < 75*time.Second || d > 78*time.Second {
			w.t.Errorf("after %v", d)
		}
	})
	run("a deadline ends the exchange", slow(time.Hour), func(w *world) {
		c := w.dial()
		at := time.Now()
		c.send("GET /deadline HTTP/1.1\r\nHost: x\r\n\r\n")
		c.want("GET", 504, "")
		if d := time.Since(at); d < 2*time.Second || d > 2100*time.Millisecond {
			w.t.Errorf("after %v", d)
		}
		w.phase(exchange.PhaseWait, exchange.ErrTimeout)
	})
	run("a client in memory that leaves ends the exchange", slow(time.Hour), func(w *world) {
		c := w.dial()
		at := time.Now()
		c.send(get)
		time.Sleep(500 * time.Millisecond)
		_ = c.Close()
		synctest.Wait()
		w.drain()
		if d := time.Since(at); d > 2*time.Second {
			w.t.Errorf("it took %v", d)
		}
		w.phase(exchange.PhaseWait, exchange.ErrGone)
		if len(w.dones) != 1 || !errors.Is(w.dones[0], exchange.ErrGone) {
			w.t.Errorf("Done was told %v", w.dones)
		}
	})
	run("what is pipelined while the sweep watches is not lost", slow(300*time.Millisecond), func(w *world) {
		c := w.dial()
		c.send(get)
		time.Sleep(100 * time.Millisecond)
		c.send(get + get[:9]) // read by the watch
		c.want("GET", 200, "!")
		c.want("GET", 200, "!")
		c.send(get[9:])
		c.want("GET", 200, "!")
	})
	run("a slow upload is cut", func(c *client) { _, _ = io.Copy(io.Discard, c.r) }, func(w *world) {
		c := w.dial()
		at := time.Now()
		c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
		c.send("ab")
		if res, _, err := c.reply("POST"); err != nil || res.StatusCode != 408 || !res.Close {
			w.t.Errorf("answered %v, %v", res, err)
		}
		if d := time.Since(at); d < 60*time.Second || d > 61*time.Second {
			w.t.Errorf("after %v", d)
		}
		w.phase(exchange.PhaseWait, exchange.ErrRequest)
	})
	run("Expect that is not answered: the body after a second", func(c *client) {
		c.head()
		b := make([]byte, 2)
		_, _ = io.ReadFull(c.r, b)
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + string(b))
	}, func(w *world) {
		c := w.dial()
		at := time.Now()
		c.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		if h := c.head(); !strings.HasPrefix(h, "HTTP/1.1 100") || time.Since(at) != time.Second {
			w.t.Errorf("%q after %v", h, time.Since(at))
		}
		c.send("ok")
		c.want("POST", 200, "ok")
	})
	run("draining waits for exchanges, and says close", slow(5*time.Second), func(w *world) {
		c := w.dial()
		c.send(get)
		synctest.Wait()
		go w.drain()
		time.Sleep(time.Second)
		if res := c.want("GET", 200, "!"); !res.Close {
			w.t.Error("the client was not told")
		}
		c.closed()
	})
	run("draining answers what was on its way to an idle connection", slow(0), func(w *world) {
		c := w.dial()
		c.send(get)
		c.want("GET", 200, "!")
		time.Sleep(30 * time.Second)
		go w.drain()
		time.Sleep(80 * time.Millisecond)
		c.send(get)
		if res := c.want("GET", 200, "!"); !res.Close {
			w.t.Error("the client was not told")
		}
	})
	run("draining closes idle connections", slow(0), func(w *world) {
		c := w.dial()
		c.send(get)
		c.want("GET", 200, "!")
		at := time.Now()
		w.drain()
		c.closed()
		if d := time.Since(at); d > 200*time.Millisecond {
			w.t.Errorf("after %v", d)
		}
	})
	run("draining cuts what takes too long", slow(time.Minute), func(w *world) {
		c := w.dial()
		c.send(get)
		synctest.Wait()
		at := time.Now()
		w.drain()
		if d := time.Since(at); d < 30*time.Second || d > 31*time.Second {
			w.t.Errorf("after %v", d)
		}
		c.closed()
	})
	run("a panic is answered 500 and harms nobody", slow(0), func(w *world) {
		c := w.dial()
		c.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n")
		c.want("GET", 500, "internal error\n")
		c = w.dial()
		c.send(get)
		c.want("GET", 200, "!")
	})
	run("a reused connection that broke is said to be reused", func(c *client) {
		c.head()
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
		c.head() // and closes
	}, func(w *world) {
		c := w.dial()
		c.send(get)
		c.want("GET", 200, "!")
		c.send(get)
		c.want("GET", 502, "")
		w.phase(exchange.PhaseWait, exchange.ErrClosed)
		var e *exchange.AttemptError
		if errors.As(w.errs[0], &e); !e.Reused || e.Safe {
			w.t.Errorf("%+v", e)
		}
	})
	run("a refused connection is safe to try again", slow(0), func(w *world) {
		_ = w.back.Close()
		c := w.dial()
		c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
		c.want("POST", 502, "")
		w.phase(exchange.PhaseDial, syscall.ECONNREFUSED)
		var e *exchange.AttemptError
		if errors.As(w.errs[0], &e); !e.Safe || !e.Refused() {
			w.t.Errorf("%+v", e)
		}
	})
	run("idle upstream connections end", func(c *client) {
		at := time.Now()
		c.head()
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
		c.head()
		if d := time.Since(at); d > 6*time.Second {
			c.Errorf("after %v", d)
		}
	}, func(w *world) {
		c := w.dial()
		c.send(get)
		c.want("GET", 200, "!")
		time.Sleep(10 * time.Second)
		if n := w.pool.size(); n != 0 {
			w.t.Errorf("%d connections", n)
		}
	})
	run("Keep closes the others at once", slow(0), func(w *world) {
		c := w.dial()
		c.send(get)
		c.want("GET", 200, "!")
		synctest.Wait()
		w.pool.Keep([]string{"up", "other"})
		if n := w.pool.size(); n != 1 {
			w.t.Errorf("%d connections", n)
		}
		w.pool.Keep([]string{"other"})
		if n := w.pool.size(); n != 0 {
			w.t.Errorf("%d connections", n)
		}
		c.send(get)
		c.want("GET", 200, "!")
	})
	run("net/http on both sides, bodies of all sizes", func(c *client) {
		for {
			req, err := http.ReadRequest(c.r)
			if err != nil {
				return
			}
			b, _ := io.ReadAll(req.Body)
			res := http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
				TransferEncoding: []string{"chunked"}, Body: io.NopCloser(strings.NewReader(string(b)))}
			if res.Write(c) != nil {
				return
			}
		}
	}, func(w *world) {
		tr := &http.Transport{DialContext: func(ctx context.Context, _, a string) (net.Conn, error) { return w.front.Dial(ctx, a) }}
		defer tr.CloseIdleConnections()
		for _, n := range []int{0, 1, 100, 4000, 4096, 5000, 32 << 10, 1 << 20} {
			for _, known := range []bool{true, false} {
				body := strings.Repeat("x", n)
				req, _ := http.NewRequest("POST", "http://x/", bufio.NewReader(strings.NewReader(body)))
				if known {
					req, _ = http.NewRequest("POST", "http://x/", strings.NewReader(body))
				}
				res, err := tr.RoundTrip(req)
				if err != nil {
					w.t.Fatal(n, err)
				}
				b, err := io.ReadAll(res.Body)
				if string(b) != body || err != nil {
					w.t.Errorf("%d bytes became %d, %v", n, len(b), err)
				}
			}
		}
	})
}

// TestBadAnswers: what an upstream may get wrong, and what it is called.
func TestBadAnswers(t *testing.T) {
	big := strings.Repeat("v", 70<<10)
	for name, tt := range map[string]struct {
		answer string
		phase  exchange.Phase
		is     error
	}{
		"nothing":         {"", exchange.PhaseWait, exchange.ErrClosed},
		"half a head":     {"HTTP/1.1 200 OK\r\nA: b\r\n", exchange.PhaseHead, exchange.ErrClosed},
		"no HTTP":         {"SSH-2.0-OpenSSH_9.2\r\n", exchange.PhaseHead, exchange.ErrMalformed},
		"HTTP/2":          {"HTTP/2.0 200 OK\r\n\r\n", exchange.PhaseHead, exchange.ErrMalformed},
		"status too low":  {"HTTP/1.1 099 X\r\n\r\n", exchange.PhaseHead, exchange.ErrMalformed},
		"CL and TE":       {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", exchange.PhaseHead, exchange.ErrMalformed},
		"two lengths":     {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", exchange.PhaseHead, exchange.ErrMalformed},
		"folded":          {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", exchange.PhaseHead, exchange.ErrMalformed},
		"bare LF":         {"HTTP/1.1 200 OK\nA: b\n\n", exchange.PhaseHead, exchange.ErrMalformed},
		"large head":      {"HTTP/1.1 200 OK\r\nA: " + big + "\r\n\r\n", exchange.PhaseHead, exchange.ErrHeadTooLarge},
		"many fields":     {"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 300) + "\r\n", exchange.PhaseHead, exchange.ErrHeadTooLarge},
		"endless interim": {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100), exchange.PhaseHead, exchange.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(c *client) {
				c.head()
				_, _ = io.WriteString(c, tt.answer)
			}, func(w *world) {
				c := w.dial()
				c.send("GET / HTTP/1.0\r\n\r\n")
				c.want("GET", 502, "")
				w.phase(tt.phase, tt.is)
			})
		})
	}
}
