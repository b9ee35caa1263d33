package filter

import (
	"sync/atomic"
	"time"
)

// budget bounds retries to a share of the requests, so that a service in trouble
// isn't pushed deeper: every request puts a share of a token in, a retry takes one
// out (Finagle's RetryBudget). A small reserve, which refills slowly by itself, lets
// services with few requests retry too. It is lent, not given: what requests put in
// pays it back first, so that of many requests no more than the share is retried.
type budget struct {
	share   int64 // thousandths of a token for each request
	tokens  atomic.Int64
	owed    atomic.Int64 // of the reserve
	refills atomic.Int64 // when the reserve was last looked after, ns since 1970
}

const (
	retryToken   = 1000
	retryReserve = 10 * retryToken  // tokens at the start, and where the refill ends
	retryMost    = 100 * retryToken // more are not saved up: a bounded burst
	retryRefill  = time.Second      // for one token of the reserve
)

func newBudget(share float64) *budget {
	b := &budget{share: int64(share * retryToken)}
	b.tokens.Store(retryReserve)
	b.owed.Store(retryReserve)
	return b
}

// request counts a request. In the steady state the budget is full, and this is
// one load.
func (b *budget) request() {
	switch {
	case b.tokens.Load() >= retryMost:
	case b.owed.Load() > 0:
		b.owed.Add(-b.share)
	default:
		b.tokens.Add(b.share)
	}
}

// retry takes a token; false if there is none.
func (b *budget) retry(now time.Time) bool {
	b.refill(now.UnixNano())
	for {
		t := b.tokens.Load()
		if t < retryToken {
			return false
		}
		if b.tokens.CompareAndSwap(t, t-retryToken) {
			return true
		}
	}
}

func (b *budget) refill(now int64) {
	last := b.refills.Load()
	if last == 0 {
		b.refills.CompareAndSwap(0, now)
		return
	}
	n := (now - last) / int64(retryRefill)
	if n <= 0 || !b.refills.CompareAndSwap(last, last+n*int64(retryRefill)) {
		return
	}
	if t := b.tokens.Load(); t < retryReserve {
		more := min(n*retryToken, retryReserve-t)
		b.tokens.Add(more)
		// The debt is bounded as well: an hour of failures is not paid off for ever.
		if o := b.owed.Load(); o < retryReserve {
			b.owed.Add(min(more, retryReserve-o))
		}
	}
}
