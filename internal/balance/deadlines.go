package balance

// deadlines gives turns by weight, the earliest deadline first: the j-th turn of
// what weighs w is due at (j + ½) ÷ w. After as many turns as the sum of the weights,
// each has had exactly its weight; and when a turn of one is due doesn't depend on
// the others. It is a heap, for many different weights, where to look at each of them
// at every turn would take too long.
type deadlines struct {
	heap []deadline
}

type deadline struct {
	due   float64
	every float64 // 1 ÷ weight
	index int
}

// newDeadlines leaves out weights of 0.
func newDeadlines(weights []int) *deadlines {
	d := new(deadlines)
	for i, w := range weights {
		if w > 0 {
			every := 1 / float64(w)
			d.heap = append(d.heap, deadline{every / 2, every, i})
		}
	}
	for i := len(d.heap)/2 - 1; i >= 0; i-- {
		d.down(i)
	}
	return d
}

// next returns the index whose turn it is. There must be one.
func (d *deadlines) next() int {
	first := &d.heap[0]
	i := first.index
	first.due += first.every
	d.down(0)
	return i
}

func (a deadline) before(b deadline) bool {
	return a.due < b.due || a.due == b.due && a.index < b.index
}

func (d *deadlines) down(i int) {
	h := d.heap
	x := h[i]
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(x) {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = x
}
