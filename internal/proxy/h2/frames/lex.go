package frames

// Classes of bytes.
const (
	lower = 1 << iota // of a token without capital letters: a field name of HTTP/2
	token             // of a token: RFC 9110, 5.6.2
	value             // of a field value: visible, obs-text, space and tab
)

var class = func() (t [256]uint8) {
	const marks = "!#$%&'*+-.^_`|~"
	for c := range 256 {
		switch b := byte(c); {
		case b >= '0' && b <= '9' || b >= 'a' && b <= 'z':
			t[c] |= lower | token
		case b >= 'A' && b <= 'Z':
			t[c] |= token
		default:
			for i := range len(marks) {
				if marks[i] == b {
					t[c] |= lower | token
				}
			}
		}
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= value
		}
	}
	return t
}()

// all reports that every byte of b is of the class.
func all(b []byte, of uint8) bool {
	for _, c := range b {
		if class[c]&of == 0 {
			return false
		}
	}
	return true
}

// validValue reports that v is a field value (RFC 9113, 8.2.1): no control
// characters, and no blanks at its ends.
func validValue(v []byte) bool {
	if len(v) == 0 {
		return true
	}
	if f, l := v[0], v[len(v)-1]; f == ' ' || f == '\t' || l == ' ' || l == '\t' {
		return false
	}
	return all(v, value)
}

// number reads a Content-Length: digits and nothing else, within 63 bits.
func number(b []byte) (int64, bool) {
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
