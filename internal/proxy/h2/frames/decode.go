package frames

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

// ErrCompression is an encoded field section that can't be decoded: an error of
// the connection, COMPRESSION_ERROR.
var ErrCompression = errors.New("malformed field compression")

// static is HPACK's static table (RFC 7541, appendix A), as its decoder has it.
var static = func() (t [62]entry) {
	d := hpack.NewDecoder(DefaultTable, nil)
	for i := 1; i < len(t); i++ {
		f, err := d.DecodeFull([]byte{0x80 | byte(i)})
		if err != nil {
			panic(err)
		}
		e := &t[i]
		e.name, e.value = []byte(f[0].Name), []byte(f[0].Value)
		e.id, e.kind = classify(e.name)
		e.judge()
	}
	return t
}()

// Decoder reads field sections of one connection (RFC 7541), in their order. What
// it knows of a field in its table was found out once, when the field came in, so
// that a field which is repeated costs next to nothing; what is in no table lies
// in the section's arena. It belongs to one goroutine. Set it up with Init.
type Decoder struct {
	ring    []entry // the dynamic table: n entries, the newest at last
	last, n int
	size    int // of the entries, 32 added for each
	max     int // what the encoder chose
	most    int // what it may choose
	huff    arena
}

// Init begins with an empty table; table is the bound that the peer was told, or
// DefaultTable.
func (d *Decoder) Init(table int) { *d = Decoder{max: table, most: table} }

// Decode reads a whole field section into s. The error is ErrCompression. What is
// malformed in another way is in s.
func (d *Decoder) Decode(b []byte, s *Section) error {
	first := true
	for len(b) > 0 {
		var e *entry
		var tmp entry
		c := b[0]
		switch {
		case c&0x80 != 0: // indexed
			i, rest, ok := integer(b, 7)
			if !ok {
				return ErrCompression
			}
			if e = d.at(i); e == nil {
				return ErrCompression
			}
			b = rest
		case c&0xe0 == 0x20: // size update
			n, rest, ok := integer(b, 5)
			if !ok || !first || n > d.most {
				return ErrCompression
			}
			d.max = n
			d.evict(0)
			b = rest
			continue
		default:
			bits, keep := 4, false
			if c&0xc0 == 0x40 {
				bits, keep = 6, true
			}
			i, rest, ok := integer(b, bits)
			if !ok {
				return ErrCompression
			}
			mark := len(s.Arena)
			if i > 0 {
				n := d.at(i)
				if n == nil {
					return ErrCompression
				}
				tmp.name, tmp.id, tmp.kind = n.name, n.id, n.kind
				if tmp.kind == badValue {
					_, tmp.kind = classify(tmp.name)
				}
			} else {
				if rest, tmp.name, ok = d.text(rest, s); !ok {
					return ErrCompression
				}
				tmp.id, tmp.kind = classify(tmp.name)
			}
			if rest, tmp.value, ok = d.text(rest, s); !ok {
				return ErrCompression
			}
			b = rest
			tmp.judge()
			e = &tmp
			if keep {
				e = d.insert(&tmp, i > 0)
				if e != &tmp || s.Large { // it isn't in the arena, or nobody wants it
					s.Arena = s.Arena[:mark]
				}
			}
		}
		first = false
		if s.room(len(e.name) + len(e.value)) {
			s.add(e)
		}
	}
	s.end()
	return nil
}

// at returns the entry of an index; nil if there is none.
func (d *Decoder) at(i int) *entry {
	if i < len(static) {
		if i == 0 {
			return nil
		}
		return &static[i]
	}
	i -= len(static)
	if i >= d.n {
		return nil
	}
	return &d.ring[(d.last-i+len(d.ring))%len(d.ring)]
}

// insert puts a field into the table and returns it as it is there, which nobody
// changes as long as somebody uses its bytes; e itself if it is too large.
func (d *Decoder) insert(e *entry, named bool) *entry {
	n := len(e.name) + len(e.value) + 32
	name := e.name // of a table: it may be evicted now, and stays valid
	d.evict(n)
	if n > d.max {
		return e
	}
	if d.n == len(d.ring) {
		ring := make([]entry, max(8, 2*len(d.ring)))
		for i := range d.n {
			ring[d.n-1-i] = *d.at(len(static) + i)
		}
		d.ring, d.last = ring, d.n-1
	}
	d.last++
	if d.last >= len(d.ring) {
		d.last = 0
	}
	d.n++
	d.size += n
	to := &d.ring[d.last]
	*to = *e
	if named {
		to.name = name
		to.value = append([]byte(nil), e.value...)
	} else {
		both := make([]byte, len(e.name)+len(e.value))
		k := copy(both, e.name)
		copy(both[k:], e.value)
		to.name, to.value = both[:k:k], both[k:]
	}
	return to
}

// evict makes room for n bytes.
func (d *Decoder) evict(n int) {
	for d.n > 0 && d.size+n > d.max {
		old := d.at(len(static) + d.n - 1)
		d.size -= len(old.name) + len(old.value) + 32
		*old = entry{}
		d.n--
	}
}

// integer reads an integer of a prefix of bits (RFC 7541, 5.1), of at most 28 bits.
func integer(b []byte, bits int) (int, []byte, bool) {
	full := 1<<bits - 1
	n := int(b[0]) & full
	b = b[1:]
	if n < full {
		return n, b, true
	}
	for shift := 0; shift <= 21; shift += 7 {
		if len(b) == 0 {
			return 0, nil, false
		}
		c := b[0]
		b = b[1:]
		n += int(c&0x7f) << shift
		if c&0x80 == 0 {
			return n, b, true
		}
	}
	return 0, nil, false
}

// arena is memory that Huffman codes are decoded to.
type arena struct{ b []byte }

// Write appends.
func (a *arena) Write(p []byte) (int, error) { a.b = append(a.b, p...); return len(p), nil }

// text reads a string (RFC 7541, 5.2) into the section's arena.
func (d *Decoder) text(b []byte, s *Section) (rest, text []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	coded := b[0]&0x80 != 0
	n, b, ok := integer(b, 7)
	if !ok || n > len(b) {
		return nil, nil, false
	}
	from := len(s.Arena)
	if coded {
		d.huff.b = s.Arena
		_, err := hpack.HuffmanDecode(&d.huff, b[:n])
		s.Arena, d.huff.b = d.huff.b, nil
		if err != nil {
			return nil, nil, false
		}
	} else {
		s.Arena = append(s.Arena, b[:n]...)
	}
	return b[n:], s.Arena[from:len(s.Arena):len(s.Arena)], true
}
