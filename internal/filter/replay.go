package filter

import (
	"io"
	"sync"
	"sync/atomic"

	"swell/internal/exchange"
)

// replayMost bounds what is kept of a request body for another attempt.
const replayMost = 64 << 10

// replay is a request body that remembers what was read of it, up to a bound, so
// that it can be read again from the start. It delays nothing: bytes are copied as
// they pass.
type replay struct {
	inner exchange.Body
	kept  []byte
	at    int  // how much of kept this attempt has read
	lost  bool // more passed than is kept: there is no way back
	err   error

	closed   atomic.Bool // what is left of inner was given up
	complete atomic.Bool // all of it was read and is kept
}

var replays = sync.Pool{New: func() any { return new(replay) }}

// remember puts a replay around the request's body, if it has one, until the
// exchange ends.
func remember(x *exchange.Exchange) *replay {
	if x.Request.Body == nil {
		return nil
	}
	p := replays.Get().(*replay)
	p.inner = x.Request.Body
	x.Request.Body = p
	x.Ended = append(x.Ended, forget)
	return p
}

// forget takes the replay away again. The exchange has ended: nobody reads.
func forget(x *exchange.Exchange) {
	p, ok := x.Request.Body.(*replay)
	if !ok {
		return // another filter put its own body around it: that one goes with the exchange
	}
	x.Request.Body = p.inner
	if cap(p.kept) > replayMost {
		p.kept = nil
	}
	p.inner, p.kept, p.at, p.lost, p.err = nil, p.kept[:0], 0, false, nil
	p.closed.Store(false)
	p.complete.Store(false)
	replays.Put(p)
}

// rewind goes back to the start for another attempt; false if that can't be.
func (p *replay) rewind() bool {
	if p.lost || p.err != nil && p.err != io.EOF || p.err == nil && p.closed.Load() {
		return false
	}
	p.at = 0
	return true
}

func (p *replay) Next() ([]byte, error) {
	if p.at < len(p.kept) {
		b := p.kept[p.at:]
		p.at = len(p.kept)
		return b, nil
	}
	if p.err != nil {
		return nil, p.err
	}
	b, err := p.inner.Next()
	if err != nil {
		p.err = err
		if err == io.EOF && !p.lost {
			p.complete.Store(true)
		}
		return nil, err
	}
	if !p.lost {
		if len(p.kept)+len(b) > replayMost {
			p.lost, p.kept, p.at = true, p.kept[:0], 0
		} else {
			p.kept = append(p.kept, b...)
			p.at = len(p.kept)
		}
	}
	return b, nil
}

func (p *replay) Ready() bool { return p.at < len(p.kept) || p.err != nil || p.inner.Ready() }

// Close gives up what is left; what was read wholly can still be read again.
func (p *replay) Close() {
	p.closed.Store(true)
	p.inner.Close()
}
