package filter

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"

	"swell/internal/exchange"
	"swell/internal/plug"
)

// GRPCWebOptions are the options of grpc-web: there are none.
type GRPCWebOptions struct{}

func grpcWebEntry() plug.Entry[Maker] {
	return plug.Named("grpc-web", "Makes calls of gRPC-Web, which browsers can make, calls of gRPC, for services that speak only that. Other requests pass.",
		GRPCWebOptions{}, func(GRPCWebOptions) (Maker, error) {
			return func(Env) Filter { return grpcWeb }, nil
		})
}

var (
	webType  = []byte("application/grpc-web")
	textType = []byte("application/grpc-web-text")
)

// webKind reports whether a content type is gRPC-Web's, in base64 (text) or not, and
// returns its codec: "+proto", or what else stands behind.
func webKind(t []byte) (codec []byte, text, web bool) {
	for _, prefix := range [][]byte{textType, webType} {
		if len(t) >= len(prefix) && bytes.EqualFold(t[:len(prefix)], prefix) {
			codec = t[len(prefix):]
			return codec, len(prefix) == len(textType), len(codec) == 0 || codec[0] == '+' || codec[0] == ';'
		}
	}
	return nil, false, false
}

// grpcWeb translates (grpc/doc/PROTOCOL-WEB.md): the content types, base64 where the
// client wants it, and the trailer, which becomes the last frame of the answer's body.
// Messages pass as they come; nothing waits for more.
func grpcWeb(next Round) Round {
	return func(x *exchange.Exchange) error {
		q := &x.Request
		kind := q.Header.Get(exchange.ContentType)
		codec, text, web := webKind(kind)
		if !web {
			return next(x)
		}
		body, length := q.Body, q.Length
		if text && body != nil {
			q.Body, q.Length = &fromText{Body: body}, -1
		}
		var memory [64]byte
		q.Header.SetBytes(exchange.ContentType, append(append(memory[:0], grpcType...), codec...))
		if !q.Header.Has(exchange.TE) {
			q.Header.Set(exchange.TE, "trailers")
		}
		accept := q.Header.Get(exchange.Accept)
		err := next(x)
		// Filters around this one, and an answer of our own, see the request as it came.
		q.Header.SetBytes(exchange.ContentType, kind)
		if err != nil {
			q.Body, q.Length = body, length
			return err
		}
		toWeb(x, text || len(accept) >= len(textType) && bytes.EqualFold(accept[:len(textType)], textType))
		return nil
	}
}

// toWeb translates an answer, if it is one of gRPC.
func toWeb(x *exchange.Exchange, text bool) {
	r := &x.Response
	kind := r.Header.Get(exchange.ContentType)
	if !bytes.HasPrefix(kind, grpcType) {
		return
	}
	codec := kind[len(grpcType):]
	if len(codec) > 0 && codec[0] != '+' && codec[0] != ';' {
		return
	}
	as := webType
	if text {
		as = textType
	}
	var memory [64]byte
	r.Header.SetBytes(exchange.ContentType, append(append(memory[:0], as...), codec...))
	r.Header.Del(exchange.Trailer)
	if r.Body == nil && r.Trailer.Len() == 0 {
		return // the status is in the header already (Trailers-Only)
	}
	body := &webBody{x: x, in: r.Body, text: text}
	if r.Body == nil {
		body.in = exchange.Bytes(nil)
	}
	r.Body, r.Length = body, -1
}

// webBody is an answer's messages with the trailer behind them.
type webBody struct {
	x    *exchange.Exchange
	in   exchange.Body
	text bool
	done bool   // the trailer went out
	out  []byte // what is in base64
}

// Next returns the next bytes.
func (b *webBody) Next() ([]byte, error) {
	if b.done {
		return nil, io.EOF
	}
	p, err := b.in.Next()
	if err == io.EOF {
		b.done = true
		p, err = b.trailer(), nil
	}
	if err != nil || !b.text {
		return p, err
	}
	// Each piece is a whole of its own, padding included, so that it can be read as
	// soon as it comes.
	n := base64.StdEncoding.EncodedLen(len(p))
	if cap(b.out) < n {
		b.out = make([]byte, n)
	}
	b.out = b.out[:n]
	base64.StdEncoding.Encode(b.out, p)
	return b.out, nil
}

// trailer returns the trailer as a frame, and takes it off the response.
func (b *webBody) trailer() []byte {
	t := &b.x.Response.Trailer
	out := []byte{0x80, 0, 0, 0, 0}
	for _, f := range t.Fields() {
		out = append(out, bytes.ToLower(f.Name)...)
		out = append(out, ':', ' ')
		out = append(out, f.Value...)
		out = append(out, '\r', '\n')
	}
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-5))
	if v, ok := t.Lookup("grpc-status"); ok && string(v) != "0" {
		b.x.Note("grpc-status", string(v)) // nobody sees it any more
	}
	t.Reset()
	return out
}

// Ready reports that Next would return at once.
func (b *webBody) Ready() bool { return b.done || b.in.Ready() }

// Close gives up what is left.
func (b *webBody) Close() { b.done = true; b.in.Close() }

var errText = errors.New("malformed base64 in the body of a call of gRPC-Web")

// fromText is a body in base64, decoded: several wholes, each with its padding, may
// stand behind one another.
type fromText struct {
	exchange.Body
	four [4]byte
	n    int // of four that came
	out  []byte
}

// Next returns the next bytes.
func (b *fromText) Next() ([]byte, error) {
	for {
		p, err := b.Body.Next()
		if err == io.EOF && b.n > 0 {
			return nil, errText
		}
		if err != nil {
			return nil, err
		}
		if b.out, err = b.decode(b.out[:0], p); err != nil {
			return nil, err
		}
		if len(b.out) > 0 {
			return b.out, nil
		}
	}
}

// Ready never promises anything: what is there may not be enough for a byte.
func (b *fromText) Ready() bool { return false }

func (b *fromText) decode(out, p []byte) ([]byte, error) {
	for _, c := range p {
		if c == '\r' || c == '\n' {
			continue
		}
		b.four[b.n] = c
		if b.n++; b.n < 4 {
			continue
		}
		b.n = 0
		var three [3]byte
		n, err := base64.StdEncoding.Decode(three[:], b.four[:])
		if err != nil {
			return nil, errText
		}
		out = append(out, three[:n]...)
	}
	return out, nil
}
