package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync/atomic"
	"time"
)

// ErrFull says that a pool's queue holds as many requests as it may.
var ErrFull = errors.New("the queue is full")

// Pool is a fixed number of workers that each take the same time for a request,
// as connections to a database do: one instance carries workers/work requests a
// second, on any machine, and what comes beyond it waits in order of arrival.
// It may be used from any goroutine.
type Pool struct {
	work, cpu time.Duration
	queue     int64
	waiting   atomic.Int64
	free      chan time.Time // a worker each: when it got free
}

// NewPool returns a pool of workers that take work for a request, of which they
// compute for cpu and wait for the rest. At most queue requests wait for a worker.
func NewPool(workers, queue int, work, cpu time.Duration) *Pool {
	p := &Pool{work: work, cpu: min(cpu, work), queue: int64(queue), free: make(chan time.Time, workers)}
	for range workers {
		p.free <- time.Time{}
	}
	return p
}

// Do waits for a worker and for its work. The error is ErrFull or ctx's.
func (p *Pool) Do(ctx context.Context) error {
	var begin time.Time
	select {
	case <-p.free:
		begin = time.Now()
	default:
		if p.waiting.Add(1) > p.queue {
			p.waiting.Add(-1)
			return ErrFull
		}
		select {
		case begin = <-p.free:
			// The work began when the worker got free, not when this goroutine
			// learned of it: so a late wake-up does not lower the rate.
			p.waiting.Add(-1)
		case <-ctx.Done():
			p.waiting.Add(-1)
			return ctx.Err()
		}
	}
	compute(p.cpu)
	end := begin.Add(p.work)
	err := pause(ctx, time.Until(end))
	if err != nil {
		end = time.Now()
	}
	p.free <- end
	return err
}

// compute keeps a core busy for d.
func compute(d time.Duration) {
	var sum [sha256.Size]byte
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range 8 {
			sum = sha256.Sum256(sum[:])
		}
	}
}

// pause waits for d or for ctx, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
