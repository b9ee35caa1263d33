package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// canned is a connection whose peer says what it was made with, in pieces, whatever
// it is told, and then ends.
type canned struct {
	net.Conn
	b     []byte
	piece int
}

func (c *canned) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b[:min(len(c.b), c.piece)])
	c.b = c.b[n:]
	return n, nil
}
func (c *canned) Write(p []byte) (int, error)   { return len(p), nil }
func (c *canned) Close() error                  { return nil }
func (c *canned) SetDeadline(_ time.Time) error { return nil }

// said is what an upstream says: fields as HEADERS, other text as DATA, of stream 1.
func said(end bool, parts ...any) []byte {
	out := frames.AppendHead(nil, 0, frames.Settings, 0, 0)
	for i, p := range parts {
		var flags uint8
		if end && i == len(parts)-1 {
			flags = frames.EndStream
		}
		switch p := p.(type) {
		case []string:
			var b buffer
			e := hpack.NewEncoder(&b)
			for i := 0; i < len(p); i += 2 {
				_ = e.WriteField(hpack.HeaderField{Name: p[i], Value: p[i+1]})
			}
			out = append(frames.AppendHead(out, len(b.b), frames.Headers, flags|frames.EndHeaders, 1), b.b...)
		case string:
			out = append(frames.AppendHead(out, len(p), frames.Data, flags, 1), p...)
		}
	}
	return out
}

// FuzzAnswer gives the pool whatever an upstream may say: it must come to an end, by
// an answer or by an error that is one of an attempt, and keep to what it promises.
func FuzzAnswer(f *testing.F) {
	f.Add(said(true, []string{":status", "200", "content-length", "4"}, "body"), uint16(1000), false)
	f.Add(said(true, []string{":status", "103"}, []string{":status", "200"}, "some", "more", []string{"grpc-status", "0"}), uint16(7), true)
	f.Add(said(false, []string{":status", "200"}, "cut"), uint16(100), true)
	f.Add(append(said(false), frames.AppendGoAway(nil, 0, frames.NoError, "")...), uint16(9), false)
	f.Add(append(said(false), frames.AppendReset(nil, 1, frames.RefusedStream)...), uint16(9), true)
	f.Add(append(said(false), frames.AppendPing(frames.AppendWindowUpdate(nil, 1, 5), false, make([]byte, 8))...), uint16(9), true)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), uint16(100), false)
	f.Fuzz(func(t *testing.T, in []byte, piece uint16, post bool) {
		p := New(Options{Head: 4 << 10, Fields: 20, Dial: func(context.Context, string) (net.Conn, error) {
			return &canned{b: in, piece: int(piece) + 1}, nil
		}})
		defer p.Close()
		x := request("GET", "/", nil)
		if post {
			x = request("POST", "/", exchange.Bytes([]byte("data")))
		}
		informed := 0
		x.Inform = func(status int, _ *exchange.Header) error {
			if informed++; status < 100 || status > 199 || status == 101 {
				t.Errorf("informed of %d", status)
			}
			return nil
		}
		defer x.Reset()
		err := p.RoundTrip(x, "upstream:1")
		r := &x.Response
		length := int64(-1)
		if err == nil {
			if r.Status < 200 || r.Status > 999 {
				t.Errorf("status %d", r.Status)
			}
			for _, f := range r.Header.Fields() {
				if len(f.Name) == 0 || f.Name[0] == ':' || f.ID == exchange.Connection || f.ID == exchange.ContentLength {
					t.Errorf("field %q", f.Name)
				}
			}
			length = r.Length
			var got string
			got, err = readAll(r.Body)
			if err == nil && length >= 0 && r.Body != nil && int64(len(got)) != length {
				t.Errorf("%d bytes, and the length is %d", len(got), length)
			}
		}
		var e *exchange.AttemptError
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%T: %v", err, err)
		}
		if informed > mostInterims {
			t.Errorf("informed %d times", informed)
		}
	})
}
