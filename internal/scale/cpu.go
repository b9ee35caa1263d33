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
	used, ok := usage(v)
	if !ok {
		w.hold = v.counts.ready > 0
		w.text = "no measurement of CPU: not fewer than there are"
		return w, true
	}
	w.need = used / (target * cores)
	w.text = fmt.Sprintf("%s cores are used", number(used))
	if v.mean.cost > 0 {
		w.capacity = target * cores / v.mean.cost
		w.most = w.capacity
		w.holds = 2 + 3*w.capacity*max(v.cap.base, 0)
		w.text = fmt.Sprintf("an instance carries %s/s, as a request costs %s of CPU", number(w.capacity), seconds(v.mean.cost))
		// The requests say it better, unless much CPU goes elsewhere.
		w.need = min(w.need, 1.5*float64(max(v.counts.ready, 1)))
	}
	return w, true
}

// usage adds up the CPU of the ready instances. One that has just become ready
// counts for no more than the mean of the others: starting up burns CPU that no
// load asks for.
func usage(v *view) (cores float64, ok bool) {
	var settled, young float64
	var n, m int
	for i := range v.in.Instances {
		x := &v.in.Instances[i]
		if x.State != swell.Ready {
			continue
		}
		for j := range v.in.CPU {
			u := &v.in.CPU[j]
			if u.Instance != x.ID || v.in.Now.Sub(u.At) > freshCPU {
				continue
			}
			if v.in.Now.Sub(x.ReadyAt) > youngFor {
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
	return (settled + young) * float64(v.counts.ready) / float64(n+m), true
}

// youngFor is how long after it became ready an instance's CPU is doubted.
const youngFor = 5 * time.Second
