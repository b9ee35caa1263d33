package h1

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"swell/internal/exchange"
)

// Buffers: heads are read into small ones, bodies and long heads into others. A
// connection that waits for its next exchange holds none.
const (
	smallSize = 4 << 10
	largeSize = 32 << 10
	headSize  = 64 << 10
)

type (
	small [smallSize]byte
	large [largeSize]byte
	wide  [headSize]byte
)

var (
	smalls = sync.Pool{New: func() any { return new(small) }}
	larges = sync.Pool{New: func() any { return new(large) }}
	wides  = sync.Pool{New: func() any { return new(wide) }}
)

// newHead returns a buffer for a head that outgrew n bytes, of at most most.
func newHead(n, most int) []byte {
	switch {
	case n < smallSize:
		return smalls.Get().(*small)[:min(most, smallSize)]
	case n < headSize:
		return wides.Get().(*wide)[:min(most, headSize)]
	}
	return make([]byte, min(most, 4*n))
}

// freeHead gives back a buffer of newHead. Its full capacity tells which.
func freeHead(b []byte) {
	switch cap(b) {
	case smallSize:
		smalls.Put((*small)(b[:smallSize]))
	case headSize:
		wides.Put((*wide)(b[:headSize]))
	}
}

// reader is the reading side of a connection during one message: a window of
// bytes that were read and not consumed, first in the head's buffer, whose bytes
// stay as long as the exchange, then in one for bodies.
type reader struct {
	nc   io.Reader
	wait *atomic.Uint32 // odd while a read is under way; may be nil
	head []byte         // the head's buffer; nil while idle
	big  *large         // the body's; nil until it is needed
	b    []byte         // the window's buffer: one of both
	r, w int            // the window

	framing framing
	left    int64 // byLength
	chunks  dechunk
	trailer *exchange.Header
	fields  int   // most fields of a trailer
	err     error // io.EOF once the message is complete, sticky like any other
}

// begin prepares for the body that m describes, after a head of n bytes.
func (in *reader) begin(m *meta, trailer *exchange.Header, fields int) {
	in.framing, in.left, in.err = m.framing, 0, nil
	in.trailer, in.fields = trailer, fields
	switch m.framing {
	case none:
		in.err = io.EOF
	case byLength:
		in.left = m.length
	case chunked:
		in.chunks = dechunk{}
	}
}

// avail returns how many bytes of the body are in the window. It consumes
// framing, finds the end, and never touches the network.
func (in *reader) avail() int {
	if in.err != nil {
		return 0
	}
	switch in.framing {
	case byLength:
		if in.left == 0 {
			in.err = io.EOF
			return 0
		}
		return int(min(int64(in.w-in.r), in.left))
	case byClose:
		return in.w - in.r
	case chunked:
		n, err := in.chunks.step(in.b[in.r:in.w])
		in.r += n
		if err == nil && in.chunks.state == chunkDone {
			if err = in.chunks.trailers(in.trailer, in.fields); err == nil {
				err = io.EOF
			}
		}
		if err != nil {
			in.err = err
			return 0
		}
		if in.chunks.state == chunkData {
			return int(min(int64(in.w-in.r), in.chunks.left))
		}
	}
	return 0
}

// ready reports that next would not read from the network.
func (in *reader) ready() bool { return in.avail() > 0 || in.err != nil }

// next returns a piece of the body, as exchange.Body has it.
func (in *reader) next() ([]byte, error) {
	for {
		if n := in.avail(); n > 0 {
			p := in.b[in.r : in.r+n : in.r+n]
			in.r += n
			if in.framing == chunked {
				in.chunks.left -= int64(n)
			} else {
				in.left -= int64(n)
			}
			return p, nil
		}
		if in.err != nil {
			return nil, in.err
		}
		in.fill()
	}
}

// fill reads from the network into the empty window.
func (in *reader) fill() {
	room := len(in.head) - in.w
	if in.big == nil && in.framing == byLength && in.left <= int64(room) {
		// The rest fits behind the head: no other buffer is needed.
		in.r = in.w
	} else {
		if in.big == nil {
			in.big = larges.Get().(*large)
		}
		in.b, in.r, in.w = in.big[:], 0, 0
		room = largeSize
	}
	if in.framing == byLength {
		room = int(min(int64(room), in.left))
	}
	if in.wait != nil {
		in.wait.Add(1)
	}
	n, err := in.nc.Read(in.b[in.w : in.w+room])
	if in.wait != nil {
		in.wait.Add(1)
	}
	in.w += n
	switch {
	case n > 0 || err == nil: // an error will come again
	case err == io.EOF && in.framing == byClose:
		in.err = io.EOF
	case err == io.EOF:
		in.err = io.ErrUnexpectedEOF
	default:
		in.err = fmt.Errorf("read body: %w", err)
	}
}

// rest returns what was read beyond the message.
func (in *reader) rest() []byte { return in.b[in.r:in.w] }

// free gives the buffers back.
func (in *reader) free() {
	if in.big != nil {
		larges.Put(in.big)
		in.big = nil
	}
	if in.head != nil {
		freeHead(in.head)
		in.head = nil
	}
	in.b, in.r, in.w = nil, 0, 0
}
