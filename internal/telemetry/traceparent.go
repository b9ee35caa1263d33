package telemetry

import (
	"encoding/binary"
	"math/rand/v2"
)

// traceparentLen is the length of a traceparent of version 00.
const traceparentLen = 55

// ParseTraceparent reads the value of a traceparent header field as the W3C Trace
// Context recommendation says (https://www.w3.org/TR/trace-context/): lower-case
// hexadecimal, no ID all zero. A later version than 00 may be longer, and is read
// as far as it is known. ok is false for anything else: the caller then begins a
// new trace. It does not allocate.
func ParseTraceparent(b []byte) (trace [16]byte, span [8]byte, sampled, ok bool) {
	if len(b) < traceparentLen || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return trace, span, false, false
	}
	var version, flags [1]byte
	if !unhex(version[:], b[:2]) || !unhex(trace[:], b[3:35]) || !unhex(span[:], b[36:52]) || !unhex(flags[:], b[53:55]) ||
		version[0] == 0xff || trace == [16]byte{} || span == [8]byte{} ||
		len(b) > traceparentLen && (version[0] == 0 || b[traceparentLen] != '-') {
		return [16]byte{}, [8]byte{}, false, false
	}
	return trace, span, flags[0]&1 != 0, true
}

// AppendTraceparent appends a traceparent of version 00 to dst.
func AppendTraceparent(dst []byte, trace [16]byte, span [8]byte, sampled bool) []byte {
	dst = append(dst, "00-"...)
	dst = appendHex(dst, trace[:])
	dst = append(dst, '-')
	dst = appendHex(dst, span[:])
	if sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

// NewTraceID returns a random trace ID, never all zero. The generator is the
// runtime's ChaCha8, one to a thread and seeded by the system: nobody waits for
// another, and nobody outside can guess the next.
func NewTraceID() (id [16]byte) {
	for id == [16]byte{} {
		binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

// NewSpanID returns a random span ID, never all zero.
func NewSpanID() (id [8]byte) {
	for id == [8]byte{} {
		binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

const hexDigits = "0123456789abcdef"

func appendHex(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// nibble is the value of a lower-case hexadecimal digit, 0xff of anything else.
var nibble = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(hexDigits) {
		t[hexDigits[i]] = byte(i)
	}
	return t
}()

// unhex decodes src, of twice the length of dst; false if a digit is none.
func unhex(dst, src []byte) bool {
	var bad byte
	for i := range dst {
		hi, lo := nibble[src[2*i]], nibble[src[2*i+1]]
		dst[i] = hi<<4 | lo&15
		bad |= hi | lo
	}
	return bad&0xf0 == 0
}
