package h2_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"swell/internal/exchange"
	"swell/internal/proxy/h2"
)

// TestBackPressure: the client may send as much as its window, padding included,
// and more only once the body is consumed.
func TestBackPressure(t *testing.T) {
	var next chan bool
	var body int
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		for range next {
			p, err := x.Request.Body.Next()
			if err != nil {
				break
			}
			body += len(p)
		}
		x.Reply(200, "")
	}}
	speak(t, s, func(r *raw) {
		next = make(chan bool)
		r.ask(1, false, postRoot...)
		for range 3 {
			_ = r.WriteDataPadded(1, false, make([]byte, 16000), make([]byte, 99)) // 16100 of the window
		}
		for _, n := range []int{16000, 65535 - 48300 - 16000} {
			r.data(1, false, strings.Repeat("x", n))
		}
		r.hears("WINDOW 1") // for padding, long before it is used up: it was consumed
		r.refused()
		r.data(1, false, strings.Repeat("x", 301))
		r.hears("RST 1 FLOW_CONTROL_ERROR")
		close(next)
		r.refused("400 stream-window")
	})
	speak(t, s, func(r *raw) {
		next = make(chan bool)
		r.ask(1, false, postRoot...)
		for range 4 {
			r.data(1, false, strings.Repeat("x", 16000))
		}
		r.hears()
		next <- true
		next <- true
		r.hears("WINDOW 1")
		for range 100 {
			r.data(1, false, strings.Repeat("x", 160))
		}
		r.data(1, true, "")
		synctest.Wait()
		close(next)
		r.hears("HEADERS 1 :status=200 end")
	})
}

// TestWindowNeverOpens: a stream whose client never takes its answer is ended, the
// others go on.
func TestWindowNeverOpens(t *testing.T) {
	var ended error
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		if string(x.Request.Target) == "/" {
			x.Reply(200, "")
			return
		}
		x.Response.Status, x.Response.Length, x.Response.Body = 200, 100000, exchange.Bytes(make([]byte, 100000))
	}, Done: func(x *exchange.Exchange, err error) {
		if string(x.Request.Target) != "/" {
			ended = err
		}
	}}
	speak(t, s, func(r *raw) {
		_ = r.WriteWindowUpdate(0, 1<<20)
		r.ask(1, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /large")
		synctest.Wait()
		r.ask(3, true, getRoot...)
		time.Sleep(50 * time.Second)
		r.hears("HEADERS 1 :status=200", "DATA 1 (65535)", "HEADERS 3 :status=200 end")
		time.Sleep(12 * time.Second)
		r.hears("RST 1 CANCEL")
		r.refused("408 slow-reader")
		if !errors.Is(ended, exchange.ErrGone) {
			t.Error(ended)
		}
		r.ask(5, true, getRoot...)
		r.hears("HEADERS 5 :status=200 end")
	})
}

// TestClientReadsNothing: the connection ends.
func TestClientReadsNothing(t *testing.T) {
	speak(t, echoServer(), func(r *raw) {
		hold := make(chan bool)
		r.hold.Store(&hold)
		r.ask(1, true, getRoot...)
		synctest.Wait()
		r.ask(3, true, getRoot...)
		synctest.Wait()
		time.Sleep(65 * time.Second)
		close(hold)
		r.refused("408 slow-reader")
	})
}

func TestTimes(t *testing.T) {
	t.Run("preface", func(t *testing.T) {
		silent(t, echoServer(), func(r *raw) {
			_, _ = io.WriteString(r.nc, "PRI")
			time.Sleep(11 * time.Second)
			r.hears("SETTINGS", "WINDOW 0", "GOAWAY 0 ENHANCE_YOUR_CALM", "EOF")
			r.refused("408 slow-head")
		})
	})
	t.Run("head", func(t *testing.T) {
		speak(t, echoServer(), func(r *raw) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true})
			for range 4 {
				time.Sleep(2 * time.Second)
				_ = r.WriteContinuation(1, false, []byte{0x84})
			}
			r.hears()
			time.Sleep(3 * time.Second)
			r.hears("GOAWAY 0 ENHANCE_YOUR_CALM", "EOF")
			r.refused("408 slow-head")
		})
	})
	t.Run("idle", func(t *testing.T) {
		speak(t, echoServer(), func(r *raw) {
			r.ask(1, true, getRoot...)
			r.hears("HEADERS 1 :status=200 end")
			time.Sleep(74 * time.Second)
			r.hears()
			time.Sleep(3 * time.Second)
			r.hears("GOAWAY 1 NO_ERROR", "EOF")
			r.refused()
		})
	})
	t.Run("body", func(t *testing.T) {
		speak(t, echoServer(), func(r *raw) {
			r.ask(1, false, postRoot...)
			for range 3 {
				time.Sleep(50 * time.Second)
				r.data(1, false, "x")
			}
			r.hears()
			time.Sleep(62 * time.Second)
			r.hears("HEADERS 1 :status=408", "DATA 1 request body took too long\n end", "RST 1 NO_ERROR")
			r.refused("408 slow-body")
		})
	})
}

// TestLeash: what is done for a stream is cut when the client resets it, and
// another stream's is not.
func TestLeash(t *testing.T) {
	var cut chan string
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		<-waitGone(x)
		cut <- string(x.Request.Target)
		if !x.Gone() {
			t.Error("not gone")
		}
	}}
	speak(t, s, func(r *raw) {
		cut = make(chan string, 2)
		r.ask(1, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /1")
		r.ask(3, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /3")
		synctest.Wait() // else it isn't begun at all
		_ = r.WriteRSTStream(3, http2.ErrCodeCancel)
		if p := <-cut; p != "/3" {
			t.Error(p)
		}
		synctest.Wait()
		if len(cut) != 0 {
			t.Error("both were cut")
		}
		r.hears()
		_ = r.nc.Close()
		if p := <-cut; p != "/1" {
			t.Error(p)
		}
	})
}

// TestInterrupt: another goroutine's read of the body can be ended and begun anew,
// and nothing is lost.
func TestInterrupt(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		got := make(chan error)
		go func() {
			_, err := x.Request.Body.Next()
			got <- err
		}()
		time.Sleep(time.Second)
		if x.Request.Body.Ready() {
			t.Error("ready")
		}
		x.Codec.Interrupt()
		if err := <-got; err == nil || err == io.EOF {
			t.Error(err)
		}
		x.Codec.Resume()
		echo(x)
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, false, postRoot...)
		time.Sleep(2 * time.Second)
		r.data(1, true, "body")
		r.hears("HEADERS 1 :status=200", "DATA 1 body end")
	})
}

func TestBodyAgainstItsLength(t *testing.T) {
	for _, c := range []struct {
		length int64
		want   string
		err    error
	}{{3, "RST 1 INTERNAL_ERROR", exchange.ErrLong}, {5, "RST 1 INTERNAL_ERROR", exchange.ErrShort}} {
		var got error
		s := &h2.Server{Handle: func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length, x.Response.Body = 200, c.length, exchange.Bytes([]byte("body"))
		}, Done: func(_ *exchange.Exchange, err error) { got = err }}
		speak(t, s, func(r *raw) {
			r.ask(1, true, getRoot...)
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if n := len(r.heard); n == 0 || r.heard[n-1] != c.want || !errors.Is(got, c.err) {
				t.Errorf("%q, %v", r.heard, got)
			}
		})
	}
}

// TestDrain: a GOAWAY with the greatest stream, and when the client knows it, one
// with the last stream, which ends in good order.
func TestDrain(t *testing.T) {
	var next chan bool
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		<-next
		x.Reply(200, "")
	}}
	speak(t, s, func(r *raw) {
		next = make(chan bool)
		r.ask(1, true, getRoot...)
		synctest.Wait()
		r.cancel()
		r.hears("GOAWAY 2147483647 NO_ERROR", "PING drain")
		r.ask(3, true, getRoot...) // it was on its way
		_ = r.WritePing(true, [8]byte{'d', 'r', 'a', 'i', 'n'})
		r.hears("GOAWAY 3 NO_ERROR")
		r.ask(5, true, getRoot...) // it is not looked at
		next <- true
		synctest.Wait()
		next <- true
		r.hearsAll("HEADERS 1 :status=200 end", "HEADERS 3 :status=200 end", "EOF")
		r.refused()
	})
	speak(t, s, func(r *raw) { // nothing under way, and no answer to the PING
		r.cancel()
		r.hears("GOAWAY 2147483647 NO_ERROR", "PING drain")
		time.Sleep(2 * time.Second)
		r.hears("GOAWAY 0 NO_ERROR", "EOF")
	})
	s = &h2.Server{DrainTime: 5 * time.Second, Handle: func(x *exchange.Exchange) {
		<-waitGone(x)
		x.Reply(200, "")
	}}
	speak(t, s, func(r *raw) { // longer than it may take
		r.ask(1, true, getRoot...)
		synctest.Wait()
		r.cancel()
		r.hears("GOAWAY 2147483647 NO_ERROR", "PING drain")
		time.Sleep(4 * time.Second)
		r.hears("GOAWAY 1 NO_ERROR")
		time.Sleep(2 * time.Second)
		r.hears("EOF")
	})
}

// TestDrainBeforeHello: a connection that comes as the server drains hears SETTINGS
// first, then that it is to go elsewhere.
func TestDrainBeforeHello(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) { x.Reply(200, "") }}
	silent(t, s, func(r *raw) {
		r.cancel()
		synctest.Wait()
		_, _ = io.WriteString(r.nc, http2.ClientPreface)
		_ = r.WriteSettings()
		_ = r.WriteSettingsAck()
		r.hears("SETTINGS", "WINDOW 0", "GOAWAY 2147483647 NO_ERROR", "PING drain", "SETTINGS ack")
		r.ask(1, true, getRoot...)
		_ = r.WritePing(true, [8]byte{'d', 'r', 'a', 'i', 'n'})
		r.hearsAll("HEADERS 1 :status=200 end", "GOAWAY 1 NO_ERROR", "EOF")
	})
}

// pipe is an upstream's side of a tunnel.
type pipe struct {
	io.Reader
	in     bytes.Buffer
	half   bool
	closed bool
	w      *io.PipeWriter
}

func (p *pipe) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *pipe) CloseWrite() error           { p.half = true; return nil }
func (p *pipe) Close() error {
	p.closed = true
	return p.w.CloseWithError(errors.New("closed"))
}

func TestTunnels(t *testing.T) {
	for _, c := range []struct {
		lines          []string
		method, target string
		upgrade        string
		status         int
	}{
		{[]string{":method: CONNECT", ":authority: db.example:5432"}, "CONNECT", "/", "", 200},
		{[]string{":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /chat?x", ":authority: a", "sec-websocket-version: 13"}, "GET", "/chat?x", "websocket", 101},
	} {
		var p *pipe
		var pw *io.PipeWriter
		var ended error
		s := &h2.Server{Handle: func(x *exchange.Exchange) {
			q := &x.Request
			if q.Method != c.method || string(q.Target) != c.target || string(q.Upgrade) != c.upgrade || q.Body != nil || q.Length != 0 {
				t.Errorf("%+v", q)
			}
			if key, _ := q.Header.Lookup("Sec-WebSocket-Key"); (len(key) == 24) != (c.upgrade != "") {
				t.Errorf("key %q", key)
			}
			x.Response.Status, x.Response.Tunnel, x.Response.Upgrade = c.status, p, []byte("websocket")
			x.Response.Header.AddName("Sec-WebSocket-Accept", "abc")
			x.Response.Header.AddName("Sec-WebSocket-Protocol", "chat")
		}, Done: func(_ *exchange.Exchange, err error) { ended = err }}
		begin := func(r *raw) {
			var pr *io.PipeReader
			pr, pw = io.Pipe()
			p = &pipe{Reader: pr, w: pw}
			r.ask(1, false, c.lines...)
			r.hears("HEADERS 1 :status=200 sec-websocket-protocol=chat")
		}
		speak(t, s, func(r *raw) { // both sides end by half
			begin(r)
			r.data(1, false, "ping")
			_, _ = io.WriteString(pw, "pong")
			r.hears("DATA 1 pong")
			time.Sleep(200 * time.Second) // it may be silent
			r.data(1, true, "bye")
			synctest.Wait()
			if p.in.String() != "pingbye" || !p.half || p.closed {
				t.Errorf("%q %v %v", p.in.String(), p.half, p.closed)
			}
			_, _ = io.WriteString(pw, "last")
			_ = pw.Close()
			r.hears("DATA 1 last", "DATA 1  end")
			if !p.closed || ended != nil {
				t.Error(p.closed, ended)
			}
		})
		speak(t, s, func(r *raw) { // the client cancels
			begin(r)
			_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
			synctest.Wait()
			if !p.closed || !errors.Is(ended, exchange.ErrGone) {
				t.Error(p.closed, ended)
			}
			r.hears()
		})
		speak(t, s, func(r *raw) { // the upstream breaks
			begin(r)
			_ = pw.CloseWithError(errors.New("broken"))
			r.hears("RST 1 CONNECT_ERROR")
			if !p.closed || ended == nil {
				t.Error(p.closed, ended)
			}
		})
	}
}

func TestRefusedUpgrade(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) { x.Reply(403, "no") }}
	speak(t, s, func(r *raw) {
		r.ask(1, false, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /", ":authority: a")
		r.hears("HEADERS 1 :status=403", "DATA 1 no\n end", "RST 1 NO_ERROR")
		r.data(1, false, "frame")
		r.hears()
	})
}

func TestStreams(t *testing.T) {
	var begun, next chan bool
	s := &h2.Server{Limits: h2.Limits{Streams: 3}, Handle: func(x *exchange.Exchange) {
		begun <- true
		<-next
		x.Reply(200, "")
	}}
	speak(t, s, func(r *raw) {
		begun, next = make(chan bool, 100), make(chan bool)
		for id := uint32(1); id < 9; id += 2 {
			r.ask(id, true, getRoot...)
		}
		r.hears("RST 7 REFUSED_STREAM")
		r.refused("503 streams")
		for id := uint32(1); id < 7; id += 2 { // reset ones count while their handler runs
			_ = r.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		r.ask(9, true, getRoot...)
		r.hears("RST 9 REFUSED_STREAM")
		if len(begun) != 3 {
			t.Errorf("%d handlers", len(begun))
		}
		close(next)
		r.refused("503 streams")
		r.ask(11, true, getRoot...)
		r.hears("HEADERS 11 :status=200 end")
	})
}

// TestAbuse: each kind ends the connection with ENHANCE_YOUR_CALM, before long.
func TestAbuse(t *testing.T) {
	for _, c := range []struct {
		slug string
		say  func(r *raw, i uint32) error
	}{
		{"rapid-reset", func(r *raw, i uint32) error {
			r.ask(2*i+1, true, getRoot...)
			return r.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}},
		{"rapid-reset", func(r *raw, i uint32) error { // by our own hand
			r.ask(2*i+1, false, postRoot...)
			return r.WriteWindowUpdate(2*i+1, 0)
		}},
		{"rapid-reset", func(r *raw, i uint32) error {
			r.ask(2*i+1, true, append(getRoot, "connection: x")...)
			return nil
		}},
		{"continuation-flood", func(r *raw, i uint32) error {
			if i == 0 {
				return r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.fields(getRoot...), EndStream: true})
			}
			return r.WriteContinuation(1, false, r.fields(fmt.Sprintf("x-%d: y", i)))
		}},
		{"continuation-flood", func(r *raw, i uint32) error {
			if i == 0 {
				return r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.fields(getRoot...), EndStream: true})
			}
			return r.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 16000))
		}},
		{"settings-flood", func(r *raw, i uint32) error { return r.WriteSettings() }},
		{"settings-flood", func(r *raw, i uint32) error { return r.WriteSettingsAck() }},
		{"ping-flood", func(r *raw, i uint32) error { return r.WritePing(false, [8]byte{}) }},
		{"window-flood", func(r *raw, i uint32) error { return r.WriteWindowUpdate(0, 1) }},
		{"priority-flood", func(r *raw, i uint32) error { return r.WritePriority(1, http2.PriorityParam{StreamDep: 3}) }},
		{"unknown-flood", func(r *raw, i uint32) error { return r.WriteRawFrame(0xbb, 0, 0, nil) }},
		{"data-flood", func(r *raw, i uint32) error {
			if i == 0 {
				r.ask(1, false, postRoot...)
			}
			return r.WriteData(1, false, nil)
		}},
		{"reset-flood", func(r *raw, i uint32) error {
			if i == 0 {
				r.ask(1, true, getRoot...)
				r.hears("HEADERS 1 :status=200 end")
			}
			return r.WriteRSTStream(1, 0)
		}},
	} {
		s := echoServer()
		if c.slug == "rapid-reset" {
			s.Handle = func(x *exchange.Exchange) { <-waitGone(x) }
		}
		speak(t, s, func(r *raw) {
			for i := range uint32(20000) {
				if c.say(r, i) != nil {
					break
				}
			}
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			n := len(r.heard)
			if n < 2 || r.heard[n-1] != "EOF" || !strings.HasPrefix(r.heard[n-2], "GOAWAY") || !strings.HasSuffix(r.heard[n-2], " ENHANCE_YOUR_CALM") {
				t.Errorf("%s: heard %q", c.slug, r.heard[max(0, n-5):])
			}
			if k := len(r.slugs); k == 0 || r.slugs[k-1] != "429 "+c.slug {
				t.Errorf("%s: refused %q", c.slug, r.slugs[max(0, k-3):])
			}
		})
	}
}

// TestManyResetsAreRight if as many streams end well, or time passes.
func TestManyResetsAreRight(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		if string(x.Request.Target) != "/" {
			<-waitGone(x)
		}
		x.Reply(200, "")
	}}
	speak(t, s, func(r *raw) {
		for i := range uint32(1000) {
			r.ask(4*i+1, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /slow")
			_ = r.WriteRSTStream(4*i+1, http2.ErrCodeCancel)
			r.ask(4*i+3, true, getRoot...)
			synctest.Wait()
		}
		r.mu.Lock()
		r.heard = nil
		r.mu.Unlock()
		for i := range uint32(500) {
			r.ask(8001+2*i, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /slow")
			_ = r.WriteRSTStream(8001+2*i, http2.ErrCodeCancel)
			time.Sleep(60 * time.Millisecond)
		}
		r.hears()
		r.refused()
	})
}
