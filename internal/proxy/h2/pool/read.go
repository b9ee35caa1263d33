package pool

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

// inputSize is how much is read at once: several frames, mostly.
const inputSize = 64 << 10

// input is what was read of a connection, and what is needed to understand it. It
// belongs to the goroutine that reads.
type input struct {
	b    []byte
	r, w int

	decoder frames.Decoder
	section frames.Section
	none    exchange.Header // fields that nobody wants
	block   []byte          // of a section in several frames
	head    frames.Head     // of its first one; Length 0 is none
	within  bool            // a section is not complete
	pieces  int             // frames of it so far
}

func newInput() *input {
	in := &input{b: make([]byte, inputSize)}
	in.decoder.Init(frames.DefaultTable)
	return in
}

// frame takes the next frame from what was read; false if it is not all there. A
// head with a Length over the bound is returned as soon as it is known.
func (in *input) frame() (frames.Head, []byte, bool) {
	b := in.b[in.r:in.w]
	if len(b) < frames.HeadSize {
		return frames.Head{}, nil, false
	}
	h := frames.ParseHead(b)
	if len(b)-frames.HeadSize < h.Length {
		return h, nil, false
	}
	in.r += frames.HeadSize + h.Length
	return h, b[frames.HeadSize : frames.HeadSize+h.Length], true
}

// read reads more.
func (in *input) read(nc net.Conn) error {
	if in.r == in.w {
		in.r, in.w = 0, 0
	} else if in.r > 0 && len(in.b)-in.w < frames.MinFrame+frames.HeadSize {
		in.w = copy(in.b, in.b[in.r:in.w])
		in.r = 0
	}
	n, err := nc.Read(in.b[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// read is the connection's goroutine: it takes in what the upstream sends.
func (c *conn) read(in *input) {
	c.mu.Lock()
	for {
		for c.err == nil {
			h, p, ok := in.frame()
			if h.Length > frames.MinFrame {
				c.end(&frames.Error{Code: frames.FrameSizeError, Why: "frame-size"})
				break
			}
			if !ok {
				break
			}
			if err := c.take(in, h, p); err != nil {
				c.end(err)
			}
		}
		ended := c.err != nil
		c.done()
		if ended {
			return
		}
		runtime.Gosched() // mostly there is more then, and it is read at once
		err := in.read(c.nc)
		c.mu.Lock()
		c.heard++
		if c.checked.Load() {
			c.checked.Store(false)
			c.asked, c.freed = 0, true
		}
		if err != nil {
			c.fail(cause(err))
		}
	}
}

func violation(code frames.Code, why string) *frames.Error {
	return &frames.Error{Code: code, Why: why}
}

// take takes in one frame. An error is the end of the connection.
func (c *conn) take(in *input, h frames.Head, p []byte) *frames.Error {
	if in.within != (h.Type == frames.Continuation) || in.within && h.Stream != in.head.Stream {
		return violation(frames.ProtocolError, "continuation")
	}
	if h.Type <= frames.Continuation {
		switch h.Type {
		case frames.Settings, frames.Ping, frames.GoAway:
			if h.Stream != 0 {
				return violation(frames.ProtocolError, "stream-id")
			}
		case frames.WindowUpdate:
		default:
			if h.Stream == 0 {
				return violation(frames.ProtocolError, "stream-id")
			}
		}
		// The upstream begins no streams: pushing was forbidden to it.
		if h.Stream != 0 && h.Type != frames.Priority && (h.Stream%2 == 0 || h.Stream >= c.next) {
			return violation(frames.ProtocolError, "idle-stream")
		}
	}
	switch h.Type {
	case frames.Data:
		return c.data(h, p)
	case frames.Headers:
		p, err := h.Unpad(p)
		if err != nil {
			return err
		}
		in.head, in.pieces = h, 1
		if h.Has(frames.EndHeaders) {
			return c.fields(in, p)
		}
		in.block, in.within = append(in.block[:0], p...), true
	case frames.Continuation:
		in.pieces++
		// Twice the bound, as small fields may be coded by more than they count for: of
		// what is beyond it, the state of the compression would cost too much.
		if len(in.block)+len(p) > 2*c.pool.o.Head || in.pieces > 64 {
			return violation(frames.EnhanceYourCalm, "continuation-flood")
		}
		in.block = append(in.block, p...)
		if h.Has(frames.EndHeaders) {
			in.within = false
			return c.fields(in, in.block)
		}
	case frames.Priority:
		if len(p) != 5 {
			return violation(frames.FrameSizeError, "priority-size")
		}
	case frames.Reset:
		if len(p) != 4 {
			return violation(frames.FrameSizeError, "reset-size")
		}
		if s := c.streams[h.Stream]; s != nil {
			s.reset(frames.Code(binary.BigEndian.Uint32(p)))
		}
	case frames.Settings:
		if h.Has(frames.Ack) {
			if len(p) != 0 {
				return violation(frames.FrameSizeError, "settings-ack")
			}
			return nil
		}
		return c.settings(h, p)
	case frames.Push:
		return violation(frames.ProtocolError, "push")
	case frames.Ping:
		if len(p) != 8 {
			return violation(frames.FrameSizeError, "ping-size")
		}
		if !h.Has(frames.Ack) {
			c.reply(frames.AppendPing(c.out, true, p))
		}
	case frames.GoAway:
		return c.goAway(p)
	case frames.WindowUpdate:
		return c.windowUpdate(h, p)
	}
	return nil
}

// settings takes the upstream's settings.
func (c *conn) settings(h frames.Head, p []byte) *frames.Error {
	if h.Stream != 0 {
		return violation(frames.ProtocolError, "stream-id")
	}
	if len(p)%6 != 0 {
		return violation(frames.FrameSizeError, "settings-size")
	}
	for ; len(p) > 0; p = p[6:] {
		v := binary.BigEndian.Uint32(p[2:])
		switch frames.Setting(binary.BigEndian.Uint16(p)) {
		case frames.HeaderTableSize:
			if v < frames.DefaultTable {
				c.resize = true
			}
		case frames.EnablePush:
			if v != 0 {
				return violation(frames.ProtocolError, "enable-push")
			}
		case frames.MaxConcurrentStreams:
			c.most = int(min(v, 1<<30))
			c.freed = true
		case frames.InitialWindowSize:
			if v > frames.MaxWindow {
				return violation(frames.FlowControlError, "initial-window")
			}
			d := int64(v) - int64(c.initial)
			c.initial = int(v)
			for _, s := range c.streams {
				if s.window += d; s.window > frames.MaxWindow {
					return violation(frames.FlowControlError, "initial-window")
				}
			}
			if d > 0 && c.stuck > 0 {
				c.unstick()
			}
		case frames.MaxFrameSize:
			if v < frames.MinFrame || v > frames.MaxFrame {
				return violation(frames.ProtocolError, "max-frame-size")
			}
			c.frame = int(min(v, 64<<10))
		case frames.EnableConnectProtocol:
			if v > 1 || v == 0 && c.extended {
				return violation(frames.ProtocolError, "enable-connect-protocol")
			}
			c.extended = v == 1
		}
	}
	c.reply(frames.AppendHead(c.out, 0, frames.Settings, frames.Ack, 0))
	return nil
}

// goAway has the connection end with the streams that the upstream will answer.
func (c *conn) goAway(p []byte) *frames.Error {
	if len(p) < 8 {
		return violation(frames.FrameSizeError, "goaway-size")
	}
	last := binary.BigEndian.Uint32(p) & lastID
	code := frames.Code(binary.BigEndian.Uint32(p[4:]))
	c.leaving = true
	for id, s := range c.streams {
		if id > last {
			s.fail(&refused{fmt.Errorf("%w: GOAWAY %s", exchange.ErrClosed, code)})
			s.remove()
		}
	}
	c.over()
	return nil
}

func (c *conn) windowUpdate(h frames.Head, p []byte) *frames.Error {
	if len(p) != 4 {
		return violation(frames.FrameSizeError, "window-update-size")
	}
	n := int64(binary.BigEndian.Uint32(p) & frames.MaxWindow)
	if h.Stream == 0 {
		if c.window += n; n == 0 || c.window > frames.MaxWindow {
			return violation(frames.FlowControlError, "window-update")
		}
		if c.stuck > 0 {
			c.unstick()
		}
		return nil
	}
	s := c.streams[h.Stream]
	if s == nil {
		return nil
	}
	if s.window += n; n == 0 || s.window > frames.MaxWindow {
		s.violate(frames.FlowControlError, "window-update")
	} else if s.stuck {
		s.signalRoom()
	}
	return nil
}

// data takes in a piece of an answer's body.
func (c *conn) data(h frames.Head, p []byte) *frames.Error {
	n := len(p)
	p, err := h.Unpad(p)
	if err != nil {
		return err
	}
	if !c.in.Take(n) {
		return violation(frames.FlowControlError, "window")
	}
	if grant := c.in.Consume(n); grant > 0 {
		c.put(frames.AppendWindowUpdate(c.out, 0, grant))
	}
	if s := c.streams[h.Stream]; s != nil {
		s.data(p, n, h.Has(frames.EndStream))
	}
	return nil
}

// fields takes in a field section: the head of an answer, or its trailer.
func (c *conn) fields(in *input, block []byte) *frames.Error {
	s := c.streams[in.head.Stream]
	t := &in.section
	t.MaxBytes, t.MaxFields = c.pool.o.Head, c.pool.o.Fields
	of, to := frames.Response, &in.none
	if s != nil {
		to = &s.fields
		if s.answered {
			of = frames.Trailer
		}
	} else {
		in.none.Reset()
	}
	t.Begin(of, to)
	if s != nil {
		t.Arena = s.mem
	}
	from := to.Len()
	if err := in.decoder.Decode(block, t); err != nil {
		return violation(frames.CompressionError, "hpack")
	}
	if s != nil {
		s.mem, t.Arena = t.Arena, nil
		s.section(t, from, in.head.Has(frames.EndStream))
	}
	return nil
}
