// Package wire brings snapshots to data planes and signals back. This file holds
// its in-process form: a data plane in the control plane's own process.
package wire

import (
	"context"
	"log/slog"

	"swell"
	"swell/internal/latest"
)

// Local is a feed from a cell in the same process.
type Local struct {
	Snapshots *latest.Cell[*swell.Snapshot]
	Log       *slog.Logger
}

var _ swell.Feed = Local{}

// Follow implements [swell.Feed]. A refused snapshot is logged with its reason;
// the data plane goes on with the last good one.
func (l Local) Follow(ctx context.Context, use func(*swell.Snapshot) error) error {
	return l.Snapshots.Follow(ctx, func(s *swell.Snapshot) error {
		if err := use(s); err != nil {
			l.Log.Error("the data plane refused a snapshot and goes on with the last good one",
				"version", s.Version, "error", err)
		}
		return nil
	})
}

// Tee is a sink that hands every report to several, in order.
type Tee []swell.Sink

var _ swell.Sink = Tee{}

// Report implements [swell.Sink]; it returns the first error, after all were asked.
func (t Tee) Report(ctx context.Context, signals []swell.Signal) error {
	var first error
	for _, s := range t {
		if err := s.Report(ctx, signals); err != nil && first == nil {
			first = err
		}
	}
	return first
}
