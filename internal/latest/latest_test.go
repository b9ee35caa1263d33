package latest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Cell[[]int]
		var got [][]int
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Follow(ctx, func(v []int) error { got = append(got, v); return nil }) }()
		synctest.Wait()
		c.Set([]int{1})
		synctest.Wait()
		if c.Set([]int{1}) {
			t.Error("an equal value was taken for a change")
		}
		c.Set([]int{2})
		c.Set([]int{3})
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if n := len(got); n < 2 || n > 3 || got[n-1][0] != 3 {
			t.Errorf("followed %v", got)
		}
	})
}

func TestFollowReturnsTheReadersError(t *testing.T) {
	var c Cell[int]
	c.Set(0) // the zero value is a value
	boom := errors.New("boom")
	if err := c.Follow(t.Context(), func(int) error { return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
}
