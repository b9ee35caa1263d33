package telemetry

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Entry is what one line of an access log says. Its byte slices are only read.
type Entry struct {
	Time      time.Time     // when the request's head was complete
	Duration  time.Duration // until the end of the answer
	Client    string        // the client's address, without the port
	Caller    string        // who asked, as Swell knows it
	Route     string
	Service   string
	Instance  string // of the last attempt
	Attempts  int
	Method    string
	Target    []byte // raw, as it came
	Proto     string // "HTTP/1.1"
	Host      []byte
	Status    int   // 0: the exchange broke
	In, Out   int64 // bytes of the bodies
	Referer   []byte
	UserAgent []byte
	RequestID []byte
	Trace     [16]byte // all zero is none
	Span      [8]byte
	Notes     []Note
}

// Note is one more fact of an [Entry].
type Note struct{ Name, Value string }

// AppendJSON appends e to dst as one line of JSON with its newline. Empty texts
// are left out; bytes that are not UTF-8 become U+FFFD.
func AppendJSON(dst []byte, e *Entry) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, `","duration":`...)
	dst = strconv.AppendFloat(dst, e.Duration.Seconds(), 'f', 6, 64)
	dst = text(dst, "client", e.Client)
	dst = text(dst, "caller", e.Caller)
	dst = text(dst, "route", e.Route)
	dst = text(dst, "service", e.Service)
	dst = text(dst, "instance", e.Instance)
	dst = number(dst, "attempts", int64(e.Attempts))
	dst = text(dst, "method", e.Method)
	dst = text(dst, "host", e.Host)
	dst = text(dst, "target", e.Target)
	dst = text(dst, "proto", e.Proto)
	dst = number(dst, "status", int64(e.Status))
	dst = number(dst, "in", e.In)
	dst = number(dst, "out", e.Out)
	dst = text(dst, "referer", e.Referer)
	dst = text(dst, "user_agent", e.UserAgent)
	dst = text(dst, "request_id", e.RequestID)
	if e.Trace != [16]byte{} {
		dst = append(dst, `,"trace_id":"`...)
		dst = appendHex(dst, e.Trace[:])
		dst = append(dst, `","span_id":"`...)
		dst = appendHex(dst, e.Span[:])
		dst = append(dst, '"')
	}
	for i, n := range e.Notes {
		if i == 0 {
			dst = append(dst, `,"notes":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"name":`...)
		dst = quote(dst, n.Name)
		dst = text(dst, "value", n.Value)
		dst = append(dst, '}')
	}
	if len(e.Notes) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}', '\n')
}

func number(dst []byte, name string, n int64) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strconv.AppendInt(dst, n, 10)
}

func text[T string | []byte](dst []byte, name string, s T) []byte {
	if len(s) == 0 {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return quote(dst, s)
}

// quote appends s as a JSON string (RFC 8259, section 7).
func quote[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	begin := 0 // of what is yet to be copied as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		n := 1
		if c >= utf8.RuneSelf {
			var r rune
			r, n = decode(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[begin:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c >= utf8.RuneSelf:
			dst = append(dst, `\ufffd`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		}
		i += n
		begin = i
	}
	dst = append(dst, s[begin:]...)
	return append(dst, '"')
}

// decode is utf8.DecodeRune of the first bytes of s, of either type.
func decode[T string | []byte](s T) (rune, int) {
	var b [utf8.UTFMax]byte
	return utf8.DecodeRune(b[:copy(b[:], s)])
}

// AppendCommon appends e to dst as one line of the Common Log Format with its
// newline, as Apache's mod_log_config writes it: what is not printable ASCII, and
// quotes and backslashes, are escaped.
func AppendCommon(dst []byte, e *Entry) []byte {
	dst = word(dst, e.Client)
	dst = append(dst, " - - ["...)
	dst = e.Time.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, `] "`...)
	dst = escape(dst, e.Method, false)
	dst = append(dst, ' ')
	dst = escape(dst, e.Target, false)
	dst = append(dst, ' ')
	dst = escape(dst, e.Proto, false)
	dst = append(dst, `" `...)
	if e.Status > 0 {
		dst = strconv.AppendInt(dst, int64(e.Status), 10)
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, ' ')
	if e.Out > 0 {
		dst = strconv.AppendInt(dst, e.Out, 10)
	} else {
		dst = append(dst, '-')
	}
	return append(dst, '\n')
}

// word is a field that ends at the next space.
func word(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	return escape(dst, s, true)
}

func escape[T string | []byte](dst []byte, s T, spaces bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c >= 0x7f || spaces && c == ' ':
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
