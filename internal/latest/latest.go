// Package latest holds a value of which only the newest counts: one writer, many
// readers, and a reader that is slow misses steps in between but never the last.
package latest

import (
	"context"
	"reflect"
	"sync"
)

// Cell holds the newest value of T. The zero Cell is empty and ready to use.
// Values are shared between readers and must not be changed after Set.
type Cell[T any] struct {
	mu      sync.Mutex
	value   T
	set     bool
	changed chan struct{}
}

// Set stores v and wakes the readers. If v equals the value that is there
// (reflect.DeepEqual), it wakes nobody and reports false.
func (c *Cell[T]) Set(v T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set && reflect.DeepEqual(c.value, v) {
		return false
	}
	c.value, c.set = v, true
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	return true
}

// Get returns the newest value, and false if none was ever set.
func (c *Cell[T]) Get() (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, c.set
}

// Next returns the newest value, whether there is one, and a channel that is
// closed when a newer one is there.
func (c *Cell[T]) Next() (T, bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.value, c.set, c.changed
}

// Follow calls use with the newest value, first at once if there is one, then
// after every change, until ctx ends or use fails, and returns that error.
func (c *Cell[T]) Follow(ctx context.Context, use func(T) error) error {
	for {
		v, ok, changed := c.Next()
		if ok {
			if err := use(v); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
