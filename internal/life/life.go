// Package life runs layers of tasks: it starts them first to last, stops them
// last to first, and lets the first failure stop all.
package life

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Task is one thing that runs until its context ends.
type Task struct {
	Name string
	Run  func(ctx context.Context) error // blocks; nil or ctx's error is a normal end
}

// Layer is a set of tasks that start and stop together.
type Layer []Task

// Run starts the layers first to last and blocks. When ctx ends, or a task
// returns, it stops them last to first, each layer wholly before the one below,
// and returns the error of the task that ended first, if any: a task that dies
// brings all down with its reason.
func Run(ctx context.Context, layers ...Layer) error {
	var (
		failed = make(chan error, 1)
		stop   []func()
	)
	for _, layer := range layers {
		lctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var wg sync.WaitGroup
		for _, t := range layer {
			wg.Go(func() {
				err := t.Run(lctx)
				if lctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
					return
				}
				if err == nil {
					err = errors.New("ended by itself")
				}
				select {
				case failed <- fmt.Errorf("%s: %w", t.Name, err):
				default:
				}
			})
		}
		stop = append(stop, func() { cancel(); wg.Wait() })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for i := len(stop) - 1; i >= 0; i-- {
		stop[i]()
	}
	if err == nil {
		select {
		case err = <-failed:
		default:
		}
	}
	return err
}
