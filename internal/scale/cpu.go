package scale

import (
	"fmt"
	"time"

	"swell"
)

// cpu wants so many instances that each uses the target share of its CPU.
//
// CPU use alone says nothing beyond saturation, and an instance that starts
// burns CPU for nobody. So, where requests are seen, the CPU that a request
// costs is learned and the arrivals are multiplied with it.
func cpu(v *view) (want, bool) {
	target := v.scale.Targets.CPU
	if target <= 0 {
		return want{}, false
	}
	cores := v.scale.CPU
	if cores <= 0 {
		cores = 1
	}
	w := want{by: "cpu", unit: target, target: fmt.Sprintf("%s %% of %s cores for an instance", number(100*target), number(cores))}
	_, ok := usage(v.in, v.counts)
	used := v.cost.used
	if !ok {
		w.hold = v.counts.ready > 0
		w.text = "no measurement of CPU: not fewer than there are"
		return w, true
	}
	w.text = fmt.Sprintf("%s cores are used", number(used))
	calm := v.cost.n >= calmFor && v.counts.starting == 0
	if calm {
		// At most half more at a time: beyond saturation the ratio says nothing.
		w.need = min(used/(target*cores), max(1.5*float64(v.counts.ready), 1))
	}
	if per := v.cost.perRequest(); per > 0 {
		w.capacity = target * cores / per
		w.most = w.capacity
		w.holds = 2 + 3*w.capacity*v.cap.base
		w.text = fmt.Sprintf("an instance carries %s/s, as a request costs %s of CPU", number(w.capacity), seconds(per))
	} else if !calm {
		w.need = float64(v.current) // too early to tell
	}
	return w, true
}

// usage adds up the CPU of the ready instances. One that has just become ready
// counts for no more than the mean of the others: starting up burns CPU that no
// load asks for.
func usage(in *Input, c counts) (cores float64, ok bool) {
	var settled, young float64
	var n, m int
	for i := range in.Instances {
		x := &in.Instances[i]
		if x.State != swell.Ready {
			continue
		}
		for j := range in.CPU {
			u := &in.CPU[j]
			if u.Instance != x.ID || in.Now.Sub(u.At) > freshCPU {
				continue
			}
			if in.Now.Sub(x.ReadyAt) > youngFor {
				settled += u.Cores
				n++
			} else {
				young += u.Cores
				m++
			}
			break
		}
	}
	if n == 0 && m == 0 {
		return 0, false
	}
	if n > 0 {
		young = min(young, settled/float64(n)*float64(m))
	}
	// Those without a measurement are taken for like the others.
	return (settled + young) * float64(c.ready) / float64(n+m), true
}

// youngFor is how long after it became ready an instance's CPU is doubted.
const youngFor = 5 * time.Second

// cost learns how much CPU a request costs.
type cost struct {
	used float64 // cores, all instances, smoothed over the windows since they were young
	n    int     // such windows
	idle float64 // cores that an instance uses without a request
	per  float64 // seconds a request, beyond idle
	fit  line    // cores over requests/s, of one instance
}

// learn takes a window in which good requests ended per second; settled, if all
// instances have been ready for a while.
func (k *cost) learn(in *Input, c counts, good float64, settled bool) {
	used, ok := usage(in, c)
	if !ok || c.ready == 0 || !settled {
		k.used, k.n = 0, 0
		return
	}
	k.n++
	k.used += max(0.12, 1/float64(k.n)) * (used - k.used)
	x, y := good/float64(c.ready), used/float64(c.ready)
	if good < 0.1 {
		if k.idle == 0 {
			k.idle = y
		}
		k.idle += 0.1 * (y - k.idle)
		return
	}
	k.fit.add(x, y, 1+good)
	per := max(0, y-min(k.idle, 0.2)) / x
	if k.per == 0 {
		k.per = per
	}
	// Busy instances give the exact ratio; nearly idle ones mostly noise.
	k.per += 0.12 * min(1, y/0.1) * (per - k.per)
}

// perRequest returns the CPU seconds that a request costs; 0 is unknown.
func (k *cost) perRequest() float64 {
	if b, ok := k.fit.slope(); ok {
		return b
	}
	return k.per
}
