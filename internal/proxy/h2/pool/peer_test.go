package pool

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"swell/internal/exchange"
)

// ok answers every request on a connection with 200 and its path.
func ok(q *peer) {
	q.begin()
	for f := q.head(); f != nil; f = q.head() {
		q.answer(f.StreamID, false, ":status", "200")
		_ = q.WriteData(f.StreamID, true, []byte(f.PseudoValue("path")))
	}
}

func TestARefusedStreamIsSentAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse func(*peer, uint32)
	}{
		{"REFUSED_STREAM", func(q *peer, id uint32) { _ = q.WriteRSTStream(id, http2.ErrCodeRefusedStream) }},
		{"GOAWAY below it", func(q *peer, id uint32) { _ = q.WriteGoAway(0, http2.ErrCodeNo, nil) }},
		{"GOAWAY below it, and the end", func(q *peer, id uint32) { _ = q.WriteGoAway(0, http2.ErrCodeNo, nil); _ = q.nc.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first atomic.Bool
			serve := func(q *peer) {
				q.begin()
				for f := q.head(); f != nil; f = q.head() {
					if !first.Swap(true) {
						c.refuse(q, f.StreamID)
						continue
					}
					body, id := "", f.StreamID
					for {
						d, isData := q.next().(*http2.DataFrame)
						if !isData {
							return
						}
						body += string(d.Data())
						if d.StreamEnded() {
							break
						}
					}
					q.answer(id, false, ":status", "200")
					_ = q.WriteData(id, true, []byte(body))
				}
			}
			p, _ := newPool(t, Options{})
			x := request("POST", "/", exchange.Bytes([]byte("precious")))
			within(t, "an answer", func() {
				if err := p.RoundTrip(x, script(t, serve)); err != nil {
					t.Error(err)
					return
				}
				if got, err := readAll(x.Response.Body); got != "precious" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
			x.Reset()
		})
	}
}

func TestAStreamThatIsRefusedForeverIsSafe(t *testing.T) {
	var n atomic.Int32
	addr := script(t, func(q *peer) {
		q.begin()
		for f := q.head(); f != nil; f = q.head() {
			n.Add(1)
			_ = q.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
		}
	})
	p, _ := newPool(t, Options{})
	_, _, err := get(p, addr, "/")
	if e := attempt(t, err); !e.Safe || e.Phase != exchange.PhaseWait || !errors.Is(err, exchange.ErrClosed) || n.Load() != mostTries {
		t.Errorf("%+v after %d tries", e, n.Load())
	}
	x := request("POST", "/", exchange.Bytes([]byte("x")))
	if e := attempt(t, p.RoundTrip(x, addr)); e.Safe {
		t.Error("safe, though the body is consumed")
	}
}

func TestGoAwayLetsWhatIsUnderWayEnd(t *testing.T) {
	addr := script(t, func(q *peer) {
		q.begin()
		f := q.head()
		q.answer(f.StreamID, false, ":status", "200")
		_ = q.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
		_ = q.WriteGoAway(f.StreamID, http2.ErrCodeNo, nil)
		_ = q.WriteData(f.StreamID, false, []byte("first "))
		time.Sleep(20 * time.Millisecond)
		_ = q.WriteData(f.StreamID, true, []byte("last"))
		q.linger()
	}, ok)
	p, dials := newPool(t, Options{})
	x := request("GET", "/", nil)
	if err := p.RoundTrip(x, addr); err != nil {
		t.Fatal(err)
	}
	if b, err := x.Response.Body.Next(); string(b) != "first " || err != nil {
		t.Fatalf("%q %v", b, err)
	}
	if s, b, err := get(p, addr, "/new"); s != 200 || b != "/new" || err != nil || dials.Load() != 2 {
		t.Errorf("a new one: %d %q %v, %d connections", s, b, err, dials.Load())
	}
	if b, err := readAll(x.Response.Body); b != "last" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	x.Reset()
	wait(t, "the old connection is closed", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.conns) == 1 })
}

func TestAnAnswerMayNotOverrunItsWindow(t *testing.T) {
	addr := script(t, func(q *peer) {
		q.begin()
		f := q.head()
		q.answer(f.StreamID, false, ":status", "200")
		for range 6 {
			_ = q.WriteData(f.StreamID, false, make([]byte, 16384))
		}
		q.linger()
	})
	p, _ := newPool(t, Options{})
	x := request("GET", "/", nil)
	if err := p.RoundTrip(x, addr); err != nil {
		t.Fatal(err)
	}
	s := x.Response.Body.(*stream)
	wait(t, "the stream is ended", func() bool { s.c.mu.Lock(); defer s.c.mu.Unlock(); return s.err != nil })
	if _, err := readAll(x.Response.Body); !errors.Is(err, exchange.ErrMalformed) {
		t.Error(err)
	}
	x.Reset()
}

func TestOddAndGoodAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*peer, uint32)
		want  string
	}{
		{"a reset without error after the end", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			_ = q.WriteData(id, true, []byte("whole"))
			_ = q.WriteRSTStream(id, http2.ErrCodeNo)
		}, "200 whole"},
		{"padding", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			for range 250 {
				_ = q.WriteDataPadded(id, false, []byte("x"), make([]byte, 200))
			}
			_ = q.WriteDataPadded(id, true, nil, make([]byte, 200))
		}, "200 " + strings.Repeat("x", 250)},
		{"fields in pieces", func(q *peer, id uint32) {
			b := q.section(":status", "201", "a", strings.Repeat("long", 100))
			_ = q.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:1]})
			_ = q.WriteContinuation(id, false, b[1:9])
			_ = q.WriteContinuation(id, true, b[9:])
			_ = q.WriteData(id, true, nil)
		}, "201 "},
		{"unknown frames and settings", func(q *peer, id uint32) {
			_ = q.WriteRawFrame(77, 3, id, []byte("?"))
			_ = q.WriteSettings(http2.Setting{ID: 99, Val: 1})
			_ = q.WriteRawFrame(77, 3, 0, []byte("?"))
			q.answer(id, true, ":status", "200")
		}, "200 "},
		{"only a trailer after the head", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			q.answer(id, true, "grpc-status", "5")
		}, "200 grpc-status=5"},
		{"an answer that is a head", func(q *peer, id uint32) {
			q.answer(id, true, ":status", "200", "grpc-status", "5")
		}, "200 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := newPool(t, Options{})
			addr := script(t, func(q *peer) {
				q.begin(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
				f := q.head()
				c.serve(q, f.StreamID)
				q.linger()
			})
			x := request("GET", "/", nil)
			within(t, "an answer", func() {
				if err := p.RoundTrip(x, addr); err != nil {
					t.Error(err)
					return
				}
				got, err := readAll(x.Response.Body)
				got = fmt.Sprint(x.Response.Status, " ", got)
				for _, f := range x.Response.Trailer.Fields() {
					got += string(f.Name) + "=" + string(f.Value)
				}
				if got != c.want || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
			x.Reset()
		})
	}
}

func TestAReaderThatIsSlowHoldsUpNobodyElse(t *testing.T) {
	const much = 8 << 20
	addr, _ := serve(t, func(w httpWriter, r *httpRequest) {
		if r.URL.Path == "/much" {
			b := make([]byte, 64<<10)
			for range much / len(b) {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}
	})
	p, dials := newPool(t, Options{})
	var slow []*exchange.Exchange
	for range 20 {
		x := request("GET", "/much", nil)
		if err := p.RoundTrip(x, addr); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, x)
	}
	for range 10 {
		if s, _, err := get(p, addr, "/"); s != 200 || err != nil {
			t.Fatal(s, err)
		}
	}
	h := p.host(addr)
	h.mu.Lock()
	c := h.conns[0]
	h.mu.Unlock()
	c.mu.Lock()
	held := 0
	for _, s := range c.streams {
		n := 0
		for _, k := range s.chunks[s.first:] {
			n += len(k.b)
		}
		if n > firstWindow+largeChunk+smallChunk {
			t.Errorf("%d bytes wait for one slow reader", n)
		}
		held += n
	}
	c.mu.Unlock()
	t.Logf("%d bytes are held for %d slow readers", held, len(slow))
	for _, x := range slow[:2] {
		n := 0
		for {
			b, err := x.Response.Body.Next()
			n += len(b)
			if err != nil {
				if err != io.EOF || n != much {
					t.Errorf("%d bytes, %v", n, err)
				}
				break
			}
		}
	}
	for _, x := range slow {
		x.Reset()
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections", dials.Load())
	}
}

func TestASilentConnectionIsAskedFirst(t *testing.T) {
	pings := make(chan struct{}, 9)
	mute := func(q *peer) {
		q.begin()
		f := q.head()
		q.answer(f.StreamID, true, ":status", "200")
		for { // from now on it is dead, and nobody told
			f, err := q.ReadFrame()
			if err != nil {
				return
			}
			switch f.(type) {
			case *http2.PingFrame:
				pings <- struct{}{}
			case *http2.MetaHeadersFrame:
				t.Error("a request went to a dead connection")
			}
		}
	}
	p, dials := newPool(t, Options{QuietTime: 20 * time.Millisecond, PingTime: 100 * time.Millisecond})
	addr := script(t, mute, ok)
	if s, _, err := get(p, addr, "/"); s != 200 || err != nil {
		t.Fatal(s, err)
	}
	time.Sleep(50 * time.Millisecond)
	p.sweep.wake()
	time.Sleep(50 * time.Millisecond)
	p.sweep.wake()
	time.Sleep(50 * time.Millisecond)
	within(t, "another connection", func() {
		if s, b, err := get(p, addr, "/again"); s != 200 || b != "/again" || err != nil || dials.Load() != 2 {
			t.Errorf("%d %q %v, %d connections", s, b, err, dials.Load())
		}
	})
	<-pings
}

func TestATimeoutWithoutASignOfLifeIsFollowedUp(t *testing.T) {
	mute := func(q *peer) {
		q.begin()
		for {
			if _, err := q.ReadFrame(); err != nil {
				return
			}
		}
	}
	p, dials := newPool(t, Options{PingTime: 50 * time.Millisecond})
	addr := script(t, mute, ok)
	x := request("GET", "/", nil)
	x.Deadline = time.Now().Add(30 * time.Millisecond)
	if err := p.RoundTrip(x, addr); !errors.Is(err, exchange.ErrTimeout) {
		t.Fatal(err)
	}
	x.Reset()
	if s, _, err := get(p, addr, "/"); s != 200 || err != nil || dials.Load() != 2 {
		t.Errorf("%d %v, %d connections", s, err, dials.Load())
	}
}

func TestAPeerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	addr := script(t, func(q *peer) {
		q.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
		_ = q.WriteWindowUpdate(0, 1<<30)
		<-stop
	})
	p, _ := newPool(t, Options{PingTime: 100 * time.Millisecond})
	for range 3 {
		body := newPipe()
		body.write(strings.Repeat("x", 16<<20))
		x := request("POST", "/", body)
		x.Codec = body
		x.Deadline = time.Now().Add(150 * time.Millisecond)
		within(t, "the deadline", func() {
			if err := p.RoundTrip(x, addr); !errors.Is(err, exchange.ErrTimeout) {
				t.Error(err)
			}
			x.Reset()
		})
	}
}

func TestABrokenRequestBody(t *testing.T) {
	addr, _ := serve(t, func(w httpWriter, r *httpRequest) { io.Copy(io.Discard, r.Body) })
	p, dials := newPool(t, Options{})
	for _, late := range []bool{false, true} {
		body := newPipe()
		body.write("some")
		x := request("POST", "/", body)
		x.Codec = body
		if late {
			time.AfterFunc(50*time.Millisecond, func() { body.end(errors.New("no")) })
		} else {
			body.end(errors.New("no"))
		}
		within(t, "an error", func() {
			err := p.RoundTrip(x, addr)
			if e := attempt(t, err); !errors.Is(err, exchange.ErrRequest) || e.Safe {
				t.Errorf("%+v", e)
			}
			x.Reset()
		})
	}
	x := request("POST", "/", exchange.Bytes([]byte("abc")))
	x.Request.Length = 4
	if err := p.RoundTrip(x, addr); !errors.Is(err, exchange.ErrRequest) {
		t.Error("too short a body:", err)
	}
	if s, _, err := get(p, addr, "/"); s != 200 || err != nil || dials.Load() != 1 {
		t.Error(s, err, dials.Load())
	}
}

func TestTunnels(t *testing.T) {
	echo := func(allowed uint32) func(*peer) {
		return func(q *peer) {
			q.begin(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: allowed})
			for f := q.head(); f != nil; f = q.head() {
				id := f.StreamID
				want := "CONNECT websocket http /chat shop.example"
				if got := f.PseudoValue("method") + " " + f.PseudoValue("protocol") + " " + f.PseudoValue("scheme") + " " +
					f.PseudoValue("path") + " " + f.PseudoValue("authority"); got != want || f.StreamEnded() {
					q.t.Errorf("%s, want %s", got, want)
				}
				for _, h := range f.RegularFields() {
					if h.Name == "sec-websocket-key" {
						q.t.Error("the key of HTTP/1.1 was sent")
					}
				}
				q.answer(id, false, ":status", "200", "sec-websocket-protocol", "x")
				for {
					d, is := q.next().(*http2.DataFrame)
					if !is {
						return
					}
					_ = q.WriteWindowUpdate(0, uint32(len(d.Data())+1))
					_ = q.WriteWindowUpdate(id, uint32(len(d.Data())+1))
					_ = q.WriteData(id, d.StreamEnded(), d.Data())
					if d.StreamEnded() {
						break
					}
				}
			}
		}
	}
	ask := func() *exchange.Exchange {
		x := request("GET", "/chat", nil)
		x.Request.Upgrade = []byte("websocket")
		x.Request.Header.AddName("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		x.Deadline = time.Now().Add(patience)
		return x
	}
	p, _ := newPool(t, Options{})
	x := ask()
	within(t, "a tunnel", func() {
		if err := p.RoundTrip(x, script(t, echo(1))); err != nil {
			t.Error(err)
			return
		}
		r := &x.Response
		v, _ := r.Header.Lookup("sec-websocket-accept")
		if r.Status != 101 || string(r.Upgrade) != "websocket" || string(v) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || x.Leash.Held() {
			t.Errorf("status %d, upgrade %s, accept %s", r.Status, r.Upgrade, v)
		}
		text := strings.Repeat("message ", 5000)
		go func() {
			io.WriteString(r.Tunnel, text)
			r.Tunnel.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if b, err := io.ReadAll(r.Tunnel); string(b) != text || err != nil {
			t.Errorf("%d bytes back, %v", len(b), err)
		}
	})
	x.Reset()

	x = ask()
	err := p.RoundTrip(x, script(t, echo(0)))
	if e := attempt(t, err); !errors.Is(err, exchange.ErrUnsupported) || !strings.Contains(err.Error(), "RFC 8441") {
		t.Errorf("%+v", e)
	}
	x.Reset()
}
