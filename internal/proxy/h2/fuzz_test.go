package h2_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// FuzzConnection feeds a connection what anybody may send: it neither panics nor
// hangs, and what it says are whole frames.
func FuzzConnection(f *testing.F) {
	seed := func(say func(*http2.Framer)) {
		var b bytes.Buffer
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		_ = fr.WriteSettings()
		say(fr)
		f.Add(b.Bytes())
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {"x", "y"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	seed(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, PadLength: 3})
		_ = fr.WriteData(1, false, []byte("abc"))
		_ = fr.WriteDataPadded(1, true, []byte("abc"), make([]byte, 5))
		_ = fr.WritePing(false, [8]byte{1})
	})
	seed(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()[:5], EndStream: true})
		_ = fr.WriteContinuation(1, true, block.Bytes()[5:])
		_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
		_ = fr.WriteWindowUpdate(0, 100)
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		_ = fr.WritePriority(3, http2.PriorityParam{StreamDep: 1})
		_ = fr.WriteGoAway(0, 0, nil)
	})
	s := echoServer()
	s.Log = quiet()
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := net.Pipe()
		done := make(chan bool)
		go func() {
			s.Serve(context.Background(), a, netip.AddrPort{}, nil, nil)
			close(done)
		}()
		heard := make(chan error, 1)
		go func() {
			fr := http2.NewFramer(io.Discard, b)
			for {
				if _, err := fr.ReadFrame(); err != nil {
					heard <- err
					return
				}
			}
		}()
		_ = b.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(b, http2.ClientPreface)
		_, _ = b.Write(in)
		_ = b.Close()
		if err := <-heard; err != io.EOF && err != io.ErrClosedPipe && err != io.ErrUnexpectedEOF {
			t.Errorf("the server said what is no frame: %v", err)
		}
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("it hangs")
		}
	})
}
