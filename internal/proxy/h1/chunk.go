package h1

import (
	"errors"
	"strings"

	"swell/internal/exchange"
)

// Bounds of what chunked framing may say beside the data.
const (
	maxExtension = 256      // bytes after one chunk's size
	maxOverhead  = 64 << 10 // bytes of extensions in one message
	maxTrailer   = 16 << 10 // bytes of a trailer section
)

var errChunk = errors.New("malformed chunked body")

// dechunk is the state of reading a chunked body.
type dechunk struct {
	state   uint8
	digits  uint8
	ext     int // bytes of this chunk's extension
	exts    int // bytes of all extensions
	left    int64
	line    int    // bytes of the current trailer line
	trailer []byte // the trailer section's lines
}

// The states, named for what is expected.
const (
	chunkSize uint8 = iota
	chunkExt
	chunkLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkTrailerLF
	chunkDone
)

// step consumes the framing at the start of b: up to data (then d.left is how
// much), the message's end, or the end of b. It returns how much that was.
func (d *dechunk) step(b []byte) (int, error) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch d.state {
		case chunkData:
			if d.left > 0 {
				return i, nil
			}
			d.state = chunkDataCR
			fallthrough
		case chunkDataCR:
			if c != '\r' {
				return i, errChunk
			}
			d.state = chunkDataLF
		case chunkDataLF:
			if c != '\n' {
				return i, errChunk
			}
			d.state, d.digits, d.left, d.ext = chunkSize, 0, 0, 0
		case chunkSize:
			if class[c]&hex != 0 {
				// 15 digits fit 60 bits; leading zeros count, too.
				if d.digits++; d.digits > 15 {
					return i, errChunk
				}
				v := c - '0'
				if c > '9' {
					v = c | 0x20 - 'a' + 10
				}
				d.left = d.left<<4 | int64(v)
				continue
			}
			if d.digits == 0 {
				return i, errChunk
			}
			switch c {
			case '\r':
				d.state = chunkLF
			case ';':
				d.state = chunkExt
			default:
				return i, errChunk
			}
		case chunkExt:
			switch {
			case c == '\r':
				d.state = chunkLF
			case class[c]&field == 0:
				return i, errChunk
			}
			d.ext++
			d.exts++
			if d.ext > maxExtension || d.exts > maxOverhead {
				return i, errChunk
			}
		case chunkLF:
			if c != '\n' {
				return i, errChunk
			}
			if d.left > 0 {
				d.state = chunkData
			} else {
				d.state, d.line = chunkTrailer, 0
			}
		case chunkTrailer:
			if d.line == 0 && c == '\r' && d.trailer == nil {
				d.state = chunkTrailerLF // the usual end: no trailer
				continue
			}
			if len(d.trailer) >= maxTrailer {
				return i, errChunk
			}
			d.trailer = append(d.trailer, c)
			switch {
			case c == '\r':
				d.state = chunkTrailerLF
			case c == '\n':
				return i, errChunk
			default:
				d.line++
			}
		case chunkTrailerLF:
			if c != '\n' {
				return i, errChunk
			}
			if d.trailer != nil {
				d.trailer = append(d.trailer, c)
			}
			if d.line == 0 {
				d.state = chunkDone
				return i + 1, nil
			}
			d.state, d.line = chunkTrailer, 0
		case chunkDone:
			return i, nil
		}
	}
	return len(b), nil
}

// trailers puts the fields of the trailer section that may be forwarded into h.
func (d *dechunk) trailers(h *exchange.Header, most int) error {
	if d.trailer == nil {
		return nil
	}
	var all exchange.Header
	var m meta
	n, r := fields(d.trailer, &all, &m, most, false)
	if r != nil || n != len(d.trailer) {
		return errChunk
	}
	for _, f := range all.Fields() {
		if mayTrail(f.ID, f.Name) {
			h.AddName(string(f.Name), string(f.Value))
		}
	}
	d.trailer = nil
	return nil
}

// mayTrail reports whether a field may be in a trailer: not one that frames,
// routes, authenticates, or says how to treat the content (RFC 9110, 6.5.1). Of
// the fields that the data plane knows, only ETag may.
func mayTrail(id exchange.ID, name []byte) bool {
	if id != exchange.None {
		return id == exchange.ETag
	}
	n := strings.ToLower(string(name))
	for _, p := range []string{"access-control-", "content-", "cookie", "if-", "proxy-", "sec-", "x-forwarded-", "x-real-", "x-http-method", "x-original-", "x-rewrite-"} {
		if strings.HasPrefix(n, p) {
			return false
		}
	}
	switch n {
	case "accept-charset", "accept-language", "allow", "clear-site-data", "date", "expires",
		"from", "max-forwards", "pragma", "priority", "referer", "set-cookie2",
		"strict-transport-security", "warning", "www-authenticate", "alt-svc", "early-data":
		return false
	}
	return true
}

const digits = "0123456789abcdef"

// appendChunkHead appends the line before n bytes of data.
func appendChunkHead(out []byte, n int) []byte {
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		out = append(out, digits[n>>shift&15])
	}
	return append(out, '\r', '\n')
}

// appendChunkEnd appends the last chunk and the trailer section.
func appendChunkEnd(out []byte, trailer *exchange.Header) []byte {
	out = append(out, '0', '\r', '\n')
	for _, f := range trailer.Fields() {
		if mayTrail(f.ID, f.Name) {
			out = appendField(out, f.Name, f.Value)
		}
	}
	return append(out, '\r', '\n')
}
