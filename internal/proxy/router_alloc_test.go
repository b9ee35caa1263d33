//go:build !race

// The race detector allocates.

package proxy

import "testing"

func TestALookUpAllocatesNothing(t *testing.T) {
	for _, kind := range []string{"mixed", "header", "query", "regex", "prefix"} {
		ms, rq := tableOf(kind, 500)
		r := routerOf(t, ms...)
		var s search
		look := func() {
			if s.path.parse(rq.Path()) != nil || r.find(rq, &s) == nil {
				t.Fatal("not found")
			}
		}
		look()
		if n := testing.AllocsPerRun(100, look); n > 0 {
			t.Errorf("%s: %v allocations", kind, n)
		}
	}
}
