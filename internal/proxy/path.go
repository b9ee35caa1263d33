package proxy

import "errors"

// segment is one segment of a path: its place in the normal form, and where it
// begins in the raw path.
type segment struct{ from, to, raw int }

// parsedPath is a request's path made ready for matching. Its memory is reused.
//
// The normal form is for comparison only; what is forwarded is the raw target. In
// it, percent-encoded unreserved characters are decoded and other escapes are in
// upper case (RFC 3986, 6.2.2), and empty segments ("//") are left out. That last
// is the safe side: a server that merges slashes serves //admin as /admin, so the
// route of /admin, with its filters, must be the one that takes it.
//
// An encoded slash stays as it is: %2F is a byte of a segment. But a path that has
// a dot segment in any reading that a server may have of it (plain, with an encoded
// dot, behind an encoded slash or a backslash, with a parameter as in "..;x") is
// refused: it would be matched here as one path and served there as another.
type parsedPath struct {
	norm     []byte
	segments []segment
	slash    bool // it ends with one, or is "/"
	buf      []byte
}

var errDots = errors.New("the path has dot segments; send the path that is meant")

// plain tells the bytes that never need a closer look.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c > ' ' && c != '%' && c != '\\' && c != '/' && c != '.' && c != 0x7f
	}
	return t
}()

// parse reads a raw path.
func (p *parsedPath) parse(raw []byte) error {
	p.segments = p.segments[:0]
	p.norm, p.slash = raw, false
	from, odd := 0, false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if plain[c] {
			continue
		}
		switch c {
		case '/':
			if i > from {
				p.segments = append(p.segments, segment{from, i, from})
			} else if i > 0 {
				odd = true
			}
			from = i + 1
		case '.':
			if i == from { // a segment that begins with a dot
				odd = true
			}
		case '%', '\\':
			odd = true
		}
	}
	if from < len(raw) {
		p.segments = append(p.segments, segment{from, len(raw), from})
	}
	p.slash = len(raw) > 0 && raw[len(raw)-1] == '/'
	if !odd {
		return nil
	}
	return p.slow(raw)
}

// slow is parse for the paths that are not in normal form.
func (p *parsedPath) slow(raw []byte) error {
	if dotted(raw) {
		return errDots
	}
	out := p.buf[:0]
	for i := range p.segments {
		s := &p.segments[i]
		part := raw[s.from:s.to]
		out = append(out, '/')
		from := len(out)
		for j := 0; j < len(part); j++ {
			c := part[j]
			if c == '%' && j+2 < len(part) && hex(part[j+1]) >= 0 && hex(part[j+2]) >= 0 {
				d := byte(hex(part[j+1])<<4 | hex(part[j+2]))
				if unreserved(d) {
					out = append(out, d)
				} else {
					out = append(out, '%', upper(part[j+1]), upper(part[j+2]))
				}
				j += 2
				continue
			}
			out = append(out, c)
		}
		s.from, s.to = from, len(out)
	}
	if p.slash {
		out = append(out, '/')
	}
	p.buf, p.norm = out, out
	return nil
}

// dotted reports whether any reading of the path has a "." or ".." segment.
func dotted(raw []byte) bool {
	dots, other, start := 0, false, true // of the segment so far
	end := func() bool { return !start && !other && (dots == 1 || dots == 2) }
	param := false
	for i := 0; i <= len(raw); i++ {
		var c byte = '/'
		if i < len(raw) {
			c = raw[i]
			if c == '%' && i+2 < len(raw) && hex(raw[i+1]) >= 0 && hex(raw[i+2]) >= 0 {
				c = byte(hex(raw[i+1])<<4 | hex(raw[i+2]))
				i += 2
			}
		}
		switch {
		case c == '/' || c == '\\':
			if end() {
				return true
			}
			dots, other, start, param = 0, false, true, false
		case param:
		case c == ';':
			param = true
		case c == '.':
			dots++
			start = false
		default:
			other, start = true, false
		}
	}
	return false
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'f' {
		return c - 'a' + 'A'
	}
	return c
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
