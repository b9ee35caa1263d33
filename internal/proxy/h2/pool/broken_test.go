package pool

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"swell/internal/exchange"
)

func TestBrokenAnswers(t *testing.T) {
	long := strings.Repeat("v", 3000)
	for _, c := range []struct {
		name  string
		serve func(*peer, uint32)
		phase exchange.Phase
		want  error
		got   string // of the body, before the error
		conn  bool   // the connection ends, too
	}{
		{"reset before the head", func(q *peer, id uint32) { _ = q.WriteRSTStream(id, http2.ErrCodeInternal) }, exchange.PhaseWait, exchange.ErrClosed, "", false},
		{"reset in the body", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			_ = q.WriteData(id, false, []byte("half"))
			_ = q.WriteRSTStream(id, http2.ErrCodeInternal)
		}, exchange.PhaseBody, exchange.ErrClosed, "half", false},
		{"reset without an error in the body", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			_ = q.WriteData(id, false, []byte("half"))
			_ = q.WriteRSTStream(id, http2.ErrCodeNo)
		}, exchange.PhaseBody, exchange.ErrClosed, "half", false},
		{"the connection ends before the head", func(q *peer, id uint32) { _ = q.nc.Close() }, exchange.PhaseWait, exchange.ErrClosed, "", true},
		{"the connection ends in the body", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			_ = q.WriteData(id, false, []byte("half"))
			_ = q.nc.Close()
		}, exchange.PhaseBody, exchange.ErrClosed, "half", true},
		{"longer than its length", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200", "content-length", "3")
			_ = q.WriteData(id, true, []byte("half"))
		}, exchange.PhaseBody, exchange.ErrMalformed, "", false},
		{"shorter than its length", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200", "content-length", "5")
			_ = q.WriteData(id, true, []byte("half"))
		}, exchange.PhaseBody, exchange.ErrMalformed, "half", false},
		{"no body where a length is said", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", "content-length", "5") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"two lengths", func(q *peer, id uint32) {
			q.answer(id, true, ":status", "200", "content-length", "5", "content-length", "6")
		}, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"no status", func(q *peer, id uint32) { q.answer(id, true, "a", "b") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"an odd status", func(q *peer, id uint32) { q.answer(id, true, ":status", "2x0") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"two statuses", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", ":status", "200") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"a pseudo-field of requests", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", ":path", "/") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"a late status", func(q *peer, id uint32) { q.answer(id, true, "a", "b", ":status", "200") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"a name in capitals", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", "X-A", "b") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"a line break in a value", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", "x", "a\r\nb: c") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"connection", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", "connection", "close") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"transfer-encoding", func(q *peer, id uint32) { q.answer(id, true, ":status", "200", "transfer-encoding", "chunked") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"101", func(q *peer, id uint32) { q.answer(id, false, ":status", "101") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"an interim answer that is the end", func(q *peer, id uint32) { q.answer(id, true, ":status", "103") }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"interim answers without end", func(q *peer, id uint32) {
			for range 100 {
				q.answer(id, false, ":status", "103")
			}
		}, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"a body before the head", func(q *peer, id uint32) { _ = q.WriteData(id, true, []byte("x")) }, exchange.PhaseHead, exchange.ErrMalformed, "", false},
		{"a trailer that is not the end", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			q.answer(id, false, "x", "y")
		}, exchange.PhaseBody, exchange.ErrMalformed, "", false},
		{"a status in the trailer", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			q.answer(id, true, ":status", "200")
		}, exchange.PhaseBody, exchange.ErrMalformed, "", false},
		{"a head that is too large", func(q *peer, id uint32) {
			q.answer(id, true, ":status", "200", "a", long, "b", long, "c", long, "d", long)
		}, exchange.PhaseHead, exchange.ErrHeadTooLarge, "", false},
		{"too many fields", func(q *peer, id uint32) {
			kv := []string{":status", "200"}
			for i := range 60 {
				kv = append(kv, fmt.Sprint("f", i), "v")
			}
			q.answer(id, true, kv...)
		}, exchange.PhaseHead, exchange.ErrHeadTooLarge, "", false},
		{"an empty window update", func(q *peer, id uint32) { _ = q.WriteRawFrame(http2.FrameWindowUpdate, 0, id, []byte{0, 0, 0, 0}) }, exchange.PhaseHead, exchange.ErrMalformed, "", false},

		{"a push", func(q *peer, id uint32) {
			_ = q.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true, BlockFragment: q.section(":status", "200")})
		}, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"a stream of its own", func(q *peer, id uint32) { q.answer(2, true, ":status", "200") }, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"a stream that never began", func(q *peer, id uint32) { q.answer(id+2, true, ":status", "200") }, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"bad compression", func(q *peer, id uint32) {
			_ = q.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"a frame that is too large", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			_, _ = q.nc.Write([]byte{0x10, 0, 0, 0, 0, 0, 0, 0, 1})
		}, exchange.PhaseBody, exchange.ErrMalformed, "", true},
		{"continuation of nothing", func(q *peer, id uint32) { _ = q.WriteContinuation(id, true, nil) }, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"no continuation", func(q *peer, id uint32) {
			_ = q.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: q.section(":status", "200")})
			_ = q.WritePing(false, [8]byte{})
		}, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"continuations without end", func(q *peer, id uint32) {
			_ = q.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: q.section(":status", "200")})
			for range 1000 {
				if q.WriteContinuation(id, false, nil) != nil {
					return
				}
			}
		}, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"settings of an odd size", func(q *peer, id uint32) { _ = q.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5)) }, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"a window beyond all bounds", func(q *peer, id uint32) {
			_ = q.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"a tiny ping", func(q *peer, id uint32) { _ = q.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }, exchange.PhaseHead, exchange.ErrMalformed, "", true},
		{"padding that is longer than the frame", func(q *peer, id uint32) {
			q.answer(id, false, ":status", "200")
			_ = q.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, id, []byte{9, 0})
		}, exchange.PhaseBody, exchange.ErrMalformed, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first atomic.Bool
			addr := script(t, func(q *peer) {
				if first.Swap(true) {
					ok(q)
					return
				}
				q.begin()
				f := q.head()
				c.serve(q, f.StreamID)
				for f := q.head(); f != nil; f = q.head() {
					q.answer(f.StreamID, false, ":status", "200")
					_ = q.WriteData(f.StreamID, true, []byte(f.PseudoValue("path")))
				}
			})
			p, dials := newPool(t, Options{Head: 8 << 10, Fields: 50})
			x := request("GET", "/", nil)
			within(t, "a failure", func() {
				err := p.RoundTrip(x, addr)
				got := ""
				if err == nil {
					got, err = readAll(x.Response.Body)
				}
				if err == nil {
					t.Errorf("no error; status %d, body %q", x.Response.Status, got)
					return
				}
				e := attempt(t, err)
				if !errors.Is(err, c.want) || e.Safe || got != c.got {
					t.Errorf("%q, then %+v; want %q, then %v", got, e, c.got, c.want)
				}
				// What came in one piece with the head may be known before the head is read.
				if e.Phase != c.phase && !(c.phase == exchange.PhaseBody && e.Phase == exchange.PhaseHead) {
					t.Errorf("phase %s, want %s", e.Phase, c.phase)
				}
			})
			x.Reset()
			if s, b, err := get(p, addr, "/after"); s != 200 || b != "/after" || err != nil {
				t.Errorf("afterwards %d %q %v", s, b, err)
			}
			if n := dials.Load(); n != 1 && !c.conn || n != 2 && c.conn {
				t.Errorf("%d connections", n)
			}
		})
	}
}
