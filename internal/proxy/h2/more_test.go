package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"swell/internal/exchange"
	"swell/internal/proxy/h2"
)

// TestBegunElsewhere: what another server read of the connection is looked at
// first, and the idle time begins with the connection.
func TestBegunElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(200 * time.Second)
		a, b := net.Pipe()
		var hello bytes.Buffer
		hello.WriteString(http2.ClientPreface)
		_ = http2.NewFramer(&hello, nil).WriteSettings()
		r := &raw{T: t, Framer: http2.NewFramer(b, b), nc: b}
		s := echoServer()
		var wg sync.WaitGroup
		wg.Go(func() { s.Serve(context.Background(), a, netip.AddrPort{}, nil, hello.Bytes()) })
		wg.Go(r.listen)
		time.Sleep(70 * time.Second)
		r.hears("SETTINGS", "WINDOW 0", "SETTINGS ack")
		time.Sleep(10 * time.Second)
		r.hears("GOAWAY 0 NO_ERROR", "EOF")
		wg.Wait()
	})
}

// TestReadsCutFrames anywhere, for longer than a head may take.
func TestReadsCutFrames(t *testing.T) {
	speak(t, echoServer(), func(r *raw) {
		var b bytes.Buffer
		fr := http2.NewFramer(&b, nil)
		for range 40 {
			_ = fr.WritePing(true, [8]byte{})
		}
		all := b.Bytes()
		for i := 0; i+20 <= len(all); i += 20 { // 17 bytes have a frame
			_, _ = r.nc.Write(all[i : i+20])
			time.Sleep(time.Second)
		}
		_, _ = r.nc.Write(all[len(all)/20*20:])
		r.ask(1, true, getRoot...)
		r.hears("HEADERS 1 :status=200 end")
	})
}

// TestSmallReads of every length, after which nothing comes.
func TestSmallReads(t *testing.T) {
	for n := 30; n < 300; n++ {
		speak(t, echoServer(), func(r *raw) {
			var b bytes.Buffer
			fr := http2.NewFramer(&b, nil)
			_ = fr.WriteRawFrame(0xee, 0, 0, make([]byte, n-26))
			_ = fr.WritePing(false, [8]byte{})
			_, _ = r.nc.Write(b.Bytes())
			r.hears("PING ack")
		})
	}
}

// TestClose: an exchange can ask for the end of its connection, which the other
// streams survive.
func TestClose(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Reply(200, "")
		x.Response.Close = true
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, true, getRoot...)
		r.hearsAll("HEADERS 1 :status=200 end", "GOAWAY 2147483647 NO_ERROR", "PING drain")
		_ = r.WritePing(true, [8]byte{'d', 'r', 'a', 'i', 'n'})
		r.hears("GOAWAY 1 NO_ERROR", "EOF")
	})
}

// whole can't be closed by half.
type whole struct{ p *pipe }

func (w whole) Read(b []byte) (int, error)  { return w.p.Read(b) }
func (w whole) Write(b []byte) (int, error) { return w.p.Write(b) }
func (w whole) Close() error                { return w.p.Close() }

func TestTunnelWithoutHalves(t *testing.T) {
	var p *pipe
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Tunnel = 200, whole{p}
	}}
	speak(t, s, func(r *raw) {
		pr, pw := io.Pipe()
		p = &pipe{Reader: pr, w: pw}
		r.ask(1, false, ":method: CONNECT", ":authority: a:1")
		r.data(1, true, "bye")
		r.hears("HEADERS 1 :status=200", "DATA 1  end")
		if p.in.String() != "bye" || !p.closed {
			t.Errorf("%q %v", p.in.String(), p.closed)
		}
	})
}

// TestBodyBreaksLate: what came before is the client's, and then the stream ends
// by a reset, never in good order.
func TestBodyBreaksLate(t *testing.T) {
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, -1, &breaks{}
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, true, getRoot...)
		r.hears("HEADERS 1 :status=200", "DATA 1 part", "RST 1 INTERNAL_ERROR")
	})
	s = &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, -1, &breaks{panics: true}
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, true, getRoot...)
		r.hears("HEADERS 1 :status=200", "DATA 1 part", "RST 1 INTERNAL_ERROR")
	})
}

type breaks struct {
	n      int
	panics bool
}

func (b *breaks) Next() ([]byte, error) {
	if b.n++; b.n == 1 {
		return []byte("part"), nil
	}
	if b.panics {
		panic("a filter's")
	}
	return nil, errors.New("broken")
}
func (b *breaks) Ready() bool { return true }
func (b *breaks) Close()      {}

// TestServerPushesBack: no more of an answer is taken from where it comes from
// than the client's window, and what waits to be written.
func TestServerPushesBack(t *testing.T) {
	src := &endless{}
	s := &h2.Server{Handle: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, -1, src
	}}
	speak(t, s, func(r *raw) {
		r.ask(1, true, getRoot...)
		r.hears("HEADERS 1 :status=200", "DATA 1 (65535)")
		if src.n > 65535+1000 {
			t.Errorf("took %d", src.n)
		}
		_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
		synctest.Wait()
		if !src.closed {
			t.Error("not closed")
		}
	})
}

type endless struct {
	n      int
	closed bool
}

func (e *endless) Next() ([]byte, error) {
	e.n += 1000
	return []byte(strings.Repeat("x", 1000)), nil
}
func (e *endless) Ready() bool { return true }
func (e *endless) Close()      { e.closed = true }
