package driver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"swell"
	"swell/internal/driver"
)

// TestChaos applies, crashes and hangs at random, and then wants order.
func TestChaos(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			p := play(t, driver.SimulatedOptions{
				Startup: func(_ swell.Workload, slot int) time.Duration { return time.Duration(slot) * 100 * time.Millisecond },
				Stopping: func(_ swell.Workload, slot int) time.Duration {
					return []time.Duration{0, time.Second, time.Hour}[slot%3]
				},
				Quiet: func(ctx context.Context, id string) error {
					if id[len(id)-1]%2 == 0 {
						<-ctx.Done()
					}
					return ctx.Err()
				},
			})
			defer p.end()
			want := map[string]int{}
			for range 200 {
				switch all := p.instances(); r.IntN(4) {
				case 0, 1:
					var set []swell.Workload
					for _, k := range []string{"a/r1", "a/r2", "b/r1"} {
						if want[k] = r.IntN(5); want[k] > 0 {
							w := simulatedWorkload()
							w.Service, w.Revision, w.Replicas = k[:1], k[2:], want[k]
							set = append(set, w)
						}
					}
					p.apply(set...)
				case 2:
					if len(all) > 0 {
						p.d.Crash(all[r.IntN(len(all))].ID)
					}
				case 3:
					if len(all) > 0 {
						p.d.Hang(all[r.IntN(len(all))].ID)
					}
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				synctest.Wait()
			}
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			got := map[string]int{}
			slots := map[string]bool{}
			for _, i := range p.instances() {
				if i.State != swell.Ready {
					t.Errorf("seed %d: %s is %s: %s", seed, i.ID, stateNames[i.State], i.Reason)
				}
				got[i.Service+"/"+i.Revision]++
				slot := fmt.Sprint(i.Service, i.Revision, i.Slot)
				if slots[slot] {
					t.Errorf("seed %d: slot %s is there twice", seed, slot)
				}
				slots[slot] = true
			}
			for k, n := range want {
				if got[k] != n {
					t.Errorf("seed %d: %d of %s, want %d", seed, got[k], k, n)
				}
			}
		})
	}
}
