package web

import (
	"context"
	"sync"
	"time"

	"swell"
)

// usageAge is how long what an instance used is remembered after it was last
// heard of.
const usageAge = time.Minute

// Usage is a [swell.Sink] that remembers what each instance uses. The zero Usage
// is ready; any goroutine may use it.
type Usage struct {
	mu    sync.Mutex
	of    map[string]used
	swept time.Time
}

type used struct {
	cpu    float64
	memory int64
	at     time.Time
}

// Report takes the signals of instances and leaves the others.
func (u *Usage) Report(_ context.Context, signals []swell.Signal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = map[string]used{}
	}
	for _, s := range signals {
		if s.Instance == "" || (s.CPU == 0 && s.Memory == 0) {
			continue
		}
		u.of[s.Instance] = used{s.CPU, s.Memory, s.At}
		if s.At.Sub(u.swept) > usageAge {
			for id, x := range u.of {
				if s.At.Sub(x.at) > usageAge {
					delete(u.of, id)
				}
			}
			u.swept = s.At
		}
	}
	return nil
}

// Of returns the cores that an instance uses and the bytes that it holds; zeros
// if that is not known.
func (u *Usage) Of(instance string) (cpu float64, memory int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	x := u.of[instance]
	return x.cpu, x.memory
}
