package life

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log []string
		task := func(name string) Task {
			return Task{name, func(ctx context.Context) error {
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				log = append(log, name)
				return ctx.Err()
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- Run(ctx, Layer{task("store")}, Layer{task("control")}, Layer{task("proxy")}) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []string{"proxy", "control", "store"}; !slices.Equal(log, want) {
			t.Errorf("stopped %v, want %v", log, want)
		}
	})
}

func TestFirstFailureStopsAll(t *testing.T) {
	boom := errors.New("boom")
	stopped := false
	err := Run(t.Context(),
		Layer{{"waits", func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil }}},
		Layer{{"fails", func(context.Context) error { return boom }}})
	if !errors.Is(err, boom) || err.Error() != "fails: boom" || !stopped {
		t.Errorf("err %v, stopped %v", err, stopped)
	}
	err = Run(t.Context(), Layer{{"returns", func(context.Context) error { return nil }}})
	if err == nil || err.Error() != "returns: ended by itself" {
		t.Errorf("a loop that dies silently: %v", err)
	}
}
