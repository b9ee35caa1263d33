package telemetry

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// LogWriter writes lines in the background: what it is given waits in memory, up
// to a bound, beyond which lines are dropped and counted rather than anybody made
// to wait. It is an io.Writer for whole lines and may be written to by anyone.
// Its fields are set before it is used, if at all.
type LogWriter struct {
	Max   int          // bytes that wait to be written at most
	Drops *Counter     // counts dropped lines too: Hub.Count("swell_access_log_dropped_total"); may be nil
	Log   *slog.Logger // for the trouble of writing; none if nil

	w       io.Writer
	wake    chan struct{}
	dropped atomic.Uint64

	mu     sync.Mutex
	buf    []byte // waits
	lines  uint64 // in buf
	closed bool
}

// NewLogWriter makes a writer to w, which only [LogWriter.Run] writes to.
func NewLogWriter(w io.Writer) *LogWriter {
	return &LogWriter{Max: 1 << 20, w: w, wake: make(chan struct{}, 1)}
}

// Write takes a copy of a whole line (or of several), or drops it. It never fails.
func (l *LogWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	fits := !l.closed && len(l.buf)+len(line) <= l.Max
	if fits {
		l.buf = append(l.buf, line...)
		l.lines++
	}
	l.mu.Unlock()
	if !fits {
		l.drop(1)
		return len(line), nil
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Dropped returns how many lines were dropped, or lost as writing failed.
func (l *LogWriter) Dropped() uint64 { return l.dropped.Load() }

func (l *LogWriter) drop(n uint64) {
	l.dropped.Add(n)
	if l.Drops != nil {
		l.Drops.Add(n)
	}
}

// Run writes what comes until ctx ends, then what is left, and returns ctx's
// error. Lines that come later are dropped. When writing fails (a full disk),
// that is logged once until it works again, and the lines count as dropped.
func (l *LogWriter) Run(ctx context.Context) error {
	var spare []byte
	failing := false
	for end := false; ; {
		select {
		case <-l.wake:
		case <-ctx.Done():
			end = true
		}
		l.mu.Lock()
		l.closed = end
		out, lines := l.buf, l.lines
		l.buf, l.lines = spare[:0], 0
		l.mu.Unlock()
		if len(out) > 0 {
			_, err := l.w.Write(out)
			if err != nil {
				l.drop(lines)
				if !failing && l.Log != nil {
					l.Log.Error("the access log can't be written; its lines are dropped until it can", "error", err)
				}
			}
			failing = err != nil
		}
		spare = out
		if end {
			return ctx.Err()
		}
	}
}
