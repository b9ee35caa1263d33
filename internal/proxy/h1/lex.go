package h1

import (
	"encoding/binary"
	"net/netip"
)

// Classes of bytes.
const (
	token  = 1 << iota // of a token: RFC 9110, 5.6.2
	field              // of a field value: visible, obs-text, space and tab
	target             // of a request target: visible ASCII but "#"
	reg                // of a registered name, as far as names of hosts go
	hex                // a hexadecimal digit
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		alnum := b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
		if alnum || in(b, "!#$%&'*+-.^_`|~") {
			t[c] |= token
		}
		if b >= 0x20 && b != 0x7f || b == '\t' {
			t[c] |= field
		}
		if b > 0x20 && b < 0x7f && b != '#' {
			t[c] |= target
		}
		if alnum || in(b, "-._~") {
			t[c] |= reg
		}
		if b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f' {
			t[c] |= hex
		}
	}
	return t
}()

func in(b byte, set string) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// fieldEnd returns the index in b, from i on, of the first byte that can't be in
// a field value; len(b) if there is none. Eight bytes at a time: a byte under
// 0x20 or equal to 0x7f makes the word odd, and the table decides (it may be a tab).
func fieldEnd(b []byte, i int) int {
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			d := w ^ 0x7f*ones
			if ((w-0x20*ones)&^w|(d-ones)&^d)&highs != 0 {
				break
			}
			i += 8
		}
		n := min(i+8, len(b))
		for ; i < n; i++ {
			if class[b[i]]&field == 0 {
				return i
			}
		}
		if i == len(b) {
			return i
		}
	}
}

// trim takes spaces and tabs from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// is compares b to s, which is in lower case, without regard to case.
func is(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// cut returns the first element of the list b, trimmed, and the rest.
func cut(b []byte) (elem, rest []byte) {
	for i, c := range b {
		if c == ',' {
			return trim(b[:i]), b[i+1:]
		}
	}
	return trim(b), nil
}

// isToken reports that b is a token.
func isToken(b []byte) bool {
	for _, c := range b {
		if class[c]&token == 0 {
			return false
		}
	}
	return len(b) > 0
}

// length reads a Content-Length: digits and nothing else, within 63 bits.
func length(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= 1<<63-1
}

// validHost reports that b is a host with or without a port.
func validHost(b []byte) bool {
	if len(b) == 0 || len(b) > 270 {
		return false
	}
	i := 0
	if b[0] == '[' {
		for i = 1; i < len(b) && b[i] != ']'; i++ {
			if class[b[i]]&hex == 0 && b[i] != ':' && b[i] != '.' {
				return false
			}
		}
		if i == len(b) {
			return false
		}
		if a, err := netip.ParseAddr(string(b[1:i])); err != nil || !a.Is6() {
			return false
		}
		i++
	} else {
		for i < len(b) && class[b[i]]&reg != 0 {
			i++
		}
		if i == 0 {
			return false
		}
	}
	if i == len(b) {
		return true
	}
	if b[i] != ':' || len(b)-i > 6 {
		return false
	}
	port := 0
	for _, c := range b[i+1:] {
		if c < '0' || c > '9' {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return port <= 65535
}

// validEscapes reports that every "%" in b has two hexadecimal digits after it.
func validEscapes(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] == '%' {
			if i+2 >= len(b) || class[b[i+1]]&hex == 0 || class[b[i+2]]&hex == 0 {
				return false
			}
			i += 2
		}
	}
	return true
}
