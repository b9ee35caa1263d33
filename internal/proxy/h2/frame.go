package h2

import (
	"encoding/binary"
	"slices"

	"swell/internal/exchange"
	"swell/internal/proxy/h2/frames"
)

func protocol(why string) *frames.Error {
	return &frames.Error{Code: frames.ProtocolError, Why: why}
}

func badSize(why string) *frames.Error { return &frames.Error{Code: frames.FrameSizeError, Why: why} }

// frame takes one frame. An error ends the connection; what only ends a stream is
// seen to.
func (c *conn) frame(h frames.Head, p []byte) *frames.Error {
	if c.part != nil && (h.Type != frames.Continuation || h.Stream != c.part.head.Stream) {
		return protocol("continuation")
	}
	switch h.Type {
	case frames.Data:
		return c.data(h, p)
	case frames.Headers:
		return c.headers(h, p)
	case frames.Continuation:
		return c.continuation(h, p)
	case frames.Settings:
		return c.settings(h, p)
	case frames.WindowUpdate:
		return c.windowUpdate(h, p)
	case frames.Reset:
		return c.resetByPeer(h, p)
	case frames.Ping:
		return c.ping(h, p)
	case frames.Priority:
		if h.Stream == 0 {
			return protocol("priority")
		}
		if err := c.calm.pay(priceOdd, "priority-flood"); err != nil {
			return err
		}
		if len(p) != 5 {
			return c.fault(h.Stream, frames.FrameSizeError, "priority")
		}
		if binary.BigEndian.Uint32(p)&(1<<31-1) == h.Stream {
			return c.fault(h.Stream, frames.ProtocolError, "priority")
		}
	case frames.GoAway:
		if h.Stream != 0 {
			return protocol("goaway")
		}
		if len(p) < 8 {
			return badSize("goaway")
		}
		return c.calm.pay(priceSettings, "goaway-flood")
	case frames.Push:
		return protocol("push")
	default:
		return c.calm.pay(priceOdd, "unknown-flood")
	}
	return nil
}

func (c *conn) settings(h frames.Head, p []byte) *frames.Error {
	if h.Stream != 0 {
		return protocol("settings-stream")
	}
	if h.Has(frames.Ack) {
		if len(p) != 0 {
			return badSize("settings-ack")
		}
		return c.calm.pay(priceSettings, "settings-flood")
	}
	if len(p)%6 != 0 {
		return badSize("settings")
	}
	if err := c.calm.pay(priceSettings+len(p)/6, "settings-flood"); err != nil {
		return err
	}
	for ; len(p) > 0; p = p[6:] {
		v := binary.BigEndian.Uint32(p[2:])
		switch frames.Setting(binary.BigEndian.Uint16(p)) {
		case frames.HeaderTableSize:
			c.w.TableSize(v)
		case frames.EnablePush, frames.EnableConnectProtocol:
			if v > 1 {
				return protocol("settings-value")
			}
		case frames.InitialWindowSize:
			if !c.w.Initial(v) {
				return &frames.Error{Code: frames.FlowControlError, Why: "initial-window"}
			}
		case frames.MaxFrameSize:
			if v < frames.MinFrame || v > frames.MaxFrame {
				return protocol("settings-value")
			}
			c.w.FrameSize(int(v))
		}
	}
	if !c.settled {
		c.settled = true
		c.heading.Store(0)
	}
	c.wrote = true
	return c.said(c.w.AckSettings())
}

// said is what an error of the writer means to the reading goroutine.
func (c *conn) said(err error) *frames.Error {
	if err == frames.ErrFlooded {
		return &frames.Error{Code: frames.EnhanceYourCalm, Why: "control-flood"}
	}
	return nil // another error comes by reading
}

func (c *conn) ping(h frames.Head, p []byte) *frames.Error {
	switch {
	case h.Stream != 0:
		return protocol("ping-stream")
	case len(p) != 8:
		return badSize("ping")
	}
	if err := c.calm.pay(pricePing, "ping-flood"); err != nil {
		return err
	}
	if h.Has(frames.Ack) {
		c.mu.Lock()
		if c.drainAt != 0 && string(p) == string(drainPing[:]) {
			c.finalise()
			c.wrote = true
		}
		c.mu.Unlock()
		return nil
	}
	c.wrote = true
	return c.said(c.w.Ping(true, p))
}

func (c *conn) windowUpdate(h frames.Head, p []byte) *frames.Error {
	if len(p) != 4 {
		return badSize("window-update")
	}
	n := int(binary.BigEndian.Uint32(p) & (1<<31 - 1))
	if n < leastWindow {
		if c.calm.points < priceWindow { // many are right if we send much
			c.calm.points += 4 * c.w.Sent()
		}
		if err := c.calm.pay(priceWindow, "window-flood"); err != nil {
			return err
		}
	}
	if h.Stream == 0 {
		if n == 0 {
			return protocol("window-of-0")
		}
		if !c.w.Update(n) {
			return &frames.Error{Code: frames.FlowControlError, Why: "window"}
		}
		return nil
	}
	c.mu.Lock()
	s := c.streams[h.Stream]
	ok := true
	if s != nil && n > 0 {
		ok = s.out.Update(n)
	}
	c.mu.Unlock()
	switch {
	case s == nil && h.Stream > c.last:
		return protocol("idle-stream")
	case n == 0:
		return c.fault(h.Stream, frames.ProtocolError, "window-of-0")
	case !ok:
		return c.fault(h.Stream, frames.FlowControlError, "window")
	}
	return nil
}

func (c *conn) resetByPeer(h frames.Head, p []byte) *frames.Error {
	if len(p) != 4 {
		return badSize("reset")
	}
	if h.Stream == 0 || h.Stream > c.last {
		return protocol("reset-of-idle")
	}
	code := frames.Code(binary.BigEndian.Uint32(p))
	c.mu.Lock()
	s := c.streams[h.Stream]
	live := s != nil && !s.dead
	if live {
		err := &frames.Error{Code: code, Stream: h.Stream, Why: "reset by the client"}
		s.gone = true
		s.lose(err)
		s.out.Fail(err)
	}
	c.mu.Unlock()
	if !live {
		return c.calm.pay(priceReset, "reset-flood")
	}
	return c.ration()
}

// ration counts a stream that the client ended before we did.
func (c *conn) ration() *frames.Error {
	c.calm.resets = min(c.s.Limits.Resets, c.calm.resets+int(c.completed.Swap(0)))
	if c.calm.resets--; c.calm.resets < 0 {
		return &frames.Error{Code: frames.EnhanceYourCalm, Why: "rapid-reset"}
	}
	return nil
}

// fault ends a stream by the client's fault. Such streams are rationed like those
// that it resets itself: each costs as much.
func (c *conn) fault(id uint32, code frames.Code, why string) *frames.Error {
	c.mu.Lock()
	s := c.streams[id]
	if s != nil && !s.dead {
		s.lose(&frames.Error{Code: code, Stream: id, Why: why})
		s.out.Reset(code)
	} else if s != nil && s.gone || s == nil && !c.wasReset(id) {
		_ = c.w.Reset(id, code)
		c.noteReset(id)
	}
	c.mu.Unlock()
	c.wrote = true
	c.s.refused(c.peer, 400, why, "stream: "+code.String()+" ("+why+")")
	return c.ration()
}

// noteReset remembers that we reset a stream; c.mu is held.
func (c *conn) noteReset(id uint32) {
	if len(c.reset) < mostReset {
		c.reset = append(c.reset, id)
		return
	}
	c.reset[c.resetAt] = id
	c.resetAt = (c.resetAt + 1) % mostReset
}

// mostReset is how many streams are remembered that we reset.
const mostReset = 256

// wasReset reports that we reset the stream not long ago, so that frames of it may
// be on their way still; c.mu is held.
func (c *conn) wasReset(id uint32) bool { return slices.Contains(c.reset, id) }

func (c *conn) data(h frames.Head, p []byte) *frames.Error {
	if h.Stream == 0 {
		return protocol("data-stream")
	}
	body, err := h.Unpad(p)
	if err != nil {
		return err
	}
	if len(body) == 0 && !h.Has(frames.EndStream) {
		if err := c.calm.pay(priceEmpty, "data-flood"); err != nil {
			return err
		}
	}
	c.mu.Lock()
	if !c.flow.Take(h.Length) {
		c.mu.Unlock()
		return &frames.Error{Code: frames.FlowControlError, Why: "connection-window"}
	}
	s := c.streams[h.Stream]
	code, why := frames.NoError, ""
	drop := h.Length - len(body)
	switch {
	case s == nil && h.Stream > c.last:
		c.mu.Unlock()
		return protocol("idle-stream")
	case s == nil:
		drop = h.Length
		if !c.wasReset(h.Stream) && !(c.final && h.Stream > c.bound) {
			code, why = frames.StreamClosed, "stream-closed"
		}
	case s.dead && !s.gone:
		drop = h.Length
	case s.whole || s.gone:
		drop = h.Length
		code, why = frames.StreamClosed, "stream-closed"
	case !s.flow.Take(h.Length):
		drop = h.Length
		code, why = frames.FlowControlError, "stream-window"
	default:
		s.got += int64(len(body))
		end := h.Has(frames.EndStream)
		if s.length >= 0 && (s.got > s.length || end && s.got < s.length) {
			drop = h.Length
			code, why = frames.ProtocolError, "content-length"
			break
		}
		if s.shut {
			drop = h.Length
		} else {
			s.push(body)
		}
		s.whole = end
		if n := s.flow.Consume(drop); n > 0 && !end && !s.shut {
			_ = c.w.Grant(s.id, n)
			c.wrote = true
		}
		s.wake.Broadcast()
	}
	if drop > 0 {
		if n := c.flow.Consume(drop); n > 0 {
			_ = c.w.Grant(0, n)
			c.wrote = true
		}
	}
	c.mu.Unlock()
	if code != frames.NoError {
		return c.fault(h.Stream, code, why)
	}
	return nil
}

func (c *conn) headers(h frames.Head, p []byte) *frames.Error {
	if h.Stream&1 == 0 {
		return protocol("stream-identifier")
	}
	loop := false
	if h.Has(frames.Prioritied) {
		q := p
		if h.Has(frames.Padded) && len(q) > 0 {
			q = q[1:]
		}
		loop = len(q) >= 4 && binary.BigEndian.Uint32(q)&(1<<31-1) == h.Stream
	}
	block, err := h.Unpad(p)
	if err != nil {
		return err
	}
	if loop {
		h.Flags |= selfDependent
	} else {
		h.Flags &^= selfDependent
	}
	if !h.Has(frames.EndHeaders) {
		c.part = &part{head: h}
		return c.continuation(frames.Head{}, block)
	}
	return c.head(h, block)
}

// selfDependent is a flag of ours: the stream depends on itself.
const selfDependent = 0x80

// mostPieces bounds the frames of one head. Its bytes are bounded, too, by twice what
// a head may have, so that one which is only too large is answered 431.
const mostPieces = 64

func (c *conn) continuation(h frames.Head, p []byte) *frames.Error {
	if c.part == nil {
		return protocol("continuation")
	}
	if len(p) == 0 {
		if err := c.calm.pay(priceEmpty, "continuation-flood"); err != nil {
			return err
		}
	}
	t := c.part
	t.block = append(t.block, p...)
	if t.pieces++; t.pieces > mostPieces || len(t.block) > 2*c.s.Limits.Head {
		return &frames.Error{Code: frames.EnhanceYourCalm, Why: "continuation-flood"}
	}
	if !h.Has(frames.EndHeaders) {
		return nil
	}
	c.part = nil
	return c.head(t.head, t.block)
}

// head takes a whole field section: a new stream's, or a trailer.
func (c *conn) head(h frames.Head, block []byte) *frames.Error {
	if h.Stream <= c.last {
		return c.trail(h, block)
	}
	c.mu.Lock()
	c.last = h.Stream
	ignored := c.final && h.Stream > c.bound
	room := len(c.streams) < c.s.Limits.Streams
	c.mu.Unlock()
	s := c.s.streams.Get().(*stream)
	n := &c.section
	n.Arena = s.arena
	n.Begin(frames.Request, &s.x.Request.Header)
	err := c.dec.Decode(block, n)
	s.arena, n.Arena = n.Arena, nil
	if err != nil || ignored || !room || h.Has(selfDependent) {
		s.recycle(c.s)
		switch {
		case err != nil:
			return &frames.Error{Code: frames.CompressionError, Why: "compression"}
		case ignored:
			return nil
		case !room:
			c.refuseStream(h.Stream)
			return c.calm.pay(priceReset, "stream-flood")
		}
		return c.fault(h.Stream, frames.ProtocolError, "priority")
	}
	var bad *refusal
	q := &s.x.Request
	switch {
	case n.Bad != "":
		bad = malformed(n.Bad)
	case n.Large:
		q.Major, q.Method, bad = 2, "GET", largeHead
	default:
		bad = place(q, n, &c.s.Limits)
	}
	end := h.Has(frames.EndStream)
	if bad == nil && end && n.Length > 0 {
		bad = malformed("content-length")
	}
	if bad != nil && bad.status == 0 {
		s.recycle(c.s)
		return c.fault(h.Stream, frames.ProtocolError, bad.slug)
	}
	c.calm.points = min(mostPoints, c.calm.points+pointsPerRequest)
	s.begin(c, h.Stream, bad)
	q.Length, s.length = n.Length, n.Length
	switch {
	case end:
		q.Length = 0
	case q.Upgrade != nil || q.Method == "CONNECT":
		q.Length, s.length = 0, -1
	default:
		q.Body, q.Expect = s, n.Expect
	}
	c.mu.Lock()
	s.whole = end
	s.flow.Open(frames.DefaultWindow, frames.DefaultWindow)
	c.streams[h.Stream] = s
	c.running++
	c.mu.Unlock()
	c.begun = append(c.begun, s)
	return nil
}

// refuseStream tells that a stream was not begun, and may be elsewhere or later.
func (c *conn) refuseStream(id uint32) {
	c.mu.Lock()
	c.noteReset(id)
	c.mu.Unlock()
	_ = c.w.Reset(id, frames.RefusedStream)
	c.wrote = true
	c.s.refused(c.peer, 503, "streams", "too many streams at a time")
}

// trail takes the trailer of a request, or what isn't one.
func (c *conn) trail(h frames.Head, block []byte) *frames.Error {
	n := &c.section
	c.trailer.Reset()
	n.Begin(frames.Trailer, &c.trailer)
	if c.dec.Decode(block, n) != nil {
		return &frames.Error{Code: frames.CompressionError, Why: "compression"}
	}
	c.mu.Lock()
	s := c.streams[h.Stream]
	code, why := frames.NoError, ""
	switch {
	case s == nil && c.wasReset(h.Stream) || c.final && h.Stream > c.bound || s != nil && s.dead && !s.gone:
	case s == nil || s.gone:
		c.mu.Unlock()
		return &frames.Error{Code: frames.StreamClosed, Why: "stream-closed"}
	case s.whole:
		code, why = frames.StreamClosed, "stream-closed"
	case h.Has(selfDependent):
		code, why = frames.ProtocolError, "priority"
	case !h.Has(frames.EndStream):
		code, why = frames.ProtocolError, "trailer-without-end"
	case n.Bad != "":
		code, why = frames.ProtocolError, n.Bad
	case n.Large:
		code, why = frames.EnhanceYourCalm, "trailer-length"
	case s.length >= 0 && s.got < s.length:
		code, why = frames.ProtocolError, "content-length"
	default:
		if !s.shut {
			copyFields(&s.x.Request.Trailer, &c.trailer)
		}
		s.whole = true
		s.wake.Broadcast()
	}
	c.mu.Unlock()
	if code != frames.NoError {
		return c.fault(h.Stream, code, why)
	}
	return nil
}

func copyFields(to, from *exchange.Header) {
	for _, f := range from.Fields() {
		to.AddName(string(f.Name), string(f.Value))
	}
}
