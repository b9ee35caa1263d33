package sim

import (
	"math/rand/v2"
	"strconv"
	"time"

	"swell"
	"swell/internal/scale"
)

// fleet are the instances of the simulated service, oldest first.
type fleet struct {
	start    time.Time
	service  string
	startup  Startup
	drain    float64
	rnd      *rand.Rand
	all      []swell.Instance
	extra    []extra // beside all
	usage    []scale.Usage
	serial   int
	ready    int
	next     float64   // when the next one gets ready; endless if none starts
	draining []float64 // when each that leaves has gone; oldest first
}

type extra struct {
	ready float64 // seconds since the start
	base  float64 // what the sum of utilisation was then
}

const never = 1e18

// clock is the moment t seconds after the start.
func (f *fleet) clock(t float64) time.Time {
	return f.start.Add(time.Duration(t * float64(time.Second)))
}

// step makes ready what is by then, and forgets what has drained; used is the sum
// of utilisation so far.
func (f *fleet) step(t, used float64) {
	if t >= f.next {
		f.next = never
		for i := range f.all {
			x := &f.all[i]
			if x.State != swell.Starting {
				continue
			}
			if e := &f.extra[i]; e.ready <= t {
				x.State, x.ReadyAt = swell.Ready, f.clock(e.ready)
				e.base = used
				f.ready++
			} else {
				f.next = min(f.next, e.ready)
			}
		}
	}
	for len(f.draining) > 0 && f.draining[0] <= t {
		f.draining = f.draining[1:]
	}
}

// scale starts or ends instances: those that start first, then the youngest, as
// runtimes do.
func (f *fleet) scale(t float64, to int) {
	for len(f.all) < to {
		wait := f.startup.draw(f.rnd).Seconds()
		f.serial++
		f.all = append(f.all, swell.Instance{ID: "i" + strconv.Itoa(f.serial), Service: f.service, Revision: "r",
			Slot: len(f.all), State: swell.Starting, Created: f.clock(t)})
		f.extra = append(f.extra, extra{ready: t + wait})
		f.next = min(f.next, t+wait)
	}
	for len(f.all) > to && len(f.all) > f.ready {
		i := len(f.all) - 1
		for f.all[i].State != swell.Starting {
			i--
		}
		f.remove(i)
	}
	for len(f.all) > to {
		i := len(f.all) - 1
		f.ready--
		f.remove(i)
		if f.drain > 0 {
			f.draining = append(f.draining, t+f.drain)
		}
	}
}

func (f *fleet) remove(i int) {
	f.all = append(f.all[:i], f.all[i+1:]...)
	f.extra = append(f.extra[:i], f.extra[i+1:]...)
}

// cpu is what each ready instance used on average in the last `window` seconds up
// to t, as a part of `cores`; used is the sum of utilisation, before it was so long ago.
func (f *fleet) cpu(t, window, used, before, cores float64) []scale.Usage {
	f.usage = f.usage[:0]
	at := f.clock(t)
	for i := range f.all {
		if f.all[i].State == swell.Ready {
			f.usage = append(f.usage, scale.Usage{Instance: f.all[i].ID, At: at, Cores: cores * (used - max(before, f.extra[i].base)) / window})
		}
	}
	return f.usage
}
