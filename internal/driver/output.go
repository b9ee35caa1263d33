package driver

import (
	"context"
	"sync"
	"time"

	"swell"
)

// OutputLimits bound what is kept of the instances' output. Zero fields are
// defaults.
type OutputLimits struct {
	Memory int64 // bytes held for Tail and Follow, over all instances; 4 MiB
	File   int64 // bytes of one file; 10 MiB
	Files  int   // files for each service, the one being written among them; 5
}

// maxLine is where longer lines are cut into several.
const maxLine = 16 << 10

// lineCost is what a line takes in memory beside its text, about.
const lineCost = 144

// batch is how many lines a follower gets at a time.
const batch = 1024

// output is a ring of the newest lines of all instances, and where the files'
// writer and the followers read.
type output struct {
	limits OutputLimits

	mu      sync.Mutex
	lines   []swell.Line // a ring: count lines from first on
	first   int
	count   int
	bytes   int64
	seq     uint64
	changed chan struct{} // closed at the next line; nil if nobody waits
}

func newOutput(l OutputLimits) *output {
	if l.Memory <= 0 {
		l.Memory = 4 << 20
	}
	if l.File <= 0 {
		l.File = 10 << 20
	}
	if l.Files <= 0 {
		l.Files = 5
	}
	return &output{limits: l}
}

// add appends a line; the oldest ones make room. It takes a lock that is never
// held for I/O, and copies text.
func (o *output) add(service, instance, stream string, text []byte) {
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	l := swell.Line{Seq: o.seq, At: now, Service: service, Instance: instance, Stream: stream, Text: string(text)}
	o.bytes += int64(len(l.Text)) + lineCost
	for o.bytes > o.limits.Memory && o.count > 0 {
		old := &o.lines[o.first]
		o.bytes -= int64(len(old.Text)) + lineCost
		*old = swell.Line{}
		o.first = (o.first + 1) % len(o.lines)
		o.count--
	}
	if o.count == len(o.lines) {
		o.grow()
	}
	o.lines[(o.first+o.count)%len(o.lines)] = l
	o.count++
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// grow doubles the ring; the bytes' limit bounds it.
func (o *output) grow() {
	next := make([]swell.Line, max(64, 2*len(o.lines)))
	n := copy(next, o.lines[o.first:])
	copy(next[n:], o.lines[:o.first])
	o.lines, o.first = next, 0
}

// at returns the i-th held line. The caller holds mu.
func (o *output) at(i int) swell.Line { return o.lines[(o.first+i)%len(o.lines)] }

// tail returns the newest n lines of the service, or of all, oldest first.
func (o *output) tail(service string, n int) []swell.Line {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []swell.Line
	for i := o.count - 1; i >= 0 && len(out) < n; i-- {
		if l := o.at(i); service == "" || l.Service == service {
			out = append(out, l)
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// after returns a batch of the lines with a Seq above since, or, if there is
// none, a channel that is closed when there is.
func (o *output) after(since uint64) ([]swell.Line, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if since < o.seq && o.count > 0 {
		oldest := o.seq - uint64(o.count) + 1 // Seq has no holes
		i := 0
		if since >= oldest {
			i = int(since - oldest + 1)
		}
		out := make([]swell.Line, 0, min(batch, o.count-i))
		for ; i < o.count && len(out) < batch; i++ {
			out = append(out, o.at(i))
		}
		return out, nil
	}
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return nil, o.changed
}

// follow calls use with each batch of lines after since.
func (o *output) follow(ctx context.Context, since uint64, use func([]swell.Line) error) error {
	for {
		lines, more := o.after(since)
		if len(lines) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := use(lines); err != nil {
				return err
			}
			since = lines[len(lines)-1].Seq
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

// voice is one instance's Output.
type voice struct {
	out               *output
	service, instance string
}

// Line implements Output.
func (v voice) Line(stream string, text []byte) { v.out.add(v.service, v.instance, stream, text) }
