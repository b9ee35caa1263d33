package frames

import (
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"swell/internal/exchange"
)

// Field sections are written without the dynamic table: what is repeated costs
// some bytes each time and no work to find, nothing must be kept in order between
// streams, and no memory is held for a connection.

// indexes are the static table's entries of the known names; 0 is none.
var indexes = func() (t [256]uint8) {
	for i := len(static) - 1; i > 0; i-- {
		if static[i].id != exchange.None {
			t[static[i].id] = uint8(i)
		}
	}
	return t
}()

// pseudoIndexes are the static table's first entries of the pseudo-fields.
var pseudoIndexes = [pseudos]uint8{Method: 2, Scheme: 6, Authority: 1, Path: 4, Status: 8}

// ResizeTable, before a section, tells the peer that the encoder's dynamic table
// has no entries (RFC 7541, 4.2). It is due once after the peer made the table's
// bound smaller.
const ResizeTable = 0x20

func appendInteger(out []byte, first byte, bits, n int) []byte {
	full := 1<<bits - 1
	if n < full {
		return append(out, first|byte(n))
	}
	out = append(out, first|byte(full))
	for n -= full; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

func appendText[T string | []byte](out []byte, s T) []byte {
	return append(appendInteger(out, 0, 7, len(s)), s...)
}

// AppendPseudo appends a pseudo-field.
func AppendPseudo[T string | []byte](out []byte, pseudo int, value T) []byte {
	i := pseudoIndexes[pseudo]
	if i == 0 {
		return appendText(appendText(append(out, 0), pseudoNames[pseudo]), value)
	}
	for j := i; j < 15 && string(static[j].name) == pseudoNames[pseudo]; j++ {
		if string(static[j].value) == string(value) && len(value) > 0 {
			return append(out, 0x80|j)
		}
	}
	return appendText(appendInteger(out, 0, 4, int(i)), value)
}

// AppendStatus appends the pseudo-field of an answer's status.
func AppendStatus(out []byte, status int) []byte {
	switch status {
	case 200:
		return append(out, 0x88)
	case 204:
		return append(out, 0x89)
	case 206:
		return append(out, 0x8a)
	case 304:
		return append(out, 0x8b)
	case 400:
		return append(out, 0x8c)
	case 404:
		return append(out, 0x8d)
	case 500:
		return append(out, 0x8e)
	}
	return strconv.AppendInt(append(out, 8, 3), int64(status), 10)
}

// AppendField appends a field, its name in lower case.
func AppendField(out []byte, id exchange.ID, name, value []byte) []byte {
	first := byte(0)
	switch id {
	case exchange.Authorization, exchange.ProxyAuthorization, exchange.Cookie, exchange.SetCookie:
		first = 0x10 // never to be put into a table (RFC 7541, 7.1.3)
	}
	if i := indexes[id]; i > 0 {
		out = appendInteger(out, first, 4, int(i))
	} else {
		out = appendInteger(append(out, first), 0, 7, len(name))
		for _, c := range name {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			out = append(out, c)
		}
	}
	return appendText(out, value)
}

// AppendFields appends the fields of h, but for those that have no place in
// HTTP/2 or are the codec's own to make. Names and values that can't be written
// (a filter's fault) are left out.
func AppendFields(out []byte, h *exchange.Header) []byte {
	for _, f := range h.Fields() {
		switch f.ID {
		case exchange.Connection, exchange.ContentLength, exchange.Expect, exchange.Host,
			exchange.HTTP2Settings, exchange.KeepAlive, exchange.ProxyConnection,
			exchange.TransferEncoding, exchange.Upgrade:
			continue
		case exchange.None:
			if len(f.Name) == 0 || !all(f.Name, token) {
				continue
			}
		case exchange.TE:
			if !trailers(f.Value) {
				continue
			}
		}
		v := f.Value
		if !validValue(v) {
			if v = trim(v); !validValue(v) {
				continue
			}
		}
		out = AppendField(out, f.ID, f.Name, v)
	}
	return out
}

// trim takes blanks from both ends.
func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

// AppendLength appends a Content-Length.
func AppendLength(out []byte, n int64) []byte {
	var b [20]byte
	return appendText(appendInteger(out, 0, 4, int(indexes[exchange.ContentLength])), strconv.AppendInt(b[:0], n, 10))
}

// stamp is the Date field of one second.
type stamp struct {
	second int64
	field  []byte
}

var lastStamp atomic.Pointer[stamp]

// AppendDate appends the Date of now.
func AppendDate(out []byte) []byte {
	now := time.Now()
	s := lastStamp.Load()
	if s == nil || s.second != now.Unix() {
		date := now.UTC().AppendFormat(nil, "Mon, 02 Jan 2006 15:04:05 GMT")
		field := appendInteger(nil, 0, 4, int(indexes[exchange.Date]))
		field = appendInteger(field, 0x80, 7, int(hpack.HuffmanEncodeLength(string(date))))
		s = &stamp{now.Unix(), hpack.AppendHuffmanString(field, string(date))}
		lastStamp.Store(s)
	}
	return append(out, s.field...)
}
