package h1

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"swell/internal/exchange"
)

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// okAll answers every request 200 with the head that came, as text.
func okAll(c *client) {
	for {
		h := c.head()
		if !strings.HasSuffix(h, "\r\n\r\n") {
			return
		}
		c.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(h), h))
	}
}

// TestFidelity holds the proxy to what a client and an upstream may expect of one
// that stands between them: each case is a behaviour that some proxy lacks.
func TestFidelity(t *testing.T) {
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t) })
	}

	run("a POST survives an idle upstream connection that was closed", func(t *testing.T) {
		var conns atomic.Int32
		shut := make(chan struct{}, 16)
		up := origin(t, func(c *client) {
			conns.Add(1)
			c.head()
			b := make([]byte, 2)
			_, _ = io.ReadFull(c.r, b)
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + string(b))
			_ = c.Close()
			shut <- struct{}{}
		})
		c := dial(t, newRig(t, up).addr)
		for i := range 10 {
			c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
			c.want("POST", 200, "ok")
			<-shut
			if n := conns.Load(); n != int32(i+1) {
				t.Fatalf("%d connections after %d requests", n, i+1)
			}
		}
	})

	run("a request that may have been processed is sent once", func(t *testing.T) {
		var seen atomic.Int32
		up := origin(t, func(c *client) { c.head(); seen.Add(1) })
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		res, _, err := c.reply("GET")
		if err != nil || res.StatusCode != 502 {
			t.Fatal(res, err)
		}
		if n := seen.Load(); n != 1 {
			t.Errorf("the upstream saw it %d times", n)
		}
	})

	run("a truncated chunked answer is not completed", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		})
		r := newRig(t, up)
		c := dial(t, r.addr)
		c.send(get)
		if _, b, err := c.reply("GET"); !errors.Is(err, io.ErrUnexpectedEOF) || b != "hello" {
			t.Errorf("got %q, %v", b, err)
		}
		_ = r.stop()
		if d := r.done(); len(d) != 1 || !errors.Is(d[0], exchange.ErrClosed) {
			t.Errorf("Done was told %v", d)
		}
	})

	run("a truncated answer with a length is not completed", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		if _, b, err := c.reply("GET"); !errors.Is(err, io.ErrUnexpectedEOF) || b != "hello" {
			t.Errorf("got %q, %v", b, err)
		}
	})

	run("a truncated answer to HTTP/1.0 ends in a reset", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz")
		})
		c := dial(t, newRig(t, up).addr)
		c.send("GET / HTTP/1.0\r\n\r\n")
		b, err := io.ReadAll(c.r)
		if err == nil {
			t.Errorf("it looks complete: %q", b)
		}
	})

	run("a request body streams as it comes", func(t *testing.T) {
		for _, framing := range []string{"Content-Length: 6", "Transfer-Encoding: chunked"} {
			chunk := func(s string) string { return s }
			if strings.HasPrefix(framing, "T") {
				chunk = func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
			}
			got := make(chan string, 4)
			up := origin(t, func(c *client) {
				req, err := http.ReadRequest(c.r)
				if err != nil {
					return
				}
				b := make([]byte, 3)
				for range 2 {
					_, _ = io.ReadFull(req.Body, b)
					got <- string(b)
				}
				_, err = io.Copy(io.Discard, req.Body)
				if err != nil {
					t.Error(err)
				}
				c.send("HTTP/1.1 204 No Content\r\n\r\n")
			})
			c := dial(t, newRig(t, up).addr)
			c.send("PUT / HTTP/1.1\r\nHost: x\r\n" + framing + "\r\n\r\n")
			for _, p := range []string{"abc", "def"} {
				c.send(chunk(p))
				if g := <-got; g != p {
					t.Fatalf("upstream got %q, want %q", g, p)
				}
			}
			if strings.HasPrefix(framing, "T") {
				c.send("0\r\n\r\n")
			}
			c.want("PUT", 204, "")
		}
	})

	run("an answer streams as it comes, head first", func(t *testing.T) {
		next := make(chan string)
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			for s := range next {
				c.send(fmt.Sprintf("%x\r\n%s\r\n", len(s), s))
			}
			c.send("0\r\n\r\n")
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := bufio.NewReader(res.Body)
		for i := range 3 {
			next <- fmt.Sprintf("data: %d\n", i)
			if l, err := b.ReadString('\n'); l != fmt.Sprintf("data: %d\n", i) {
				t.Fatal(l, err)
			}
		}
		close(next)
		if _, err := b.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	})

	run("100 Continue comes from the upstream", func(t *testing.T) {
		ask, asked := make(chan struct{}), make(chan struct{})
		up := origin(t, func(c *client) {
			if h := c.head(); !strings.Contains(h, "Expect: 100-continue\r\n") {
				t.Errorf("upstream got %q", h)
			}
			close(asked)
			<-ask
			c.send("HTTP/1.1 100 Continue\r\n\r\n")
			b := make([]byte, 4)
			_, _ = io.ReadFull(c.r, b)
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + string(b))
			okAll(c)
		})
		c := dial(t, newRig(t, up, func(_ *rig, o *PoolOptions) { o.ExpectTime = time.Hour }).addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		<-asked
		close(ask)
		if h := c.head(); h != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("%q", h)
		}
		c.send("body")
		c.want("POST", 200, "body")
		c.send(get) // the connection goes on
		if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 200 {
			t.Error(res, err)
		}
	})

	run("417 from the upstream reaches the client instead of 100", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			if b, err := c.r.ReadByte(); err == nil {
				t.Errorf("the body was sent: %q", b)
			}
		})
		c := dial(t, newRig(t, up, func(_ *rig, o *PoolOptions) { o.ExpectTime = time.Hour }).addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if res := c.want("POST", 417, "no"); !res.Close {
			t.Error("the client wasn't told that the connection ends")
		}
		c.closed()
	})

	run("an upstream that ignores Expect gets the body after a while", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			b := make([]byte, 4)
			_, _ = io.ReadFull(c.r, b)
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + string(b))
		})
		c := dial(t, newRig(t, up, func(_ *rig, o *PoolOptions) { o.ExpectTime = 20 * time.Millisecond }).addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if h := c.head(); !strings.HasPrefix(h, "HTTP/1.1 100 ") {
			t.Fatalf("%q", h)
		}
		c.send("body")
		c.want("POST", 200, "body")
	})

	run("103 Early Hints are passed on, with fields", func(t *testing.T) {
		up := origin(t, func(c *client) {
			for c.head() != "" {
				c.send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n" +
					"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
			}
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		if h := c.head(); h != "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" {
			t.Errorf("%q", h)
		}
		if h := c.head(); h != "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" {
			t.Errorf("%q", h)
		}
		c.want("GET", 200, "!")
		c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if res := c.want("GET", 200, "!"); res.Close {
			t.Error("HTTP/1.0 asked for keep-alive")
		}
	})

	run("a client that leaves ends the upstream exchange", func(t *testing.T) {
		in, out := make(chan struct{}), make(chan struct{})
		up := origin(t, func(c *client) {
			c.head()
			close(in)
			_, _ = c.r.ReadByte()
			close(out)
		})
		r := newRig(t, up)
		c := dial(t, r.addr)
		c.send(get)
		<-in
		_ = c.Close()
		select {
		case <-out:
		case <-time.After(15 * time.Second):
			t.Fatal("the upstream wasn't told")
		}
		_ = r.stop()
		if d := r.done(); len(d) != 1 {
			t.Errorf("Done was told %v", d)
		}
	})

	run("a client that leaves a silent stream ends it", func(t *testing.T) {
		out := make(chan struct{})
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			_, _ = c.r.ReadByte()
			close(out)
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		c.head()
		_ = c.Close()
		select {
		case <-out:
		case <-time.After(15 * time.Second):
			t.Fatal("the upstream wasn't told")
		}
	})

	run("a byte that comes early is no abort", func(t *testing.T) {
		in, go1 := make(chan struct{}, 2), make(chan struct{}, 2)
		up := origin(t, func(c *client) {
			for c.head() != "" {
				in <- struct{}{}
				<-go1
				c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
			}
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get + get[:10])
		<-in
		time.Sleep(60 * time.Millisecond) // the sweep looks meanwhile
		go1 <- struct{}{}
		c.want("GET", 200, "!")
		c.send(get[10:])
		go1 <- struct{}{}
		c.want("GET", 200, "!")
	})

	run("an upgrade becomes a tunnel, with what was sent along", func(t *testing.T) {
		up := origin(t, func(c *client) {
			h := c.head()
			if !strings.Contains(h, "Connection: Upgrade\r\nUpgrade: websocket\r\n") {
				t.Errorf("upstream got %q", h)
			}
			c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: q\r\n\r\nhi")
			b, _ := io.ReadAll(c.r) // ends by the client's half close
			c.send(strings.ToUpper(string(b)))
		})
		r := newRig(t, up)
		c := dial(t, r.addr)
		c.send("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly ")
		h := c.head()
		for _, f := range []string{"HTTP/1.1 101 ", "Connection: Upgrade\r\n", "Upgrade: websocket\r\n", "Sec-WebSocket-Accept: q\r\n"} {
			if !strings.Contains(h, f) {
				t.Errorf("no %q in %q", f, h)
			}
		}
		c.send(strings.Repeat("late", 50000))
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c.r)
		if want := "hiEARLY " + strings.Repeat("LATE", 50000); string(b) != want || err != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})

	run("an upgrade that is refused is an ordinary answer", func(t *testing.T) {
		c := dial(t, newRig(t, origin(t, okAll)).addr)
		for range 2 {
			c.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
		}
	})

	run("101 unasked is a bad answer", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		if res, _, err := c.reply("GET"); err != nil || res.StatusCode != 502 {
			t.Fatal(res, err)
		}
	})

	run("hop-by-hop request fields stay here", func(t *testing.T) {
		c := dial(t, newRig(t, origin(t, okAll)).addr)
		c.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-One\r\nX-One: 1\r\nx-two: 2\r\nConnection: X-Two\r\nKeep-Alive: 5\r\n" +
			"Proxy-Connection: keep-alive\r\nTE: gzip, trailers;q=0.5, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Three: 3\r\nProxy-Authorization: x\r\n\r\n")
		_, b, err := c.reply("GET")
		if want := "GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nX-Three: 3\r\nConnection: TE\r\n\r\n"; b != want || err != nil {
			t.Errorf("upstream got %q, %v", b, err)
		}
	})

	run("hop-by-hop answer fields stay here", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 Fine\r\nDate: D\r\nConnection: x-one\r\nX-One: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: k\r\n" +
				"Upgrade: h2c\r\nX-Two: 2\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n")
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		if h, want := c.head(), "HTTP/1.1 200 Fine\r\nDate: D\r\nX-Two: 2\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n"; h != want {
			t.Errorf("client got %q", h)
		}
	})

	run("heads of 60 KiB pass both ways", func(t *testing.T) {
		big := strings.Repeat("v", 60<<10)
		up := origin(t, func(c *client) {
			for {
				h := c.head()
				if h == "" {
					return
				}
				if !strings.Contains(h, big) {
					t.Error("the upstream didn't get it")
				}
				c.send("HTTP/1.1 200 OK\r\nX-Big: " + big + "\r\nContent-Length: 1\r\n\r\n!")
			}
		})
		c := dial(t, newRig(t, up).addr)
		for range 3 {
			c.send("GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + big + "\r\n\r\n")
			if res := c.want("GET", 200, "!"); res.Header.Get("X-Big") != big {
				t.Error("the client didn't get it")
			}
		}
	})

	run("request trailers are forwarded, but those that frame or authenticate", func(t *testing.T) {
		up := origin(t, func(c *client) {
			req, err := http.ReadRequest(c.r)
			if err != nil {
				return
			}
			b, err := io.ReadAll(req.Body)
			s := fmt.Sprint(string(b), err, req.Trailer)
			c.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s), s))
		})
		c := dial(t, newRig(t, up).addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nAuthorization: a\r\nContent-Type: t\r\nHost: evil\r\n\r\n")
		c.want("POST", 200, "abc<nil> map[X-Sum:[7]]")
	})

	run("answer trailers are forwarded", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: x\r\n\r\n")
		})
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		if res := c.want("GET", 200, "abc"); res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Set-Cookie") != "" {
			t.Errorf("trailer %v", res.Trailer)
		}
	})

	run("the target passes byte for byte", func(t *testing.T) {
		c := dial(t, newRig(t, origin(t, okAll)).addr)
		for _, target := range []string{"/a?", "/a//b/../c/./%2F%2e?a=b;c=d&e=%zz", "/?q=\"<>|\\^`{}", "//x", "/%41"} {
			c.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, b, _ := c.reply("GET"); !strings.HasPrefix(b, "GET "+target+" HTTP/1.1\r\n") {
				t.Errorf("%s became %q", target, b)
			}
		}
	})

	run("nothing is added to an answer but its date", func(t *testing.T) {
		up := origin(t, func(c *client) { c.head(); c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!") })
		c := dial(t, newRig(t, up).addr)
		c.send(get)
		h := strings.Split(c.head(), "\r\n")
		if len(h) != 5 || h[0] != "HTTP/1.1 200 OK" || !strings.HasPrefix(h[1], "Date: ") || h[2] != "Content-Length: 1" {
			t.Errorf("%q", h)
		}
	})

	run("a body that nobody read does not become the next request", func(t *testing.T) {
		no := func(r *rig, _ *PoolOptions) {
			r.server.Handle = func(x *exchange.Exchange) { x.Reply(404, "") }
		}
		c := dial(t, newRig(t, "", no).addr)
		evil := "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
		for range 3 {
			c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(evil), evil))
			c.want("POST", 404, "")
			c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(evil), evil))
			c.want("POST", 404, "")
		}
		c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + evil)
		if res := c.want("POST", 404, ""); !res.Close {
			t.Error("a body too long to skip, and the connection goes on")
		}
	})

	run("bodies of 16 MiB pass both ways whole", func(t *testing.T) {
		const size = 16 << 20
		up := origin(t, func(c *client) {
			req, err := http.ReadRequest(c.r)
			if err != nil {
				return
			}
			h := sha256.New()
			_, _ = io.Copy(h, req.Body)
			c.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Sum: %x\r\nContent-Length: %d\r\n\r\n", h.Sum(nil), size))
			_, _ = io.Copy(c, io.LimitReader(noise(), size))
		})
		want := sha256.New()
		_, _ = io.Copy(want, io.LimitReader(noise(), size))
		for _, length := range []int64{size, -1} {
			req, _ := http.NewRequest("POST", "http://"+newRig(t, up).addr, io.NopCloser(io.LimitReader(noise(), size)))
			req.ContentLength = length
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			got := sha256.New()
			n, err := io.Copy(got, res.Body)
			_ = res.Body.Close()
			if n != size || err != nil || fmt.Sprintf("%x", want.Sum(nil)) != fmt.Sprintf("%x", got.Sum(nil)) || res.Header.Get("X-Sum") != fmt.Sprintf("%x", want.Sum(nil)) {
				t.Errorf("%d bytes, %v, sum of the upload right: %v", n, err, res.Header.Get("X-Sum") == fmt.Sprintf("%x", want.Sum(nil)))
			}
		}
	})

	run("HEAD, 204 and 304 have no body, and the connection goes on", func(t *testing.T) {
		up := origin(t, func(c *client) {
			for {
				switch h := c.head(); {
				case strings.HasPrefix(h, "HEAD /len"):
					c.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
				case strings.HasPrefix(h, "HEAD"):
					c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				case strings.HasPrefix(h, "GET /304"):
					c.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: e\r\n\r\n")
				case strings.HasPrefix(h, "GET"):
					c.send("HTTP/1.1 204 No Content\r\n\r\n")
				default:
					return
				}
			}
		})
		c := dial(t, newRig(t, up).addr)
		for range 2 {
			c.send("HEAD /len HTTP/1.1\r\nHost: x\r\n\r\n")
			if res := c.want("HEAD", 200, ""); res.ContentLength != 1234 {
				t.Error("length", res.ContentLength)
			}
			c.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /304 HTTP/1.1\r\nHost: x\r\n\r\n")
			c.want("HEAD", 200, "")
			if res := c.want("GET", 304, ""); res.Header.Get("Etag") != "e" {
				t.Error(res.Header)
			}
			c.send(get)
			if h := c.head(); strings.Contains(h, "Content-Length") || strings.Contains(h, "Transfer") {
				t.Errorf("%q", h)
			}
		}
	})

	run("an answer without a length to HTTP/1.0 ends with the connection", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		})
		c := dial(t, newRig(t, up).addr)
		c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		h := c.head()
		b, err := io.ReadAll(c.r)
		if strings.Contains(h, "Transfer") || !strings.Contains(h, "Connection: close") || string(b) != "hello" || err != nil {
			t.Errorf("%q %q %v", h, b, err)
		}
	})

	run("an upstream answer that ends with its connection is whole", func(t *testing.T) {
		up := origin(t, func(c *client) { c.head(); c.send("HTTP/1.0 200 OK\r\n\r\nhello") })
		c := dial(t, newRig(t, up).addr)
		for range 2 {
			c.send(get)
			c.want("GET", 200, "hello")
		}
	})

	run("an early answer passes while the request still comes, both ways on", func(t *testing.T) {
		up := origin(t, func(c *client) {
			req, err := http.ReadRequest(c.r)
			if err != nil {
				return
			}
			c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			b := make([]byte, 1)
			for {
				if _, err := io.ReadFull(req.Body, b); err != nil {
					break
				}
				c.send("1\r\n" + string(b) + "\r\n")
			}
			c.send("0\r\n\r\n")
			okAll(c)
		})
		c := dial(t, newRig(t, up).addr)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		for _, s := range "abc" {
			c.send("1\r\n" + string(s) + "\r\n")
			if _, err := io.ReadFull(res.Body, b); err != nil || b[0] != byte(s) {
				t.Fatal(string(b), err)
			}
		}
		c.send("0\r\n\r\n")
		if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
			t.Error(rest, err)
		}
		c.send(get)
		if _, _, err := c.reply("GET"); err != nil {
			t.Fatal(err)
		}
	})

	run("a refusal reaches a client that is still uploading", func(t *testing.T) {
		up := origin(t, func(c *client) {
			c.head()
			c.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, io.LimitReader(c.r, 1<<20))
		})
		c := dial(t, newRig(t, up).addr)
		go func() {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
			_, _ = io.Copy(c, io.LimitReader(noise(), 1000000000)) // breaks when the connection ends
		}()
		c.want("POST", 413, "big")
	})
}

// noise is an endless pattern that no shift leaves alike.
func noise() io.Reader { return &pattern{} }

type pattern struct{ n uint32 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.n = p.n*1664525 + 1013904223
		b[i] = byte(p.n >> 24)
	}
	return len(b), nil
}

// TestBoundedMemory uploads 1 GiB and takes 1 GiB of an endless answer: the heap
// must not grow with them.
func TestBoundedMemory(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	zeros := make([]byte, 1<<20)
	got := make(chan int64, 1)
	up := origin(t, func(c *client) {
		req, err := http.ReadRequest(c.r)
		if err != nil {
			return
		}
		if req.Method == "PUT" {
			n, _ := io.Copy(io.Discard, req.Body)
			got <- n
			c.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			return
		}
		c.send("HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := c.Write(zeros); err != nil {
				return
			}
		}
	})
	r := newRig(t, up)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	c := dial(t, r.addr)
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	c.send(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size))
	for range size >> 20 {
		if _, err := c.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	c.want("PUT", 204, "")
	if n := <-got; n != size {
		t.Errorf("the upstream got %d bytes of %d", n, size)
	}
	c.send(get)
	if h := c.head(); !strings.HasPrefix(h, "HTTP/1.1 200") {
		t.Fatal(h)
	}
	if n, err := io.CopyN(io.Discard, c.r, size); n != size {
		t.Error(n, err)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 8<<20 {
		t.Errorf("%d bytes were allocated for two bodies of %d", grown, size)
	}
}
