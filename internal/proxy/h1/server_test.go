package h1

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"swell/internal/exchange"
)

func handled(f func(x *exchange.Exchange)) rigOption {
	return func(r *rig, _ *PoolOptions) { r.server.Handle = f }
}

// pieces is a body of a filter's.
type pieces struct {
	p   []string
	end error
}

func (b *pieces) Next() ([]byte, error) {
	if len(b.p) == 0 {
		if b.end == nil {
			panic("a body's bug")
		}
		return nil, b.end
	}
	p := b.p[0]
	b.p = b.p[1:]
	return []byte(p), nil
}
func (b *pieces) Ready() bool { return true }
func (b *pieces) Close()      {}

func TestBodiesOfFilters(t *testing.T) {
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		length int64
		body   *pieces
		want   string
		whole  bool
	}{
		"right length": {6, &pieces{[]string{"abc", "def"}, io.EOF}, "abcdef", true},
		"no length":    {-1, &pieces{[]string{"abc", "def"}, io.EOF}, "abcdef", true},
		"empty":        {-1, &pieces{nil, io.EOF}, "", true},
		"large":        {300000, &pieces{[]string{strings.Repeat("a", 300000)}, io.EOF}, strings.Repeat("a", 300000), true},
		"large pieces": {-1, &pieces{[]string{strings.Repeat("a", 300000), "b"}, io.EOF}, strings.Repeat("a", 300000) + "b", true},
		"too short":    {7, &pieces{[]string{"abc", "def"}, io.EOF}, "abcdef", false},
		"too long":     {5, &pieces{[]string{"abc", "def"}, io.EOF}, "", false},
		"breaks":       {-1, &pieces{[]string{"abc"}, boom}, "abc", false},
		"panics":       {-1, &pieces{[]string{"abc"}, nil}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "", handled(func(x *exchange.Exchange) {
				x.Response.Status, x.Response.Length, x.Response.Body = 200, tt.length, tt.body
			}))
			c := dial(t, r.addr)
			c.send(get)
			_, b, err := c.reply("GET")
			if (err == nil) != tt.whole || (tt.whole || tt.want != "") && b != tt.want {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			_ = r.stop()
			if d := r.done(); len(d) != 1 || (d[0] == nil) != tt.whole {
				t.Errorf("Done was told %v", d)
			}
		})
	}
}

func TestFieldsOfFiltersCannotSplit(t *testing.T) {
	c := dial(t, newRig(t, "", handled(func(x *exchange.Exchange) {
		x.Reply(200, "")
		x.Response.Header.AddName("X-Good", "1")
		x.Response.Header.AddName("X-Bad", "1\r\nSet-Cookie: evil")
		x.Response.Header.AddName("X Bad: evil", "1")
		x.Response.Header.AddName("Content-Length", "17")
		x.Response.Header.AddName("Transfer-Encoding", "chunked")
		x.Response.Reason = []byte("a\r\nb")
	})).addr)
	c.send(get)
	if h := c.head(); strings.Contains(strings.ToLower(h), "bad") || strings.Contains(h, "evil") || !strings.Contains(h, "X-Good: 1\r\n") ||
		!strings.Contains(h, "Content-Length: 0\r\n") || !strings.HasPrefix(h, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("%q", h)
	}
}

func TestMostConnections(t *testing.T) {
	r := newRig(t, "", handled(func(x *exchange.Exchange) { x.Reply(200, "") }), func(r *rig, _ *PoolOptions) {
		r.server.Limits.Conns, r.server.Linger = 2, 20*time.Millisecond
	})
	var all []*client
	for range 6 { // each new one has an idle one closed
		c := dial(t, r.addr)
		c.send(get)
		c.want("GET", 200, "")
		all = append(all, c)
	}
	for _, c := range all[:4] {
		c.closed()
	}
}

func TestRefusedIsTold(t *testing.T) {
	told := make(chan string, 1)
	r := newRig(t, "", func(r *rig, _ *PoolOptions) {
		r.server.Refused = func(_ netip.AddrPort, status int, slug Slug, why string) {
			told <- fmt.Sprint(status, " ", slug, " ", why)
		}
	})
	c := dial(t, r.addr)
	c.send("GET / HTTP/1.1\r\n\r\n")
	if s := <-told; s != "400 host a request has exactly one valid Host" {
		t.Error(s)
	}
}

func TestGoneAndInform(t *testing.T) {
	in, gone := make(chan struct{}), make(chan bool)
	r := newRig(t, "", handled(func(x *exchange.Exchange) {
		var h exchange.Header
		h.AddName("Link", "</a>")
		if err := x.Inform(103, &h); err != nil {
			t.Error(err)
		}
		in <- struct{}{}
		for range 2000 {
			if x.Gone() {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		gone <- x.Gone()
	}))
	c := dial(t, r.addr)
	c.send(get)
	<-in
	if h := c.head(); h != "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" {
		t.Errorf("%q", h)
	}
	_ = c.Close()
	if !<-gone {
		t.Error("nobody noticed that the client left")
	}
}

func TestTLSInFront(t *testing.T) {
	ts := httptest.NewUnstartedServer(nil) // for its certificate
	ts.StartTLS()
	defer ts.Close()
	left := make(chan struct{})
	up := origin(t, func(c *client) {
		for {
			h := c.head()
			if h == "" || strings.HasPrefix(h, "GET /wait") {
				if h != "" {
					_, _ = c.r.ReadByte()
					close(left)
				}
				return
			}
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
		}
	})
	r := newRig(t, up)
	l, err := tls.Listen("tcp", "127.0.0.1:0", ts.TLS)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- r.server.Serve(t.Context(), l) }()
	nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := newClient(t, nc)
	c.send(get + get)
	c.want("GET", 200, "!")
	c.want("GET", 200, "!")
	c.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = nc.Close()
	select {
	case <-left:
	case <-time.After(15 * time.Second):
		t.Error("nobody noticed that the client left")
	}
	_ = l.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "accept") {
		t.Errorf("a listener that fails: %v", err)
	}
}

func TestTunnelInMemory(t *testing.T) {
	virtual(t, func(c *client) {
		c.head()
		c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, c.r)
	}, func(w *world) {
		c := w.dial()
		c.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		if h := c.head(); !strings.Contains(h, "Upgrade: echo\r\n") {
			t.Errorf("%q", h)
		}
		b := make([]byte, 5)
		for range 3 {
			time.Sleep(time.Hour)
			c.send("hello")
			if _, err := io.ReadFull(c.r, b); string(b) != "hello" {
				t.Fatal(string(b), err)
			}
		}
		_ = c.Close()
		synctest.Wait()
		if n := w.pool.size(); n != 0 {
			t.Errorf("%d upstream connections after the tunnel", n)
		}
	})
}

func TestPoolBounds(t *testing.T) {
	hold := make(chan struct{})
	var n atomic.Int32
	up := origin(t, func(c *client) {
		for c.head() != "" {
			n.Add(1)
			<-hold
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
		}
	})
	r := newRig(t, up, func(_ *rig, o *PoolOptions) { o.Idle = 2; o.IdleTime = time.Hour })
	var all []*client
	for range 5 {
		c := dial(t, r.addr)
		c.send(get)
		all = append(all, c)
	}
	for n.Load() < 5 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	for _, c := range all {
		c.want("GET", 200, "!")
	}
	for i := 0; r.pool.size() > 2; i++ {
		if i > 5000 {
			t.Fatalf("%d connections are kept", r.pool.size())
		}
		time.Sleep(time.Millisecond)
	}
	r.pool.Close()
	if s := r.pool.size(); s != 0 {
		t.Errorf("%d connections after Close", s)
	}
	all[0].send(get)
	if res, _, err := all[0].reply("GET"); err != nil || res.StatusCode != 502 {
		t.Error(res, err)
	}
}

// replayed keeps what was read of a body, to give it again.
type replayed struct {
	exchange.Body
	kept [][]byte
	at   int
}

func (r *replayed) Next() ([]byte, error) {
	if r.at < len(r.kept) {
		r.at++
		return r.kept[r.at-1], nil
	}
	p, err := r.Body.Next()
	if err == nil {
		r.kept = append(r.kept, append([]byte(nil), p...))
		r.at++
	}
	return p, err
}
func (r *replayed) Ready() bool { return r.at < len(r.kept) || r.Body.Ready() }

func TestAnotherAttemptWithinAnUpload(t *testing.T) {
	broke := make(chan struct{})
	bad := origin(t, func(c *client) {
		c.head()
		_, _ = io.ReadFull(c.r, make([]byte, 3))
	})
	good := origin(t, func(c *client) {
		c.head()
		b := make([]byte, 6)
		_, _ = io.ReadFull(c.r, b)
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + string(b))
	})
	r := newRig(t, "", func(r *rig, _ *PoolOptions) {
		r.server.Handle = func(x *exchange.Exchange) {
			body := &replayed{Body: x.Request.Body}
			x.Request.Body = body
			if err := r.pool.RoundTrip(x, bad); !errors.Is(err, exchange.ErrClosed) {
				t.Errorf("the first attempt: %v", err)
			}
			close(broke)
			body.at = 0
			if err := r.pool.RoundTrip(x, good); err != nil {
				x.Reply(502, err.Error())
			}
		}
	})
	c := dial(t, r.addr)
	c.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
	<-broke
	c.send("def")
	if res := c.want("PUT", 200, "abcdef"); res.Close {
		t.Error("the connection ends")
	}
}

// TestChaos has many clients at once do all that clients do, leaving in the middle
// included, against upstreams that do all that upstreams do. Whatever is answered
// whole must be the answer to what was asked.
func TestChaos(t *testing.T) {
	up := origin(t, func(c *client) {
		for {
			req, err := http.ReadRequest(c.r)
			if err != nil {
				return
			}
			id := req.Header.Get("X-Id")
			switch rand.IntN(12) {
			case 0: // dies
				return
			case 1: // answers without reading
				c.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(id), id))
				return
			case 2: // is slow
				time.Sleep(25 * time.Millisecond)
			}
			b, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			if len(b) > 0 && (!strings.HasPrefix(string(b), id) || strings.Trim(string(b[len(id):]), "x") != "") {
				t.Errorf("the body of %s is another's", id)
			}
			half := string(b[:len(b)/2])
			switch rand.IntN(8) {
			case 0: // breaks off
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(id), id)
				return
			case 1: // speaks out of turn
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", len(id), id)
			case 2, 3:
				_, _ = fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(id), id)
				if half != "" {
					_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n", len(half), half)
				}
				_, _ = io.WriteString(c, "0\r\nX-Trail: "+id+"\r\n\r\n")
			default:
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(id)+len(half), id, half)
			}
		}
	})
	r := newRig(t, up)
	stop := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	var whole atomic.Int32
	for g := range 24 {
		wg.Go(func() {
			for n := 0; time.Now().Before(stop); {
				nc, err := net.Dial("tcp", r.addr)
				if err != nil {
					t.Error(err)
					return
				}
				_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
				c := newClient(t, nc)
				for range 1 + rand.IntN(8) {
					n++
					id := fmt.Sprintf("<%d-%d>", g, n)
					body := id + strings.Repeat("x", rand.IntN(3)*rand.IntN(60000))
					var msg string
					switch rand.IntN(4) {
					case 0:
						msg = "GET / HTTP/1.1\r\nHost: x\r\nX-Id: " + id + "\r\n\r\n"
					case 1:
						msg = fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body)
					default:
						k := rand.IntN(len(body)-1) + 1
						msg = fmt.Sprintf("PUT / HTTP/1.1\r\nHost: x\r\nX-Id: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n",
							id, k, body[:k], len(body)-k, body[k:])
					}
					cut := len(msg)
					if rand.IntN(10) == 0 {
						cut = rand.IntN(len(msg))
					}
					first := rand.IntN(cut + 1)
					_, err := io.WriteString(nc, msg[:first])
					if rand.IntN(3) == 0 {
						time.Sleep(time.Millisecond)
					}
					if err == nil {
						_, err = io.WriteString(nc, msg[first:cut])
					}
					if cut < len(msg) || err != nil {
						break
					}
					res, b, err := c.reply("POST")
					for err == nil && res.StatusCode < 200 {
						res, b, err = c.reply("POST")
					}
					if err != nil {
						break
					}
					if res.StatusCode == 200 {
						whole.Add(1)
						if !strings.HasPrefix(b, id) || res.Trailer.Get("X-Trail") != "" && res.Trailer.Get("X-Trail") != id {
							t.Errorf("%s was answered %.40q", id, b)
						}
					} else if res.StatusCode != 502 {
						t.Errorf("%s was answered %d %s", id, res.StatusCode, b)
					}
					if res.Close {
						break
					}
				}
				_ = nc.Close()
			}
		})
	}
	wg.Wait()
	t.Logf("%d answers were whole", whole.Load())
	if whole.Load() < 20 {
		t.Error("next to nothing was answered")
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if n := r.pool.size(); n != 0 {
		t.Errorf("%d upstream connections are left", n)
	}
}
