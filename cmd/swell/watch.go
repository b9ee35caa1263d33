package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must rest before it is read: editors write in steps.
const settle = 15 * time.Millisecond

// watchFiles calls changed after any of the files was written, replaced or put
// back, until ctx ends. It watches their folders, as many editors replace files.
// A burst of changes that doesn't rest is looked at every tenth of a second.
func watchFiles(ctx context.Context, files []string, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the manifest: %w", err)
	}
	defer w.Close()
	names := map[string]bool{}
	for _, f := range files {
		abs, err := filepath.Abs(f)
		if err != nil {
			return fmt.Errorf("watch %s: %w", f, err)
		}
		names[abs] = true
		if err := w.Add(filepath.Dir(abs)); err != nil {
			return fmt.Errorf("watch %s: %w", filepath.Dir(abs), err)
		}
	}
	return settled(ctx, names, w.Events, w.Errors, changed)
}

// settled calls changed once what happens to the named files rests.
func settled(ctx context.Context, names map[string]bool, events <-chan fsnotify.Event, failures <-chan error, changed func()) error {
	rest := time.NewTimer(time.Hour)
	defer rest.Stop()
	var since time.Time // of the first change that was not looked at
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failures:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch the manifest: %w", err)
			}
			rest.Reset(settle) // some events were lost: ours may be one of them
		case e := <-events:
			if !names[e.Name] || e.Op == fsnotify.Chmod {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) < 100*time.Millisecond {
				rest.Reset(settle)
			}
		case <-rest.C:
			since = time.Time{}
			changed()
		}
	}
}
