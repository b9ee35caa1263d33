package filter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"swell/internal/exchange"
	"swell/internal/plug"
	"swell/internal/unit"
)

// MirrorOptions are the options of mirror.
//
// The new version gets a copy of every tenth request; nobody sees its answers:
//
//	mirror: {to: catalog-next, share: 10%}
type MirrorOptions struct {
	To       string       `json:"to" doc:"The service that gets the copies."`
	Share    unit.Percent `json:"share" doc:"Of the requests that are copied."`
	Body     unit.Bytes   `json:"body" doc:"Requests with a larger body are not copied."`
	InFlight int          `json:"in-flight" doc:"How many copies may be on their way at a time; further ones are not made."`
}

// Services names the services that the options need.
func (o MirrorOptions) Services() []string {
	if o.To == "" {
		return nil
	}
	return []string{o.To}
}

const (
	mirrorTime = 30 * time.Second // for a copy and its answer
	mirrorRead = 1 << 20          // bytes of an answer that are read to keep the connection
)

func mirrorEntry() plug.Entry[Maker] {
	return plug.Named("mirror", "Sends copies of requests to another service in the background and drops its answers; nothing of it delays or fails the request.",
		MirrorOptions{Share: 1, Body: 1 << 20, InFlight: 100}, func(o MirrorOptions) (Maker, error) {
			switch {
			case o.To == "":
				return nil, errors.New("to is not given; write mirror: {to: NAME} with the name of a service")
			case o.Share > 1 || o.Share == 0:
				return nil, errors.New("share is out of bounds; it is over 0% and at most 100%")
			case o.Body > 64<<20:
				return nil, errors.New("body is over 64Mi, and each copy is held in memory; make it smaller")
			case o.InFlight < 1 || o.InFlight > 10000:
				return nil, fmt.Errorf("in-flight is %d; it is from 1 to 10000", o.InFlight)
			}
			return func(env Env) Filter {
				env = env.complete()
				m := &mirror{o: o, env: env, round: env.Call(env, o.To)}
				m.end = m.ended
				for outcome, c := range map[string]*Counter{"answered": &m.sent, "failed": &m.failed, "body": &m.large, "full": &m.full} {
					*c = env.Count("swell_mirrored_total", "service", o.To, "outcome", outcome)
				}
				return m.filter
			}, nil
		})
}

// mirror copies requests. A copy is a fork that was detached: it lives for itself.
type mirror struct {
	o     MirrorOptions
	env   Env
	round Round
	end   func(*exchange.Exchange) // made once

	flying                    atomic.Int64
	sent, failed, large, full Counter
}

func (m *mirror) filter(next Round) Round {
	return func(x *exchange.Exchange) error {
		q := &x.Request
		if !chance(float64(m.o.Share)) || q.Upgrade != nil || q.Method == "CONNECT" || !x.Mark(m) {
			return next(x)
		}
		if q.Length > int64(m.o.Body) {
			m.large.Add(1)
			return next(x)
		}
		if m.flying.Add(1) > int64(m.o.InFlight) {
			m.flying.Add(-1)
			m.full.Add(1)
			return next(x)
		}
		f := exchange.NewFork()
		f.Begin(x, nil, false)
		f.Detach()
		m.env.Fork(x, f)
		f.Request.Header.SetName("X-Swell-Mirror", "1")
		f.Prefer, f.AttemptTimeout = "", 0
		if q.Body == nil {
			m.send(f)
			return next(x)
		}
		c := &copied{m: m, inner: q.Body, x: x, fork: f}
		q.Body = c
		x.Marks = append(x.Marks, c)
		x.Ended = append(x.Ended, m.end)
		return next(x)
	}
}

// ended gives a copy up whose body never came to its end.
func (m *mirror) ended(x *exchange.Exchange) {
	for i, mark := range x.Marks {
		if c, ok := mark.(*copied); ok && c.m == m {
			x.Marks = append(x.Marks[:i], x.Marks[i+1:]...)
			switch f := c.fork; {
			case f == nil:
			case x.Request.Length == int64(len(c.b)): // all is there, though nobody asked for the end
				f.SetBody(c.b, &x.Request.Trailer)
				m.send(f)
			default:
				m.large.Add(1)
				m.forget(f)
			}
			c.fork = nil
			return
		}
	}
}

func (m *mirror) forget(f *exchange.Fork) {
	m.env.Quit(f)
	f.End()
	m.flying.Add(-1)
}

// send sends the copy on its way.
func (m *mirror) send(f *exchange.Fork) {
	f.Start = exchange.Now()
	f.Deadline = m.env.Now().Add(mirrorTime)
	if !m.env.Spawn(func(ctx context.Context) { m.fly(ctx, f) }) {
		m.failed.Add(1)
		m.forget(f)
	}
}

func (m *mirror) fly(ctx context.Context, f *exchange.Fork) {
	defer m.forget(f)
	defer func() {
		if p := recover(); p != nil { // nobody else would catch it
			m.failed.Add(1)
			m.env.Warn("mirror", "to", m.o.To, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	stop := context.AfterFunc(ctx, f.Leave)
	defer stop()
	if err := m.round(&f.Exchange); err != nil {
		m.failed.Add(1)
		return
	}
	m.sent.Add(1)
	r := &f.Response
	for r.Body != nil && r.Bytes < mirrorRead {
		p, err := r.Body.Next()
		r.Bytes += int64(len(p))
		if err != nil {
			break
		}
	}
}

// copied is a request body that is copied as it is read, and sent to the mirror at
// its end.
type copied struct {
	m     *mirror
	inner exchange.Body
	x     *exchange.Exchange
	fork  *exchange.Fork // nil once it was sent or given up
	b     []byte
}

func (c *copied) Next() ([]byte, error) {
	p, err := c.inner.Next()
	if c.fork == nil {
		return p, err
	}
	switch {
	case err == io.EOF:
		f := c.fork
		c.fork = nil
		f.SetBody(c.b, &c.x.Request.Trailer)
		c.m.send(f)
	case err != nil:
		// Read on after it, or given up at the end of the exchange.
	case len(c.b)+len(p) > int(c.m.o.Body):
		c.b = nil
		c.m.large.Add(1)
		c.m.forget(c.fork)
		c.fork = nil
	default:
		c.b = append(c.b, p...)
	}
	return p, err
}

func (c *copied) Ready() bool { return c.inner.Ready() }
func (c *copied) Close()      { c.inner.Close() }
