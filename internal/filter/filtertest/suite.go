// Package filtertest holds the contract that every filter keeps.
package filtertest

import (
	"errors"
	"io"
	"sync"
	"testing"

	"swell/internal/exchange"
	"swell/internal/filter"
)

// Exchange makes an exchange as a codec would.
func Exchange(method, target, body string) *exchange.Exchange {
	x := &exchange.Exchange{Gone: func() bool { return false }}
	x.Request.Method, x.Request.Target, x.Request.Host = method, []byte(target), []byte("shop.example")
	if body != "" {
		x.Request.Body, x.Request.Length = exchange.Bytes([]byte(body)), int64(len(body))
	}
	return x
}

// End does what a data plane does when the answer was sent.
func End(x *exchange.Exchange) {
	for i := len(x.Ended) - 1; i >= 0; i-- {
		x.Ended[i](x)
	}
	x.Reset()
}

// ReadAll reads a body to its end.
func ReadAll(b exchange.Body) (string, error) {
	if b == nil {
		return "", nil
	}
	var out []byte
	for {
		p, err := b.Next()
		if err == io.EOF {
			return string(out), nil
		}
		if err != nil {
			return string(out), err
		}
		out = append(out, p...)
	}
}

// Run tests that a filter made with ordinary options leaves alone what is not its
// matter.
func Run(t *testing.T, make filter.Maker) {
	t.Run("a good answer passes", func(t *testing.T) {
		round := make(filter.Env{Service: "catalog"})(func(x *exchange.Exchange) error {
			if got, err := ReadAll(x.Request.Body); got != "hello" || err != nil {
				t.Errorf("the service gets the body %q, %v", got, err)
			}
			x.Reply(201, "made")
			return nil
		})
		x := Exchange("POST", "/a?b", "hello")
		if err := round(x); err != nil {
			t.Fatal(err)
		}
		if x.Response.Status != 201 || string(x.Request.Target) != "/a?b" {
			t.Errorf("status %d, target %s", x.Response.Status, x.Request.Target)
		}
		if got, _ := ReadAll(x.Response.Body); got != "made\n" {
			t.Errorf("answer %q", got)
		}
		End(x)
	})
	t.Run("a failure passes", func(t *testing.T) {
		want := &filter.Failure{Service: "catalog", Cause: filter.Reset}
		calls := 0
		round := make(filter.Env{})(func(*exchange.Exchange) error { calls++; return want })
		x := Exchange("POST", "/", "")
		if err := round(x); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		if calls != 1 {
			t.Errorf("a POST that may have been received was sent %d times", calls)
		}
		End(x)
	})
	t.Run("a foreign error passes", func(t *testing.T) {
		want := errors.New("what is this")
		round := make(filter.Env{})(func(*exchange.Exchange) error { return want })
		x := Exchange("GET", "/", "")
		if err := round(x); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		End(x)
	})
	t.Run("many at a time", func(t *testing.T) {
		round := make(filter.Env{})(func(x *exchange.Exchange) error {
			_, err := ReadAll(x.Request.Body)
			x.Response.Status = 204
			return err
		})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 200 {
					x := Exchange("PUT", "/", "body")
					if err := round(x); err != nil || x.Response.Status != 204 {
						t.Errorf("%v, status %d", err, x.Response.Status)
					}
					End(x)
				}
			})
		}
		wg.Wait()
	})
	t.Run("no allocation", func(t *testing.T) {
		if raced {
			t.Skip("under the race detector pools are emptied on purpose")
		}
		round := make(filter.Env{})(func(x *exchange.Exchange) error { x.Response.Status = 200; return nil })
		x := Exchange("GET", "/", "")
		round(x)
		End(x)
		if n := testing.AllocsPerRun(200, func() {
			x.Request.Method = "GET"
			round(x)
			End(x)
		}); n != 0 {
			t.Errorf("%v allocations for an exchange", n)
		}
	})
}
