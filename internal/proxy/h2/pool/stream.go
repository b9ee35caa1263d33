package pool

import (
	"fmt"
	"sync"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// mostInterims bounds the interim answers to one request.
const mostInterims = 64

// stream is one exchange on a connection, and the memory and body of its answer. It
// outlives its place on the connection, which ends when both sides are done.
type stream struct {
	x     *exchange.Exchange
	l     *exchange.Leash // the client's; nil if there is none
	wake  chan struct{}   // has room for one: something came for who reads
	room  chan struct{}   // has room for one: more may be sent
	sent  *sender         // of the request's body, while it runs
	stash *large          // the start of the request's body
	scrap []byte          // memory for the request's head
	cur   *chunk          // what Next returned last
	eof   error           // what Next returns from now on; nil while the body goes on
	ends  bool            // finish was called
	// beyond: the sender read more of the request's body than is kept.
	beyond bool

	// All below is under the connection's mu, once the stream is on one.
	c      *conn
	id     uint32
	at     int64 // where in all that is written its head begins
	window int64 // what may be sent
	in     frames.Inflow
	size   int    // of the answer's window
	read   int    // bytes of the answer
	owed   int    // bytes of padding, consumed as they came
	beat   uint32 // changes with everything that goes either way
	heard  uint64 // c.heard when it began

	deadline int64 // on the scale of exchange.Now; 0 is none
	idle     int64 // ns of silence that are too many; 0 is none
	saw      uint32
	silent   int64 // since when

	stuck    bool // the sender waits for room
	stop     bool // nothing more is to be sent
	sentEnd  bool
	gotEnd   bool
	gone     bool  // it is off c.streams
	err      error // why it ended before its time
	answered bool  // the final head came
	head     bool  // HEAD was asked: a Content-Length says nothing of the body
	connect  bool  // a tunnel was asked for

	heads   []head // in order; the last one is final if answered
	fields  exchange.Header
	trailer int // where in fields the trailer begins; -1 if there is none
	mem     []byte
	left    int64 // of the body; -1 is unknown
	chunks  []*chunk
	first   int
}

// head is one head of an answer, interim or final.
type head struct {
	status   int
	length   int64
	from, to int // in stream.fields
}

// chunk is memory for a piece of a body.
type chunk struct {
	b    []byte
	r, w int
}

type large [64 << 10]byte

const (
	smallChunk = 2 << 10
	largeChunk = frames.MinFrame
)

var (
	streams = sync.Pool{New: func() any {
		return &stream{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	}}
	smalls = sync.Pool{New: func() any { return &chunk{b: make([]byte, smallChunk)} }}
	larges = sync.Pool{New: func() any { return &chunk{b: make([]byte, largeChunk)} }}
	stashs = sync.Pool{New: func() any { return new(large) }}
)

func (k *chunk) free() {
	k.r, k.w = 0, 0
	if len(k.b) == smallChunk {
		smalls.Put(k)
	} else {
		larges.Put(k)
	}
}

// clear readies a stream for another attempt of its exchange.
func (s *stream) clear() {
	drain(s.wake)
	drain(s.room)
	s.drop()
	s.fields.Reset()
	*s = stream{x: s.x, l: s.l, wake: s.wake, room: s.room, stash: s.stash, scrap: s.scrap[:0],
		heads: s.heads[:0], fields: s.fields, mem: s.mem[:0], chunks: s.chunks[:0], left: -1, trailer: -1}
}

func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) signalRoom() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// drop gives back the memory of what was not read.
func (s *stream) drop() {
	for i := s.first; i < len(s.chunks); i++ {
		s.chunks[i].free()
		s.chunks[i] = nil
	}
	s.chunks, s.first = s.chunks[:0], 0
}

// fail ends the stream for its reader and its sender. Whoever calls it takes it off
// the connection.
func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.stop = true
	s.signal()
	s.signalRoom()
}

// remove takes the stream off its connection.
func (s *stream) remove() {
	if s.gone {
		return
	}
	s.gone = true
	if s.c.err == nil {
		delete(s.c.streams, s.id)
		s.c.free()
	}
}

// cut ends the stream from our side.
func (s *stream) cut(code frames.Code, err error) {
	if s.gone || s.c.err != nil || s.id == 0 {
		s.fail(err)
		return
	}
	s.c.put(frames.AppendReset(s.c.out, s.id, code))
	s.fail(err)
	s.remove()
}

// break_ ends the stream as the upstream violated the protocol.
func (s *stream) violate(code frames.Code, why string) {
	s.cut(code, malformed(&frames.Error{Code: code, Stream: s.id, Why: why}))
}

// Cut ends the exchange, whose client left: it is called while its leash holds s.
func (s *stream) Cut() {
	s.c.mu.Lock()
	if !s.ended() {
		s.drop()
		s.cut(frames.Cancel, exchange.ErrGone)
	}
	s.c.settle(false)
}

// ended reports that the answer is whole, or broken.
func (s *stream) ended() bool { return s.gotEnd || s.err != nil }

// look is the sweep's: it ends the stream if its time is over.
func (s *stream) look(now int64) {
	late := s.deadline != 0 && now > s.deadline
	if s.idle != 0 && !late {
		if s.beat != s.saw || s.silent == 0 {
			s.saw, s.silent = s.beat, now
		}
		late = now-s.silent > s.idle
	}
	if !late || s.err != nil {
		return
	}
	c := s.c
	if c.heard == s.heard { // not a byte came since it began: is anybody there?
		c.ask()
	}
	s.drop()
	s.cut(frames.Cancel, exchange.ErrTimeout)
}

// reset takes in a RST_STREAM.
func (s *stream) reset(code frames.Code) {
	e := &frames.Error{Code: code, Stream: s.id, Why: "reset by the upstream"}
	if s.gotEnd {
		// The answer is complete; the rest of the request is not wanted (RFC 9113, 8.1).
		s.stop = true
		s.signalRoom()
		s.signal()
	} else if s.deadline != 0 && exchange.Now() >= s.deadline {
		s.fail(exchange.ErrTimeout) // it knew the deadline, and was faster than the sweep
	} else if code == frames.RefusedStream && !s.answered {
		s.fail(&refused{fmt.Errorf("%w: %w", exchange.ErrClosed, e)})
	} else {
		s.fail(fmt.Errorf("%w: %w", exchange.ErrClosed, e))
	}
	s.remove()
}

// data takes in a piece of the answer's body, which came by a frame of n bytes.
func (s *stream) data(p []byte, n int, end bool) {
	s.beat++
	if s.gotEnd {
		s.violate(frames.StreamClosed, "data-after-end")
		return
	}
	if !s.answered {
		s.violate(frames.ProtocolError, "data-before-head")
		return
	}
	if !s.in.Take(n) {
		s.violate(frames.FlowControlError, "window")
		return
	}
	s.owed += n - len(p)
	if s.left >= 0 {
		if s.left -= int64(len(p)); s.left < 0 {
			s.violate(frames.ProtocolError, "longer than its content-length")
			return
		}
	}
	for rest := p; len(rest) > 0; {
		var k *chunk
		if i := len(s.chunks) - 1; i >= s.first && s.chunks[i].w < len(s.chunks[i].b) {
			k = s.chunks[i]
		} else {
			if len(rest) <= smallChunk && i < s.first {
				k = smalls.Get().(*chunk)
			} else {
				k = larges.Get().(*chunk)
			}
			s.chunks = append(s.chunks, k)
		}
		m := copy(k.b[k.w:], rest)
		k.w += m
		rest = rest[m:]
	}
	if end {
		s.end()
	}
	s.signal()
}

// end notes that the answer is whole.
func (s *stream) end() {
	if s.left > 0 {
		s.violate(frames.ProtocolError, "shorter than its content-length")
		return
	}
	s.gotEnd = true
	if s.sentEnd {
		s.remove()
	}
}

// section takes in fields, which stand in s.fields from from on.
func (s *stream) section(t *frames.Section, from int, end bool) {
	s.beat++
	switch {
	case s.gotEnd:
		s.violate(frames.StreamClosed, "fields-after-end")
		return
	case t.Large:
		s.cut(frames.Cancel, exchange.ErrHeadTooLarge)
		return
	case t.Bad != "":
		s.violate(frames.ProtocolError, t.Bad)
		return
	case t.Of == frames.Trailer:
		if !end {
			s.violate(frames.ProtocolError, "trailer-without-end")
			return
		}
		s.trailer = from
		s.end()
		s.signal()
		return
	}
	v := t.Pseudo[frames.Status]
	if len(v) != 3 || v[0] < '1' || v[0] > '9' || v[1] < '0' || v[1] > '9' || v[2] < '0' || v[2] > '9' {
		s.violate(frames.ProtocolError, "status")
		return
	}
	h := head{status: int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0'), length: t.Length, from: from, to: s.fields.Len()}
	if h.status < 200 {
		if end || h.status == 101 || len(s.heads) >= mostInterims {
			s.violate(frames.ProtocolError, "interim answer")
			return
		}
		s.heads = append(s.heads, h)
		s.signal()
		return
	}
	s.heads = append(s.heads, h)
	s.answered = true
	switch {
	case s.head || h.status == 304:
		s.left = 0
	case h.status == 204:
		s.left = 0
		if h.length > 0 {
			s.violate(frames.ProtocolError, "content-length of 204")
			return
		}
	case !s.connect || h.status > 299:
		s.left = h.length
	}
	if end {
		s.end()
	}
	s.signal()
}
