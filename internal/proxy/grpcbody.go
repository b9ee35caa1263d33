package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"

	"swell/internal/exchange"
)

// grpcBody is the messages of a call's answer. If they break off for a reason that
// gRPC has a status for, and no message is cut in two, the answer ends with that
// status in its trailer instead of a reset stream, which clients take for an error of
// somebody's program. The trailer of gRPC-Web is one more piece of the body.
type grpcBody struct {
	exchange.Body
	x    *exchange.Exchange
	web  bool
	end  bool   // the piece that is the trailer went out
	left uint32 // of the message under way
	head [5]byte
	n    int // bytes of head that came
}

// Next returns the next bytes of the messages.
func (b *grpcBody) Next() ([]byte, error) {
	if b.end {
		return nil, io.EOF
	}
	p, err := b.Body.Next()
	if err == nil {
		b.follow(p)
		return p, nil
	}
	if err == io.EOF || b.left > 0 || b.n > 0 {
		return nil, err
	}
	code, text := grpcUnavailable, "broke the connection within its answer"
	switch {
	case errors.Is(err, exchange.ErrTimeout):
		code, text = grpcDeadline, "did not answer in time"
	case errors.Is(err, exchange.ErrMalformed):
		code, text = grpcInternal, "gave an answer that is not HTTP"
	case !errors.Is(err, exchange.ErrClosed):
		return nil, err
	}
	b.x.Note("failed", "body")
	if b.web {
		b.end = true
		b.x.Note(grpcStatus, strconv.Itoa(int(code)))
		return webTrailer(code, "service "+b.x.Service+" "+text), nil
	}
	t := &b.x.Response.Trailer
	t.Reset()
	t.AddName(grpcStatus, strconv.Itoa(int(code)))
	t.AddName(grpcMessage, "service "+b.x.Service+" "+text)
	return nil, io.EOF
}

// Ready reports that Next would return at once.
func (b *grpcBody) Ready() bool { return b.end || b.Body.Ready() }

// webTrailer is the last piece of an answer of gRPC-Web (grpc/doc/PROTOCOL-WEB.md):
// framed as a message, with the highest bit of the flag set.
func webTrailer(code grpcCode, text string) []byte {
	out := []byte{0x80, 0, 0, 0, 0}
	out = append(out, grpcStatus+": "...)
	out = strconv.AppendInt(out, int64(code), 10)
	out = append(out, "\r\n"+grpcMessage+": "...)
	out = append(appendGRPCMessage(out, text), "\r\n"...)
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-5))
	return out
}

// grpcGuard puts a grpcBody around the body of an answer that is a call's and whose
// end nobody announced.
func grpcGuard(x *exchange.Exchange) {
	r := &x.Response
	if r.Body == nil || r.Length >= 0 {
		return
	}
	t := r.Header.Get(exchange.ContentType)
	if grpc, web := grpcType(t); grpc || web && !bytes.HasPrefix(t, grpcWebText) {
		r.Body = &grpcBody{Body: r.Body, x: x, web: web}
	}
}

var grpcWebText = []byte("application/grpc-web-text")

// follow keeps account of where messages begin and end: each has five bytes of head,
// a flag and its length (grpc/doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message).
func (b *grpcBody) follow(p []byte) {
	for len(p) > 0 {
		if b.left > 0 {
			k := min(int64(b.left), int64(len(p)))
			b.left -= uint32(k)
			p = p[k:]
			continue
		}
		k := copy(b.head[b.n:], p)
		p = p[k:]
		if b.n += k; b.n == len(b.head) {
			b.n, b.left = 0, binary.BigEndian.Uint32(b.head[1:])
		}
	}
}
