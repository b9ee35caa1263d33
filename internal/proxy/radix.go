package proxy

import "bytes"

// radix finds the regular expressions that a path may be like, by what every path
// that is like them begins with: a tree of bytes, compressed (Morrison's PATRICIA).
type radix struct {
	label  string
	firsts []byte // the first bytes of the kids' labels
	kids   []*radix
	here   choices
}

// at returns the node of a prefix, made if there is none.
func (n *radix) at(prefix string) *radix {
	for prefix != "" {
		i := bytes.IndexByte(n.firsts, prefix[0])
		if i < 0 {
			kid := &radix{label: prefix}
			n.firsts, n.kids = append(n.firsts, prefix[0]), append(n.kids, kid)
			return kid
		}
		kid := n.kids[i]
		same := 0
		for same < len(kid.label) && same < len(prefix) && kid.label[same] == prefix[same] {
			same++
		}
		if same < len(kid.label) { // divide it
			mid := &radix{label: kid.label[:same], firsts: []byte{kid.label[same]}, kids: []*radix{kid}}
			kid.label = kid.label[same:]
			n.kids[i], kid = mid, mid
		}
		n, prefix = kid, prefix[same:]
	}
	return n
}

// seal makes the lists ready.
func (n *radix) seal() {
	n.here.seal()
	for _, kid := range n.kids {
		kid.seal()
	}
}

// walk calls visit for the lists on the way along text.
func (n *radix) walk(text []byte, visit func(*choices)) {
	for {
		if !n.here.empty() {
			visit(&n.here)
		}
		if len(text) == 0 {
			return
		}
		i := bytes.IndexByte(n.firsts, text[0])
		if i < 0 {
			return
		}
		n = n.kids[i]
		if len(text) < len(n.label) || string(text[:len(n.label)]) != n.label {
			return
		}
		text = text[len(n.label):]
	}
}
