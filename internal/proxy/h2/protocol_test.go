package h2_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"swell/internal/exchange"
	"swell/internal/proxy/h2"
)

func TestExchange(t *testing.T) {
	var got string
	s := &h2.Server{Caller: "me", Handle: func(x *exchange.Exchange) {
		q := &x.Request
		got = fmt.Sprintf("%s %s %s %d %d.%d %v %s", q.Method, q.Target, q.Host, q.Length, q.Major, q.Minor, q.Body != nil, x.Peer)
		for _, f := range q.Header.Fields() {
			got += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		}
		if q.Upgrade != nil || x.TLS != nil || x.Caller != "me" || x.Start == 0 {
			t.Errorf("%+v", x)
		}
		echo(x)
	}}
	speak(t, s, func(r *raw) {
		for i, c := range []struct {
			lines []string
			body  string
			want  string
		}{
			{append(getRoot, "cookie: a=1", "x-a: 1", "cookie: b=2", "te: trailers", "expect: nothing"), "", "GET / shop.example 0 2.0 false x-a=1 te=trailers cookie=a=1; b=2"},
			{[]string{":method: GET", ":scheme: https", ":path: /a%2Fb?x=%zz|y", "host: h.example:8080"}, "", "GET /a%2Fb?x=%zz|y h.example:8080 0 2.0 false"},
			{append(postRoot, "content-length: 4", "host: shop.example"), "body", "POST / shop.example 4 2.0 true"},
			{postRoot, "body", "POST / shop.example -1 2.0 true"},
			{[]string{":method: PURGE", ":scheme: http", ":authority: [::1]:80", ":path: //x"}, "", "PURGE //x [::1]:80 0 2.0 false"},
		} {
			id := uint32(2*i + 1)
			r.ask(id, c.body == "", c.lines...)
			head := fmt.Sprintf("HEADERS %d :status=200", id)
			if c.body == "" {
				r.hears(head + " end")
			} else {
				r.hears()
				r.data(id, true, c.body)
				r.hears(head, fmt.Sprintf("DATA %d %s end", id, c.body))
			}
			if want := strings.Replace(c.want, " 2.0 "+fmt.Sprint(c.body != ""), " 2.0 "+fmt.Sprint(c.body != "")+" 192.0.2.1:99", 1); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		}
		r.refused()
	})
}

// TestMalformed requests end their stream, or are answered, and the connection goes
// on.
func TestMalformed(t *testing.T) {
	long := strings.Repeat("x", 40000)
	with := func(more ...string) []string { return append(append([]string{}, getRoot...), more...) }
	for _, c := range []struct {
		lines []string
		want  string // a status, or a slug of a stream that ends by PROTOCOL_ERROR
	}{
		{[]string{":scheme: http", ":authority: a", ":path: /"}, "no-method"},
		{[]string{":method: GET", ":authority: a", ":path: /"}, "no-scheme"},
		{[]string{":method: GET", ":scheme: http", ":authority: a"}, "no-path"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path:"}, "no-path"},
		{[]string{":method: G T", ":scheme: http", ":authority: a", ":path: /"}, "method"},
		{with("host: other.example"), "two-hosts"},
		{with("connection: close"), "connection-field"},
		{with("transfer-encoding: chunked"), "connection-field"},
		{with("upgrade: h2c"), "connection-field"},
		{with("te: gzip"), "te"},
		{with("X-Upper: 1"), "field-name"},
		{with("x-a: a\x00b"), "field-value"},
		{with("content-length: 5"), "content-length"},
		{with("content-length: x"), "content-length"},
		{with(":path: /2"), "two-pseudo-fields"},
		{with("x: y", ":path: /2"), "late-pseudo-field"},
		{with(":status: 200"), "pseudo-field"},
		{with(":protocol: websocket"), "protocol"},
		{[]string{":method: CONNECT", ":authority: a", ":path: /"}, "connect"},
		{[]string{":method: CONNECT"}, "connect"},
		{[]string{":method: GET", ":scheme: http", ":path: /"}, "400 host"},
		{[]string{":method: GET", ":scheme: http", ":authority: a@b", ":path: /"}, "400 host"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path: x"}, "400 target"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path: /a b"}, "400 target"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path: /#x"}, "400 target"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path: /%zz"}, "400 target"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path: *"}, "400 target"},
		{[]string{":method: GET", ":scheme: http", ":authority: a", ":path: /" + long}, "414 target-length"},
		{[]string{":method: " + long[:40], ":scheme: http", ":authority: a", ":path: /"}, "501 method"},
		{with("a: "+long, "b: "+long), "431 head-length"},
		{with(strings.Split(strings.Repeat("a: b|", 130), "|")[:130]...), "431 head-length"},
	} {
		speak(t, &h2.Server{Handle: echo, Done: func(x *exchange.Exchange, err error) {
			if len(x.Request.Header.Fields()) != 0 {
				t.Errorf("%q became an exchange", c.lines)
			}
		}}, func(r *raw) {
			block := r.fields(c.lines...)
			first := block[:min(len(block), 16000)]
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: true, EndHeaders: len(first) == len(block)})
			for block = block[len(first):]; len(block) > 0; {
				n := min(len(block), 16000)
				_ = r.WriteContinuation(1, n == len(block), block[:n])
				block = block[n:]
			}
			if c.want[0] >= '0' && c.want[0] <= '9' {
				r.refused(c.want)
				r.mu.Lock()
				if len(r.heard) != 2 || !strings.HasPrefix(r.heard[0], "HEADERS 1 :status="+c.want[:3]) {
					t.Errorf("%q: %q", c.want, r.heard)
				}
				r.heard = nil
				r.mu.Unlock()
			} else {
				r.refused("400 " + c.want)
				r.hears("RST 1 PROTOCOL_ERROR")
			}
			r.ask(3, true, getRoot...)
			r.hears("HEADERS 3 :status=200 end")
		})
	}
}

// TestConnectionErrors that a conformance suite doesn't try, or not by its slug.
func TestConnectionErrors(t *testing.T) {
	block := func(r *raw) []byte { return r.fields(getRoot...) }
	for _, c := range []struct {
		name string
		code http2.ErrCode
		say  func(r *raw)
	}{
		{"stream-identifier", http2.ErrCodeProtocol, func(r *raw) { r.ask(2, true, getRoot...) }},
		{"idle-stream", http2.ErrCodeProtocol, func(r *raw) { r.data(1, true, "x") }},
		{"data-stream", http2.ErrCodeProtocol, func(r *raw) { r.data(0, true, "x") }},
		{"reset-of-idle", http2.ErrCodeProtocol, func(r *raw) { _ = r.WriteRSTStream(1, 0) }},
		{"continuation", http2.ErrCodeProtocol, func(r *raw) { _ = r.WriteContinuation(1, true, block(r)) }},
		{"continuation", http2.ErrCodeProtocol, func(r *raw) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(r)})
			_ = r.WritePing(false, [8]byte{})
		}},
		{"compression", http2.ErrCodeCompression, func(r *raw) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff}, EndHeaders: true})
		}},
		{"frame-length", http2.ErrCodeFrameSize, func(r *raw) { _ = r.WriteRawFrame(http2.FrameHeaders, 0, 1, make([]byte, 16385)) }},
		{"push", http2.ErrCodeProtocol, func(r *raw) {
			_ = r.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block(r), EndHeaders: true})
		}},
		{"window", http2.ErrCodeFlowControl, func(r *raw) { _ = r.WriteWindowUpdate(0, 1<<31-1) }},
		{"window-of-0", http2.ErrCodeProtocol, func(r *raw) { _ = r.WriteWindowUpdate(0, 0) }},
		{"initial-window", http2.ErrCodeFlowControl, func(r *raw) {
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}},
		{"settings-value", http2.ErrCodeProtocol, func(r *raw) { _ = r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 100}) }},
		{"settings-value", http2.ErrCodeProtocol, func(r *raw) { _ = r.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }},
		{"settings-stream", http2.ErrCodeProtocol, func(r *raw) { _ = r.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }},
		{"settings-ack", http2.ErrCodeFrameSize, func(r *raw) { _ = r.WriteRawFrame(http2.FrameSettings, 1, 0, make([]byte, 6)) }},
		{"ping", http2.ErrCodeFrameSize, func(r *raw) { _ = r.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }},
		{"padding", http2.ErrCodeProtocol, func(r *raw) {
			r.ask(1, false, postRoot...)
			_ = r.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{5, 1, 2})
		}},
		{"stream-closed", http2.ErrCodeStreamClosed, func(r *raw) {
			r.ask(1, true, getRoot...)
			r.hears("HEADERS 1 :status=200 end")
			r.ask(1, true, getRoot...)
		}},
		{"connection-window", http2.ErrCodeFlowControl, func(r *raw) {
			for id := uint32(1); id < 20; id += 2 { // their handlers wait for more
				r.ask(id, false, postRoot...)
				for range 4 {
					r.data(id, false, strings.Repeat("x", 16000))
				}
			}
		}},
	} {
		s := echoServer()
		s.Limits.Buffer = 256 << 10
		if c.name == "connection-window" {
			s.Handle = func(x *exchange.Exchange) { <-waitGone(x) }
		}
		speak(t, s, func(r *raw) {
			c.say(r)
			status := "400 "
			r.refused(status + c.name)
			r.mu.Lock()
			n := len(r.heard)
			if n < 2 || r.heard[n-1] != "EOF" || !strings.HasSuffix(r.heard[n-2], " "+c.code.String()) || !strings.HasPrefix(r.heard[n-2], "GOAWAY") {
				t.Errorf("%s: heard %q, want %s", c.name, r.heard, c.code)
			}
			r.mu.Unlock()
		})
	}
}

// waitGone is closed when the client of x has left.
func waitGone(x *exchange.Exchange) <-chan struct{} {
	c := make(cutter)
	if !x.Leash.Hold(c) {
		close(c)
	}
	return c
}

type cutter chan struct{}

func (c cutter) Cut() { close(c) }

func TestPreface(t *testing.T) {
	for _, p := range []string{"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"} {
		silent(t, echoServer(), func(r *raw) {
			_, _ = io.WriteString(r.nc, p)
			r.hears("SETTINGS", "WINDOW 0", "GOAWAY 0 PROTOCOL_ERROR", "EOF")
			r.refused("400 preface")
		})
	}
}

func TestContentLength(t *testing.T) {
	for _, c := range []struct {
		length string
		pieces []string
		ok     bool
	}{
		{"4", []string{"bo", "dy"}, true}, {"4", []string{"bo", "d"}, false}, {"4", []string{"bo", "dyy"}, false},
		{"0", []string{""}, true}, {"0", []string{"x"}, false},
	} {
		for _, trailer := range []bool{false, true} {
			speak(t, echoServer(), func(r *raw) {
				r.ask(1, false, append(postRoot, "content-length: "+c.length)...)
				for i, p := range c.pieces {
					r.data(1, i == len(c.pieces)-1 && !trailer, p)
				}
				if trailer {
					r.ask(1, true, "x-end: 1")
				}
				body := strings.Join(c.pieces, "")
				switch {
				case !c.ok:
					r.hears("RST 1 PROTOCOL_ERROR")
					r.refused("400 content-length")
				case body == "":
					r.hears("HEADERS 1 :status=200 end")
				default:
					r.hears("HEADERS 1 :status=200", "DATA 1 "+body+" end")
				}
			})
		}
	}
}

func TestTrailers(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		echo(x)
		v, _ := x.Request.Trailer.Lookup("X-Sum")
		x.Response.Trailer.AddName("X-Got", string(v))
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, false, postRoot...)
		r.data(1, false, "body")
		r.ask(1, true, "x-sum: 7")
		r.hears("HEADERS 1 :status=200", "DATA 1 body", "HEADERS 1 x-got=7 end")
		for i, bad := range [][]string{{":path: /"}, {"Upper: 1"}, {"content-length: 4"}, {"connection: close"}} {
			id := uint32(2*i + 3)
			r.ask(id, false, postRoot...)
			r.data(id, false, "body")
			r.ask(id, true, bad...)
			r.hears(fmt.Sprintf("RST %d PROTOCOL_ERROR", id))
		}
		r.ask(21, false, postRoot...)
		r.ask(21, false, "x-sum: 7")
		r.hears("RST 21 PROTOCOL_ERROR")
	})
}

func TestExpect(t *testing.T) {
	speak(t, echoServer(), func(r *raw) {
		r.ask(1, false, append(postRoot, "expect: 100-continue")...)
		r.hears("HEADERS 1 :status=100")
		r.data(1, true, "body")
		r.hears("HEADERS 1 :status=200", "DATA 1 body end")
	})
	s := &h2.Server{Handle: func(x *exchange.Exchange) { x.Reply(417, "") }}
	speak(t, s, func(r *raw) {
		r.ask(1, false, append(postRoot, "expect: 100-continue")...)
		r.hears("HEADERS 1 :status=417 end", "RST 1 NO_ERROR")
		r.data(1, true, "body") // it was on its way
		r.hears()
		r.refused()
	})
}

func TestWithoutBody(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		switch string(x.Request.Target) {
		case "/204":
			x.Response.Status = 204
		case "/304":
			x.Reply(304, "text")
		default:
			x.Reply(200, "text")
		}
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, true, ":method: HEAD", ":scheme: http", ":authority: a", ":path: /")
		r.ask(3, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /204")
		r.ask(5, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /304")
		r.ask(7, true, ":method: OPTIONS", ":scheme: http", ":authority: a", ":path: *")
		r.hearsAll("HEADERS 1 :status=200 end", "HEADERS 3 :status=204 end", "HEADERS 5 :status=304 end",
			"HEADERS 7 :status=200 allow=GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE end")
	})
}

// TestPriority is ignored where it is one.
func TestPriority(t *testing.T) {
	speak(t, echoServer(), func(r *raw) {
		_ = r.WritePriority(7, http2.PriorityParam{StreamDep: 3})
		_ = r.WriteRawFrame(0x10, 0, 0, []byte("u=1")) // PRIORITY_UPDATE
		_ = r.WriteRawFrame(0xee, 0xff, 5, []byte("unknown"))
		_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.fields(getRoot...), EndStream: true, EndHeaders: true,
			PadLength: 7, Priority: http2.PriorityParam{StreamDep: 9, Weight: 3}})
		r.hears("HEADERS 1 :status=200 end")
		_ = r.WritePriority(9, http2.PriorityParam{StreamDep: 9})
		r.hears("RST 9 PROTOCOL_ERROR")
	})
}

func TestSettings(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, 50000, exchange.Bytes(bytes.Repeat([]byte("x"), 50000))
	}}
	speak(t, s, func(r *raw) {
		_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		r.hears("SETTINGS ack")
		r.ask(1, true, getRoot...)
		r.hears("HEADERS 1 :status=200", "DATA 1 xxxxxxxxxx")
		_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		_ = r.WriteWindowUpdate(1, 7)
		r.hears("SETTINGS ack", "DATA 1 xx")
		_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 30000})
		r.hearsAll("DATA 1 xxxxx", "SETTINGS ack")
		_ = r.WriteWindowUpdate(1, 100000)
		r.hears("DATA 1 (49983) end")
	})
}
